"""What a path names: a bundle, which torch runs, or an .onnx file, which onnxruntime runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from siamese.errors import MissingDependencyError

if TYPE_CHECKING:
    from siamese.inference.engine import Verifiable
    from siamese.inference.signature import Keys

ONNX = ".onnx"


def load_verifiable(path: str | Path, trusted: Keys | None = None) -> Verifiable:
    """A bundle, or the network of an ``.onnx`` file.

    Args:
        path: a bundle's folder, a run's, ``"pretrained"``, or a file whose name ends in ``.onnx``.
        trusted: as for :meth:`siamese.Bundle.load`.

    Raises:
        BundleError: as from :meth:`siamese.Bundle.load` and :meth:`siamese.OnnxModel.load`.
        MissingDependencyError: a bundle, and torch is not installed.
    """
    if is_onnx(path):
        from siamese.inference.onnx.model import OnnxModel

        return OnnxModel.load(path, trusted)
    require_torch(path)
    from siamese.inference.bundle import Bundle

    return Bundle.load(path, trusted)


def is_onnx(path: str | Path) -> bool:
    """Whether a path is called as an ``.onnx`` file."""
    return Path(path).suffix.lower() == ONNX


def require_torch(path: str | Path) -> None:
    """Refuse a bundle where torch is not installed.

    Raises:
        MissingDependencyError: it is not.
    """
    try:
        import torch  # noqa: F401
    except ImportError as error:
        raise MissingDependencyError(
            f"{path}: a bundle is run by torch, which is not installed; install torch, or give an "
            f".onnx file (siamese export BUNDLE --to onnx, where torch is)"
        ) from error
