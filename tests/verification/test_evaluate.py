"""From embeddings to figures; the bootstrap against one that copies pairs, and against known sampling spread."""

import json

import numpy as np
import pytest
import torch

from siamese.distances import CosineDistance, EuclideanDistance
from siamese.errors import CalibrationError
from siamese.pairs import AllPairs, BalancedPairs
from siamese.verification import ThresholdCurve, auc, bootstrap, calibrated, compare, confusion, eer, evaluate
from siamese.verification.evaluate import METRICS, _weighted


def people(n=12, each=5, spread=0.6, seed=0):
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(n, 4))
    labels = np.repeat(np.arange(n), each)
    return torch.tensor(centres[labels] + spread * rng.normal(size=(n * each, 4)), dtype=torch.float32), labels


@pytest.mark.parametrize("distance", [EuclideanDistance(), CosineDistance()])
def test_calibrating_and_evaluating_the_same_pairs_gives_the_same_counts(distance):
    embeddings, labels = people()
    compared = compare(embeddings, labels, BalancedPairs(), distance)
    point = calibrated(compared, epoch=3, step=40).point
    figures = evaluate(compared, point.threshold, "calibration", replicates=100)
    assert figures.confusion == point.confusion
    assert figures.f1 == point.f1
    assert (point.people, point.images, point.genuine, point.impostor, point.prevalence) == (12, 60, 120, 120, 0.5)
    assert (point.epoch, point.step, point.policy, point.split) == (3, 40, "max_f1", "calibration")
    assert point.protocol == {"name": "balanced_pairs", "limit": 10_000, "seed": 0}


def test_weighted_figures_equal_those_of_copied_pairs():
    """The oracle writes each pair down as often as its people were drawn, and counts plainly."""
    embeddings, labels = people(6, 4, seed=2)
    distances = np.round(compare(embeddings, labels, AllPairs(), EuclideanDistance()).distances, 1)  # with ties
    pairs = AllPairs()(labels)
    order = np.argsort(distances, kind="stable")
    ends = np.flatnonzero(np.append(np.diff(distances[order]) > 0, True))
    threshold = float(np.median(distances))
    rng = np.random.default_rng(5)
    for _ in range(40):
        times = rng.multinomial(6, np.full(6, 1 / 6))
        copies = np.where(pairs.same, times[labels[pairs.left]], times[labels[pairs.left]] * times[labels[pairs.right]])
        d, s = np.repeat(distances, copies), np.repeat(pairs.same, copies)
        if not s.any() or s.all():
            continue
        weight = copies[order][None].astype(float)
        genuine = np.cumsum(weight * pairs.same[order], axis=1)
        found = _weighted(genuine, np.cumsum(weight, axis=1) - genuine, ends, int((distances <= threshold).sum()), (0.3,))
        c, curve = confusion(d, s, threshold), ThresholdCurve.of(d, s)
        expected = {m: getattr(c, m) for m in METRICS[:6]} | {"auc": auc(curve), "eer": eer(curve)}
        expected["recall@far=0.3"] = max(
            [s[d <= t].sum() / s.sum() for t in d if (~s & (d <= t)).sum() <= 0.3 * (~s).sum()], default=0
        )
        assert {m: float(v[0]) for m, v in found.items()} == pytest.approx(expected, abs=1e-12)


def test_intervals_are_those_of_people_not_of_pairs():
    """With every person's pictures alike, 12 people are 12 observations however many pairs they form."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(12), 10)
    hard = np.arange(12) < 3  # three people whose genuine pairs are all refused
    embeddings = torch.tensor(np.eye(12)[labels] * 10 + rng.normal(size=(120, 12)) * np.where(hard, 3, 0.01)[labels][:, None])
    compared = compare(embeddings, labels, BalancedPairs(), EuclideanDistance())
    low, high = bootstrap(compared, 1.0)["recall"]
    # Recall is 9/12 with the spread of a binomial over 12 people: sd 0.125; over 540 pairs it would be 0.019.
    assert 0.40 < low < 0.60
    assert 0.90 < high <= 1.0


def test_intervals_hold_the_figure_and_repeat():
    embeddings, labels = people(20, 5, 0.8)
    compared = compare(embeddings, labels, BalancedPairs(), EuclideanDistance())
    point = calibrated(compared).point
    figures = evaluate(compared, point.threshold)
    for metric in METRICS:
        low, high = figures.ci95[metric]
        assert low <= getattr(figures, metric) <= high
        assert low < high
    assert evaluate(compared, point.threshold) == figures
    assert bootstrap(compared, point.threshold, seed=1) != figures.ci95
    assert json.loads(json.dumps(figures.to_dict(), allow_nan=False))["confusion"]["tp"] == figures.confusion.tp


def test_fewer_than_five_people_claim_nothing():
    embeddings, labels = people(4, 5, 0.8)
    compared = compare(embeddings, labels, BalancedPairs(), EuclideanDistance())
    assert set(bootstrap(compared, 1.0).values()) == {(0.0, 1.0)}


def test_a_threshold_below_all_distances_accepts_nothing():
    embeddings, labels = people()
    figures = evaluate(compare(embeddings, labels, BalancedPairs(), EuclideanDistance()), -1.0, replicates=100)
    assert (figures.confusion.tp, figures.confusion.fp, figures.recall, figures.precision) == (0, 0, 0.0, 0.0)
    assert figures.ci95["recall"] == (0.0, 0.0)


def test_recall_at_a_false_match_rate_is_stated_where_the_pairs_support_it_with_its_interval(monkeypatch):
    embeddings, labels = people(60, 5, 0.8)
    pairs = AllPairs()(labels)
    d = EuclideanDistance().between(embeddings, pairs.left, pairs.right)
    for held in (10**9, 0):
        monkeypatch.setattr("siamese.verification.compared.HELD", held)
        figures = evaluate(compare(embeddings, labels, AllPairs(), EuclideanDistance()), 1.0, replicates=200)
        assert list(figures.recall_at_far) == ["0.1", "0.01", "0.001"]  # of 44,250 impostor pairs; 0.0001 needs 300,000
        for rate, recall in figures.recall_at_far.items():
            allowed = np.sort(d[~pairs.same])[int(float(rate) * pairs.impostor)]
            assert recall == pytest.approx((d[pairs.same] < allowed).mean(), abs=0 if held else 0.01)
            low, high = figures.ci95[f"recall@far={rate}"]
            assert 0 < low < recall < high < 1


@pytest.mark.parametrize(
    ("embeddings", "labels", "words"),
    [
        (torch.zeros(3), np.zeros(3), "do not fit"),
        (torch.zeros(3, 2), np.zeros(2), "do not fit"),
        (torch.full((3, 2), torch.nan), np.zeros(3), "3 of 3 embeddings are NaN"),
        (torch.tensor([[0.0, torch.inf], [0, 0]]), np.zeros(2), "1 of 2 embeddings are NaN or infinite"),
    ],
)
def test_bad_embeddings_are_refused(embeddings, labels, words):
    with pytest.raises(CalibrationError, match=words):
        compare(embeddings, labels, AllPairs(), EuclideanDistance())
