"""Curves over epochs and over thresholds.

Averages against loops, drawn points against exact counts.
"""

import csv
import math
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest
from tests.random_cases import random_cases
from tests.strategies import labelled_distances

from siamese.errors import CalibrationError
from siamese.pairs.base import Pairs
from siamese.report.epoch_curves import Chosen, centred_mean, loss_curves
from siamese.report.history import read_history, write_history
from siamese.report.plots import (
    _lines,
    distance_histograms,
    drawable,
    head,
    reliability_diagram,
    save,
    verification_curves,
)
from siamese.verification.confusion import count_verdicts
from siamese.verification.curves import ThresholdCurve
from siamese.verification.held import HeldDistances
from siamese.verification.probability import Reliability

VALUES = st.floats(-1e6, 1e6)
HISTORY = st.dictionaries(
    st.sampled_from(["train/loss", "val/loss", "val/f1", 'odd, "name"', "val/eer"]),
    st.dictionaries(st.integers(0, 60), st.floats(), min_size=1, max_size=40).map(
        lambda values: (sorted(values), [values[e] for e in sorted(values)])
    ),
)


def measured(distances, same):
    distances, same = np.asarray(distances, dtype=np.float32), np.asarray(same, dtype=bool)
    rows = np.arange(len(same))
    return HeldDistances(
        Pairs(rows, rows + 1, same),
        distances,
        np.zeros(len(same) + 1, dtype=np.int64),
        "euclidean",
        {},
    )


def random_pairs(n, prevalence=0.5, seed=0):
    rng = np.random.default_rng(seed)
    same = rng.random(n) < prevalence
    same[:2] = True, False
    return measured(rng.gamma(3, np.where(same, 0.2, 0.5)), same)


def epochs(
    n,
    names=(
        "train/loss",
        "val/loss",
        "val/f1",
        "val/accuracy",
        "train/accuracy",
        "val/auc",
        "val/eer",
    ),
):
    rng = np.random.default_rng(0)
    return {name: (list(range(n)), rng.random(n).tolist()) for name in names}


