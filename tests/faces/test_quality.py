"""How good a photograph is: each figure against a change of the photograph that is known."""

import math

import numpy as np
import pytest
from PIL import Image, ImageFilter

import siamese
from siamese.faces.croppers.base import Face
from siamese.faces.quality import quality_of, sharpness_of

pytest.importorskip("dlib")
CROPPER = siamese.DlibHogCropper(
    size=150, margin=0.25, aligner="five_point", upsample=1, max_upsample=2, rotations=True
)


@pytest.fixture(scope="module")
def photograph():
    """A face of ORL on a larger grey field, 92 x 112 pixels made four times as large."""
    path = siamese.load_orl().paths[0]
    face = Image.open(path).convert("RGB").resize((368, 448), Image.Resampling.BICUBIC)
    whole = Image.new("RGB", (700, 800), (90, 90, 90))
    whole.paste(face, (150, 150))
    return whole


def quality(image, cropper=CROPPER):
    look = cropper.look(np.asarray(image))
    assert look.faces
    return quality_of(look.face)


def test_the_width_is_that_of_the_face_on_the_photograph(photograph):
    large = quality(photograph)
    half = quality(photograph.resize((350, 400), Image.Resampling.BOX))
    assert half.width == pytest.approx(large.width / 2, rel=0.15)
    assert 150 < large.width < 368


def test_blur_and_a_small_picture_are_less_sharp(photograph):
    found = [quality(photograph.filter(ImageFilter.GaussianBlur(r))).sharpness for r in (0, 2, 5)]
    assert found[0] > 2 * found[1] > 4 * found[2]
    small = photograph.resize((140, 160), Image.Resampling.BOX)
    assert quality(small).sharpness < found[0] / 1.5


def test_sharpness_does_not_depend_on_contrast_or_brightness():
    crop = np.random.default_rng(0).integers(0, 100, (60, 60, 3)).astype(np.uint8)
    assert sharpness_of(crop * 2) == pytest.approx(sharpness_of(crop), rel=1e-4)
    assert sharpness_of(crop + 50) == pytest.approx(sharpness_of(crop), rel=1e-4)
    assert sharpness_of(np.full((60, 60, 3), 7, np.uint8)) == 0


def test_roll_is_the_angle_that_a_photograph_was_turned_by(photograph):
    straight = quality(photograph).roll
    for angle in (10, 20):
        turned = photograph.rotate(angle, Image.Resampling.BICUBIC, fillcolor=(90, 90, 90))
        other = photograph.rotate(-angle, Image.Resampling.BICUBIC, fillcolor=(90, 90, 90))
        both = quality(turned).roll, quality(other).roll
        assert sum(both) / 2 == pytest.approx(angle, abs=3)
        assert abs(both[0] - both[1]) == pytest.approx(2 * straight, abs=4)


@pytest.mark.parametrize("degrees", [0, 10, 25, 40])
def test_yaw_of_a_head_in_space(degrees):
    """Eyes in a plane, the nose half an eye distance before it: turned, then seen from far."""
    eyes = [(0.7, 0.0, 0.0), (0.3, 0.0, 0.0), (-0.7, 0.0, 0.0), (-0.3, 0.0, 0.0)]
    head = np.array([*eyes, (0.0, 0.8, 0.5)])
    turn = math.radians(degrees)
    across = head[:, 0] * math.cos(turn) + head[:, 2] * math.sin(turn)
    points = np.stack([across, head[:, 1]], axis=1) * 100 + 300
    face = Face(np.zeros((150, 150, 3), np.uint8), siamese.Box(0, 0, 99, 99), 1.0, points)
    assert quality_of(face).yaw == pytest.approx(degrees, abs=0.01)


def test_warnings_say_what_is_poor():
    crop = np.random.default_rng(0).integers(0, 256, (150, 150, 3), dtype=np.uint8)
    good = Face(crop, siamese.Box(0, 0, 120, 120), 2.0, None)
    assert quality_of(good).warnings == ()
    assert not quality_of(good).poor
    small = good._replace(box=siamese.Box(0, 0, 31, 31), score=-0.2)
    assert quality_of(small).warnings == (
        "the face is 31 pixels wide",
        "the face is hardly recognised as one (detector's score -0.20)",
    )
    none = siamese.QualityLimits(width=None, sharpness=None, yaw=None, score=None)
    assert quality_of(small, none).warnings == ()
    assert quality_of(Face(crop)) is None  # nobody looked for a face


