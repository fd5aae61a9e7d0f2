"""The cache says what it holds, and is wiped without touching anything else."""

import os
import time

import pytest
import torch
from tests.helpers import assert_says, write_identities

import siamese
from siamese.backbones.descriptor_cache import described, descriptors_kept
from siamese.cli.main import main
from siamese.errors import CacheError


@pytest.fixture
def cache(tmp_path):
    people = write_identities(tmp_path / "people", [3, 2])
    siamese.crop_files(
        sorted(people.rglob("*.png")), siamese.NoCropper(16), cache=tmp_path / "cache", workers=1
    )
    with descriptors_kept(tmp_path / "cache"):
        image = torch.zeros(1, 3, 4, 4, dtype=torch.uint8)
        described(image, lambda images: torch.ones(len(images), 1), 1, "some numbers")
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


@pytest.mark.parametrize("words", [[], ["clear"], ["clear", "--older-than", "1"], ["pack"]])
def test_a_folder_that_is_not_there_is_refused_and_not_made(tmp_path, capsys, words):
    absent = tmp_path / "cahce"
    assert main(["cache", *words, "--cache", str(absent)]) == 2
    said = capsys.readouterr()
    assert_says(said.err.strip(), absent, "no such folder", "--cache", "SIAMESE_CACHE")
    assert said.out == ""
    assert not absent.exists()
    absent.write_text("not a folder")
    assert main(["cache", *words, "--cache", str(absent)]) == 2
    assert_says(capsys.readouterr().err.strip(), absent, "not a folder")


def test_the_usual_cache_may_not_be_there_yet(tmp_path, capsys, monkeypatch):
    usual = tmp_path / "usual"
    monkeypatch.setenv("SIAMESE_CACHE", str(usual))
    for words in ([], ["clear", "--yes"]):
        assert main(["cache", *words]) == 0
        assert f"cache: {usual} (not made yet)" in capsys.readouterr().out
    assert main(["cache", "pack"]) == 2
    assert_says(capsys.readouterr().err.strip(), usual, "no such folder")
    assert not usual.exists()
    usual.write_text("not a folder")
    for words in ([], ["clear", "--yes"], ["pack"]):
        assert main(["cache", *words]) == 2
        assert_says(capsys.readouterr().err.strip(), usual, "not a folder", "SIAMESE_CACHE")


def test_a_file_of_somebody_else_is_left_alone_wherever_it_lies(cache):
    crop = next(cache.rglob("*-x.png"))
    numbers = next(cache.rglob("*.f16"))
    others = [
        cache / "crops" / "harvest.csv",
        cache / "crops" / "2024" / "photo.png",
        cache / "crops" / crop.name,
        crop.parents[2] / "folder" / crop.parent.name / crop.name,
        crop.parents[1] / "me.png",
        crop.parents[1] / crop.name,
        crop.with_name("me.png"),
        crop.with_name("0" * 64 + "-x.png"),  # in the shard of another
        crop.with_name(crop.name + ".bak"),
        crop.with_name("notes.tmp"),
        crop.parent / crop.parent.name / crop.name,
        numbers.with_name("thesis.f16"),
        numbers.with_suffix(".png"),
        numbers.parents[2] / "numbers.f16",
    ]
    before = siamese.cache_parts(cache)
    for path in others:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("mine")
    own = crop.with_name(f".{crop.name}.12.0123abcd.tmp")  # of a writer that was killed
    assert siamese.cache_parts(cache) == before
    own.write_text("")
    assert siamese.clear_cache(cache) == 8
    left = {path for path in cache.rglob("*") if path.is_file()}
    assert left == {*others, cache / "mine.txt"}


def test_only_what_is_older(cache):
    old = next(cache.rglob("*-x.png"))
    os.utime(old, (time.time() - 3 * 86_400,) * 2)
    assert [part.files for part in siamese.cache_parts(cache, older_than=2)] == [1, 0]
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


def test_the_command_says_how_many_before_it_asks(cache, capsys, monkeypatch):
    asked = []
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda text: asked.append(text) or "n")
    words = ["cache", "clear", "--cache", str(cache), "--older-than"]
    assert main([*words, "2"]) == 0
    assert "older than 2 days: 0 files" in capsys.readouterr().out
    old = next(cache.rglob("*-x.png"))
    os.utime(old, (time.time() - 3 * 86_400,) * 2)
    assert main([*words, "2"]) == 0
    assert "older than 2 days: 1 files" in capsys.readouterr().out
    assert asked == ["remove 1 files? [y/N] "]
    assert old.exists()