@given(st.lists(VALUES, max_size=70), st.integers(1, 30))
def test_the_centred_mean_against_a_loop(values, window):
    found = centred_mean(values, window)
    assert found.dtype == np.float64
    assert len(found) == len(values)
    for i, mean in enumerate(found.tolist()):
        reach = max(r for r in range((window + 1) // 2) if r <= min(i, len(values) - 1 - i))
        part = values[i - reach : i + reach + 1]
        assert mean == pytest.approx(math.fsum(part) / len(part), abs=1e-7)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_bad_value_spoils_only_the_means_over_it(bad):
    values = [1.0] * 60
    values[30] = bad
    found = centred_mean(values, 21)
    assert not np.isfinite(found[20:41]).any()
    assert (np.delete(found, np.arange(20, 41)) == 1).all()


def test_the_mean_neither_lags_nor_leads():
    """A straight line stays where it is, up to its ends; a trailing mean lies below it."""
    line = np.linspace(0, 3, 50)
    assert centred_mean(line, 20) == pytest.approx(line)


def test_a_window_of_nothing_is_refused():
    with pytest.raises(ValueError, match="at least 1"):
        centred_mean([1.0], 0)


@given(HISTORY)
def test_a_written_history_is_read_as_it_was(tmp_path_factory, history):
    path = write_history(tmp_path_factory.mktemp("history") / "new" / "history.csv", history)
    np.testing.assert_equal(read_history(path), history)


def test_a_written_history_has_a_row_per_epoch(tmp_path):
    history = {"val/f1": ([1, 4], [0.5, 0.25]), "train/loss": ([0, 1], [2.0, 1.5])}
    path = write_history(tmp_path / "history.csv", history)
    assert path.read_text() == "epoch,train/loss,val/f1\n0,2.0,\n1,1.5,0.5\n4,,0.25\n"
    assert write_history(tmp_path / "none.csv", {}).read_text() == "epoch\n"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["history.csv", "none.csv"]


def test_the_last_value_of_a_repeated_epoch_counts(tmp_path):
    path = tmp_path / "metrics.csv"
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["epoch", "step", "train/loss", "val/loss"])
        for row in (
            [0, 9, "", 3],
            [0, 9, 4, ""],
            [1, 19, "", 2],
            [1, 19, 3, ""],
            [2, 29, "", 9],
            [1, 19, "", 1.5],
            [1, 19, 2.5, ""],
        ):
            writer.writerow(row)
    assert read_history(path) == {
        "train/loss": ([0, 1], [4, 2.5]),
        "val/loss": ([0, 1, 2], [3, 1.5, 9]),
    }


def test_epochs_ascend_whatever_the_order_of_the_rows(tmp_path):
    (tmp_path / "metrics.csv").write_text("epoch,step,val/f1\n3,9,0.3\n1,3,0.1\n2,6,0.2\n")
    assert read_history(tmp_path / "metrics.csv") == {"val/f1": ([1, 2, 3], [0.1, 0.2, 0.3])}


def test_each_metric_has_its_panel():
    losses, rates, errors = loss_curves(epochs(30) | {"train/lr": ([0], [1.0])}).axes
    names = [
        [t.get_text() for t in axes.get_legend().get_texts()] for axes in (losses, rates, errors)
    ]
    assert names == [
        ["train/loss", "val/loss"],
        ["val/f1", "val/accuracy", "train/accuracy", "val/auc"],
        ["val/eer"],
    ]


def test_every_epoch_is_drawn_and_the_first_is_1():
    (line,) = loss_curves(epochs(40)).axes[2].lines
    assert line.get_xdata().tolist() == list(range(1, 41))
    assert line.get_ydata().tolist() == epochs(40)["val/eer"][1]
    assert line.get_marker() != "None"


def test_beyond_forty_epochs_the_mean_is_drawn_too():
    history = epochs(41)
    raw, mean = loss_curves(history).axes[2].lines
    assert raw.get_ydata().tolist() == history["val/eer"][1]
    assert mean.get_ydata().tolist() == centred_mean(history["val/eer"][1]).tolist()
    assert raw.get_linewidth() < mean.get_linewidth()


@pytest.mark.parametrize("kept", [None, 2, 9])
def test_the_best_epoch_and_the_kept_one_are_marked(kept):
    history = {"val/eer": (list(range(10)), [0.5, 0.4, 0.1, 0.3, 0.1, *[0.6] * 5])}
    axes = loss_curves(history, Chosen("val/eer", "min", kept)).axes[2]
    upright = {
        line.get_label(): line.get_xdata()[0]
        for line in axes.lines
        if line.get_xdata()[0] == line.get_xdata()[-1]
    }
    best = "best, kept: epoch 3 (val/eer)" if kept == 2 else "best: epoch 3 (val/eer)"
    expected = {best: 3} | ({"kept: epoch 10": 10} if kept == 9 else {})
    assert upright == expected
    highest = Chosen("val/eer", "max").best(history)
    assert highest == 5
    assert Chosen("val/eer").best({"val/eer": ([0], [math.nan])}) is None


def test_losses_that_cannot_be_compared_have_a_panel_each():
    one, two = loss_curves(epochs(3)), loss_curves(epochs(3), one_rule=False)
    assert [len(axes.lines) for axes in one.axes] == [2, 4, 1]
    assert [len(axes.lines) for axes in two.axes] == [1, 1, 4, 1]


@random_cases(100)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=9))
def test_no_axis_shows_a_rate_beyond_1_or_below_0(values):
    known = (list(range(len(values))), values)
    figure = loss_curves({"val/f1": known, "val/eer": known, "train/loss": known})
    for axes, most in zip(figure.axes, (math.inf, 1, 1), strict=True):
        low, high = axes.get_ylim()
        assert 0 <= low <= min(values)
        assert max(values) <= high <= most


@pytest.mark.parametrize("n", [1, 2, 3, 7, 200])
def test_ticks_are_whole_epochs(n, tmp_path):
    figure = loss_curves(epochs(n))
    save(figure, tmp_path / "curves.png")
    for axes in figure.axes:
        assert all(float(tick).is_integer() for tick in axes.get_xticks())


@random_cases(100)
@given(labelled_distances(distinct=(1, 20)), st.floats(0, 2, width=32))
def test_few_pairs_are_drawn_exactly(case, threshold):
    distances, same = case
    roc, _, f1, accuracy = verification_curves({"test": measured(distances, same)}, threshold).axes
    curve = ThresholdCurve.of(distances, same)
    drawn = set(zip(*roc.lines[1].get_data(), strict=True))
    assert drawn == {(0.0, 0.0)} | set(
        zip(curve.fp / curve.impostor, curve.tp / curve.genuine, strict=True)
    )
    for axes, name in ((f1, "f1"), (accuracy, "accuracy")):
        for t, value in list(zip(*axes.lines[0].get_data(), strict=True))[1:]:
            assert value == pytest.approx(getattr(count_verdicts(distances, same, t), name))
    point = count_verdicts(distances.astype(np.float32), same, threshold)
    marked = [
        [float(v[0]) for v in axes.lines[line].get_data()]
        for axes, line in ((roc, 2), (f1, 1), (accuracy, 1))
    ]
    assert marked[0] == pytest.approx([point.fp / curve.impostor, point.recall])
    assert marked[1] == pytest.approx([threshold, point.f1])
    assert marked[2] == pytest.approx([threshold, point.accuracy])


