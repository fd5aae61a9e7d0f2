"""Small files that would cost much time or memory: both are bounded, and nothing else changes."""

from __future__ import annotations

import io
import struct
import time
import zlib

import numpy as np
import pytest
from PIL import Image
from tests.faces.test_bad_images import png_with_header
from tests.helpers import assert_says, random_image

from siamese.errors import ImageError
from siamese.faces import detect, images
from siamese.faces.images import decode_image, to_rgb
from siamese.faces.scans import MAX_SCANS, has_too_many_scans, scans_of


def encode(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


PICTURE = Image.fromarray(random_image(3, 37, 53))
_turned = Image.Exif()
_turned[0x0112] = 6
VARIETIES = {
    "rgb": encode(PICTURE, "PNG"),
    "turned": encode(PICTURE, "JPEG", exif=_turned),
    "grey": encode(PICTURE.convert("L"), "PNG"),
    "one bit": encode(PICTURE.convert("1"), "PNG"),
    "palette": encode(PICTURE.convert("P"), "PNG"),
    "palette, transparent": encode(PICTURE.convert("P"), "PNG", transparency=bytes(range(256))),
    "one transparent colour": encode(PICTURE.convert("L"), "PNG", transparency=100),
    "alpha": encode(Image.merge("RGBA", [*PICTURE.split(), PICTURE.convert("L")]), "PNG"),
    "grey and alpha": encode(Image.merge("LA", [PICTURE.convert("L")] * 2), "PNG"),
    "inks": encode(PICTURE.convert("CMYK"), "TIFF"),
    "lab": encode(PICTURE.convert("RGB").convert("YCbCr"), "TIFF"),
    "16 bit": encode(Image.fromarray(random_image(3)[..., 0].astype(np.uint16) * 257), "PNG"),
    "16 bit, big-endian": b"P5 9 7 65535\n" + bytes(range(126)),
    "gif": encode(PICTURE, "GIF"),
    "webp": encode(PICTURE, "WEBP"),
}


@pytest.mark.parametrize("name", VARIETIES)
def test_an_image_that_is_converted_in_parts_is_the_same(name, monkeypatch):
    """The oracle has no parts: it is what stood here before there were any."""
    content = VARIETIES[name]
    with Image.open(io.BytesIO(content)) as image:
        expected = in_one_piece(image)
    for tile in (1, 7, 53, 200, 1 << 22):
        monkeypatch.setattr(images, "_TILE", tile)
        np.testing.assert_array_equal(decode_image(content), expected)


def in_one_piece(image: Image.Image) -> np.ndarray:
    from PIL import ImageOps

    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I"):
        high_byte = np.asarray(image).astype(np.int64).clip(0, 65535) >> 8
        return np.repeat(high_byte.astype(np.uint8)[..., None], 3, axis=2)
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba)
    return np.ascontiguousarray(image.convert("RGB"))


def test_tiles_cover_every_pixel_once_and_none_is_large(monkeypatch):
    monkeypatch.setattr(images, "_TILE", 10)
    for size in [(1, 1), (10, 1), (11, 1), (1, 25), (23, 7), (3, 3), (100, 2)]:
        met = np.zeros(size[::-1], dtype=int)
        for left, top, right, bottom in images._tiles(size):
            assert 0 < (right - left) * (bottom - top) <= 10
            met[top:bottom, left:right] += 1
        assert (met == 1).all()


def test_the_image_of_a_caller_is_not_changed():
    image = Image.open(io.BytesIO(VARIETIES["turned"]))
    assert to_rgb(image).shape == (53, 37, 3)
    assert image.size == (53, 37)
    assert image.getexif()[0x0112] == 6


def test_an_image_of_a_caller_that_is_damaged_or_huge_is_an_image_error(monkeypatch):
    half = VARIETIES["turned"][:-100]
    with pytest.raises(ImageError, match="truncated"):
        to_rgb(Image.open(io.BytesIO(half)))
    monkeypatch.setattr(images, "MAX_PIXELS", 37 * 53 - 1)
    with pytest.raises(ImageError, match="53 x 37 pixels"):
        to_rgb(PICTURE)


def test_a_row_of_millions_of_pixels_is_refused_by_its_header():
    start = time.perf_counter()
    for width, height in [(80_000_000, 1), (1, 80_000_000)]:
        with pytest.raises(ImageError) as caught:
            decode_image(png_with_header(width, height), "a.png")
        assert_says(caught.value, "a.png", f"{width} x {height}", "1,000,000", "cut")
    assert time.perf_counter() - start < 1


def progressive(copies: int) -> bytes:
    """A progressive JPEG whose last scan is there so many times."""
    content = encode(PICTURE, "JPEG", progressive=True)
    place = content.rindex(b"\xff\xda")
    return content[:place] + content[place:-2] * copies + content[-2:]


