"""Croppers as value objects.

Settings that survive a round trip, misspelt ones named, and the answer to 0, 1 and n faces.
"""

from __future__ import annotations

import json
import pickle
import subprocess
import sys

import numpy as np
import pytest
from tests.helpers import assert_says, random_image

from siamese.errors import ConfigError
from siamese.faces import search
from siamese.faces.align import Box
from siamese.faces.croppers.base import CROPPERS, Cropper
from siamese.faces.croppers.dlib_croppers import DlibCnnCropper, DlibHogCropper
from siamese.faces.croppers.fixed_box import FixedBoxCropper
from siamese.faces.croppers.none import NoCropper
from siamese.faces.detect import Detection

EXAMPLES = [
    NoCropper(),
    NoCropper(size=64),
    FixedBoxCropper(size=40, left=1, top=2, right=30, bottom=40),
    DlibHogCropper(size=96, margin=0.35, max_upsample=0, no_face="skip", several_faces="error"),
    DlibHogCropper(
        size=150,
        margin=0.25,
        aligner="five_point",
        upsample=1,
        min_score=-0.5,
        several_faces="prominent",
        rotations=True,
    ),
    DlibCnnCropper(
        size=150,
        margin=0.25,
        aligner="five_point",
        upsample=0,
        min_score=0.5,
        several_faces="central",
    ),
]


def test_all_croppers_have_an_example():
    assert {CROPPERS.name(c) for c in EXAMPLES} == set(CROPPERS)


@pytest.mark.parametrize("cropper", EXAMPLES, ids=repr)
def test_settings_round_trip_through_json(cropper):
    settings = json.loads(json.dumps(CROPPERS.settings(cropper)))
    assert CROPPERS.build(settings) == cropper
    assert pickle.loads(pickle.dumps(cropper)) == cropper


def test_a_name_alone_builds_the_defaults():
    assert CROPPERS.build("none") == NoCropper()
    assert CROPPERS.build("dlib_hog") == DlibHogCropper()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ("dlib_hgo", ["'dlib_hgo'", "did you mean 'dlib_hog'"]),
        ("zzz", ["'zzz'", "choose one of: dlib_cnn, dlib_hog, fixed_box, none"]),
        ({"name": "dlib_hog", "marign": 0.2}, ["'marign'", "did you mean 'margin'"]),
        ({"name": "none", "sise": 3}, ["'sise'", "did you mean 'size'"]),
        ({"size": 3}, ["'name'", "dlib_cnn, dlib_hog, fixed_box, none"]),
        ({"name": "none", "size": 3}, ["size", "between 8 and 4096", "not 3"]),
        ({"name": "none", "size": "wide"}, ["cropper 'none'"]),
        ({"name": "dlib_hog", "margin": -0.1}, ["margin", "between 0 and 2", "-0.1"]),
        ({"name": "dlib_hog", "margin": float("nan")}, ["margin", "nan"]),
        ({"name": "dlib_hog", "max_upsample": 9}, ["max_upsample", "from 0 to 4", "9"]),
        ({"name": "dlib_hog", "upsample": 1.5}, ["upsample", "whole number from 0 to 4", "1.5"]),
        ({"name": "dlib_cnn", "upsample": 9}, ["upsample", "from 0 to 4", "9"]),
        ({"name": "dlib_hog", "min_score": -3}, ["min_score", "between -2 and 5", "-3"]),
        ({"name": "dlib_hog", "rotations": 4}, ["rotations", "true or false", "4"]),
        (
            {"name": "dlib_hog", "aligner": "5_point"},
            ["aligner", "'5_point'", "did you mean 'five_point'"],
        ),
        (
            {"name": "dlib_hog", "aligner": "five_point", "padding": "edge"},
            ["five_point", "cropper.padding", "aligner=box"],
        ),
        ({"name": "dlib_hog", "no_face": "skipp"}, ["no_face", "'skipp'", "did you mean 'skip'"]),
        ({"name": "dlib_hog", "no_face": "largest"}, ["no_face", "'largest'"]),
        ({"name": "dlib_hog", "several_faces": "biggest"}, ["several_faces", "'biggest'"]),
        ({"name": "none", "padding": "balck"}, ["padding", "'balck'", "did you mean 'black'"]),
        ({"name": "fixed_box", "left": 50, "right": 50}, ["box", "empty"]),
    ],
)
def test_wrong_settings_are_named(settings, words):
    with pytest.raises(ConfigError) as caught:
        CROPPERS.build(settings)
    assert_says(caught.value, *words)