@pytest.mark.parametrize("prevalence", [0.5, 0.002])
def test_many_pairs_are_drawn_with_few_points_and_nothing_is_lost(prevalence):
    c = random_pairs(100_000, prevalence)
    curve = ThresholdCurve.of(c.distances, c.pairs.same)
    roc, _, f1, accuracy = verification_curves({"test": c}, 0.5).axes
    drawn, heights = f1.lines[0].get_data()
    assert len(drawn) < 20_000
    # Each exact point lies by the drawn one before it, in every direction.
    before = np.searchsorted(drawn, curve.thresholds, side="right") - 1
    for found, exact in (
        (roc.lines[1].get_xdata(), curve.fp / curve.impostor),
        (roc.lines[1].get_ydata(), curve.tp / curve.genuine),
        (heights, 2 * curve.tp / (curve.tp + curve.fp + curve.genuine)),
        (accuracy.lines[0].get_ydata(), (curve.tp + curve.impostor - curve.fp) / len(c.pairs)),
    ):
        assert np.abs(found[before] - exact).max() <= 1e-3


def test_of_close_points_the_last_is_drawn_too_so_that_a_jump_starts_where_it_does():
    close = np.arange(4)
    curve = ThresholdCurve(
        np.append(0.5002 + 1e-5 * close, 1.0),
        np.append(100_100 + close, 200_000),
        np.append(0 * close, 50_000),
    )
    lines = _lines(curve)
    assert lines["threshold"].tolist() == [0, curve.thresholds[0], curve.thresholds[3], 1]
    assert lines["true match rate"].tolist() == [0, 0.5005, 0.500515, 1]
    assert lines["false match rate"].tolist() == [0, 0, 0, 1]


def test_the_equal_error_diagonal_meets_the_curve_at_the_eer():
    c = random_pairs(5000)
    roc = verification_curves({"test": c}, 0.5).axes[0]
    assert np.transpose(roc.lines[0].get_data()).tolist() == [[0, 1], [1, 0]]
    fpr, tpr = roc.lines[1].get_data()
    crossing = fpr[np.argmax(fpr + tpr >= 1)]
    label = roc.get_legend().get_texts()[1].get_text()
    assert f"{crossing:.2f}" == f"{float(label.split('EER ')[1].split(':')[0]):.2f}"


def test_a_split_of_one_kind_has_no_curve_and_the_legend_says_so():
    figure = verification_curves(
        {"train": random_pairs(50), "odd_$": measured([0.1, 0.2], [True, True])}, 0.3
    )
    roc, _, f1, accuracy = figure.axes
    assert roc.get_legend().get_texts()[2].get_text() == "no curve for odd_$: 2 genuine, 0 impostor"
    assert len(f1.get_legend().get_texts()) == len(accuracy.get_legend().get_texts()) == 1


def test_splits_differ_in_more_than_colour():
    roc = verification_curves(
        {name: random_pairs(50) for name in ("train", "calibration", "test")}, 0.3
    ).axes[0]
    styles = [line.get_linestyle() for line in roc.lines if len(line.get_xdata()) > 2]
    assert len(set(styles)) == len(styles) == 3


def test_distances_that_are_no_numbers_are_refused():
    with pytest.raises(CalibrationError, match="NaN"):
        verification_curves({"test": measured([0.1, math.nan], [True, False])}, 0.5)


