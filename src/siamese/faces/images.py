"""Decode one image safely into RGB; every error names its cause.

The size limit is checked first; EXIF rotation is applied; every common mode is converted.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from siamese.errors import ImageError, first_line
from siamese.faces.files import read_bytes
from siamese.faces.formats import format_of, is_heic, is_readable, other_format
from siamese.faces.scans import MAX_SCANS, has_too_many_scans

# Pillow's own threshold for decompression bombs (1 GiB of RGBA / 3); checked on the header, before
# a pixel is decoded.
MAX_PIXELS = 89_478_485
# Pixels in a row or column. Pillow's resize takes 32 bytes for each of them.
MAX_SIDE = 1_000_000
# Pixels that are converted at a time, so that no second copy of a large image is held.
_TILE = 1 << 22
_ORIENTATION = 0x0112  # of EXIF


def read_image(path: str | Path) -> np.ndarray:
    """Read an image from disk; see :func:`decode_image`."""
    return decode_image(read_bytes(path), path)


def decode_image(content: bytes, path: object = "<image>") -> np.ndarray:
    """Decode an image to RGB as a viewer would show it.

    EXIF orientation is applied; transparency is laid over white; CMYK, palette, grey and 16-bit
    grey are converted (16-bit by its high byte); of an animation the first frame counts. Truncated
    files are refused, never half-decoded. The format is known by the content, and only those of
    :mod:`siamese.faces.formats` are opened; HEIC needs the extra ``heic``.

    It takes about 8 bytes of memory for each pixel, 14 where the image is turned: 0.7 and 1.1 GB
    for ``MAX_PIXELS``.

    Args:
        content: the file's bytes.
        path: what to call the image in errors.

    Returns:
        (H, W, 3) uint8, C-contiguous.

    Raises:
        ImageError: not an image, damaged, of a floating-point mode, of more than ``MAX_PIXELS``
            pixels or ``MAX_SIDE`` in a row, a JPEG of more than 100 scans, of a format that is not
            read, or HEIC without the package that reads it.
    """
    kind = format_of(content)
    if kind is None:
        what, remedy = other_format(content)
        known = f" (it seems to be {what})" if what else ""
        raise ImageError(path, f"not an image in a known format{known}", remedy)
    if not is_readable(kind) and is_heic(kind):
        raise ImageError(
            path,
            "a HEIC image, and the package that reads it is not installed",
            "run: pip install 'siamese-lightning[heic]', or save it as JPEG",
        )
    if not is_readable(kind):
        raise ImageError(
            path,
            f"{kind.name}, which the installed Pillow does not read",
            "run: pip install --upgrade pillow, or save it as JPEG",
        )
    try:
        # Pillow warns of large images, too. To silence it at every image (warnings.catch_warnings)
        # would make Python repeat every other warning of the process.
        with Image.open(io.BytesIO(content), formats=[kind.name]) as image:
            _check_size(image, path)
            if has_too_many_scans(content):
                raise ImageError(
                    path, f"a JPEG of more than {MAX_SCANS} scans", "save it again, or remove it"
                )
            return to_rgb(image, path)
    except Image.DecompressionBombError as error:
        raise ImageError(
            path, f"more than {MAX_PIXELS:,} pixels", "scale the image down"
        ) from error
    except UnidentifiedImageError as error:
        raise ImageError(
            path, f"not an image in a known format, though it begins like {kind.name}"
        ) from error
    except ImageError:
        raise
    except Exception as error:
        raise _damaged(error, path) from error


def to_rgb(image: Image.Image, path: object = "<image>") -> np.ndarray:
    """A Pillow image as RGB; conversions as in :func:`decode_image`. The image is not changed.

    Returns:
        (H, W, 3) uint8, C-contiguous.

    Raises:
        ImageError: a floating-point mode, more than ``MAX_PIXELS`` pixels or ``MAX_SIDE`` in a row,
            or damaged.
    """
    _check_size(image, path)
    try:
        image.load()
        return _converted(image, path)
    except ImageError:
        raise
    except Exception as error:
        raise _damaged(error, path) from error


def _damaged(error: Exception, path: object) -> ImageError:
    """What Pillow says of a damaged file, in one sentence.

    Its plug-ins raise many kinds of errors: struct.error, TypeError, SyntaxError, ...
    """
    if isinstance(error, MemoryError):
        return ImageError(path, "needs more memory than there is", "scale the image down")
    return ImageError(path, f"damaged or truncated image ({first_line(error)})")


def _check_size(image: Image.Image, path: object) -> None:
    if max(image.size) > MAX_SIDE:
        raise ImageError(
            path,
            f"{image.width} x {image.height} pixels, more than {MAX_SIDE:,} in a row",
            "cut the image",
        )
    if image.width * image.height > MAX_PIXELS:
        raise ImageError(
            path,
            f"{image.width} x {image.height} pixels, more than {MAX_PIXELS:,}",
            "scale the image down",
        )


def _converted(image: Image.Image, path: object) -> np.ndarray:
    if image.getexif().get(_ORIENTATION, 1) != 1:
        image = ImageOps.exif_transpose(image)
    if image.mode == "F":
        raise ImageError(
            path,
            "floating-point image without a known range",
            "save it with 8 or 16 bits per channel",
        )
    rgb = np.empty((image.height, image.width, 3), dtype=np.uint8)
    # 16-bit grey: "I;16", "I;16B", "I;16L", "I;16N" or, from some formats, 32-bit "I".
    if image.mode.startswith("I"):
        grey = np.asarray(image)
        for left, top, right, bottom in _tiles(image.size):
            high_byte = grey[top:bottom, left:right].clip(0, 65535) >> 8
            rgb[top:bottom, left:right] = high_byte[..., None]
        return rgb
    for left, top, right, bottom in _tiles(image.size):
        box = (left, top, right, bottom)
        part = image if box == (0, 0, *image.size) else image.crop(box)
        if part.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in part.info:
            rgba = part.convert("RGBA")
            part = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba)
        rgb[top:bottom, left:right] = np.asarray(part.convert("RGB"))
    return rgb


def _tiles(size: tuple[int, int]) -> Iterator[tuple[int, int, int, int]]:
    """Boxes of at most ``_TILE`` pixels that cover an image: left, top, right, bottom."""
    width, height = size
    across = min(width, _TILE)
    down = max(1, _TILE // max(1, across))
    for top in range(0, height, down):
        for left in range(0, width, across):
            yield left, top, min(left + across, width), min(top + down, height)
