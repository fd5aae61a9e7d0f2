"""From embeddings to figures.

The bootstrap against one that copies pairs, and against known sampling spread.
"""

import json

import numpy as np
import pytest
import torch

from siamese.distances.cosine import CosineDistance
from siamese.distances.euclidean import EuclideanDistance
from siamese.errors import CalibrationError
from siamese.pairs.all_pairs import AllPairs
from siamese.pairs.balanced_pairs import BalancedPairs
from siamese.verification.bootstrap import IdentityBootstrap
from siamese.verification.confusion import count_verdicts
from siamese.verification.curves import ThresholdCurve, auc, eer
from siamese.verification.drawn import whole_curve
from siamese.verification.figures import METRICS, evaluate_pairs
from siamese.verification.held import COUNTED_SINGLY
from siamese.verification.measure import measure_pairs
from siamese.verification.point import rates_at
from siamese.verification.thresholds import calibrate_pairs


def identities(n=12, each=5, spread=0.6, seed=0):
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(n, 4))
    labels = np.repeat(np.arange(n), each)
    return torch.tensor(
        centres[labels] + spread * rng.normal(size=(n * each, 4)), dtype=torch.float32
    ), labels


@pytest.mark.parametrize("distance", [EuclideanDistance(), CosineDistance()])
def test_calibrating_and_evaluating_the_same_pairs_gives_the_same_counts(distance):
    embeddings, labels = identities()
    measured = measure_pairs(embeddings, labels, BalancedPairs(), distance)
    point = calibrate_pairs(measured, epoch=3, step=40).point
    figures = evaluate_pairs(measured, point.threshold, "calibration")
    assert figures.confusion == point.confusion
    assert figures.f1 == point.f1
    assert (point.identities, point.images) == (12, 60)
    assert (point.genuine, point.impostor, point.prevalence) == (120, 120, 0.5)
    assert (point.epoch, point.step, point.policy, point.split) == (3, 40, "max_f1", "calibration")
    assert point.pair_rule == {"name": "balanced_pairs", "limit": 10_000, "seed": 0}


def test_weighted_figures_equal_those_of_copied_pairs():
    """The oracle writes each pair down as often as its identities were drawn, and counts them."""
    embeddings, labels = identities(6, 4, seed=2)
    # Rounded, so that there are ties.
    distances = np.round(
        measure_pairs(embeddings, labels, AllPairs(), EuclideanDistance()).distances, 1
    )
    pairs = AllPairs()(labels)
    thresholds, place = np.unique(distances, return_inverse=True)
    threshold = float(np.median(distances))
    assert threshold in thresholds
    # Neither kind without errors: nothing unseen is added.
    whole = ThresholdCurve.of(distances, pairs.same)
    counts = count_verdicts(distances, pairs.same, threshold)
    rng = np.random.default_rng(5)
    for _ in range(40):
        times = rng.multinomial(6, np.full(6, 1 / 6))
        copies = np.where(
            pairs.same,
            times[labels[pairs.left]],
            times[labels[pairs.left]] * times[labels[pairs.right]],
        )
        d, s = np.repeat(distances, copies), np.repeat(pairs.same, copies)
        if not s.any() or s.all():
            continue
        tp, fp = (
            np.cumsum(np.bincount(place, copies * kind))[None] for kind in (pairs.same, ~pairs.same)
        )
        drawn = IdentityBootstrap(thresholds, tp, fp, tp[:, -1], fp[:, -1], np.ones(2, dtype=int))
        recall, fmr = drawn.rates_at(threshold, whole, counts)
        own = tp[:, -1] / (tp[:, -1] + fp[:, -1])
        found = rates_at(recall, fmr, own) | whole_curve(drawn, 0.5, ["recall@fmr=0.3"])
        found["error"] = 1 - found["accuracy"]
        c, curve = count_verdicts(d, s, threshold), ThresholdCurve.of(d, s)
        expected = {m: getattr(c, m) for m in METRICS[:6]} | {"auc": auc(curve), "eer": eer(curve)}
        expected["recall@fmr=0.3"] = max(
            [s[d <= t].sum() / s.sum() for t in d if (~s & (d <= t)).sum() <= 0.3 * (~s).sum()],
            default=0,
        )
        assert {m: values.item() for m, values in found.items()} == pytest.approx(
            expected, abs=1e-12
        )


