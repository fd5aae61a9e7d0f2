"""The crop cache.

What is computed once, what shares a crop, what makes a new one, and what a bad image does.
"""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.helpers import assert_says, random_image, write_image

from siamese.errors import DataError, FaceError, ImageError
from siamese.faces import crops, search
from siamese.faces.align import Box
from siamese.faces.cache_folder import default_cache
from siamese.faces.croppers import dlib_croppers
from siamese.faces.croppers.base import CROPPERS, Cropper
from siamese.faces.croppers.dlib_croppers import DlibCnnCropper, DlibHogCropper
from siamese.faces.croppers.fixed_box import FixedBoxCropper
from siamese.faces.croppers.none import NoCropper
from siamese.faces.crops import CropResult, crop_files, kind_of, read_crop
from siamese.faces.detect import Detection
from siamese.faces.hashing import hash_files
from siamese.faces.images import read_image
from siamese.faces.packing import pack_crops

BOX = FixedBoxCropper(size=16, left=2, top=2, right=30, bottom=30)


def crop(paths: list[Path], cropper: Cropper = BOX, **settings: object) -> CropResult:
    return crop_files(paths, cropper, progress=False, **settings)


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    return [write_image(tmp_path / "in" / f"{i}.png", i) for i in range(6)]


def test_crops_are_in_the_order_of_the_paths_and_hold_what_the_cropper_cut(paths, cache):
    paths = [paths[i] for i in (3, 0, 5, 1, 4, 2)]
    result = crop(paths, cache=cache)
    assert result.computed == 6
    assert result.bad == {}
    assert result.faces == [None] * 6
    for path, file in zip(paths, result.files, strict=True):
        seed = int(path.stem)
        np.testing.assert_array_equal(read_crop(file), BOX(random_image(seed)).image)


def test_a_second_run_computes_nothing(paths, cache, monkeypatch):
    first = crop(paths, cache=cache)
    monkeypatch.setattr(FixedBoxCropper, "__call__", None)  # calling it would raise
    second = crop(paths, cache=cache)
    assert second.computed == 0
    assert (second.files, second.faces, second.bad) == (first.files, first.faces, first.bad)


def test_new_images_alone_are_computed(paths, cache):
    crop(paths[:4], cache=cache)
    result = crop(paths, cache=cache)
    assert result.computed == 2
    assert result.files == crop(paths, cache=cache).files


@pytest.mark.parametrize("packed", [False, True])
def test_a_few_images_are_looked_for_by_name_and_found_alike(
    with_faces, cache, packed, monkeypatch
):
    """Whatever the number of faces, in files or in packs, and however many others lie there."""
    hog = DlibHogCropper(size=16, several_faces="largest", no_face="whole_image")
    whole = crop(with_faces, hog, cache=cache)
    folder = whole.files[0].parents[1]
    empty = whole.files[1]
    if packed:
        pack_crops(folder, progress=False)
    else:
        empty.write_bytes(b"")  # by a power failure
    listed = []
    real = crops.os.scandir
    monkeypatch.setattr(crops.os, "scandir", lambda path: listed.append(path) or real(path))
    hashes = hash_files(with_faces)
    found = crops._scan(folder, set(hashes))
    shards = [name for path in listed if len(name := Path(path).name) == 2]
    assert set(shards) <= {h[:2] for h in hashes}
    if packed:
        assert not shards
    assert found == crops._scan(folder)
    assert len(found) == len(set(hashes)) - (not packed)
    assert crops._scan(folder, {hashes[0], "0" * 64}) == {hashes[0]: found[hashes[0]]}
    listed.clear()
    assert crops._scan(folder, {h for h in hashes if found.get(h, 2) in (0, 1)})
    assert not [path for path in listed if len(Path(path).name) == 2]


def test_one_image_under_two_names_is_cropped_once(paths, cache):
    shutil.copy(paths[0], paths[0].parent / "twin.png")
    result = crop([*paths, paths[0].parent / "twin.png"], cache=cache)
    assert result.computed == 6
    assert result.files[6] == result.files[0]


def test_an_image_that_was_replaced_under_its_name_is_cropped_again(paths, cache):
    crop(paths, cache=cache)
    write_image(paths[0], 77)
    result = crop(paths, cache=cache)
    assert result.computed == 1
    np.testing.assert_array_equal(read_crop(result.files[0]), BOX(random_image(77)).image)


@pytest.fixture
def pretended_faces(monkeypatch):
    """Faces as the image's first pixel tells: its red value is their number."""

    def detect(image: np.ndarray, *settings: object) -> list[Detection]:
        boxes = [Box(5, 5, 25, 25), Box(20, 20, 30, 30)]
        return [Detection(box, 1.0) for box in boxes[: int(image[0, 0, 0])]]

    def chip(image: np.ndarray, box: Box, size: int, margin: float) -> np.ndarray:
        return np.full((size, size, 3), int(box.left), dtype=np.uint8)

    monkeypatch.setattr(search, "detect_scored", detect)
    monkeypatch.setattr(dlib_croppers, "face_chip", chip)
    monkeypatch.setattr(dlib_croppers, "require_dlib", lambda *files: None)


