"""Packs that are damaged or hostile, and disks that fail: one line each, and no crop is lost."""

from __future__ import annotations

import errno
import os
import tarfile
from pathlib import Path

import numpy as np
import pytest
from tests.faces.packed import N, assert_whole, crop, folder_of
from tests.helpers import assert_says, write_image

import siamese
from siamese.errors import CacheError
from siamese.faces import packing, packs
from siamese.faces.crops import read_crop
from siamese.faces.packs import packs_of


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    return [write_image(tmp_path / "in" / f"{i:04d}.png", i) for i in range(N)]


def test_a_pack_that_is_not_read_back_as_written_costs_no_crop(paths, cache, monkeypatch):
    result = crop(paths, cache)
    real = packing._write_pack

    def on_a_bad_disk(home, files):
        count = real(home, files)
        damage(next(home.glob("*.tar")), "other")
        return count

    monkeypatch.setattr(packing, "_write_pack", on_a_bad_disk)
    siamese.pack_cache(cache, progress=False)
    assert all(file.is_file() for file in result.files)


def damage(path: Path, how: str) -> None:
    content = path.read_bytes()
    if how == "gone":
        path.unlink()
    else:
        path.write_bytes({"cut": content[:-700], "empty": b"", "other": b"x" * len(content)}[how])


@pytest.mark.parametrize("how", ["gone", "cut", "empty"])
def test_a_damaged_archive_is_reported_and_can_be_made_anew(paths, cache, how):
    result = crop(paths, cache)
    siamese.pack_cache(cache, progress=False)
    archive = next(cache.rglob("*.tar"))
    damage(archive, how)
    packs.forget_packs()
    for use in (lambda: crop(paths, cache), lambda: read_crop(result.files[3])):
        with pytest.raises(CacheError) as caught:
            use()
        assert_says(caught.value, archive, archive.with_suffix(".npy").name, "remove", "run again")
    archive.unlink(missing_ok=True)
    archive.with_suffix(".npy").unlink()
    again = crop(paths, cache)
    assert again.computed == N
    assert_whole(again)


def test_an_archive_that_is_cut_off_while_it_is_open(paths, cache):
    result = crop(paths, cache)
    siamese.pack_cache(cache, progress=False)
    last = max(result.files)
    read_crop(min(result.files))
    archive = next(cache.rglob("*.tar"))
    os.truncate(archive, 3000)
    with pytest.raises(CacheError) as caught:
        read_crop(last)
    assert_says(caught.value, archive, "cut off")


def test_a_crop_that_is_damaged_in_its_pack_is_named(paths, cache):
    result = crop(paths, cache)
    siamese.pack_cache(cache, progress=False)
    damage(next(cache.rglob("*.tar")), "other")
    packs.forget_packs()
    with pytest.raises(CacheError) as caught:
        read_crop(result.files[0])
    assert_says(caught.value, next(cache.rglob("*.tar")), "run again")


@pytest.mark.parametrize("how", ["cut", "empty", "other"])
def test_a_damaged_index_is_reported(paths, cache, how):
    crop(paths, cache)
    siamese.pack_cache(cache, progress=False)
    index = next(cache.rglob("*.npy"))
    damage(index, how)
    with pytest.raises(CacheError) as caught:
        crop(paths, cache)
    assert_says(caught.value, index, "no index", "run again")


def header(text: str, version: bytes = b"\x01\x00") -> bytes:
    size = len(text).to_bytes(2 if version == b"\x01\x00" else 4, "little")
    return b"\x93NUMPY" + version + size + text.encode() + b"\n"


@pytest.mark.parametrize(
    "hostile",
    [
        header("(" * 900),
        header("(" * 9000),
        header("-" * 900 + "1"),
        header("-" * 9000 + "1", b"\x02\x00"),
        header("{'descr': '<f4', 'fortran_order': False, 'shape': (9223372036854775808,), }"),
        header(f"{{'descr': {packs.ENTRY.descr}, 'fortran_order': False, 'shape': ({2**64},), }}"),
        header("{'descr': [], 'fortran_order': False, 'shape': (1,), }"),
        header("{'descr': '<f4', 3: 4}"),
        header("\0\xff"),
        None,
    ],
)
def test_a_hostile_index_is_refused_in_one_line(paths, cache, hostile):
    crop(paths, cache)
    siamese.pack_cache(cache, progress=False)
    index = next(cache.rglob("*.npy"))
    index.unlink()
    if hostile is None:
        os.mkfifo(index)  # nobody writes into it
    else:
        index.write_bytes(hostile)
    with pytest.raises(CacheError) as caught:
        crop(paths, cache)
    assert_says(caught.value, index, "no", "run again")


@pytest.mark.parametrize(
    ("field", "value"),
    [("start", 2**63 - 1), ("start", 2**62), ("start", -1), ("size", 2**31 - 1), ("size", 0)],
)
def test_places_beyond_the_archive_are_refused(paths, cache, field, value):
    crop(paths, cache)
    siamese.pack_cache(cache, progress=False)
    index = next(cache.rglob("*.npy"))
    entries = np.load(index)
    entries[field][0] = value
    np.save(index, entries)
    with pytest.raises(CacheError) as caught:
        crop(paths, cache)
    assert_says(caught.value, index.with_suffix(".tar").name, index.name, "run again")


@pytest.mark.parametrize("number", [errno.EMFILE, errno.EACCES, errno.EIO])
@pytest.mark.parametrize("known", [False, True])
def test_an_error_of_the_system_is_not_called_damage(paths, cache, monkeypatch, number, known):
    result = crop(paths, cache)
    siamese.pack_cache(cache, progress=False)
    packs.forget_packs()
    if known:
        packs_of(folder_of(result))
    real = os.open

    def failing(path, *given, **named):
        if "packs" in str(path):
            raise OSError(number, os.strerror(number))
        return real(path, *given, **named)

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", failing)
        with pytest.raises(CacheError) as caught:
            read_crop(result.files[0])
    assert_says(caught.value, os.strerror(number), "run again")
    assert "remove" not in str(caught.value)
    assert_whole(result)


def test_an_index_of_pickles_executes_nothing(paths, cache, tmp_path):
    class Evil:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "executed",))

    crop(paths, cache)
    siamese.pack_cache(cache, progress=False)
    index = next(cache.rglob("*.npy"))
    np.save(index, np.array([Evil()], dtype=object), allow_pickle=True)
    with pytest.raises(CacheError):
        crop(paths, cache)
    assert not (tmp_path / "executed").exists()


def test_a_full_disk_loses_nothing(paths, cache, monkeypatch):
    result = crop(paths, cache)

    def full(*given):
        raise OSError(28, os.strerror(28))

    with monkeypatch.context() as patch:
        patch.setattr(tarfile.TarFile, "addfile", full)
        with pytest.raises(CacheError) as caught:
            siamese.pack_cache(cache, progress=False)
    assert_says(caught.value, os.strerror(28), "still there")
    assert not list(cache.rglob("*.tmp"))
    assert_whole(result)