def test_figures_are_saved_without_warnings(tmp_path):
    none, one = measured([], []), measured([0.0], [True])
    splits = (
        {"none": none},
        {"one": one},
        {"alike": measured([0, 0], [True, False])},
        {
            "_$x_$": random_pairs(100_000),
            "김_$": random_pairs(10),
            "none": none,
            "a": one,
            "b": one,
            "c": one,
            "d": one,
        },
    )
    histories = (
        {},
        {"val/f1": ([], [])},
        {
            "val/loss": ([3], [math.inf]),
            "val/eer": (list(range(8)), [0.1, math.nan, math.inf] + [0.2] * 5),
        },
        *(epochs(n) for n in (1, 2, 6, 500)),
        {
            "val/f1": ([0, 1], [1.0, 1.0]),
            "val/eer": ([0, 1], [0.0, 0.0]),
            "val/loss": ([0, 1], [1e30, 1e-30]),
        },
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for history in histories:
            save(loss_curves(history), tmp_path / "loss.png")
        for case in splits:
            for threshold in (0.0, 0.5, 1e6) if "alike" in case else (0.5,):
                save(verification_curves(case, threshold), tmp_path / "curves.png")
            save(distance_histograms(case, 0.5), tmp_path / "new" / "distances.png")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["curves.png", "loss.png", "new"]


@given(st.text())
def test_drawable_text_is_one_line_that_the_font_has(text):
    drawn = drawable(text)
    assert drawn == drawable(drawn)
    assert drawn.isprintable()
    assert drawn == " ".join(drawn.split())
    if text.isascii() and text.isprintable():
        assert drawn == " ".join(text.split())


def test_a_split_without_errors_is_told_in_words():
    same = [True] * 5 + [False] * 5
    apart, mixed = measured(range(10), same), measured([0, 9, 2, 3, 4, 1, 5, 6, 7, 8], same)
    axes = verification_curves({"one": apart, "two": mixed}, 4.5).axes[1]
    named = [t.get_text() for t in axes.get_legend().get_texts()]
    assert named == ["two", "one: some threshold makes no error"]
    (words,) = verification_curves({"one": apart}, 4.5).axes[1].texts
    assert words.get_text() == "some threshold makes\nno error on any split"


def test_labels_of_det_do_not_overprint(tmp_path):
    """The boxes in which ticks are written, as drawn, have no pixel in common."""
    for n in (30, 300, 20_000):
        figure = verification_curves({"test": random_pairs(n)}, 0.8)
        save(figure, tmp_path / "det.png")
        det = figure.axes[1]
        for axis in (det.xaxis, det.yaxis):
            low, high = sorted(axis.get_view_interval())
            ticks = zip(axis.get_majorticklocs(), axis.get_majorticklabels(), strict=True)
            boxes = [label.get_window_extent() for at, label in ticks if low <= at <= high]
            boxes += [t.get_window_extent() for t in axis.get_minorticklabels() if t.get_text()]
            assert boxes
            for i, box in enumerate(boxes):
                assert not any(box.overlaps(other) for other in boxes[:i])


def reliability_of(stated, genuine, impostor, prevalence=0.5):
    total = np.add(genuine, impostor)
    observed = tuple((np.asarray(genuine) / total).tolist())
    weight = tuple((total / total.sum()).tolist())
    return Reliability(prevalence, stated, observed, weight, 0.1, 0.1, genuine, impostor)


def test_intervals_of_bins_against_scipy():
    found = reliability_of((0.1, 0.5, 0.9), (1, 30, 69), (59, 40, 1))
    low, high = found.intervals()
    for k, n, a, b in zip(found.genuine, (60, 70, 70), low, high, strict=True):
        expected = binomtest(k, n).proportion_ci(0.95, method="wilson")
        assert (a, b) == pytest.approx((expected.low, expected.high), abs=1e-6)
    # Twice as many impostor pairs, at the prevalence of as many as before: the odds count.
    low, high = reliability_of((0.1, 0.9), (10, 90), (180, 20)).intervals()
    expected = binomtest(10, 190).proportion_ci(0.95, method="wilson")
    assert low[0] / (1 - low[0]) == pytest.approx(2 * expected.low / (1 - expected.low))


def test_a_split_is_no_proof_of_itself():
    judged = {"calibration": reliability_of((0.1, 0.9), (1, 9), (9, 1))}
    both = judged | {"test": reliability_of((0.2, 0.8), (2, 8), (8, 2))}

    def named(figure):
        return [t.get_text() for t in figure.axes[1].get_legend().get_texts()]

    assert named(reliability_diagram(both, 0.5, "calibration")) == [
        "as stated",
        "test: calibration error 0.1000",
    ]
    alone = named(reliability_diagram(judged, 0.5, "calibration"))
    assert alone[1].endswith("(fitted to it: no proof)")


def test_the_bars_are_shares_of_each_kind():
    figure = distance_histograms({"test": random_pairs(500, 0.2)}, 0.5)
    # Each kind is filled, and then outlined.
    filled = [c for c in figure.axes[0].containers if len(c) == 50]
    assert [sum(bar.get_height() for bar in bars) for bars in filled] == pytest.approx([100, 100])


def test_a_long_heading_is_wrapped_to_the_figure():
    figure = distance_histograms({"test": random_pairs(50)}, 0.5)
    head(figure, "no image is in two splits, but identities are: not the figures of strangers " * 3)
    figure.canvas.draw()
    box, (width, _) = figure._suptitle.get_window_extent(), figure.canvas.get_width_height()
    assert 0 <= box.x0 < box.x1 <= width
