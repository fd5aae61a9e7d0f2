"""Packs of crops: the same bytes as the files had; kills, damage, other readers meanwhile."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import tarfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
from tests.faces.packed import N, assert_whole, crop, folder_of
from tests.helpers import assert_says, write_image

import siamese
from siamese.cli.main import main
from siamese.data.dataset import CropDataset
from siamese.errors import CacheError
from siamese.faces import packing, packs
from siamese.faces.croppers.fixed_box import FixedBoxCropper
from siamese.faces.crops import read_crop
from siamese.faces.packing import pack_crops
from siamese.faces.packs import packed_crop, packs_of


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    return [write_image(tmp_path / "in" / f"{i:04d}.png", i) for i in range(N)]


def files_in(cache: Path) -> list[str]:
    return sorted(f.suffix for f in cache.rglob("*") if f.is_file())


def test_packed_crops_are_found_and_read_as_before(paths, cache, monkeypatch):
    monkeypatch.setattr(packing, "MOST_CROPS", 5)
    before = crop(paths, cache)
    written = [file.read_bytes() for file in before.files]
    assert siamese.pack_cache(cache, progress=False) == N
    assert files_in(cache) == ["", ".json", ".npy", ".npy", ".npy", ".tar", ".tar", ".tar"]
    assert [packed_crop(file)[0] for file in before.files] == written
    monkeypatch.setattr(FixedBoxCropper, "__call__", None)  # calling it would raise
    after = crop(paths, cache)
    assert (after.files, after.faces, after.computed) == (before.files, before.faces, 0)
    assert siamese.pack_cache(cache, progress=False) == 0
    monkeypatch.undo()
    assert_whole(after)


def test_the_number_of_faces_is_kept(tmp_path):
    for faces, shown in ((None, "x"), (0, "0"), (3, "3")):
        content = f"{faces or 0:064x}"
        file = tmp_path / content[:2] / f"{content}-{shown}.png"
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(shown.encode())
        pack_crops(tmp_path, progress=False)
        found = packs_of(tmp_path)
        assert (content, faces) in set(found.contents())
        assert found.find(content, 7) is None
        assert packed_crop(file)[0] == shown.encode()


def test_new_crops_are_files_until_they_are_packed_too(paths, cache):
    crop(paths[:7], cache)
    siamese.pack_cache(cache, progress=False)
    result = crop(paths, cache)
    assert result.computed == N - 7
    assert_whole(result)
    assert siamese.pack_cache(cache, progress=False) == N - 7
    assert_whole(result)
    assert files_in(cache).count(".tar") == 2


def test_an_archive_is_a_tar_that_others_read(paths, cache):
    result = crop(paths, cache)
    written = {file.name: file.read_bytes() for file in result.files}
    siamese.pack_cache(cache, progress=False)
    with tarfile.open(next(cache.rglob("*.tar"))) as archive:
        members = archive.getmembers()
        assert [m.name for m in members] == sorted(written)
        assert {m.name: archive.extractfile(m).read() for m in members} == written
        assert {(m.mtime, m.uid, m.uname) for m in members} == {(0, 0, "")}


def test_webdataset_reads_it(paths, cache):
    webdataset = pytest.importorskip("webdataset")
    result = crop(paths, cache)
    siamese.pack_cache(cache, progress=False)
    read = list(webdataset.WebDataset(str(next(cache.rglob("*.tar"))), shardshuffle=False))
    assert sorted(f"{sample['__key__']}.png" for sample in read) == sorted(
        file.name for file in result.files
    )
    folder = folder_of(result)
    for sample in read:
        assert sample["png"] == packed_crop(folder / "00" / f"{sample['__key__']}.png")[0]


def test_a_reader_that_began_before_goes_on(paths, cache):
    result = crop(paths, cache)
    data = CropDataset(result.files, np.arange(N), in_memory=False)
    before = [data.image(i) for i in range(N)]
    subprocess.run(
        [sys.executable, "-m", "siamese", "cache", "pack", "--cache", str(cache)], check=True
    )
    for i in range(N):
        np.testing.assert_array_equal(data.image(i), before[i])


def open_files(cache: Path) -> list[str]:
    """What this process has open, or mapped, in the cache."""
    found = [str(link.readlink()) for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
    found += Path("/proc/self/maps").read_text().splitlines()
    return [name for name in found if str(cache) in name]


def _read_all(files: list[Path]) -> list[bytes]:
    return [read_crop(file).tobytes() for file in files]


@pytest.mark.parametrize("method", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
def test_each_process_opens_the_archives_for_itself(paths, cache, method):
    result = crop(paths, cache)
    siamese.pack_cache(cache, progress=False)
    expected = _read_all(result.files)  # they are open here now
    with multiprocessing.get_context(method).Pool(2) as pool:
        assert pool.map(_read_all, [result.files] * 4) == [expected] * 4
    assert open_files(cache)
    packs.forget_packs()
    assert not open_files(cache)
    assert _read_all(result.files) == expected


def test_threads_read_at_the_same_time(paths, cache):
    result = crop(paths, cache)
    siamese.pack_cache(cache, progress=False)
    expected, found = _read_all(result.files), []
    threads = [
        threading.Thread(target=lambda: found.append(_read_all(result.files * 5))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [expected * 5] * 4


def test_threads_that_look_anew_at_the_same_time(paths, cache):
    folder = folder_of(crop(paths, cache))
    siamese.pack_cache(cache, progress=False)
    index = next((folder / "packs").glob("*.npy"))
    with ThreadPoolExecutor(4) as pool:
        for i in range(30):
            os.utime(index, (i, i))
            assert {len(p) for p in pool.map(packs_of, [folder] * 8, [True] * 8)} == {N}


@pytest.mark.parametrize("stop", range(30))
def test_stopped_at_any_step_no_crop_is_lost(paths, cache, monkeypatch, stop):
    """Each call that changes the disk, or waits for it, is the last one in turn."""
    crop(paths, cache)
    monkeypatch.setattr(packing, "MOST_CROPS", 5)
    calls = []

    class Killed(BaseException):
        pass

    def until(real):
        def call(*given, **named):
            if len(calls) == stop:
                raise Killed
            calls.append(real)
            return real(*given, **named)

        return call

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", until(os.replace))
        patch.setattr(os, "fsync", until(os.fsync))
        patch.setattr(packing, "write_whole", until(packing.write_whole))
        patch.setattr(Path, "unlink", until(Path.unlink))
        patch.setattr(tarfile.TarFile, "addfile", until(tarfile.TarFile.addfile))
        try:
            siamese.pack_cache(cache, progress=False)
        except Killed:
            assert len(calls) == stop
    packs.forget_packs()  # as in a new process
    after = crop(paths, cache)
    assert after.computed == 0
    assert_whole(after)
    siamese.pack_cache(cache, progress=False)
    assert_whole(crop(paths, cache))
    assert ".png" not in files_in(cache)


PACKING = """
import sys
from siamese.data.cache import pack_cache
print("ready", flush=True)
pack_cache(sys.argv[1], progress=False)
"""


@pytest.mark.parametrize("delay", [0.0, 0.004, 0.012])
def test_killed_while_packing_no_crop_is_lost(paths, cache, delay, tmp_path):
    result = crop(paths, cache)
    folder = folder_of(result)
    for i in range(400):  # more to do: content of no image
        name = f"{i:02x}"[:2] + f"{i:062x}-x.png"
        (folder / name[:2]).mkdir(exist_ok=True)
        (folder / name[:2] / name).write_bytes(b"crop %d" % i)
    packing = subprocess.Popen(
        [sys.executable, "-c", PACKING, str(cache)], stdout=subprocess.PIPE, text=True
    )
    assert packing.stdout.readline() == "ready\n"
    time.sleep(delay)
    packing.send_signal(signal.SIGKILL)
    packing.wait()
    after = crop(paths, cache)
    assert after.computed == 0
    assert_whole(after)
    held = {
        content for content, _ in (packs_of(folder, fresh=True) or packs.Packs(folder)).contents()
    }
    held |= {f.name[:64] for f in folder.rglob("*.png") if not f.name.startswith(".")}
    assert len(held) == N + 400


def test_no_more_files_are_open_the_more_is_read(paths, cache, monkeypatch):
    monkeypatch.setattr(packing, "MOST_CROPS", 1)
    result = crop(paths, cache)
    siamese.pack_cache(cache, progress=False)
    few = lru_cache(maxsize=4)(packs._opened.__wrapped__)
    packs.forget_packs()
    monkeypatch.setattr(packs, "_opened", few)
    first = packs_of(folder_of(result), fresh=True)
    for _ in range(3):
        assert_whole(crop(paths, cache))
        assert packs_of(folder_of(result)) is first  # nothing has changed
        assert len(open_files(cache)) == 4
    few.cache_clear()
    assert not open_files(cache)


def test_an_archive_that_was_replaced_is_opened_anew(paths, cache):
    result = crop(paths, cache)
    siamese.pack_cache(cache, progress=False)
    assert_whole(result)
    for file in cache.rglob("packs/*"):
        content = file.read_bytes()
        file.unlink()
        file.write_bytes(content)
    before = set(open_files(cache))
    assert all("(deleted)" in name for name in before)
    assert_whole(crop(paths, cache))
    packs_of(folder_of(result), fresh=True)
    assert any("(deleted)" not in name for name in open_files(cache))


def test_the_command_packs_shows_and_wipes(paths, cache, capsys):
    crop(paths, cache)
    (folder_of(crop(paths, cache)) / "packs").mkdir()
    (folder_of(crop(paths, cache)) / "packs" / "mine.tar").write_text("not of the cache")
    assert main(["cache", "pack", "--cache", str(cache)]) == 0
    assert capsys.readouterr().out == f"{N} crops packed\n"
    assert main(["cache", "--cache", str(cache)]) == 0
    assert "crops: 4 files" in capsys.readouterr().out  # settings, archive, index, lock
    assert siamese.clear_cache(cache) == 4
    assert [f.name for f in cache.rglob("*") if f.is_file()] == ["mine.tar"]


def test_only_one_process_packs(paths, cache):
    result = crop(paths, cache)
    home = folder_of(result) / "packs"
    home.mkdir()
    with packing.FileLock(home / packs.LOCK), pytest.raises(CacheError) as caught:
        siamese.pack_cache(cache, progress=False)
    assert_says(caught.value, home, "another process is packing", "wait")
    assert siamese.pack_cache(cache, progress=False) == N


@pytest.mark.parametrize("gone", [3, N])
def test_crops_that_are_removed_meanwhile_are_passed_over(paths, cache, monkeypatch, gone):
    result = crop(paths, cache)
    real = packing._parts

    def parts(files):
        for file in result.files[:gone]:
            file.unlink()
        return real(files)

    monkeypatch.setattr(packing, "_parts", parts)
    assert siamese.pack_cache(cache, progress=False) == N - gone
    assert crop(paths, cache).computed == gone


def test_what_is_cleared_is_let_go_of(paths, cache):
    result = crop(paths, cache)
    siamese.pack_cache(cache, progress=False)
    read_crop(result.files[0])
    assert open_files(cache)
    siamese.clear_cache(cache)
    assert not open_files(cache)
    with pytest.raises(CacheError) as caught:
        read_crop(result.files[0])
    assert_says(caught.value, result.files[0], "lost")
    assert crop(paths, cache).computed == N


@pytest.mark.parametrize("suffix", [".tar", ".npy"])
def test_an_archive_and_its_index_are_of_one_age(paths, cache, suffix):
    result = crop(paths, cache)
    siamese.pack_cache(cache, progress=False)
    home = folder_of(result) / "packs"
    os.utime(next(home.glob(f"*{suffix}")), (1, 1))
    assert siamese.clear_cache(cache, older_than=1) == 0
    assert crop(paths, cache).computed == 0
    for file in home.iterdir():
        os.utime(file, (1, 1))
    assert siamese.clear_cache(cache, older_than=1) == 3
