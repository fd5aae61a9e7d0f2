"""Which image formats are opened: told by a file's first bytes, whatever its name."""

from __future__ import annotations

import contextlib
import functools
import importlib
from typing import NamedTuple

from PIL import Image


class Format(NamedTuple):
    """A format that is read.

    Attributes:
        name: as Pillow names it. MPO, several JPEGs in one file, is opened as JPEG.
        plugin: the module of Pillow that reads it.
    """

    name: str
    plugin: str


# Each is decoded in this process by a library that is made for it. Pillow is never given a choice:
# it would hand PostScript to Ghostscript, and WMF to Windows, which run what stands in them, and it
# knows thirty more formats whose decoders hardly anybody tries.
_JPEG, _PNG, _BMP = Format("JPEG", "Jpeg"), Format("PNG", "Png"), Format("BMP", "Bmp")
_GIF, _PPM, _TIFF = Format("GIF", "Gif"), Format("PPM", "Ppm"), Format("TIFF", "Tiff")
_WEBP, _AVIF, _HEIF = Format("WEBP", "WebP"), Format("AVIF", "Avif"), Format("HEIF", "")
_STARTS = {
    b"\xff\xd8\xff": _JPEG,
    b"\x89PNG\r\n\x1a\n": _PNG,
    b"BM": _BMP,
    b"GIF87a": _GIF,
    b"GIF89a": _GIF,
    b"II*\0": _TIFF,
    b"MM\0*": _TIFF,
    b"II+\0": _TIFF,  # more than 4 GB would fit into it
    b"MM\0+": _TIFF,
    **{b"P%d" % kind: _PPM for kind in range(1, 7)},
    b"Pf": _PPM,
}
FORMATS = tuple(dict.fromkeys([*_STARTS.values(), _WEBP, _AVIF, _HEIF]))

# The brands of an ISO base media file that holds HEVC images: ISO/IEC 23008-12, annex B.
_HEIC = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"})
_AVIF_BRANDS = frozenset({b"avif", b"avis"})  # AV1 Image File Format, sections 6 and 7
_SAVE = "save it as PNG or JPEG"
_REPLACE = "replace or remove the file"
# How files begin that are taken for images now and then -> what they are, and what to do.
_OTHERS = {
    b"%!PS": ("EPS, which is a program (PostScript)", _SAVE),
    b"\xc5\xd0\xd3\xc6": ("EPS, which is a program (PostScript)", _SAVE),
    b"\xd7\xcd\xc6\x9a": ("a Windows metafile, which is a program", _SAVE),
    b"\x01\0\0\0": ("a Windows metafile, which is a program", _SAVE),
    b"%PDF": ("a PDF document", _SAVE),
    b"8BPS": ("a Photoshop file", _SAVE),
    b"DDS ": ("a DDS texture", _SAVE),
    b"\0\0\1\0": ("a Windows icon", _SAVE),
    b"icns": ("a macOS icon", _SAVE),
    b"\0\0\0\x0cjP": ("JPEG 2000", _SAVE),
    b"\xff\x4f\xff\x51": ("JPEG 2000", _SAVE),
    b"\xff\x0a": ("JPEG XL", _SAVE),
    b"\0\0\0\x0cJXL": ("JPEG XL", _SAVE),
    b"qoif": ("QOI", _SAVE),
    b"gimp xcf": ("a GIMP file", _SAVE),
    b"PK\3\4": ("a ZIP archive", "unpack it"),
    b"\x1f\x8b": ("a gzip archive", "unpack it"),
    b"version https://git-lfs": ("a pointer of Git LFS to a file", "run: git lfs pull"),
}


def format_of(content: bytes) -> Format | None:
    """The format of a file's content; None for one that is not read."""
    if content[4:8] == b"ftyp":
        brands = _brands(content)
        if not brands.isdisjoint(_HEIC):
            return _HEIF
        return None if brands.isdisjoint(_AVIF_BRANDS) else _AVIF
    if content[:4] == b"RIFF":
        return _WEBP if content[8:12] == b"WEBP" else None
    return next((kind for start, kind in _STARTS.items() if content.startswith(start)), None)


def other_format(content: bytes) -> tuple[str, str]:
    """What a file that is not read seems to be, "" where that is not known, and what to do."""
    for start, found in _OTHERS.items():
        if content.startswith(start):
            return found
    if content[4:8] == b"ftyp":
        return "a film, or an image of a rare kind", _SAVE
    begin = content[:300].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if b"<svg" in begin:
        return "SVG, which is a drawing", _SAVE
    if begin.startswith((b"<!doctype html", b"<html")):
        return "a web page: what was downloaded is no image", _REPLACE
    return "", _REPLACE


@functools.cache
def is_readable(kind: Format) -> bool:
    """Whether the format can be read here: Pillow, or its plug-in for HEIC, is built with it.

    Only the module that reads it is imported. Importing the one for HEIC takes as long as decoding
    several images.
    """
    if kind is _HEIF:
        try:
            import pillow_heif
        except ImportError:
            return False
        pillow_heif.register_heif_opener(thumbnails=False)
        return True
    with contextlib.suppress(ImportError):
        importlib.import_module(f"PIL.{kind.plugin}ImagePlugin")
    return kind.name in Image.OPEN


def is_heic(kind: Format) -> bool:
    """Whether a format is HEIC, which phones save under the name .jpg, too."""
    return kind is _HEIF


def _brands(content: bytes) -> set[bytes]:
    """The brands that an ISO base media file says it has: the major one, then compatible ones."""
    length = min(int.from_bytes(content[:4]), 256)
    # The major brand, and after the version the compatible ones.
    return {content[8:12], *(content[at : at + 4] for at in range(16, length, 4))}
