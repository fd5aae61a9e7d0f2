"""Large images are searched on a copy first and give the same crop; turned ones are turned back.

The limits of size are lowered here, so that the same is shown with smaller images in less time.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.helpers import orl_folder

from siamese.faces import search
from siamese.faces.align import pick
from siamese.faces.croppers.dlib_croppers import DlibHogCropper
from siamese.faces.detect import detect_scored, shrunk
from siamese.faces.images import read_image
from siamese.faces.pyramid import enlarged
from siamese.faces.search import Search

pytest.importorskip("dlib")

SETTINGS = (1, 0, -0.5, "hog")
PROMINENT = DlibHogCropper(size=48, min_score=-0.5, several_faces="prominent")
TURNING = DlibHogCropper(size=48, min_score=-0.5, several_faces="prominent", rotations=True)


def face(identity: int, side: float, number: int = 1) -> Image.Image:
    """An ORL face, ``side`` pixels wide; the detected box is about three quarters of that."""
    image = Image.fromarray(read_image(orl_folder() / f"s{identity}" / f"{number}.pgm"))
    return image.resize((round(side), round(side * 112 / 92)), Image.Resampling.BICUBIC)


def scene(*faces: tuple[int, float, float, float], width: int = 900, height: int = 700):
    """Faces on grey: identity, width in pixels, middle across and down (shares)."""
    canvas = Image.new("RGB", (width, height), (110, 110, 110))
    for identity, side, x, y in faces:
        part = face(identity, side)
        canvas.paste(part, (round(x * width - side / 2), round(y * height - part.height / 2)))
    return np.asarray(canvas)


@pytest.fixture
def small_limits(monkeypatch):
    """As if 0.3 million pixels were many; the copy has 0.15. Lists the pixels of every search."""
    monkeypatch.setattr(search, "_LARGE", 3e5)
    monkeypatch.setattr(search, "_COPY", 1.5e5)
    searched: list[int] = []

    def detect(image, *settings):
        searched.append(image.shape[0] * image.shape[1])
        return detect_scored(image, *settings)

    monkeypatch.setattr(search, "detect_scored", detect)
    return searched


@pytest.mark.parametrize("steps", [1, 2, 3, 5])
@pytest.mark.parametrize("identity", [1, 5, 9, 14, 30])
def test_a_copy_gives_the_scores_and_boxes_of_the_whole_search(identity, steps):
    image = scene((identity, 400, 0.47, 0.52), width=701, height=603)
    whole = detect_scored(image, *SETTINGS)
    copied = detect_scored(shrunk(image, steps), 0, 0, -0.5, "hog")
    assert copied
    assert {(enlarged(box, steps), score) for box, score in copied} <= set(whole)


SCENES = {
    "one in the middle": ([(1, 400, 0.5, 0.5)], True),
    "one beside the middle": ([(9, 420, 0.6, 0.5)], True),
    "a small one alone": ([(1, 110, 0.5, 0.5)], False),
    "a small one in the middle, a large one beside": (
        [(1, 110, 0.5, 0.5), (9, 380, 0.75, 0.5)],
        False,
    ),
    "a large one in the middle, a small one beside": (
        [(9, 380, 0.5, 0.5), (1, 110, 0.1, 0.2)],
        True,
    ),
    "none": ([], False),
}


@pytest.mark.parametrize("name", SCENES)
def test_the_crop_is_that_of_the_whole_search(small_limits, monkeypatch, name):
    faces, quick = SCENES[name]
    image = scene(*faces)
    crop = PROMINENT(image)
    assert (image.shape[0] * image.shape[1] not in small_limits) == quick
    monkeypatch.setattr(search, "_LARGE", 1e9)
    expected = PROMINENT(image)
    np.testing.assert_array_equal(crop.image, expected.image)
    assert (crop.faces > 0) == (expected.faces > 0)


def test_only_the_prominent_one_is_settled_on_a_copy(small_limits):
    image = scene((1, 400, 0.5, 0.5), (9, 110, 0.1, 0.2))
    for rule in ("largest", "central", "skip", "error", "whole_image"):
        small_limits.clear()
        crop = DlibHogCropper(size=48, min_score=-0.5, several_faces=rule)(image)
        assert small_limits == [image.shape[0] * image.shape[1]]
        assert crop.faces == len(detect_scored(image, *SETTINGS))


@pytest.mark.parametrize(("height", "width"), [(250, 250), (1080, 1851)])
def test_images_up_to_two_million_pixels_are_searched_as_they_are(monkeypatch, height, width):
    seen = []
    monkeypatch.setattr(search, "detect_scored", lambda image, *settings: seen.append(image) or [])
    image = np.zeros((height, width, 3), np.uint8)
    Search(2, 1, -0.5, "hog", prominent_only=True)(image)
    assert len(seen) == 1
    assert seen[0] is image


def photographs(step: int) -> list[Path]:
    root = os.environ.get("SIAMESE_LFW")
    if not root or not Path(root).is_dir():
        pytest.skip("SIAMESE_LFW names no folder of LFW")
    return sorted(Path(root).glob("*/*_0001.jpg"))[::step]


def test_photographs_of_twelve_million_pixels():
    """LFW's, enlarged, and two in a larger scene: the box of the whole search."""
    paths = photographs(1800)
    images = [Image.open(path) for path in paths[:3]]
    large = [image.resize((4000, 3000), Image.Resampling.BICUBIC) for image in images]
    large[1].paste(images[2].resize((1500, 1500)), (1100, 900))
    large[2].paste(images[0].resize((600, 600)), (1700, 1200))
    for image in map(np.asarray, large):
        one, whole = (Search(2, 1, -0.5, "hog", prominent_only=quick) for quick in (True, False))
        boxes, expected = one(image)[1], whole(image)[1]
        assert pick(boxes, image, "prominent") == pick(expected, image, "prominent")


