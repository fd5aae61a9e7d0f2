"""Pictures for the page, as data in its answers: no address could show them to anybody else."""

from __future__ import annotations

import base64
import io

import numpy as np
from PIL import Image

SIDE = 720  # pixels of the longer side of a photograph that is shown


def chip_url(crop: np.ndarray) -> str:
    """What the network sees, without loss.

    Args:
        crop: (S, S, 3) uint8 RGB.
    """
    return _url(Image.fromarray(crop), "png", optimize=False)


def photograph_url(image: np.ndarray) -> str:
    """A photograph as it was decoded, upright, made smaller: also of formats no browser shows.

    Args:
        image: (H, W, 3) uint8 RGB.
    """
    shown = Image.fromarray(image)
    shown.thumbnail((SIDE, SIDE))
    return _url(shown, "jpeg", quality=82)


def _url(image: Image.Image, kind: str, **settings: int | bool) -> str:
    content = io.BytesIO()
    image.save(content, kind, **settings)
    return f"data:image/{kind};base64,{base64.b64encode(content.getvalue()).decode()}"
