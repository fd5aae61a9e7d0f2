"""Decode one image safely into RGB; every error names its cause.

The size limit is checked first; EXIF rotation is applied; every common mode is converted.
"""

from __future__ import annotations

import functools
import io
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from siamese.errors import ImageError, first_line

# Pillow's own threshold for decompression bombs (1 GiB of RGBA / 3); checked on the header, before
# a pixel is decoded.
MAX_PIXELS = 89_478_485
# The brands of an ISO base media file that holds HEVC images: ISO/IEC 23008-12, annex B.
_HEIC_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"})

# Pillow hands these to Ghostscript, or to Windows, which run what stands in them.
_PROGRAMS = frozenset({"EPS", "WMF"})


def read_bytes(path: str | Path) -> bytes:
    """The file's content.

    Raises:
        ImageError: missing, a folder, not readable, or of 0 bytes.
    """
    try:
        content = Path(path).read_bytes()
    except FileNotFoundError as error:
        raise ImageError(path, "no such file", "check the path") from error
    except IsADirectoryError as error:
        raise ImageError(path, "a folder, not an image", "give the path of one image") from error
    except OSError as error:
        raise ImageError(
            path, f"cannot be read ({error.strerror})", "check its permissions and the disk"
        ) from error
    if not content:
        raise ImageError(path, "empty file (0 bytes)")
    return content


def read_image(path: str | Path) -> np.ndarray:
    """Read an image from disk; see :func:`decode_image`."""
    return decode_image(read_bytes(path), path)


def decode_image(content: bytes, path: object = "<image>") -> np.ndarray:
    """Decode an image to RGB as a viewer would show it.

    EXIF orientation is applied; transparency is laid over white; CMYK, palette, grey and 16-bit
    grey are converted (16-bit by its high byte); of an animation the first frame counts. Truncated
    files are refused, never half-decoded. HEIC, which is known by its content, needs the extra
    ``heic``.

    Args:
        content: the file's bytes.
        path: what to call the image in errors.

    Returns:
        (H, W, 3) uint8, C-contiguous.

    Raises:
        ImageError: not an image, damaged, of a floating-point mode, of more than ``MAX_PIXELS``
            pixels, a program (PostScript), or HEIC without the package that reads it.
    """
    if _is_heic(content) and not _register_heic():
        raise ImageError(
            path,
            "a HEIC image, and the package that reads it is not installed",
            "run: pip install 'siamese-lightning[heic]', or save it as JPEG",
        )
    try:
        # Pillow warns of large images, too. To silence it at every image (warnings.catch_warnings)
        # would make Python repeat every other warning of the process.
        with Image.open(io.BytesIO(content)) as image:
            if image.width * image.height > MAX_PIXELS:
                raise ImageError(
                    path,
                    f"{image.width} x {image.height} pixels, more than {MAX_PIXELS:,}",
                    "scale the image down",
                )
            if image.format in _PROGRAMS:
                raise ImageError(
                    path, f"{image.format}, which is a program", "save it as PNG or JPEG"
                )
            image.load()
            return to_rgb(image, path)
    except Image.DecompressionBombError as error:
        raise ImageError(
            path, f"more than {MAX_PIXELS:,} pixels", "scale the image down"
        ) from error
    except UnidentifiedImageError as error:
        raise ImageError(path, "not an image in a known format") from error
    except ImageError:
        raise
    except Exception as error:
        # Pillow's plug-ins raise many kinds of errors for damaged files: struct.error, TypeError,
        # SyntaxError, ...
        reason = first_line(error)
        raise ImageError(path, f"damaged or truncated image ({reason})") from error


def _is_heic(content: bytes) -> bool:
    """Whether the file says that it is HEIC, whatever its name: phones name them .jpg, too."""
    if content[4:8] != b"ftyp":
        return False
    length = min(int.from_bytes(content[:4]), 256)
    # The major brand, and after the version the compatible ones.
    brands = {content[8:12], *(content[at : at + 4] for at in range(16, length, 4))}
    return not brands.isdisjoint(_HEIC_BRANDS)


@functools.cache
def _register_heic() -> bool:
    """Let Pillow read HEIC; False where the package is missing.

    Called only when one is met: importing the package takes as long as decoding several images.
    """
    try:
        import pillow_heif
    except ImportError:
        return False
    pillow_heif.register_heif_opener(thumbnails=False)
    return True


def to_rgb(image: Image.Image, path: object = "<image>") -> np.ndarray:
    """A loaded Pillow image as RGB; conversions as in :func:`decode_image`.

    Returns:
        (H, W, 3) uint8, C-contiguous.

    Raises:
        ImageError: a floating-point mode.
    """
    image = ImageOps.exif_transpose(image)
    # 16-bit grey: "I;16", "I;16B", "I;16L", "I;16N" or, from some formats, 32-bit "I".
    if image.mode.startswith("I"):
        high_byte = np.asarray(image).astype(np.int64).clip(0, 65535) >> 8
        return np.repeat(high_byte.astype(np.uint8)[..., None], 3, axis=2)
    if image.mode == "F":
        raise ImageError(
            path,
            "floating-point image without a known range",
            "save it with 8 or 16 bits per channel",
        )
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba)
    return np.ascontiguousarray(image.convert("RGB"))