@pytest.mark.parametrize("turns", [1, 2, 3])
@pytest.mark.parametrize("identity", [1, 5, 9])
def test_a_turned_face_gives_the_crop_of_the_upright_one(identity, turns):
    upright = scene((identity, 180, 0.5, 0.5), width=260, height=240)
    turned = np.ascontiguousarray(np.rot90(upright, turns))
    expected = PROMINENT(upright).image
    np.testing.assert_array_equal(TURNING(turned).image, expected)
    assert (PROMINENT(turned).image != expected).any()


def test_of_upright_faces_no_crop_changes():
    for identity in range(1, 41):
        image = np.asarray(face(identity, 120, 2).convert("RGB"))
        np.testing.assert_array_equal(TURNING(image).image, PROMINENT(image).image)


def test_an_image_without_a_face_stays_upright():
    image = scene(width=200, height=150)
    image = image + np.arange(200, dtype=np.uint8)[None, :, None] // 4
    assert TURNING(image).faces == 0
    np.testing.assert_array_equal(TURNING(image).image, PROMINENT(image).image)


def test_a_large_image_is_turned_on_its_copy(small_limits):
    upright = scene((1, 400, 0.5, 0.5))
    turned = np.ascontiguousarray(np.rot90(upright, 2))
    found = TURNING(turned)
    assert turned.shape[0] * turned.shape[1] not in small_limits
    assert found.faces == 1
    expected = PROMINENT(upright).image.astype(float)
    assert np.abs(found.image - expected).mean() < 4
    assert np.abs(found.image[::-1] - expected).mean() > 20


@pytest.mark.parametrize(
    ("upright", "turned", "taken"),
    [
        ([], [0.01], True),
        ([], [-0.01], False),
        ([0.2], [0.69], False),
        ([0.2], [0.71], True),
        ([0.74], [1.3], True),
        ([0.76], [3.0], False),
    ],
)
def test_a_turned_face_must_be_clearly_better(monkeypatch, upright, turned, taken):
    scores = iter([upright, turned, [], []])
    box = (10.0, 10.0, 50.0, 50.0)
    monkeypatch.setattr(
        search,
        "detect_scored",
        lambda *settings: [search.Detection(search.Box(*box), score) for score in next(scores)],
    )
    image = np.zeros((60, 80, 3), np.uint8)
    image[0] = 255
    found, boxes = Search(rotations=True)(image)
    # Upside down the white row is the last one.
    assert (found[-1].max() == 255) == taken
    assert len(boxes) == len(turned if taken else upright)
