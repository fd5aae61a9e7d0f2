"""Images as users give them: a path, a PIL image, or an array."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Union

import numpy as np
from PIL import Image

from siamese.errors import ImageError
from siamese.faces.images import read_image, to_rgb
from siamese.reading import open_regular

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


def hash_of(image: ImageLike) -> str:
    """16 hexadecimal digits of the SHA-256 of a file's content, or of an image's pixels.

    Args:
        image: as for :func:`read_given`.

    Raises:
        ImageError: it cannot be read.
    """
    digest = hashlib.sha256()
    if isinstance(image, (str, Path)):
        try:
            with open_regular(image) as stream:
                while block := stream.read(1 << 20):
                    digest.update(block)
        except (OSError, ValueError):
            read_given(image)  # says what is wrong, and what to do
            raise
    else:
        array = read_given(image)[1]
        digest.update(f"{array.shape}".encode())
        digest.update(array.data)
    return digest.hexdigest()[:16]
