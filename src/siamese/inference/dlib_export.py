"""export_dlib: dlib's own file of a bundle's network, where the network is dlib's."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from siamese.backbones.base import own_network
from siamese.backbones.dlib_res_net import DlibResNet
from siamese.errors import ConfigError

if TYPE_CHECKING:
    from siamese.inference.bundle import Bundle


@dataclass(frozen=True)
class DlibExport:
    """What :func:`export_dlib` wrote.

    Attributes:
        path: of the file.
        bytes: its size.
        notes: what of the bundle is not in the file, in sentences.
    """

    path: Path
    bytes: int
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self) | {"path": str(self.path), "notes": list(self.notes)}


def export_dlib(bundle: Bundle, path: str | Path) -> DlibExport:
    """Write a bundle's network for ``dlib.face_recognition_model_v1(path)``.

    dlib's file holds weights alone. dlib computes the embedding of one view, as long as it comes:
    what the bundle does beside that, and its threshold, are told in ``notes``.

    Args:
        bundle: whose network is :class:`siamese.DlibResNet`, trained further or not.
        path: of the file; an existing one is replaced.

    Raises:
        ConfigError: another network.
        WeightsError: the file cannot be written.
    """
    network = own_network(bundle.backbone)
    if not isinstance(network, DlibResNet):
        raise ConfigError(
            f"dlib's file holds dlib's network alone, and this bundle's is "
            f"{type(network).__name__}; write it for onnxruntime instead: --to onnx"
        )
    found = network.save_dlib(path)
    notes = []
    if network.mirror or network.jitter:
        views = f"{network.jitter} moved copies" if network.jitter else "the mirror image"
        notes.append(f"the bundle averages over {views}, dlib does not unless you do")
    if network.unit_length:
        notes.append("the bundle scales embeddings to length 1, dlib does not")
    if notes:
        notes.append(
            f"the bundle's threshold ({bundle.operating_point.threshold:.4f}) is for embeddings "
            f"made as the bundle makes them, not for dlib's"
        )
    return DlibExport(found, found.stat().st_size, tuple(notes))
