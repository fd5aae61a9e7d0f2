"""An image that cannot be read is one error with one line.

It says which file, why, and what to do about it.
"""

from __future__ import annotations

import errno
import io
import os
import pickle
import struct
import time
import zlib

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image
from tests.helpers import assert_says, random_image
from tests.random_cases import random_cases

from siamese.errors import ImageError
from siamese.faces import images
from siamese.faces.images import decode_image, read_image

# Pillow warns of damage that it then gets over.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")


def encode(kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(random_image(3)).save(buffer, kind, **options)
    return buffer.getvalue()


def png_with_header(width: int, height: int, data: bytes = b"no zlib stream") -> bytes:
    """A PNG that claims a size; by default its pixels could not even be decoded."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content))
            + name
            + content
            + struct.pack(">I", zlib.crc32(name + content))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    )


BAD_FILES = {
    "text.jpg": (b"this is a text file, not an image\n" * 20, "not an image", "replace or remove"),
    "page.png": (
        b"<!DOCTYPE html><html><body>404</body></html>",
        "not an image",
        "replace or remove",
    ),
    "half.jpg": (encode("JPEG")[: len(encode("JPEG")) // 2], "truncated", "replace or remove"),
    "half.png": (encode("PNG")[: len(encode("PNG")) // 2], "truncated", "replace or remove"),
    "empty.jpg": (b"", "0 bytes", "replace or remove"),
    "huge.png": (png_with_header(60_000, 60_000), "pixels", "scale the image down"),
    "large.png": (png_with_header(10_000, 9_000), "10000 x 9000 pixels", "scale the image down"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_bad_file_is_named_with_reason_and_remedy(tmp_path, name):
    content, reason, remedy = BAD_FILES[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ImageError) as caught:
        read_image(tmp_path / name)
    assert_says(caught.value, tmp_path / name, reason, remedy)
    assert reason in caught.value.reason
    assert str(tmp_path) not in caught.value.reason


def test_missing_file(tmp_path):
    with pytest.raises(ImageError) as caught:
        read_image(tmp_path / "nobody.jpg")
    assert_says(caught.value, tmp_path / "nobody.jpg", "no such file", "check the path")


def test_folder_instead_of_a_file(tmp_path):
    with pytest.raises(ImageError) as caught:
        read_image(tmp_path)
    assert_says(caught.value, tmp_path, "a folder", "path of one image")


@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO, errno.ESTALE])
def test_unreadable_file(tmp_path, monkeypatch, number):
    def refuse(path: object, flags: int) -> int:
        # For EACCES this becomes a PermissionError.
        raise OSError(number, "refused by the test", str(path))

    (tmp_path / "locked.jpg").write_bytes(b"x")
    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(ImageError) as caught:
        read_image(tmp_path / "locked.jpg")
    assert_says(caught.value, tmp_path / "locked.jpg", "refused by the test", "permissions")


def test_floating_point_image(tmp_path):
    Image.fromarray(np.linspace(0, 1, 12, dtype=np.float32).reshape(3, 4)).save(tmp_path / "a.tiff")
    with pytest.raises(ImageError) as caught:
        read_image(tmp_path / "a.tiff")
    assert_says(caught.value, tmp_path / "a.tiff", "floating-point", "8 or 16 bits")


def test_huge_image_is_refused_by_its_header_alone():
    start = time.perf_counter()
    with pytest.raises(ImageError, match="pixels"):
        decode_image(png_with_header(60_000, 60_000))
    with pytest.raises(ImageError, match="pixels"):
        decode_image(png_with_header(10_000, 9_000))
    assert time.perf_counter() - start < 1.0


def test_the_limit_is_a_number_of_pixels_that_is_still_allowed(monkeypatch):
    monkeypatch.setattr(images, "MAX_PIXELS", random_image(3).shape[0] * random_image(3).shape[1])
    assert decode_image(encode("PNG")).shape == random_image(3).shape
    monkeypatch.setattr(images, "MAX_PIXELS", images.MAX_PIXELS - 1)
    with pytest.raises(ImageError, match="48 x 40 pixels, more than 1,919"):
        decode_image(encode("PNG"))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM"])
def test_a_truncated_file_is_whole_or_refused(kind):
    content = encode(kind)
    whole = decode_image(content)
    refused = 0
    for length in range(1, len(content), 1 + len(content) // 200):
        try:
            decoded = decode_image(content[:length])
        except ImageError as error:
            assert_says(error, "<image>")
            refused += 1
        else:  # only the end mark was cut off
            np.testing.assert_array_equal(decoded, whole)
    assert refused > 100


CONTENTS = [encode(kind) for kind in ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM")]
_exif = Image.Exif()
_exif[0x0112] = 6
CONTENTS += [
    encode("JPEG", exif=_exif),
    encode("PNG", exif=_exif),
    encode("TIFF", compression="tiff_lzw"),
]


@random_cases(400)
@given(
    content=st.sampled_from(CONTENTS),
    changes=st.lists(
        st.tuples(st.integers(0, 1 << 20), st.integers(0, 255)), min_size=1, max_size=6
    ),
    early=st.booleans(),
    length=st.none() | st.integers(1, 5000),
)
@example(content=b"\x89PNG\r\n\x1a\n", changes=[(0, 0x89)], early=False, length=None)
def test_damaged_bytes_are_an_image_or_an_image_error(content, changes, early, length):
    damaged = bytearray(content[:length])
    for place, value in changes:
        damaged[place % (min(len(damaged), 120) if early else len(damaged))] = value
    try:
        decoded = decode_image(bytes(damaged), "damaged.jpg")
    except ImageError as error:
        assert_says(error, "damaged.jpg")
    else:
        assert decoded.ndim == 3
        assert decoded.shape[2] == 3
        assert decoded.dtype == np.uint8


def test_image_error_survives_the_way_between_processes():
    error = ImageError("a/b.jpg", "too dark", "turn on the light")
    again = pickle.loads(pickle.dumps(error))
    assert str(again) == str(error)
    assert (again.path, again.reason, again.remedy) == ("a/b.jpg", "too dark", "turn on the light")
