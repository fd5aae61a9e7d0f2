"""Images as users give them: a path, a PIL image, or an array."""

from __future__ import annotations

from pathlib import Path
from typing import Union

import numpy as np
from PIL import Image

from siamese.errors import ImageError
from siamese.faces.images import read_image, to_rgb

ImageLike = Union[str, Path, Image.Image, np.ndarray]


def read_given(image: ImageLike) -> tuple[str, np.ndarray]:
    """What to call an image, and its pixels.

    Args:
        image: a path, a PIL image, or an array (H, W, 3) or (H, W) uint8, RGB or grey.

    Returns:
        a name for messages, and (H, W, 3) uint8 RGB, C-contiguous.

    Raises:
        ImageError: it cannot be read, or is none.
    """
    if isinstance(image, (str, Path)):
        return str(image), read_image(image)
    if isinstance(image, Image.Image):
        return "<PIL image>", to_rgb(image, "<PIL image>")
    if not isinstance(image, np.ndarray) and not hasattr(image, "__array__"):
        raise ImageError(
            "<image>",
            f"a {type(image).__name__}",
            "give a path, a PIL image or an array, (H, W, 3) or (H, W) uint8",
        )
    array = np.asarray(image)
    if (
        array.dtype != np.uint8
        or array.ndim not in (2, 3)
        or (array.ndim == 3 and array.shape[2] != 3)
        or not array.size
    ):
        raise ImageError(
            "<array>",
            f"shape {array.shape}, {array.dtype}",
            "give (H, W, 3) or (H, W) uint8, RGB or grey",
        )
    return "<array>", np.ascontiguousarray(
        array if array.ndim == 3 else np.repeat(array[..., None], 3, axis=2)
    )
