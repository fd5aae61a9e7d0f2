"""Only formats that are named are opened, and no other program ever runs over an image."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import EpsImagePlugin, Image
from tests.helpers import assert_says, random_image

from siamese.datasets.suffixes import image_suffixes
from siamese.errors import ImageError
from siamese.faces.formats import FORMATS, format_of, is_readable
from siamese.faces.images import decode_image, read_image


def encode(kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(random_image(3)).save(buffer, kind, **options)
    return buffer.getvalue()


EPS = encode("EPS")
OTHERS = {
    "eps": EPS,
    # A preview for DOS: the program begins behind a binary header.
    "dos.eps": b"\xc5\xd0\xd3\xc6" + (32).to_bytes(4, "little") + bytes(24) + EPS,
    "pdf": encode("PDF"),
    "wmf": b"\xd7\xcd\xc6\x9a\x00\x00" + bytes(16) + b"\x01\x00\t\x00" + bytes(40),
    "emf": b"\x01\x00\x00\x00" + bytes(36) + b" EMF" + bytes(60),
    "ico": encode("ICO"),
    "icns": encode("ICNS"),
    "jp2": encode("JPEG2000"),
    "j2k": encode("JPEG2000", no_jp2=True),
    "tga": encode("TGA"),
    "pcx": encode("PCX"),
    "sgi": encode("SGI"),
    "im": encode("IM"),
    "dds": encode("DDS"),
    "spider": encode("SPIDER"),
    "psd": b"8BPS\0\1" + bytes(60),
    "fli": bytes(4) + b"\x11\xaf" + bytes(122),
    "qoi": b"qoif" + bytes(30),
    "xpm": b'/* XPM */\nstatic char * a[] = {\n"1 1 1 1"};',
    "svg": b"<?xml version='1.0'?><svg xmlns='http://www.w3.org/2000/svg'/>",
    "html": b"<!DOCTYPE html><html></html>",
    "zip": b"PK\3\4" + bytes(40),
    "lfs": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n",
    "mp4": b"\0\0\0\x18ftypisom" + bytes(60),
    "jxl": b"\xff\x0a" + bytes(30),
    "riff": b"RIFF\0\0\0\0WAVE" + bytes(30),
    "text": b"P9 is no kind of it",
}


@pytest.fixture
def canary(tmp_path, monkeypatch) -> Path:
    """The file that a false Ghostscript, which is found first, leaves where it has run."""
    left, folder = tmp_path / "it_ran", tmp_path / "bin"
    folder.mkdir()
    for name in ("gs", "gsc", "gswin64c", "convert", "djpeg", "unrar", "identify"):
        (folder / name).write_text(f"#!/bin/sh\ntouch {left}\nexit 1\n")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(EpsImagePlugin, "gs_binary", None)  # where it was looked for before
    return left


@pytest.mark.skipif(sys.platform == "win32", reason="the canary is a shell script")
def test_no_program_runs_over_what_is_no_image(canary, tmp_path):
    # Were Pillow left to choose, it would: so the canary is alive.
    with Image.open(io.BytesIO(EPS)) as image, pytest.raises(Exception):  # noqa: B017, PT011
        image.load()
    assert canary.exists()
    canary.unlink()
    for name, content in OTHERS.items():
        for suffix in sorted(image_suffixes()):
            path = tmp_path / f"a{suffix}"
            path.write_bytes(content)
            with pytest.raises(ImageError):
                read_image(path)
        assert not canary.exists(), name


@pytest.mark.parametrize("name", OTHERS)
def test_another_format_is_refused_by_its_first_bytes(name, monkeypatch):
    monkeypatch.setattr(Image, "open", lambda *_, **__: pytest.fail("it was opened"))
    with pytest.raises(ImageError) as caught:
        decode_image(OTHERS[name], "a.jpg")
    assert_says(caught.value, "a.jpg", "not an image in a known format")


@pytest.mark.parametrize(
    ("name", "what", "remedy"),
    [
        ("eps", "a program (PostScript)", "PNG or JPEG"),
        ("dos.eps", "a program (PostScript)", "PNG or JPEG"),
        ("pdf", "PDF", "PNG or JPEG"),
        ("psd", "Photoshop", "PNG or JPEG"),
        ("svg", "a drawing", "PNG or JPEG"),
        ("html", "web page", "replace or remove"),
        ("lfs", "Git LFS", "git lfs pull"),
        ("zip", "ZIP", "unpack"),
        ("mp4", "a film", "PNG or JPEG"),
        ("dds", "DDS", "PNG or JPEG"),
    ],
)
def test_the_message_says_what_it_seems_to_be(name, what, remedy):
    with pytest.raises(ImageError) as caught:
        decode_image(OTHERS[name], "a.jpg")
    assert_says(caught.value, "a.jpg", what, remedy)


def test_suffixes_and_formats_are_the_same():
    """Every suffix that is taken for an image's belongs to a format that is opened, and back."""
    Image.init()
    assert all(is_readable(kind) for kind in FORMATS if kind.name != "HEIF")
    known = Image.registered_extensions()
    heif = {".heic", ".heif", ".hif"}
    found = {known[suffix] for suffix in image_suffixes() - heif}
    assert found == {kind.name for kind in FORMATS} - {"HEIF"}


WRITERS = ["JPEG", "MPO", "PNG", "BMP", "WEBP", "TIFF", "PPM", "GIF", "AVIF"]


@pytest.mark.parametrize("kind", WRITERS)
def test_what_is_named_is_opened_under_any_name(kind, tmp_path):
    options = {"append_images": [Image.new("RGB", (48, 40))]} if kind == "MPO" else {}
    content = encode(kind, **options, **({"save_all": True} if options else {}))
    found = format_of(content)
    assert found is not None
    assert found.name == ("JPEG" if kind == "MPO" else kind)
    (tmp_path / "a.gif").write_bytes(content)
    with Image.open(io.BytesIO(content)) as image:
        np.testing.assert_array_equal(read_image(tmp_path / "a.gif"), image.convert("RGB"))


def test_only_the_reader_of_that_format_is_imported():
    code = (
        "import sys, io; from PIL import Image; b = io.BytesIO(); "
        "Image.new('RGB', (9, 9)).save(b, 'PNG'); "
        "from siamese.faces.images import decode_image; decode_image(b.getvalue()); "
        "print(*(m for m in sys.modules if m.endswith('ImagePlugin')))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "Eps" not in found.stdout
    assert "Wmf" not in found.stdout
    assert "Avif" not in found.stdout
