"""An exported network beside the bundle that it was made of: what it gives for the same crops."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from siamese.distances.numpy_measures import measure
from siamese.errors import BundleError
from siamese.inference.onnx.engine import OnnxEngine
from siamese.inference.onnx.metadata import StoredModel
from siamese.inference.torch_engine import TorchEngine

if TYPE_CHECKING:
    from siamese.inference.bundle import Bundle

# How far an embedding may lie from torch's, as a share of its length. float32 differs by rounding,
# 1e-6; where a network scales pictures itself, by whole steps of a colour, too: 5e-3 on noise.
_MOST_APART = {"float32": 1e-2, "float16": 2e-2, "int8": 0.5}
_RANDOM = 8  # made-up crops that a file is checked on


@dataclass(frozen=True)
class OnnxExport:
    """What :func:`export_onnx` wrote.

    Attributes:
        path: of the file.
        precision: ``"float32"``, ``"float16"`` or ``"int8"``.
        bytes: size of the file.
        embedding_size: D, length of an embedding.
        checked: crops on which onnxruntime and torch were compared.
        largest_difference: between an embedding by onnxruntime and by torch, there: the length of
            the difference as a share of the embedding's.
        largest_distance_difference: between two distances of neighbouring crops, in the distance's
            unit.
        fingerprint: of all that an embedding depends on.
    """

    path: Path
    precision: str
    bytes: int
    embedding_size: int
    checked: int
    largest_difference: float
    largest_distance_difference: float
    fingerprint: str

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self) | {"path": str(self.path)}


def made_up_crops(size: int) -> Sequence[np.ndarray]:
    """Smooth pictures and noise, always the same ones, (size, size, 3) uint8."""
    rng = np.random.default_rng(0)
    found = []
    for number in range(_RANDOM):
        side = (3, 6, 12, size)[number % 4]
        coarse = rng.integers(0, 256, (side, side, 3), dtype=np.uint8)
        found.append(np.asarray(Image.fromarray(coarse).resize((size, size))))
    return found


def compare_with_torch(
    path: Path, content: bytes, stored: StoredModel, bundle: Bundle, crops: list[np.ndarray]
) -> OnnxExport:
    """Embeddings and distances by onnxruntime beside those by torch.

    Raises:
        BundleError: they differ too much.
    """
    mine, other = OnnxEngine(str(path), content, stored), TorchEngine(bundle.components)
    # One alone, and several at once: the number of images must not matter.
    parts = [crops[:1], crops[1:4], *([one] for one in crops[4:])]
    rows = np.concatenate([mine.embed(part) for part in parts])
    wanted = np.concatenate([other.embed(part) for part in parts])
    lengths = np.linalg.norm(wanted, axis=1)
    apart = np.linalg.norm(rows - wanted, axis=1) / np.where(lengths > 0, lengths, 1)
    largest, most = float(apart.max()), _MOST_APART[stored.precision]
    if not (math.isfinite(largest) and largest <= most):
        raise BundleError(
            f"{path}: not kept: onnxruntime's embeddings lie up to {largest:.2g} of their length "
            f"from torch's, more than {most:g}; export it with precision float32, or report this "
            f"network"
        )
    name = stored.distance.name
    distances = measure(name, rows[1:], rows[:-1]) - measure(name, wanted[1:], wanted[:-1])
    return OnnxExport(
        path,
        stored.precision,
        len(content),
        stored.output.size,
        len(crops),
        largest,
        float(np.abs(distances).max()),
        stored.fingerprint,
    )
