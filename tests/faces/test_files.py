"""Only regular files of a bounded size are read, and nothing is ever waited for."""

from __future__ import annotations

import hashlib
import os
import socket
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.helpers import assert_says, write_identities, write_image

from siamese.data.datamodule import ImageDataModule
from siamese.datasets.identities import IdentityTable
from siamese.errors import ImageError
from siamese.faces import files
from siamese.faces.croppers.base import Crop
from siamese.faces.croppers.none import NoCropper
from siamese.faces.crops import crop_files
from siamese.faces.files import hash_file, read_bytes

posix = pytest.mark.skipif(sys.platform == "win32", reason="there are no such files")


@pytest.fixture
def odd(tmp_path, monkeypatch) -> dict[str, Path]:
    """What is no regular file, under names of images."""
    monkeypatch.chdir(tmp_path)  # the name of a socket may not be long
    os.mkfifo("pipe.jpg")
    socket.socket(socket.AF_UNIX).bind("socket.jpg")
    Path("folder.jpg").mkdir()
    for name, target in {
        "device.jpg": "/dev/zero",
        "to_pipe.jpg": "pipe.jpg",
        "to_socket.jpg": "socket.jpg",
        "circle.jpg": "circle.jpg",
        "nowhere.jpg": "is_not_there.jpg",
    }.items():
        Path(name).symlink_to(target)
    return {path.stem: path for path in tmp_path.iterdir()}


REASONS = {
    "pipe": "a named pipe",
    "to_pipe": "a named pipe",
    "socket": "a socket",
    "to_socket": "a socket",
    "device": "a device",
    "folder": "a folder",
    "circle": "cannot be read",
    "nowhere": "no such file",
}


@posix
@pytest.mark.parametrize("read", [read_bytes, hash_file])
def test_what_is_no_regular_file_is_an_error_at_once(odd, read):
    assert odd.keys() == REASONS.keys()
    start = time.perf_counter()
    for name, reason in REASONS.items():
        with pytest.raises(ImageError) as caught:
            read(odd[name])
        assert_says(caught.value, odd[name], reason)
    assert time.perf_counter() - start < 1


@posix
def test_a_file_that_becomes_a_pipe_meanwhile_is_refused(odd, monkeypatch):
    """Between the look at its kind and its opening."""
    check, looks = files._check, iter(range(4))
    # The first look still sees a regular file.
    monkeypatch.setattr(files, "_check", lambda *it: next(looks) and check(*it))
    with pytest.raises(ImageError, match="a named pipe"):
        read_bytes(odd["pipe"])
    looks = iter(range(4))
    with pytest.raises(ImageError, match="a socket"):
        read_bytes(odd["socket"])


@posix
def test_a_folder_with_such_files_is_scanned_and_used_without_them(odd, tmp_path):
    root = write_identities(tmp_path / "people", [4] * 12)
    for name in ("pipe", "device", "socket", "to_pipe", "nowhere"):
        # Through a link: moving a socket would change its address.
        (root / "person_03" / f"{name}.jpg").symlink_to(odd[name])
    table = IdentityTable.from_folder(root)
    assert len(table) == 48 + 5
    data = ImageDataModule(table, NoCropper(size=16), bad_images="quarantine", progress=False)
    done = threading.Event()

    def prepare() -> None:
        data.setup()
        done.set()

    threading.Thread(target=prepare, daemon=True).start()
    assert done.wait(30), "it waits for somebody to write into a pipe"
    assert data.manifest is not None
    assert sorted(data.manifest.quarantine) == sorted(
        f"person_03/{name}.jpg" for name in ("pipe", "device", "socket", "to_pipe", "nowhere")
    )


@posix
def test_a_csv_may_list_them_too(odd, tmp_path):
    lines = [f"{odd[name].name},ann" for name in REASONS if name not in ("circle", "nowhere")]
    (tmp_path / "a.csv").write_text("\n".join(["path,identity", *lines]))
    table = IdentityTable.from_csv(tmp_path / "a.csv")
    found = crop_files(table.paths, NoCropper(size=16), bad_images="quarantine")
    assert sorted(found.bad) == list(range(6))


@pytest.mark.parametrize("read", [read_bytes, hash_file])
def test_the_size_is_bounded(tmp_path, monkeypatch, read):
    path = tmp_path / "a.jpg"
    with path.open("wb") as stream:
        stream.truncate(files.MAX_BYTES + 1)  # takes no room
    with pytest.raises(ImageError) as caught:
        read(path)
    assert_says(caught.value, path, "more than 600,000,000 bytes")
    # Also where the system says that it is empty, as of what lies in /proc.
    monkeypatch.setattr(files, "MAX_BYTES", 1000)
    monkeypatch.setattr(files, "_STEP", 300)
    path.write_bytes(bytes(1000))
    assert read(path)
    path.write_bytes(bytes(1001))
    monkeypatch.setattr(files, "_check", lambda *_: None)
    with pytest.raises(ImageError, match="more than 1,000 bytes"):
        read(path)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="not Linux")
def test_a_file_of_proc_is_read_though_its_size_is_0():
    assert read_bytes("/proc/self/status").startswith(b"Name:")
    with pytest.raises(ImageError):  # larger than any memory, or not allowed
        read_bytes("/proc/kcore")


@given(content=st.binary(min_size=1, max_size=3000))
def test_hash_and_content_are_those_of_hashlib_and_pathlib(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("a") / "a"
    path.write_bytes(content)
    assert read_bytes(path) == content
    assert hash_file(path) == hashlib.sha256(content).hexdigest()


def test_a_name_that_no_file_can_have(tmp_path):
    with pytest.raises(ImageError, match="no such file"):
        read_bytes(f"{tmp_path}/a\0b.jpg")


def test_one_image_that_does_not_fit_into_the_memory_stops_no_run(tmp_path, monkeypatch):
    crop = NoCropper.__call__

    def greedy(self: NoCropper, image: np.ndarray) -> Crop:
        if image.shape[0] == 50:
            raise MemoryError
        return crop(self, image)

    monkeypatch.setattr(NoCropper, "__call__", greedy)
    paths = [write_image(tmp_path / f"{height}.png", 1, height) for height in (40, 50)]
    found = crop_files(paths, NoCropper(size=17), workers=1, bad_images="quarantine")
    assert found.bad == {1: "needs more memory than there is"}
    assert found.files[0] is not None