def test_a_cropper_that_is_not_registered_is_named():
    class Own(Cropper):
        pass

    with pytest.raises(ConfigError) as caught:
        CROPPERS.settings(Own())
    assert_says(caught.value, "Own", "CROPPERS.register")


def test_no_cropper_shows_the_whole_image():
    image = np.full((20, 40, 3), 255, dtype=np.uint8)
    crop = NoCropper(size=40)(image)
    assert crop.faces is None
    assert (crop.image[10:30] == 255).all()
    assert (crop.image[:10] == 0).all()
    assert (crop.image[30:] == 0).all()


def test_fixed_box_cuts_that_box():
    image = random_image(1, 200, 250)
    crop = FixedBoxCropper(size=84)(image)  # the default box is 84 x 84 pixels
    assert crop.faces is None
    np.testing.assert_array_equal(crop.image, image[92:176, 83:167])


FACES = {0: [], 1: [Box(50, 40, 90, 80)], 2: [Box(50, 40, 90, 80), Box(120, 20, 140, 40)]}


@pytest.fixture
def faces_found(monkeypatch):
    def pretend(n: int) -> None:
        found = [Detection(box, 1.0) for box in FACES[n]]
        monkeypatch.setattr(search, "detect_scored", lambda image, *settings: found)

    return pretend


@pytest.mark.parametrize(
    ("n", "several", "whole"),
    [
        (0, "largest", True),
        (0, "whole_image", True),
        (1, "largest", False),
        (1, "whole_image", False),
        (2, "largest", False),
        (2, "skip", False),
        (2, "error", False),
        (2, "whole_image", True),
    ],
)
def test_what_is_shown_for_0_1_and_2_faces(faces_found, n, several, whole):
    faces_found(n)
    image = random_image(2, 150, 200)
    crop = DlibHogCropper(size=56, margin=0.2, several_faces=several)(image)
    assert crop.faces == n
    # 40 pixels and 0.2 of them on each side are 56: a copy, one to one.
    expected = NoCropper(size=56)(image).image if whole else image[32:88, 42:98]
    np.testing.assert_array_equal(crop.image, expected)


@pytest.mark.parametrize(
    ("no_face", "several_faces", "verdicts"),
    [
        ("whole_image", "largest", ["keep", "keep", "keep"]),
        ("whole_image", "whole_image", ["keep", "keep", "keep"]),
        ("skip", "largest", ["skip", "keep", "keep"]),
        ("error", "largest", ["error", "keep", "keep"]),
        ("whole_image", "skip", ["keep", "keep", "skip"]),
        ("whole_image", "error", ["keep", "keep", "error"]),
        ("skip", "error", ["skip", "keep", "error"]),
    ],
)
def test_verdicts(no_face, several_faces, verdicts):
    cropper = DlibHogCropper(no_face=no_face, several_faces=several_faces)
    assert [cropper.verdict(n) for n in (0, 1, 5)] == verdicts
    assert NoCropper().verdict(None) == FixedBoxCropper().verdict(None) == "keep"


def test_crops_of_before_alignment_are_found_again():
    """Crops are named in the cache by these settings; nobody's are computed anew without need."""
    known = {"name", "size", "padding", "margin", "max_upsample", "several_faces"}
    assert set(DlibHogCropper().pixel_settings()) == known
    changed = DlibHogCropper(aligner="five_point", upsample=1, min_score=-0.5).pixel_settings()
    assert set(changed) == known | {"aligner", "upsample", "min_score"}


def test_without_dlib_the_error_says_what_to_install_and_the_other_croppers_work():
    code = """
import sys
sys.modules["dlib"] = None  # what `import dlib` meets where it is not installed
import numpy as np
from siamese.errors import MissingDependencyError
from siamese import DlibHogCropper, FixedBoxCropper, NoCropper
image = np.zeros((200, 200, 3), np.uint8)
for cropper in (NoCropper(), FixedBoxCropper()):
    cropper.check()
    cropper(image)
for use in (lambda c: c.check(), lambda c: c(image)):
    try:
        use(DlibHogCropper())
    except MissingDependencyError as error:
        print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert len(lines) == 2
    for line in lines:
        assert_says(line, "dlib", "pip install 'siamese-lightning[dlib-bin]'", "'none'")