@pytest.fixture
def with_faces(tmp_path: Path, pretended_faces: None) -> list[Path]:
    """Images with 0, 1 and 2 pretended faces, two of each."""
    paths = []
    for row, faces in enumerate([0, 1, 2, 0, 1, 2]):
        image = random_image(row).copy()
        image[0, 0] = faces
        paths.append(tmp_path / f"{row}.png")
        Image.fromarray(image).save(paths[-1])
    return paths


DLIB = (DlibHogCropper, DlibCnnCropper)
DLIB_CHANGES = (
    {"size": 17},
    {"margin": 0.3},
    {"max_upsample": 2},
    {"several_faces": "whole_image"},
    {"several_faces": "central"},
    {"several_faces": "prominent"},
    {"aligner": "five_point"},
    {"upsample": 1},
    {"min_score": -0.5},
    {"rotations": True},
)
PIXEL_SETTINGS = [
    (NoCropper(size=16), NoCropper(size=17)),
    *[
        (BOX, dataclasses.replace(BOX, **{name: getattr(BOX, name) + 1}))
        for name in ("size", "left", "top", "right", "bottom")
    ],
    (BOX, dataclasses.replace(BOX, padding="edge")),
    *[(cropper(size=16), cropper(size=16, padding="edge")) for cropper in (NoCropper, *DLIB)],
    (NoCropper(size=16), FixedBoxCropper(size=16, left=0, top=0, right=48, bottom=40)),
    *[
        (cropper(size=16), cropper(**({"size": 16} | change)))
        for cropper in DLIB
        for change in DLIB_CHANGES
    ],
    (DlibHogCropper(size=16), DlibCnnCropper(size=16)),
]


def test_every_setting_of_every_cropper_is_tried_below():
    policies = {(cropper.__name__, "no_face") for cropper in DLIB}  # no_face alone touches no pixel
    tried = {
        (type(one).__name__, f.name)
        for one, other in PIXEL_SETTINGS
        if type(one) is type(other)
        for f in dataclasses.fields(one)
        if getattr(one, f.name) != getattr(other, f.name)
    }
    there_are = {
        (CROPPERS[name].__name__, f.name)
        for name in CROPPERS
        for f in dataclasses.fields(CROPPERS[name])
    }
    assert tried == there_are - policies


@pytest.mark.parametrize(("before", "after"), PIXEL_SETTINGS, ids=str)
def test_another_setting_of_the_pixels_makes_new_crops_and_keeps_the_old(
    with_faces, cache, before, after
):
    old = crop(with_faces, before, cache=cache)
    assert crop(with_faces, after, cache=cache).computed == 6
    assert crop(with_faces, before, cache=cache).files == old.files
    assert crop(with_faces, before, cache=cache).computed == 0


@pytest.mark.parametrize(
    ("no_face", "several", "kept", "skipped"),
    [
        ("whole_image", "largest", [0, 1, 2, 3, 4, 5], []),
        ("skip", "largest", [1, 2, 4, 5], [0, 3]),
        ("whole_image", "skip", [0, 1, 3, 4], [2, 5]),
        ("skip", "skip", [1, 4], [0, 2, 3, 5]),
    ],
)
def test_another_policy_detects_nothing_again(with_faces, cache, no_face, several, kept, skipped):
    crop(with_faces, DlibHogCropper(size=16), cache=cache)
    result = crop(
        with_faces, DlibHogCropper(size=16, no_face=no_face, several_faces=several), cache=cache
    )
    assert result.computed == 0
    assert result.faces == [0, 1, 2, 0, 1, 2]
    assert [row for row, file in enumerate(result.files) if file] == kept
    assert result.skipped == skipped
    assert result.bad == {}


@pytest.mark.parametrize(
    ("cropper", "row", "words"),
    [
        (DlibHogCropper(size=16, no_face="error"), 0, ["2 of 6", "0 faces", "cropper.no_face"]),
        (
            DlibHogCropper(size=16, several_faces="error"),
            2,
            ["2 of 6", "2 faces", "cropper.several_faces"],
        ),
    ],
)
def test_a_forbidden_image_is_an_error_that_names_it_and_the_setting(
    with_faces, cache, cropper, row, words
):
    with pytest.raises(FaceError) as caught:
        crop(with_faces, cropper, cache=cache)
    assert_says(caught.value, with_faces[row], *words)
    # What was detected is kept.
    assert crop(with_faces, DlibHogCropper(size=16), cache=cache).computed == 0


def test_of_images_refused_for_two_reasons_those_of_the_first_are_counted(with_faces, cache):
    both = DlibHogCropper(size=16, no_face="error", several_faces="error")
    for images, kind in ((with_faces, "no face"), (with_faces[::-1], "several faces")):
        with pytest.raises(FaceError) as caught:
            crop(images, both, cache=cache)
        assert caught.value.kind == kind
        assert_says(caught.value, f"refuses images with {kind}, 2 of 6")


