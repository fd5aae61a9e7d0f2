"""Files as they are met in folders of photographs: made here, sound ones and bad ones by name."""

from __future__ import annotations

import gzip
import io
import os
import socket
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image
from tests.helpers import random_image

PICTURE = Image.fromarray(random_image(3, 37, 53))


def encode(kind: str, image: Image.Image = PICTURE, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def chunk(name: bytes, content: bytes) -> bytes:
    """One of PNG's."""
    return (
        struct.pack(">I", len(content))
        + name
        + content
        + struct.pack(">I", zlib.crc32(name + content))
    )


PNG, JPEG = encode("PNG"), encode("JPEG")
GIF, TIFF, WEBP = encode("GIF"), encode("TIFF"), encode("WEBP")
BMP, PPM = encode("BMP"), encode("PPM")


def png_of(width: int, height: int, depth: int = 8, colour: int = 2, more: bytes = b"") -> bytes:
    """A PNG with that header and no pixels."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return PNG[:8] + chunk(b"IHDR", header) + more + chunk(b"IDAT", b"x") + chunk(b"IEND", b"")


def after_header(extra: bytes) -> bytes:
    """The sound PNG with another chunk in it."""
    return PNG[:33] + extra + PNG[33:]


def scans(copies: int) -> bytes:
    """A progressive JPEG with its last scan so many times."""
    content = encode("JPEG", progressive=True)
    place = content.rindex(b"\xff\xda")
    return content[:place] + content[place:-2] * copies + content[-2:]


def _animation(kind: str) -> bytes:
    return encode(kind, save_all=True, append_images=[PICTURE.rotate(9)] * 30)


_exif = Image.Exif()
_exif[0x0112] = 6
_odd_exif = Image.Exif()
_odd_exif[0x0112] = 99

SOUND = {
    "sound.jpg": JPEG,
    "sound.jpeg": encode("JPEG", progressive=True),
    "sound.jfif": encode("JPEG", PICTURE.convert("L")),
    "several.jpg": encode("MPO", save_all=True, append_images=[PICTURE]),
    "inks.jpg": encode("JPEG", PICTURE.convert("CMYK")),
    "turned.jpg": encode("JPEG", exif=_exif),
    "odd_orientation.jpg": encode("JPEG", exif=_odd_exif),
    "damaged_exif.jpg": encode("JPEG", exif=b"Exif\0\0" + b"II*\0" + b"\xff" * 400),
    "trailing.jpg": JPEG + b"\0" * 500,
    "film_behind.jpg": JPEG + b"\0\0\0\x18ftypmp42" + bytes(range(256)) * 9,
    "large_profile.jpg": encode("JPEG", icc_profile=bytes(300_000)),
    "sound.png": PNG,
    "palette.png": encode("PNG", PICTURE.convert("P"), transparency=3),
    "grey_alpha.png": encode("PNG", PICTURE.convert("LA")),
    "deep.png": encode("PNG", Image.fromarray(np.arange(400, dtype=np.uint16).reshape(20, 20))),
    "animated.png": _animation("PNG"),
    "one_pixel.png": encode("PNG", Image.new("RGB", (1, 1))),
    "thin.png": encode("PNG", Image.new("RGB", (3000, 1))),
    "high.png": encode("PNG", Image.new("RGB", (1, 3000))),
    "sound.bmp": BMP,
    "one_bit.bmp": encode("BMP", PICTURE.convert("1")),
    "sound.webp": WEBP,
    "animated.webp": _animation("WEBP"),
    "sound.tif": TIFF,
    "packed.tiff": encode("TIFF", compression="tiff_adobe_deflate"),
    "jpeg_in.tiff": encode("TIFF", compression="jpeg"),
    "sound.pgm": encode("PPM", PICTURE.convert("L")),
    "sound.ppm": PPM,
    "text.ppm": b"P3 2 1 255 255 0 0 0 255 0\n",
    "sound.gif": GIF,
    "animated.gif": _animation("GIF"),
    "a_png.jpg": PNG,
    "a_webp.png": WEBP,
    "name with  spaces.jpg": JPEG,
    "größe-ß-日本.jpg": JPEG,
    "UPPER.JPG": JPEG,
    "two.dots.jpg": JPEG,
}
BAD = {
    "empty.jpg": b"",
    "one_byte.jpg": b"\xff",
    "zeros.jpg": bytes(5000),
    "text.jpg": b"this is a text, no image\n" * 9,
    "page.png": b"<!DOCTYPE html><html><body>404</body></html>",
    "drawing.png": b"<?xml version='1.0'?><svg xmlns='http://www.w3.org/2000/svg'/>",
    "answer.jpg": b'{"error": "not found"}',
    "pointer.jpg": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n",
    "program.jpg": encode("EPS"),
    "document.jpg": encode("PDF"),
    "icon.png": encode("ICO"),
    "texture.png": encode("DDS"),
    "wavelets.jpg": encode("JPEG2000"),
    "targa.png": encode("TGA"),
    "metafile.gif": b"\xd7\xcd\xc6\x9a" + bytes(80),
    "layers.tif": b"8BPS\0\1" + bytes(60),
    "archive.jpg": b"PK\3\4" + bytes(60),
    "packed.png": gzip.compress(PNG),
    "film.jpg": b"\0\0\0\x18ftypmp42" + bytes(90),
    "half.jpg": JPEG[: len(JPEG) // 2],
    "no_end.jpg": JPEG[:-40],
    "half.png": PNG[: len(PNG) // 2],
    "half.bmp": BMP[: len(BMP) // 2],
    "half.gif": GIF[: len(GIF) // 2],
    "half.webp": WEBP[: len(WEBP) // 2],
    "half.tif": TIFF[: len(TIFF) // 2],
    "half.ppm": PPM[: len(PPM) // 2],
    "header.jpg": JPEG[:20],
    "header.png": PNG[:8],
    "header.gif": GIF[:6],
    "header.bmp": BMP[:2],
    "header.webp": WEBP[:12],
    "header.tif": TIFF[:8],
    "header.ppm": PPM[:3],
    "line_ends.png": PNG.replace(b"\r\n", b"\n"),  # sent as text
    "wrong_sum.png": PNG[:30] + b"\0\0\0" + PNG[33:],
    "no_pixels.png": png_of(0, 0),
    "no_columns.ppm": b"P6 0 9 255\n",
    "huge.png": png_of(60_000, 60_000),
    "large.png": png_of(10_000, 9_000),
    "wide.png": png_of(80_000_000, 1),
    "negative.bmp": BMP[:18] + struct.pack("<ii", -5, 7) + BMP[26:],
    "huge.bmp": BMP[:18] + struct.pack("<ii", 60_000, 60_000) + BMP[26:],
    "huge.gif": GIF[:6] + b"\xff\xff\xff\xff" + GIF[10:],
    "huge.ppm": b"P6 99999 99999 255\n",
    "words.ppm": b"P3 2 1 255 a b c",
    "depth.png": png_of(9, 9, depth=77),
    "colour.png": png_of(9, 9, colour=5),
    "text_bomb.png": after_header(chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(90_000_000), 9))),
    "scans.jpg": scans(500),
    "circle.tif": b"II*\0\x08\0\0\0" + bytes(2) + b"\x08\0\0\0",  # a directory that follows itself
    "tags.tif": b"II*\0\x08\0\0\0" + b"\xff" * 3000,
    "float.tif": encode("TIFF", Image.fromarray(np.ones((4, 4), np.float32))),
    "riff.webp": b"RIFF\xff\xff\xff\xffWEBPVP8 \xff\xff\xff\xff",
    "boxes.avif": b"\0\0\0\x18ftypavif\0\0\0\0avifmif1" + b"\xff" * 60,
    "stuffing.jpg": b"\xff\xd8\xff" + b"\xff" * 9000,
    "segments.jpg": b"\xff\xd8" + b"\xff\xe1\x00\x02" * 5000,
    "length.jpg": b"\xff\xd8\xff\xe1\x00\x00" + bytes(50),
}


def write_files(folder: Path) -> tuple[set[str], set[str]]:
    """Write all of them, and some that are no regular files; the names of sound and of bad ones."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in (SOUND | BAD).items():
        (folder / name).write_bytes(content)
    (folder / "link.jpg").symlink_to("sound.jpg")
    if not hasattr(os, "mkfifo"):
        return {*SOUND, "link.jpg"}, set(BAD)
    os.mkfifo(folder / "pipe.jpg")
    here = Path.cwd()
    os.chdir(folder)  # the address of a socket may not be long
    try:
        socket.socket(socket.AF_UNIX).bind("socket.png")
    finally:
        os.chdir(here)
    links = {"broken.jpg": "nowhere", "circle.jpg": "circle.jpg", "device.jpg": "/dev/zero"}
    for name, target in (links | {"to_pipe.jpg": "pipe.jpg"}).items():
        (folder / name).symlink_to(target)
    return {*SOUND, "link.jpg"}, {*BAD, "pipe.jpg", "socket.png", *links, "to_pipe.jpg"}
