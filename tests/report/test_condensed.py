"""Curves, histograms and charts of a report, against counting every pair."""

import re

import numpy as np
import pytest
from hypothesis import given
from scipy.stats import binomtest
from tests.strategies import labelled_distances

from siamese.report.charts import distance_chart, learning_charts
from siamese.report.condensed import curve_points, histogram, probability_bins
from siamese.report.error_charts import det_chart, roc_chart
from siamese.report.inline_svg import COLOURS
from siamese.report.stored_report import StoredCurve, StoredHistogram
from siamese.report.words import interval, listed, percent
from siamese.verification.curves import ThresholdCurve
from siamese.verification.probability import fit_probability, wilson


def random_curve(n=4000, seed=0):
    rng = np.random.default_rng(seed)
    same = rng.random(n) < 0.5
    distances = rng.gamma(6, np.where(same, 0.08, 0.2)).astype(np.float32)
    return distances, same, ThresholdCurve.of(distances, same)


@given(labelled_distances())
def test_stored_points_are_exact_counts_and_the_threshold_is_one_of_them(pairs):
    distances, same = pairs
    curve = ThresholdCurve.of(distances, same)
    threshold = float(np.median(distances))
    found = StoredCurve(**curve_points(curve, threshold))
    assert threshold in found.thresholds
    for t, tp, fp in zip(found.thresholds, found.tp, found.fp, strict=True):
        accepted = distances.astype(np.float64) <= t
        assert (tp, fp) == ((accepted & same).sum(), (accepted & ~same).sum())
    assert (np.diff(found.thresholds) >= 0).all()


def test_few_points_show_a_curve_to_the_width_of_a_line():
    _, _, curve = random_curve(200_000)
    found = StoredCurve(**curve_points(curve, 0.8))
    assert len(found.thresholds) < 3000
    every = curve.fp / curve.impostor
    shown = np.interp(curve.thresholds, found.thresholds, np.array(found.fp) / curve.impostor)
    assert np.abs(every - shown).max() < 0.01


@given(labelled_distances())
def test_a_histogram_has_every_pair_once(pairs):
    distances, same = pairs
    found = StoredHistogram(**histogram(ThresholdCurve.of(distances, same)))
    assert sum(found.genuine) == same.sum()
    assert sum(found.impostor) == (~same).sum()


def test_bins_of_probabilities_have_every_pair_and_their_mean():
    distances, same, curve = random_curve()
    probability = fit_probability(curve, 0.3)
    bins = probability_bins(probability, curve)
    assert sum(b["genuine"] for b in bins) == same.sum()
    assert sum(b["impostor"] for b in bins) == (~same).sum()
    stated = probability(distances.astype(np.float64))
    for found in bins:
        here = np.floor(10 * stated).clip(max=9) == np.floor(10 * found["stated"])
        assert found["genuine"] == (here & same).sum()


@pytest.mark.parametrize(("hits", "trials"), [(0, 5), (3, 10), (10, 10), (500, 1000)])
def test_intervals_are_wilsons(hits, trials):
    wanted = binomtest(hits, trials).proportion_ci(method="wilson")
    assert wilson(hits, trials) == pytest.approx((wanted.low, wanted.high), abs=1e-4)


def test_a_chart_is_the_same_twice_and_in_the_colours_of_the_page():
    _, _, curve = random_curve()
    stored = StoredCurve(**curve_points(curve, 0.8))
    for make in (roc_chart, det_chart):
        one, other = (make({"test": (stored, 0.8)}) for _ in range(2))
        assert one == other
        assert not [colour for colour in COLOURS if colour in one.svg]
        assert "var(--series-0)" in one.svg
        assert "<script" not in one.svg
        for x, y, _ in one.hover[0]["points"]:
            assert -1 <= x <= one.width + 1
            assert -1 <= y <= one.height + 1


def test_the_pointer_finds_the_points_where_they_are_drawn():
    counts = StoredHistogram(edges=[0.0, 1.0, 2.0], genuine=[3, 1], impostor=[0, 4])
    chart = distance_chart(counts, 1.0, None, "euclidean")
    (x0, _, said), (x1, _, _) = chart.hover[0]["points"]
    # The threshold is drawn in the middle between the centres of the two bins.
    drawn = [float(x) for x in re.findall(r"M ([\d.]+) ", chart.svg)]
    assert min(abs(x - (x0 + x1) / 2) for x in drawn) < 0.1
    assert "3 genuine pairs (75 %)" in said


def test_curves_without_errors_have_no_det():
    stored = StoredCurve([0.1, 0.9], tp=[5, 5], fp=[0, 5], genuine=5, impostor=5)
    assert det_chart({"test": (stored, 0.5)}) is None
    assert roc_chart({"test": (stored, 0.5)}) is not None


def test_learning_says_the_best_and_the_kept_epoch():
    history = {
        "train/loss": ([0, 1, 2], [0.9, 0.5, float("nan")]),
        "calibration/eer": ([0, 1, 2], [0.3, 0.1, 0.2]),
    }
    loss, eer = learning_charts(history, kept=3)
    labels = [key.label for key in eer.legend]
    assert "lowest: epoch 2, 10 %" in labels
    assert "kept weights: epoch 3" in labels
    assert [words for _, _, words in loss.hover[0]["points"]] == ["epoch 1: 0.9", "epoch 2: 0.5"]
    assert "1 of the recorded values are no finite numbers" in loss.caption
    assert learning_charts({}, None) == []


def test_losses_below_zero_are_within_the_axes():
    (loss,) = learning_charts({"train/loss": ([0, 1], [-2.0, -3.0])}, None)
    assert len(loss.hover[0]["points"]) == 2
    assert all(0 <= y <= loss.height for _, y, _ in loss.hover[0]["points"])


def test_losses_of_two_rules_share_no_axis():
    history = {"train/loss": ([0, 1], [0.9, 0.5]), "calibration/loss": ([0, 1], [3.0, 2.0])}
    (both,) = learning_charts(history, None, one_rule=True)
    assert [series["name"] for series in both.hover] == ["train", "calibration"]
    apart = learning_charts(history, None, one_rule=False)
    assert [[s["name"] for s in chart.hover] for chart in apart] == [["train"], ["calibration"]]
    assert "cannot be compared" in apart[1].caption


def test_numbers_in_words():
    assert [percent(v) for v in (0, 0.5, 0.12345, 0.0123, 0.00012)] == [
        "0 %", "50 %", "12.3 %", "1.2 %", "0.012 %",
    ]  # fmt: skip
    assert interval(None) == "interval not known"
    assert listed(["a", "b", "c"]) == "a, b and c"
