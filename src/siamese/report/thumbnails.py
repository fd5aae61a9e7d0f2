"""Small pictures inside a file: JPEG as text, at most 96 pixels wide and high."""

from __future__ import annotations

import base64
import io
import re

import numpy as np
from PIL import Image

SIDE = 96  # pixels
LARGEST = 40_000  # letters of one picture
_QUALITY = 82
_BASE64 = re.compile(r"/9j/[A-Za-z0-9+/]*={0,2}")  # the first bytes of a JPEG file


def thumbnail(image: np.ndarray) -> str:
    """An image as small JPEG in base64.

    Args:
        image: (H, W, 3) uint8.
    """
    picture = Image.fromarray(image)
    picture.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=_QUALITY, optimize=True)
    return base64.b64encode(stream.getvalue()).decode()


def is_thumbnail(text: str) -> bool:
    """Whether text of a stranger is such a picture: base64 of a JPEG, and not large."""
    return len(text) <= LARGEST and _BASE64.fullmatch(text) is not None