def test_intervals_are_those_of_identities_not_of_pairs():
    """12 identities, each with images all alike, are 12 observations, however many their pairs."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(12), 10)
    hard = np.arange(12) < 3  # three identities whose genuine pairs are all refused
    embeddings = torch.tensor(
        np.eye(12)[labels] * 10
        + rng.normal(size=(120, 12)) * np.where(hard, 3, 0.01)[labels][:, None]
    )
    measured = measure_pairs(embeddings, labels, BalancedPairs(), EuclideanDistance())
    low, high = evaluate_pairs(measured, 1.0).ci95["recall"]
    # Recall is 9/12 with the spread of a binomial over 12 identities, of standard deviation 0.125;
    # over 540 pairs it would be 0.019.
    assert 0.40 < low < 0.60
    assert 0.90 < high <= 1.0


def test_intervals_hold_the_figure_and_repeat():
    embeddings, labels = identities(20, 5, 0.8)
    measured = measure_pairs(embeddings, labels, BalancedPairs(), EuclideanDistance())
    point = calibrate_pairs(measured).point
    figures = evaluate_pairs(measured, point.threshold)
    for metric in METRICS:
        low, high = figures.ci95[metric]
        assert low <= getattr(figures, metric) <= high
        assert low < high
    assert evaluate_pairs(measured, point.threshold) == figures
    assert evaluate_pairs(measured, point.threshold, seed=1).ci95 != figures.ci95
    written = json.loads(json.dumps(figures.to_dict(), allow_nan=False))
    assert written["confusion"]["tp"] == figures.confusion.tp


def test_the_figures_at_the_stated_prevalence_are_those_of_pairs_copied_to_it():
    embeddings, labels = identities(20, 5, 0.8)
    measured = measure_pairs(embeddings, labels, AllPairs(), EuclideanDistance())
    found = evaluate_pairs(measured, 1.5, prevalence=0.25)
    c = found.confusion
    genuine, impostor = c.tp + c.fn, c.fp + c.tn
    # One genuine pair of four.
    tp, fn, fp, tn = (c.tp * impostor, c.fn * impostor, c.fp * genuine * 3, c.tn * genuine * 3)
    assert found.at_prevalence == pytest.approx(
        {
            "prevalence": 0.25,
            "precision": tp / (tp + fp),
            "f1": 2 * tp / (2 * tp + fp + fn),
            "accuracy": (tp + tn) / (tp + fn + fp + tn),
        }
    )
    for name in ("precision", "f1", "accuracy"):
        low, high = found.ci95[f"{name}@prevalence"]
        assert low < found.at_prevalence[name] < high
        assert (low, high) != found.ci95[name]
    assert evaluate_pairs(measured, 1.5).at_prevalence == {}
    with pytest.raises(CalibrationError, match="between 0 and 1"):
        evaluate_pairs(measured, 1.5, prevalence=1.0)


@pytest.mark.parametrize("held", [0, 10**9])
def test_where_no_error_was_seen_the_intervals_say_how_little_that_proves(monkeypatch, held):
    monkeypatch.setattr("siamese.verification.measure.HELD", held)
    embeddings, labels = identities(9, 3, 0.01)
    found = evaluate_pairs(measure_pairs(embeddings, labels, AllPairs(), EuclideanDistance()), 0.2)
    assert (found.recall, found.fmr, found.recall_at_fmr["0.1"]) == (1, 0, 1)
    assert (found.auc, found.eer) == (1, 0)
    # Clopper and Pearson: 9 identities, 36 pairs of them.
    missed, false = (1 - 0.025 ** (1 / n) for n in (9, 36))
    for name, expected in {
        "recall": (1 - missed, 1),
        "fmr": (0, false),
        "recall@fmr=0.1": (1 - missed, 1),
        "eer": (0, missed),
    }.items():
        assert found.ci95[name] == pytest.approx(expected, abs=0.01)
    for name in ("accuracy", "error", "precision", "f1", "auc"):
        low, high = found.ci95[name]
        assert low < high
        assert low <= getattr(found, name) <= high


def test_many_held_pairs_are_resampled_as_streamed_ones_are_with_the_same_intervals(monkeypatch):
    embeddings, labels = identities(80, 4, 0.8)
    measured = measure_pairs(embeddings, labels, AllPairs(), EuclideanDistance())
    assert len(measured.distances) > COUNTED_SINGLY
    many = evaluate_pairs(measured, 1.0).ci95
    monkeypatch.setattr("siamese.verification.held.COUNTED_SINGLY", 10**9)
    exact = evaluate_pairs(measured, 1.0).ci95
    assert set(many) == set(exact)
    for name, (low, high) in exact.items():
        assert many[name] == pytest.approx((low, high), abs=0.3 * (high - low))


def test_fewer_than_five_identities_claim_nothing():
    embeddings, labels = identities(4, 5, 0.8)
    measured = measure_pairs(embeddings, labels, BalancedPairs(), EuclideanDistance())
    assert evaluate_pairs(measured, 1.0).ci95 == {}
    assert calibrate_pairs(measured).point.ci95 == {}


def test_a_threshold_below_all_distances_accepts_nothing():
    embeddings, labels = identities()
    figures = evaluate_pairs(
        measure_pairs(embeddings, labels, BalancedPairs(), EuclideanDistance()), -1.0
    )
    assert (figures.confusion.tp, figures.confusion.fp) == (0, 0)
    assert (figures.recall, figures.precision) == (0.0, 0.0)
    low, high = figures.ci95["recall"]
    # Clopper and Pearson's limit for 12 identities.
    assert (low, high) == pytest.approx((0, 1 - 0.025 ** (1 / 12)), abs=0.01)


def test_recall_at_a_false_match_rate_is_stated_where_the_pairs_support_it_with_its_interval(
    monkeypatch,
):
    embeddings, labels = identities(60, 5, 0.8)
    pairs = AllPairs()(labels)
    d = EuclideanDistance().between(embeddings, pairs.left, pairs.right)
    for held in (10**9, 0):
        monkeypatch.setattr("siamese.verification.measure.HELD", held)
        figures = evaluate_pairs(
            measure_pairs(embeddings, labels, AllPairs(), EuclideanDistance()), 1.0
        )
        # Of 44,250 impostor pairs; 0.0001 needs 300,000.
        assert list(figures.recall_at_fmr) == ["0.1", "0.01", "0.001"]
        for rate, recall in figures.recall_at_fmr.items():
            allowed = np.sort(d[~pairs.same])[int(float(rate) * pairs.impostor)]
            assert recall == pytest.approx((d[pairs.same] < allowed).mean(), abs=0)
            low, high = figures.ci95[f"recall@fmr={rate}"]
            assert 0 < low < recall < high < 1


def test_names_and_arrays_do_as_well_as_numbers_and_tensors():
    rows = np.random.default_rng(0).normal(size=(12, 3)).astype(np.float32)
    numbers = np.arange(12) // 3
    one = measure_pairs(torch.from_numpy(rows), numbers, AllPairs(), EuclideanDistance())
    other = measure_pairs(rows, [f"person {n}" for n in numbers], "all_pairs", "euclidean")
    assert np.array_equal(one.distances, other.distances)
    assert np.array_equal(one.pairs.same, other.pairs.same)


@pytest.mark.parametrize(
    ("embeddings", "labels", "words"),
    [
        (torch.zeros(3), np.zeros(3, dtype=int), "do not fit"),
        (torch.zeros(3, 2), np.zeros(2, dtype=int), "do not fit"),
        (np.zeros((3, 2)), ["a", "b"], "one identity for each embedding"),
        (torch.full((3, 2), torch.nan), np.zeros(3), "3 of 3 embeddings are NaN"),
        (
            torch.tensor([[0.0, torch.inf], [0, 0]]),
            np.zeros(2),
            "1 of 2 embeddings are NaN or infinite",
        ),
    ],
)
def test_bad_embeddings_are_refused(embeddings, labels, words):
    with pytest.raises(CalibrationError, match=words):
        measure_pairs(embeddings, labels, AllPairs(), EuclideanDistance())


@pytest.mark.parametrize("held", [0, 10**9])
@pytest.mark.parametrize("spread", [0.8, 0.01])
def test_calibration_and_evaluation_state_the_same_intervals_for_the_same_pairs(
    monkeypatch, held, spread
):
    monkeypatch.setattr("siamese.verification.measure.HELD", held)
    distances = measure_pairs(*identities(20, 5, spread), AllPairs(), EuclideanDistance())
    point = calibrate_pairs(distances).point
    found = evaluate_pairs(distances, point.threshold).ci95
    assert point.ci95["f1"][0] < point.ci95["f1"][1]
    assert {name: found[name] for name in point.figures} == {
        name: point.ci95[name] for name in point.figures
    }
