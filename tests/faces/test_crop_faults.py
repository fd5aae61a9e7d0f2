"""The crop cache when things go wrong.

A killed run, a full disk, damaged and half-written files, others at work in it.
"""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from tests.helpers import assert_says, random_image, write_image

from siamese.errors import CacheError
from siamese.faces.croppers.fixed_box import FixedBoxCropper
from siamese.faces.crops import CropResult, crop_files, read_crop

BOX = FixedBoxCropper(size=32, left=2, top=2, right=30, bottom=30)


def crop(paths: list[Path], cache: Path, **settings: object) -> CropResult:
    return crop_files(paths, BOX, progress=False, cache=cache, **settings)


def images(folder: Path, n: int) -> list[Path]:
    return [write_image(folder / f"{i:04d}.png", i) for i in range(n)]


def assert_whole(result: CropResult) -> None:
    for seed, file in enumerate(result.files):
        np.testing.assert_array_equal(read_crop(file), BOX(random_image(seed)).image)


def temporary_files(cache: Path) -> list[Path]:
    return [f for f in cache.rglob("*") if f.is_file() and f.suffix not in (".png", ".json")]


# A process that says it is ready, waits for the file `go`, and then crops the folder it is given.
CROPPING = """
import sys, time
from pathlib import Path
from siamese.faces.croppers.fixed_box import FixedBoxCropper
from siamese.faces.crops import crop_files
folder, cache, go = map(Path, sys.argv[1:4])
pause = float(sys.argv[4])
box = dict(size=32, left=2, top=2, right=30, bottom=30)
class Slow(FixedBoxCropper):
    def __call__(self, image):
        time.sleep(pause)
        return super().__call__(image)
    def pixel_settings(self):
        return FixedBoxCropper(**box).pixel_settings()
paths = sorted(folder.iterdir())
print("ready", flush=True)
while not go.exists():
    time.sleep(0.001)
result = crop_files(paths, Slow(**box), cache=cache, workers=1, progress=False)
print(result.computed, sum(file is not None for file in result.files), flush=True)
"""


def start(folder: Path, cache: Path, go: Path, pause: float) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", CROPPING, str(folder), str(cache), str(go), str(pause)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def test_two_processes_on_one_cache(tmp_path):
    n = 150
    paths, cache, go = images(tmp_path / "in", n), tmp_path / "cache", tmp_path / "go"
    processes = [start(tmp_path / "in", cache, go, 0.002) for _ in range(2)]
    go.touch()
    outputs = [process.communicate(timeout=60)[0].split() for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert [int(kept) for _, kept in outputs] == [n, n]
    assert sum(int(computed) for computed, _ in outputs) >= n
    assert temporary_files(cache) == []
    result = crop(paths, cache)
    assert result.computed == 0
    assert_whole(result)


def test_a_killed_run_goes_on_where_it_stopped(tmp_path):
    n = 120
    paths, cache, go = images(tmp_path / "in", n), tmp_path / "cache", tmp_path / "go"
    go.touch()
    process = start(tmp_path / "in", cache, go, 0.01)
    until = time.monotonic() + 30
    while len(list(cache.rglob("*.png"))) < 20 and time.monotonic() < until:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = len([f for f in cache.rglob("*.png") if not f.name.startswith(".")])
    assert 20 <= done < n
    result = crop(paths, cache)
    assert result.computed == n - done
    assert_whole(result)


def test_leftovers_of_a_killed_run_are_no_crops(tmp_path):
    paths, cache = images(tmp_path / "in", 4), tmp_path / "cache"
    files = crop(paths, cache).files
    files[0].write_bytes(b"")  # a power cut can leave a renamed file empty
    old = files[1].with_name(f".{files[1].name}.4711.tmp")
    young = files[1].with_name(f".{files[1].name}.4712.tmp")  # perhaps of a run that is at work now
    for leftover in (old, young):
        leftover.write_bytes(b"half a crop")
    os.utime(old, (time.time() - 3 * 86_400,) * 2)
    files[1].unlink()
    result = crop(paths, cache)
    assert result.computed == 2
    assert_whole(result)
    assert temporary_files(cache) == [young]


def test_a_temporary_file_that_vanishes_during_the_look_round_does_no_harm(tmp_path, monkeypatch):
    paths, cache = images(tmp_path / "in", 4), tmp_path / "cache"
    files = crop(paths, cache).files
    files[0].with_name(f".{files[0].name}.4711.tmp").write_bytes(
        b"another process writes this crop"
    )
    real = os.scandir

    def scandir(folder: str | Path) -> object:
        entries = list(real(folder))
        for entry in entries:
            if entry.name.endswith(".tmp"):
                # The other process renames it between our listing and our question.
                Path(entry.path).unlink()
        return iter(entries)

    monkeypatch.setattr(os, "scandir", scandir)
    assert crop(paths, cache).computed == 0


def test_a_foreign_file_in_the_cache_is_passed_over(tmp_path):
    paths, cache = images(tmp_path / "in", 2), tmp_path / "cache"
    files = crop(paths, cache).files
    files[0].with_name("holiday.png").write_bytes(b"somebody's own")
    files[0].with_name(files[0].stem + " (copy).png").write_bytes(files[0].read_bytes())
    assert crop(paths, cache).computed == 0


@pytest.mark.parametrize("content", [b"", b"no image", None])
def test_a_damaged_or_lost_crop_is_named_when_it_is_read(tmp_path, content):
    file = crop(images(tmp_path / "in", 1), tmp_path / "cache").files[0]
    if content is None:
        file.unlink()
    else:
        file.write_bytes(content)
    with pytest.raises(CacheError) as caught:
        read_crop(file)
    assert_says(caught.value, file, "run again")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS])
