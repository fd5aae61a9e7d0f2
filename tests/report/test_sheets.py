"""Figures for notebooks: what stands on them, and what is refused."""

import numpy as np
import pytest
from tests.helpers import assert_says, write_image

import siamese


def found(seed=0, people=20, spread=0.5):
    draw = np.random.default_rng(seed)
    who = np.repeat(np.arange(people), 5)
    rows = draw.normal(size=(people, 8))[who] + spread * draw.normal(size=(len(who), 8))
    return siamese.calibrate(rows, who, probability=None)


def lines(axes):
    """Label -> (x, y) of the lines that are in the legend."""
    named = [line for line in axes.lines if not line.get_label().startswith("_")]
    return {line.get_label(): np.asarray(line.get_xydata()) for line in named}


def test_images_stand_in_lines_in_their_order(tmp_path):
    path = write_image(tmp_path / "a.png", 1, height=20, width=30)
    images = [np.full((8, 8), 10 * i, dtype=np.uint8) for i in range(4)]
    sheet = siamese.plot_images([*images, path], list("abcde"), columns=3, side=0.5)
    assert [axes.get_title() for axes in sheet.axes] == list("abcde")
    assert [int(a.images[0].get_array()[0, 0]) for a in sheet.axes[:4]] == [0, 10, 20, 30]
    assert sheet.axes[4].images[0].get_array().shape == (20, 30, 3)
    sheet.draw_without_rendering()
    tops = [round(axes.get_position().y1, 2) for axes in sheet.axes]
    assert tops[0] == tops[1] == tops[2] > max(tops[3:])


@pytest.mark.parametrize(
    ("images", "titles", "settings", "says"),
    [
        ([], None, {}, "1 to 400 images, not 0"),
        ([0] * 401, None, {}, "not 401"),
        ([0] * 3, ["a"], {}, "3 images need as many titles, not 1"),
        ([0] * 3, None, {"columns": 0}, "columns and side"),
    ],
)
def test_what_no_sheet_can_show_is_refused(images, titles, settings, says):
    with pytest.raises(siamese.ConfigError) as error:
        siamese.plot_images(images, titles, **settings)
    assert_says(error.value, says)


def test_thresholds_lie_on_the_curves_they_were_chosen_from():
    one = found()
    strict = one.with_policy(siamese.Fmr(0.01))
    f1, rates = siamese.plot_thresholds({"best": one, "strict": strict}).axes
    drawn = lines(f1)
    assert list(drawn) == [
        f"F1 at a prevalence of {one.curve.prevalence:.3g}",
        f"best: {one.threshold:.3f}",
        f"strict: {strict.threshold:.3f}",
    ]  # the same pairs: one curve
    np.testing.assert_array_equal(drawn[next(iter(drawn))][:, 1], one.curve.f1())
    points = [line.get_xydata()[0] for line in f1.lines if line.get_marker() == "o"]
    expected = [(c.threshold, c.confusion.f1) for c in (one, strict)]
    np.testing.assert_allclose(points, expected)
    assert list(lines(rates)) == ["false match rate", "false non-match rate"]
    np.testing.assert_array_equal(lines(rates)["false match rate"][:, 1], one.curve.fmr)


def test_a_stated_prevalence_has_a_curve_of_its_own_and_other_people_have_theirs():
    one, other = found(), found(1)
    half = one.with_policy(siamese.MaxF1(prevalence=0.5))
    f1, rates = siamese.plot_thresholds({"counted": one, "half": half, "others": other}).axes
    curves = [values for name, values in lines(f1).items() if name.startswith("F1")]
    assert len(curves) == 3
    np.testing.assert_array_equal(curves[1][:, 1], one.curve.f1(0.5))
    np.testing.assert_array_equal(curves[2][:, 1], other.curve.f1())
    assert len(lines(rates)) == 4
    points = [line.get_xydata()[0] for line in f1.lines if line.get_marker() == "o"]
    assert points[1][1] == pytest.approx(half.curve.f1(0.5).max())  # and not that of the pairs


def test_of_one_calibration_the_interval_is_shaded():
    one = found()
    for axes in siamese.plot_thresholds(one).axes:
        (band,) = axes.patches
        assert (band.get_x(), band.get_x() + band.get_width()) == pytest.approx(one.band)


def test_two_distances_share_no_axis():
    one = found()
    rows = np.random.default_rng(0).normal(size=(20, 4))
    cosine = siamese.calibrate(
        rows, np.repeat(np.arange(10), 2), distance="cosine", intervals=False, probability=None
    )
    with pytest.raises(siamese.ConfigError) as error:
        siamese.plot_thresholds({"a": one, "b": cosine})
    assert_says(error.value, "cosine, euclidean")
    with pytest.raises(siamese.ConfigError):
        siamese.plot_thresholds({})
