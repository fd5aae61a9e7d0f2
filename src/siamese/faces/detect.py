"""Face detection with dlib's HOG detector; the only file that imports dlib."""

from __future__ import annotations

import functools
import threading
from typing import Any

import numpy as np

from siamese.errors import MissingDependencyError
from siamese.faces.align import Box

_own = threading.local()  # dlib releases the GIL while detecting: a detector may not be shared between threads


def detect_faces(image: np.ndarray, max_upsample: int = 1) -> list[Box]:
    """Find frontal faces: on the picture as it is, then, only where none is found, enlarged twofold up to ``max_upsample`` times.

    Finds faces of about 80 pixels and more without enlarging, 40 with one doubling. Time is linear in pixels, fourfold per
    doubling.

    Args:
        image: (H, W, 3) uint8 RGB.
        max_upsample: how often to double the picture at most, >= 0.

    Returns:
        the boxes found, largest first (of equal ones the upper, then the left one); empty where there is none.

    Raises:
        MissingDependencyError: dlib is not installed.
    """
    for upsample in range(max_upsample + 1):
        found = [Box(r.left(), r.top(), r.right() + 1, r.bottom() + 1) for r in _detector()(image, upsample)]
        if found:
            return sorted(found, key=lambda box: (-box.area, box.top, box.left))
    return []


def require_dlib() -> None:
    """Raise :class:`MissingDependencyError` now, rather than in the middle of the work, if dlib cannot be imported."""
    _import_dlib()


def _detector() -> Any:
    if not hasattr(_own, "detector"):
        _own.detector = _import_dlib().get_frontal_face_detector()
    return _own.detector


@functools.cache
def _import_dlib() -> Any:
    try:
        import dlib
    except ImportError as error:
        raise MissingDependencyError(
            "face detection needs dlib, which is not installed; "
            "run: pip install 'siamese-lightning[dlib-bin]' (or choose the cropper 'none' or 'fixed_box')"
        ) from error
    return dlib