@pytest.mark.parametrize("wrong", [{"width": "40"}, {"yaw": 91}, {"sharpness": -1}, {"roll": True}])
def test_limits_are_numbers(wrong):
    with pytest.raises(siamese.ConfigError, match=f"the limit {next(iter(wrong))} must be"):
        siamese.QualityLimits(**wrong)


def test_a_look_is_the_crop_and_says_where(photograph):
    array = np.asarray(photograph)
    crop, look = CROPPER(array), CROPPER.look(array)
    np.testing.assert_array_equal(crop.image, look.face.crop)
    assert crop.faces == look.faces == 1
    left, top, right, bottom = look.face.box
    assert 140 <= left < right <= 528
    assert 140 <= top < bottom <= 608
    points = look.face.landmarks
    assert points[:2, 0].min() > points[4, 0] > points[2:4, 0].max()  # the nose between the eyes
    assert points[4, 1] > points[:4, 1].max()


def test_places_on_a_turned_photograph_are_those_of_the_photograph(photograph):
    upright = CROPPER.look(np.asarray(photograph)).face
    turned = CROPPER.look(np.asarray(photograph.rotate(90, expand=True))).face
    # A quarter to the left: x becomes y, and y counts from the other side.
    left, top, right, bottom = upright.box
    expected = (top, 700 - right, bottom, 700 - left)
    np.testing.assert_allclose(turned.box, expected, atol=0.25 * upright.box.width)
    np.testing.assert_allclose(
        turned.landmarks[4], (upright.landmarks[4][1], 700 - upright.landmarks[4][0]), atol=15
    )


def test_every_face_of_a_group_is_found_the_chosen_one_first(photograph):
    other = Image.open(siamese.load_orl().paths[100]).convert("RGB").resize((184, 224))
    group = Image.new("RGB", (1300, 800), (90, 90, 90))
    group.paste(photograph, (0, 0))
    group.paste(other, (900, 300))
    array = np.asarray(group)
    for rule in ("largest", "central"):
        cropper = siamese.DlibHogCropper(size=80, several_faces=rule)
        faces = cropper.all_faces(array)
        assert len(faces) == 2
        np.testing.assert_array_equal(faces[0].crop, cropper(array).image)
        assert {face.box.left > 700 for face in faces} == {True, False}
    assert cropper.all_faces(np.zeros((200, 200, 3), np.uint8)) == []


def test_croppers_that_look_for_nothing_have_one_face_without_a_place():
    image = np.random.default_rng(0).integers(0, 256, (50, 40, 3), dtype=np.uint8)
    for cropper in (siamese.NoCropper(32), siamese.FixedBoxCropper(32, left=0, top=0, right=9,
                                                                   bottom=9)):  # fmt: skip
        (face,) = cropper.all_faces(image)
        np.testing.assert_array_equal(face.crop, cropper(image).image)
        assert (face.box, face.score, face.landmarks) == (None, None, None)


def test_poor_photographs_are_said_or_refused(photograph, tmp_path):
    pytest.importorskip("torch")
    small = photograph.resize((70, 80), Image.Resampling.BOX)
    photograph.save(tmp_path / "good.png")
    small.save(tmp_path / "small.png")
    verdict = siamese.Verifier.pretrained().verify(tmp_path / "good.png", tmp_path / "small.png")
    good, poor = verdict.quality
    assert good.warnings == ()
    assert any("pixels wide" in said for said in poor.warnings)
    assert verdict.to_dict()["quality"][1]["warnings"] == list(poor.warnings)
    strict = siamese.Verifier.pretrained(low_quality="error")
    with pytest.raises(siamese.FaceError, match=r"small\.png: refused for its quality: .*wide"):
        strict.verify(tmp_path / "good.png", tmp_path / "small.png")
    lenient = siamese.Verifier.pretrained(
        low_quality="error",
        limits=siamese.QualityLimits(width=10, sharpness=0, score=None, yaw=None),
    )
    assert lenient.verify(tmp_path / "good.png", tmp_path / "small.png").same == verdict.same
    with pytest.raises(siamese.ConfigError, match="did you mean 'error'"):
        siamese.Verifier.pretrained(low_quality="eror")