def test_scans_are_counted():
    assert scans_of(encode(PICTURE, "JPEG")) == 1
    own = scans_of(progressive(1))
    assert 5 < own < 12
    for copies in (2, 10, MAX_SCANS):
        assert scans_of(progressive(copies)) == min(own - 1 + copies, MAX_SCANS + 1)
    # Those of a thumbnail in the header, and of what follows the image, do not count.
    thumbnail = Image.Exif().tobytes() + progressive(50)
    assert scans_of(encode(PICTURE, "JPEG", exif=b"Exif\0\0" + thumbnail[:60_000])) == 1
    assert scans_of(encode(PICTURE, "JPEG") + progressive(90)) == 1
    for length in range(0, 600, 7):
        assert scans_of(progressive(1)[:length]) <= own


def test_a_jpeg_of_a_thousand_scans_is_refused_before_one_is_decoded():
    assert decode_image(progressive(60)).shape == (37, 53, 3)
    with pytest.raises(ImageError) as caught:
        decode_image(progressive(1000), "a.jpg")
    assert_says(caught.value, "a.jpg", "more than 100 scans")


def hidden(between: bytes, copies: int = 1000) -> bytes:
    """As :func:`progressive`, with some bytes before each further scan."""
    content = progressive(1)
    place = content.rindex(b"\xff\xda")
    return content[:place] + (between + content[place:-2]) * copies + content[-2:]


def test_no_bytes_before_a_scan_hide_it():
    """What libjpeg passes over, however its length would read."""
    for between in (
        b"\xff\x01",  # TEM
        b"\xff\x02",  # reserved; skipped where a restart is looked for
        b"\xff\xbf",
        b"\xff\xd0",  # a restart that nobody asked for
        b"\xff\xff\xff",  # filling
        b"\x00\x80\xff\x00",  # no segment at all
        b"\xff\xfe\x00\x00",  # a comment that is shorter than its own length
        b"\xff\xfe\x00\x01",
    ):
        assert scans_of(hidden(between)) == MAX_SCANS + 1
        with pytest.raises(ImageError, match="more than 100 scans"):
            decode_image(hidden(between))
    # A comment's content is none.
    assert scans_of(hidden(b"\xff\xfe\x00\x04\xff\xda", 20)) < 40
    assert not has_too_many_scans(VARIETIES["rgb"] + b"\xff\xda" * 200)


def test_scans_of_a_file_that_is_not_progressive_are_counted_too():
    """One colour a scan, as in files that are not progressive; and what libjpeg makes of it."""
    content = encode(PICTURE.convert("L"), "JPEG")
    place = content.index(b"\xff\xda")
    # Three components, each scanned alone: the header says so, and the grey scan is of the first.
    frame = content.index(b"\xff\xc0")
    head = content[frame : frame + 9] + b"\x03" + b"\x01\x11\x00\x02\x11\x00\x03\x11\x00"
    head = head[:2] + struct.pack(">H", 17) + head[4:]
    before = content[:frame] + head + content[frame + 13 : place]
    assert decode_image(before + content[place:-2] * 3 + content[-2:]).shape == (37, 53, 3)
    with pytest.raises(ImageError, match="more than 100 scans"):
        decode_image(before + content[place:-2] * 1000 + content[-2:])


def test_texts_that_unpack_to_more_than_memory_are_refused():
    content = VARIETIES["rgb"]
    packed = zlib.compress(bytes(200_000_000), 9)
    body = b"zTXtComment\0\0" + packed
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    start = time.perf_counter()
    with pytest.raises(ImageError, match="damaged"):
        decode_image(content[:33] + chunk + content[33:])
    assert time.perf_counter() - start < 2


@pytest.mark.parametrize(
    ("height", "width"),
    [
        (250, 250),
        (3000, 4000),
        (6000, 8000),
        (7071, 7071),
        (7072, 7072),
        (9400, 9400),
        (300, 60000),
    ],
)
@pytest.mark.parametrize(("most", "first"), [(0, 0), (1, 0), (2, 1), (4, 4)])
def test_hog_is_given_a_bounded_number_of_pixels(monkeypatch, height, width, most, first):
    """Up to 50 million pixels what it was given before there was a bound, doubling by doubling."""
    seen: list[int] = []
    monkeypatch.setitem(detect._find, "hog", lambda image, n, _: seen.append(n) or [])
    image = np.broadcast_to(np.zeros(3, np.uint8), (height, width, 3))
    detect.detect_scored(image, most, first, 0.0, "hog")
    pixels = height * width
    while first and (pixels * 4**first > 4e6 or width * 2**first > detect.WIDEST):
        first -= 1
    before = [
        n
        for n in range(first, max(first, most) + 1)
        if (n <= max(first, 1) or pixels * 4**n <= 64e6)
        and (n == first or width * 2**n <= detect.WIDEST)
    ]
    assert seen == (before if pixels <= 50e6 else before[:1])
    assert max(pixels * 4**n for n in seen) <= 200e6
