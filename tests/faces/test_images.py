"""A decoded image is what a viewer shows.

Every orientation and every mode, against values worked out by hand.
"""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image
from tests.helpers import random_image

from siamese.faces.images import decode_image, read_image

ORIENTATION = 0x0112
COLOURS = np.random.default_rng(5).integers(0, 256, (5, 7, 3), dtype=np.uint8)

# EXIF 2.3, tag Orientation: where the stored row 0 and the stored column 0 are on the image as
# seen.
SEEN_AT = {
    1: lambda r, c, h, w: (r, c),  # row 0 at the top, column 0 on the left
    2: lambda r, c, h, w: (r, w - 1 - c),  # top, right
    3: lambda r, c, h, w: (h - 1 - r, w - 1 - c),  # bottom, right
    4: lambda r, c, h, w: (h - 1 - r, c),  # bottom, left
    5: lambda r, c, h, w: (c, r),  # row 0 on the left, column 0 at the top
    6: lambda r, c, h, w: (c, h - 1 - r),  # right, top
    7: lambda r, c, h, w: (w - 1 - c, h - 1 - r),  # right, bottom
    8: lambda r, c, h, w: (w - 1 - c, r),  # left, bottom
}


def encode(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def turned(stored: np.ndarray, orientation: int) -> np.ndarray:
    h, w = stored.shape[:2]
    seen = np.zeros((w, h, 3) if orientation >= 5 else (h, w, 3), dtype=np.uint8)
    for r in range(h):
        for c in range(w):
            seen[SEEN_AT[orientation](r, c, h, w)] = stored[r, c]
    return seen


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(orientation, kind):
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    content = encode(
        Image.fromarray(COLOURS), kind, exif=exif, **({"lossless": True} if kind == "WEBP" else {})
    )
    np.testing.assert_array_equal(decode_image(content), turned(COLOURS, orientation))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_of_a_jpeg(orientation):
    # Blocks: JPEG keeps their middles.
    stored = np.kron(COLOURS[:2, :3], np.ones((16, 16, 1), dtype=np.uint8))
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    seen = decode_image(
        encode(Image.fromarray(stored), "JPEG", quality=100, subsampling=0, exif=exif)
    )
    expected = turned(stored, orientation)
    assert seen.shape == expected.shape
    assert np.abs(seen[8::16, 8::16].astype(int) - expected[8::16, 8::16]).max() <= 4


def test_orientation_of_a_16_bit_image():
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    grey = np.arange(6, dtype=np.uint16).reshape(2, 3) * 0x1111
    seen = decode_image(encode(Image.fromarray(grey), "PNG", exif=exif))
    np.testing.assert_array_equal(seen[..., 0], [[0x33, 0x00], [0x44, 0x11], [0x55, 0x22]])


@pytest.mark.parametrize(("kind", "tolerance"), [("TIFF", 0), ("JPEG", 4)])
@pytest.mark.parametrize(
    ("ink", "seen"),
    [
        ((0, 0, 0, 0), (255, 255, 255)),
        ((255, 0, 0, 0), (0, 255, 255)),
        ((0, 255, 0, 0), (255, 0, 255)),
        ((0, 0, 255, 0), (255, 255, 0)),
        ((0, 0, 0, 255), (0, 0, 0)),
    ],
)
def test_cmyk(ink, seen, kind, tolerance):
    decoded = decode_image(encode(Image.new("CMYK", (16, 16), ink), kind))
    assert np.abs(decoded.astype(int) - np.array(seen)).max() <= tolerance


def over_white(colour: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    part = alpha[..., None].astype(float) / 255
    return colour * part + 255 * (1 - part)


ALPHA = np.random.default_rng(6).integers(0, 256, (5, 7), dtype=np.uint8)


def test_rgba_is_laid_over_white():
    decoded = decode_image(encode(Image.fromarray(np.dstack([COLOURS, ALPHA]))))
    assert np.abs(decoded - over_white(COLOURS, ALPHA)).max() <= 1


def test_grey_with_alpha_is_laid_over_white():
    grey = np.repeat(COLOURS[..., :1], 3, axis=2)
    decoded = decode_image(encode(Image.fromarray(np.dstack([COLOURS[..., 0], ALPHA]), "LA")))
    assert np.abs(decoded - over_white(grey, ALPHA)).max() <= 1


def palette_image() -> Image.Image:
    image = Image.new("P", (3, 1))
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    image.putdata([0, 1, 2])
    return image


def test_palette():
    assert decode_image(encode(palette_image())).tolist() == [
        [[255, 0, 0], [0, 255, 0], [0, 0, 255]]
    ]


def test_palette_with_one_transparent_colour():
    assert decode_image(encode(palette_image(), transparency=1)).tolist() == [
        [[255, 0, 0], [255, 255, 255], [0, 0, 255]]
    ]


def test_palette_with_an_alpha_per_colour():
    decoded = decode_image(encode(palette_image(), transparency=bytes([255, 0, 128])))
    assert decoded.tolist() == [[[255, 0, 0], [255, 255, 255], [127, 127, 255]]]


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_transparent_colour_of_an_image_without_palette(mode):
    image = Image.new(mode, (2, 1), "black")
    image.putpixel((1, 0), 77 if mode == "L" else (77, 77, 77))
    content = encode(image, transparency=77 if mode == "L" else (77, 77, 77))
    assert decode_image(content).tolist() == [[[0, 0, 0], [255, 255, 255]]]


DEEP = np.array(
    [[0x0000, 0x00FF, 0x0100, 0x7FFF], [0x8000, 0xFEFF, 0xFF00, 0xFFFF]], dtype=np.uint16
)
HIGH_BYTE = [[0x00, 0x00, 0x01, 0x7F], [0x80, 0xFE, 0xFF, 0xFF]]


def deep_files() -> dict[str, bytes]:
    little = Image.fromarray(DEEP)
    big = Image.frombytes("I;16B", (4, 2), DEEP.astype(">u2").tobytes())
    pgm = b"P5 4 2 65535\n" + DEEP.astype(">u2").tobytes()
    return {
        "png": encode(little),
        "tiff": encode(little, "TIFF"),
        "big-endian tiff": encode(big, "TIFF"),
        "pgm": pgm,
    }


@pytest.mark.parametrize("kind", ["png", "tiff", "big-endian tiff", "pgm"])
def test_16_bit_grey_by_its_high_byte(kind):
    decoded = decode_image(deep_files()[kind])
    for channel in range(3):
        assert decoded[..., channel].tolist() == HIGH_BYTE


def test_one_bit():
    bits = np.array([[True, False, True]])
    for kind in ("PNG", "TIFF", "BMP", "PPM"):
        assert decode_image(encode(Image.fromarray(bits), kind))[..., 1].tolist() == [[255, 0, 255]]


def test_gif():
    assert decode_image(encode(palette_image(), "GIF")).tolist() == [
        [[255, 0, 0], [0, 255, 0], [0, 0, 255]]
    ]


def test_transparent_gif():
    decoded = decode_image(encode(palette_image(), "GIF", transparency=0))
    assert decoded.tolist() == [[[255, 255, 255], [0, 255, 0], [0, 0, 255]]]


def test_first_frame_of_an_animation():
    first, second = Image.new("RGB", (4, 4), "red"), Image.new("RGB", (4, 4), "blue")
    for kind in ("GIF", "PNG", "TIFF"):
        content = encode(first, kind, save_all=True, append_images=[second])
        assert (decode_image(content) == (255, 0, 0)).all()


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tiff", ".ppm", ".webp"])
def test_lossless_formats_keep_every_pixel(tmp_path, suffix):
    Image.fromarray(random_image(1)).save(
        tmp_path / f"a{suffix}", **({"lossless": True} if suffix == ".webp" else {})
    )
    decoded = read_image(tmp_path / f"a{suffix}")
    np.testing.assert_array_equal(decoded, random_image(1))
    assert decoded.dtype == np.uint8
    assert decoded.flags.c_contiguous


def test_every_mode_comes_out_as_contiguous_rgb():
    modes = {"1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "I;16"}
    for mode in modes:
        image = Image.new(mode, (6, 4))
        decoded = decode_image(
            encode(image, "JPEG" if mode == "YCbCr" else "TIFF" if mode == "CMYK" else "PNG")
        )
        assert decoded.shape == (4, 6, 3)
        assert decoded.dtype == np.uint8
        assert decoded.flags.c_contiguous