def damage(paths: list[Path]) -> None:
    paths[1].write_bytes(b"not an image")
    paths[2].write_bytes(paths[2].read_bytes()[:200])
    paths[3].write_bytes(b"")
    paths[4].unlink()


def test_bad_images_are_listed_in_one_error(paths, cache):
    damage(paths)
    with pytest.raises(DataError) as caught:
        crop(paths, cache=cache)
    assert_says(caught.value, "4 of 6", paths[1], paths[2], paths[3], "1 more", "quarantine")
    kinds = "1 no image in a known format, 1 damaged or truncated, 1 empty, 1 missing"
    assert_says(caught.value, f"({kinds})")
    assert str(paths[0]) not in str(caught.value)


def test_reasons_that_differ_in_numbers_only_are_counted_as_one(paths, cache):
    box = FixedBoxCropper(size=16, left=60, top=0, right=90, bottom=30)  # beside all of them
    for path, seed in zip(paths, range(6), strict=True):
        write_image(path, seed, height=40, width=48 + seed)
    paths[0].write_bytes(b"")
    with pytest.raises(DataError) as caught:
        crop(paths, box, cache=cache)
    assert_says(
        caught.value, "6 of 6", "(5 beside the cropper's box (cropped already?", ", 1 empty)"
    )


@pytest.mark.parametrize("again", [False, True])
def test_quarantine_leaves_bad_images_out_and_tells_why(paths, cache, again):
    damage(paths)
    if again:
        crop(paths, cache=cache, bad_images="quarantine")
    result = crop(paths, cache=cache, bad_images="quarantine")
    assert [file is not None for file in result.files] == [True, False, False, False, False, True]
    assert result.skipped == []
    assert list(result.bad) == [1, 2, 3, 4]
    for row, reason in zip(
        (1, 2, 3, 4), ("not an image", "truncated", "0 bytes", "no such file"), strict=True
    ):
        assert reason in result.bad[row]


def test_a_fixed_box_beside_the_image_is_a_bad_image(paths, cache):
    cropper = FixedBoxCropper(size=16, left=500, top=0, right=520, bottom=20)
    with pytest.raises(DataError) as caught:
        crop(paths, cropper, cache=cache)
    assert_says(caught.value, paths[0], "48 x 40", "does not touch")


def test_a_file_that_changed_after_it_was_hashed_is_noticed(paths, cache):
    hashes = hash_files(paths)
    write_image(paths[2], 99)
    with pytest.raises(DataError) as caught:
        crop(paths, hashes=hashes, cache=cache)
    assert_says(caught.value, "1 of 6", paths[2], "changed since")
    result = crop(paths, hashes=hashes, cache=cache, bad_images="quarantine")
    assert list(result.bad) == [2]


def test_a_twin_of_a_changed_file_is_still_good(paths, cache):
    shutil.copy(paths[0], paths[0].parent / "twin.png")
    both = [paths[0], paths[0].parent / "twin.png"]
    hashes = hash_files(both)
    write_image(paths[0], 99)
    result = crop(both, hashes=hashes, cache=cache, bad_images="quarantine")
    assert list(result.bad) == [0]
    np.testing.assert_array_equal(read_crop(result.files[1]), BOX(random_image(0)).image)


def test_hashes_are_sha256_of_the_bytes(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")  # FIPS 180-2, example B.1
    assert hash_files([tmp_path / "a"]) == [
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    ]


def test_the_default_cache_follows_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("SIAMESE_CACHE", str(tmp_path / "elsewhere"))
    assert default_cache() == tmp_path / "elsewhere"
    paths = [write_image(tmp_path / "a.png", 1)]
    assert crop(paths).files[0].is_relative_to(tmp_path / "elsewhere")


def test_two_processes_write_the_same_bytes_as_one(tmp_path):
    # Several tasks of 32.
    paths = [write_image(tmp_path / "in" / f"{i}.png", i) for i in range(100)]
    one = crop(paths, workers=1, cache=tmp_path / "one")
    two = crop(paths, workers=2, cache=tmp_path / "two")
    assert (one.computed, two.computed) == (100, 100)

    def content(folder: Path) -> dict[str, bytes]:
        return {
            f.relative_to(folder).as_posix(): f.read_bytes()
            for f in folder.rglob("*")
            if f.is_file()
        }

    assert content(tmp_path / "one") == content(tmp_path / "two")
    assert [f.relative_to(tmp_path / "one") for f in one.files] == [
        f.relative_to(tmp_path / "two") for f in two.files
    ]


def test_a_truncated_file_counts_as_damaged(tmp_path):
    path = write_image(tmp_path / "a.jpg", 0, 300, 300)
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(ImageError, match="bytes not processed") as caught:
        read_image(path)
    assert kind_of(caught.value.reason) == "damaged or truncated"
