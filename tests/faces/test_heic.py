"""HEIC is read as any other format, by its content, and only where one is met.

Without its package the error says what to install. AVIF is read by Pillow itself.
"""

from __future__ import annotations

import io
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image, features
from tests.helpers import assert_says, random_image, write_image

from siamese.errors import ImageError
from siamese.faces import formats
from siamese.faces.images import decode_image, read_image

# Of a file that holds nothing else: enough to know the format by.
HEADERS = {
    "major brand": b"\0\0\0\x14ftypheic\0\0\0\0mif1",
    "compatible brand": b"\0\0\0\x18ftypmif1\0\0\0\0mif1heix",
}
OTHERS = {
    "avif": b"\0\0\0\x18ftypavif\0\0\0\0avifmif1",
    "brand beyond the box": b"\0\0\0\x14ftypmif1\0\0\0\0mif1heic",
    "mp4": b"\0\0\0\x18ftypisom\0\0\0\0isommp42",
    "text": b"heic heic heic heic",
}
COLOURS = np.random.default_rng(5).integers(0, 256, (2, 3, 3), dtype=np.uint8)


def encoded(kind: str, image: np.ndarray, **options: object) -> bytes:
    if kind == "HEIF":
        pytest.importorskip("pillow_heif").register_heif_opener()
    elif not features.check("avif"):
        pytest.skip("this Pillow was built without AVIF")
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, kind, quality=100, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["HEIF", "AVIF"])
def test_the_image_is_what_was_saved_and_upright(kind):
    stored = np.kron(COLOURS, np.ones((16, 16, 1), dtype=np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6  # row 0 is on the right, column 0 at the top: a quarter turn clockwise
    seen = decode_image(encoded(kind, stored, exif=exif.tobytes()))
    assert seen.shape == (48, 32, 3)
    expected = np.rot90(stored, -1)
    # Blocks: what the codec changes is at their edges.
    assert np.abs(seen[8::16, 8::16].astype(int) - expected[8::16, 8::16]).max() <= 6


def test_a_heic_named_jpg_is_read(tmp_path):
    (tmp_path / "a.jpg").write_bytes(encoded("HEIF", random_image(1)))
    assert np.abs(read_image(tmp_path / "a.jpg").astype(int) - random_image(1)).mean() < 8


def test_half_a_heic_is_an_image_error():
    content = encoded("HEIF", random_image(2))
    for length in (60, len(content) // 2, len(content) - 1):
        with pytest.raises(ImageError) as caught:
            decode_image(content[:length], "half.heic")
        assert_says(caught.value, "half.heic", "replace or remove")


@pytest.mark.parametrize("name", HEADERS)
def test_without_its_package_the_error_says_what_to_install(tmp_path, monkeypatch, name):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    formats.is_readable.cache_clear()
    (tmp_path / "a.heic").write_bytes(HEADERS[name])
    with pytest.raises(ImageError) as caught:
        read_image(tmp_path / "a.heic")
    formats.is_readable.cache_clear()
    assert_says(caught.value, tmp_path / "a.heic", "HEIC", "siamese-lightning[heic]", "JPEG")


@pytest.mark.parametrize("name", OTHERS)
def test_other_files_are_not_taken_for_heic(name):
    found = formats.format_of(OTHERS[name])
    assert found is None or not formats.is_heic(found)
    with pytest.raises(ImageError) as caught:
        decode_image(OTHERS[name], name)
    assert_says(caught.value, "not an image in a known format")


def test_a_jpeg_does_not_load_the_package(tmp_path):
    path = write_image(tmp_path / "a.jpg", 1)
    code = f"import sys; from siamese.faces.images import read_image; read_image({str(path)!r})"
    code += "; print('pillow_heif' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "False\n"


def test_a_program_is_refused_before_it_runs():
    buffer = io.BytesIO()
    Image.fromarray(random_image(1)).save(buffer, "EPS")
    with pytest.raises(ImageError) as caught:
        decode_image(buffer.getvalue(), "a.jpg")
    assert_says(caught.value, "a.jpg", "EPS", "a program", "PNG")