@pytest.mark.parametrize("written", [0, 3])
def test_a_failing_write_is_one_line_and_leaves_nothing_half_done(
    tmp_path, monkeypatch, number, written
):
    paths, cache = images(tmp_path / "in", 6), tmp_path / "cache"
    crop(paths[:2], cache)
    real, calls = Path.write_bytes, []

    def write_bytes(self: Path, data: bytes) -> int:
        calls.append(self)
        if len(calls) <= written:
            return real(self, data)
        real(self, data[: len(data) // 2])
        raise OSError(number, os.strerror(number), str(self))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", write_bytes)
        with pytest.raises(CacheError) as caught:
            crop(paths, cache)
    assert len(calls) == written + 1
    assert_says(caught.value, cache, os.strerror(number), "SIAMESE_CACHE", "kept")
    assert temporary_files(cache) == []
    result = crop(paths, cache)
    assert 0 < result.computed < 6
    assert_whole(result)


def test_a_full_disk(tmp_path):
    paths, cache = images(tmp_path / "in", 40), tmp_path / "cache"
    cache.mkdir()
    try:
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", str(cache)], capture_output=True
        )
    except FileNotFoundError:
        pytest.skip("there is no mount command")
    if mounted.returncode:
        pytest.skip("mounting is not permitted")
    try:
        with pytest.raises(CacheError) as caught:
            crop(paths, cache)
        assert_says(caught.value, cache, os.strerror(errno.ENOSPC), "free some space")
        assert temporary_files(cache) == []
        early = [f for f in cache.rglob("*.png") if f.stat().st_size]
        assert len(early) > 3
        # What was cropped can be used.
        assert crop_files(paths[:3], BOX, progress=False, cache=cache).computed == 0
        larger = ["mount", "-o", "remount,size=4m", str(cache)]
        assert subprocess.run(larger, capture_output=True).returncode == 0
        result = crop(paths, cache)
        assert result.computed == 40 - len(early)
        assert_whole(result)
    finally:
        subprocess.run(["umount", str(cache)], check=True)


def test_a_full_disk_in_another_process(tmp_path):
    paths, cache = images(tmp_path / "in", 80), tmp_path / "cache"
    cache.mkdir()
    (folder,) = {f.parent.parent for f in crop(paths[:1], cache).files}
    for shard in range(256):  # files stand where folders have to be made
        path = folder / f"{shard:02x}"
        if not path.exists():
            path.write_bytes(b"")
    with pytest.raises(CacheError) as caught:
        crop(paths, cache, workers=2)
    assert_says(caught.value, folder, "SIAMESE_CACHE")


def test_a_file_where_the_cache_should_be(tmp_path):
    paths = images(tmp_path / "in", 1)
    (tmp_path / "cache").write_bytes(b"")
    with pytest.raises(CacheError) as caught:
        crop(paths, tmp_path / "cache")
    assert_says(caught.value, tmp_path / "cache", "SIAMESE_CACHE")


def test_a_cache_that_may_not_be_read(tmp_path, monkeypatch):
    paths, cache = images(tmp_path / "in", 1), tmp_path / "cache"
    crop(paths, cache)

    def refuse(folder: str | Path) -> object:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(folder))

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(CacheError) as caught:
        crop(paths, cache)
    assert_says(caught.value, cache, os.strerror(errno.EACCES))
