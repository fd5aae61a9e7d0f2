"""The cache says what it holds, and is wiped without touching anything else."""

import os
import time

import pytest
from tests.helpers import assert_says, write_identities

import siamese
from siamese.cli.main import main
from siamese.errors import CacheError


@pytest.fixture
def cache(tmp_path):
    people = write_identities(tmp_path / "people", [3, 2])
    siamese.crop_files(
        sorted(people.rglob("*.png")), siamese.NoCropper(16), cache=tmp_path / "cache", workers=1
    )
    (tmp_path / "cache" / "descriptors" / "ab").mkdir(parents=True)
    (tmp_path / "cache" / "descriptors" / "ab" / "x.f16").write_bytes(b"12")
    (tmp_path / "cache" / "mine.txt").write_text("not of the cache")
    return tmp_path / "cache"


def test_what_it_holds(cache):
    crops, descriptors = siamese.cache_parts(cache)
    assert (crops.name, crops.files) == ("crops", 6)  # and the settings
    assert crops.bytes == sum(
        p.stat().st_size for p in cache.rglob("*") if "crops" in p.parts and p.is_file()
    )
    assert (descriptors.files, descriptors.bytes) == (1, 2)


def test_wiping_leaves_what_is_not_of_the_cache(cache):
    assert siamese.clear_cache(cache) == 7
    assert os.listdir(cache) == ["mine.txt"]
    assert siamese.clear_cache(cache) == 0
    assert siamese.clear_cache(cache / "absent") == 0


def test_only_what_is_older(cache):
    old = next(cache.rglob("*-x.png"))
    os.utime(old, (time.time() - 3 * 86_400,) * 2)
    assert siamese.clear_cache(cache, older_than=2) == 1
    assert not old.exists()
    assert siamese.cache_parts(cache)[0].files == 5
    with pytest.raises(CacheError) as caught:
        siamese.clear_cache(cache, older_than=float("nan"))
    assert_says(caught.value, "number of days")


def test_a_link_is_not_followed(cache, tmp_path):
    for place in (cache / "crops" / "elsewhere", tmp_path / "other" / "crops"):
        place.parent.mkdir(exist_ok=True)
        place.symlink_to(tmp_path / "people")
    siamese.clear_cache(cache)
    siamese.clear_cache(tmp_path / "other")
    assert len([*(tmp_path / "people").rglob("*.png")]) == 5


def test_the_command(cache, capsys, monkeypatch):
    assert main(["cache", "--cache", str(cache)]) == 0
    assert "crops: 6 files, 0.0 MB" in capsys.readouterr().out
    assert main(["cache", "clear", "--cache", str(cache)]) == 2
    assert "add --yes" in capsys.readouterr().err
    assert main(["cache", "--older-than", "1", "--cache", str(cache)]) == 2
    assert main(["cache", "clear", "--yes", "--cache", str(cache)]) == 0
    assert "7 files removed" in capsys.readouterr().out
    monkeypatch.setenv("SIAMESE_CACHE", str(cache))
    assert main(["cache"]) == 0
    assert f"cache: {cache}" in capsys.readouterr().out
