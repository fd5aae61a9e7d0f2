"""Figures of searches, against counting by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import siamese
from siamese.verification.identification import evaluate_search


def by_hand(gallery, gallery_labels, probe, label):
    """Rank, average precision and distances of one probe, as plain lists."""
    measure = siamese.EuclideanDistance()
    distances = measure.matrix(probe[None], gallery).numpy()[0].tolist()
    people = {}
    for d, name in zip(distances, gallery_labels.tolist(), strict=True):
        people[name] = min(d, people.get(name, np.inf))
    own = people.pop(label, np.inf)
    other = min(people.values(), default=np.inf)
    rank = 1 + sum(d <= own for d in people.values()) if np.isfinite(own) else 0
    ranking = sorted(zip(distances, (gallery_labels == label).tolist(), strict=True))
    hits, precisions = 0, []
    for place, (_, relevant) in enumerate(ranking, start=1):
        if relevant:
            hits += 1
            precisions.append(hits / place)
    return own, other, rank, np.mean(precisions) if precisions else np.nan


@given(st.integers(0, 10_000), st.integers(1, 30), st.integers(1, 10), st.integers(1, 9))
def test_every_probe_is_as_counted_by_hand(seed, rows, probes, people):
    random = np.random.default_rng(seed)
    gallery = random.integers(-2, 3, (rows, 2)).astype(np.float32)  # many ties
    gallery_labels = random.integers(0, people, rows)
    searched = random.integers(-2, 3, (probes, 2)).astype(np.float32)
    labels = random.integers(0, people + 3, probes)
    found = evaluate_search(gallery, gallery_labels, searched, labels)
    assert found.people == len(set(gallery_labels.tolist()))
    for i in range(probes):
        own, other, rank, precision = by_hand(gallery, gallery_labels, searched[i], labels[i])
        assert (found.own[i], found.other[i], found.ranks[i]) == (own, other, rank)
        np.testing.assert_allclose(found.precisions[i], precision)
    for threshold in (-1.0, 0.0, 1.0, 2.0, 10.0):
        at = found.at(threshold)
        counts = {"fpir": [], "fnir": [], "misnamed": []}
        for i in range(probes):
            named = min(found.own[i], found.other[i]) <= threshold
            right = named and found.own[i] < found.other[i]
            if found.mated[i]:
                counts["fnir"].append(not right)
                counts["misnamed"].append(named and not right)
            else:
                counts["fpir"].append(named)
        for name, each in counts.items():
            assert getattr(at, name) == (pytest.approx(np.mean(each)) if each else None)
            assert not each or at.ci95.get(name, (0, 1))[0] <= np.mean(each)


def test_a_worked_example():
    gallery = np.array([[0.0], [1.0], [5.0]])
    found = evaluate_search(
        gallery,
        ["ann", "bob", "eve"],
        np.array([[0.1], [0.4], [4.0], [0.6], [9.0]]),
        ["ann", "bob", "eve", "max", "lea"],
    )
    assert found.ranks.tolist() == [1, 2, 1, 0, 0]
    assert found.cmc().tolist() == pytest.approx([2 / 3, 1, 1])
    assert found.rank(1) == pytest.approx(2 / 3)
    assert found.mean_average_precision == pytest.approx((1 + 1 / 2 + 1) / 3)
    at = found.at(0.5)  # ann is named, bob is taken for ann, eve for nobody; max for bob
    assert (at.fnir, at.misnamed, at.fpir) == pytest.approx((2 / 3, 1 / 3, 1 / 2))
    assert repr(found) == "SearchEvaluation(3 probes of enrolled and 2 of other people, among 3)"


def test_memory_is_bounded_and_parts_change_nothing(monkeypatch):
    random = np.random.default_rng(0)
    given_ = (random.normal(size=(40, 8)), np.arange(40) % 13, random.normal(size=(30, 8)),
              np.arange(30) % 20)  # fmt: skip
    whole = evaluate_search(*given_)
    monkeypatch.setattr("siamese.verification.identification._NUMBERS", 50)
    parts = evaluate_search(*given_)
    for name in ("own", "other", "ranks", "precisions"):
        np.testing.assert_array_equal(getattr(whole, name), getattr(parts, name))


def test_intervals_hold_the_truth_as_often_as_they_say():
    """Identities with error rates of their own; 95 % of the intervals hold their mean."""
    held = 0
    for seed in range(200):
        random = np.random.default_rng(seed)
        rates = random.beta(1, 4, 60)  # mean 0.2
        labels = np.repeat(np.arange(60), 8)
        wrong = random.random(480) < rates[labels]
        # One person is enrolled, whom those are taken for who are near.
        probes = np.where(wrong, 0.1, 9.0)[:, None]
        found = evaluate_search(np.zeros((1, 1)), [-1], probes, labels).at(1.0)
        low, high = found.ci95["fpir"]
        held += low <= 0.2 <= high
    assert 180 <= held <= 199


def test_no_error_seen_is_no_error_proven():
    found = evaluate_search(np.zeros((1, 1)), [0], np.full((20, 1), 5.0), np.arange(1, 21))
    at = found.at(1.0)
    assert at.fpir == 0
    assert at.ci95["fpir"] == (0.0, pytest.approx(1 - 0.025 ** (1 / 20)))
    assert (at.fnir, at.misnamed, found.rank(), found.mean_average_precision) == (None,) * 4
    assert np.isnan(found.cmc()).all()


@pytest.mark.parametrize(
    "wrong",
    [
        (np.zeros((0, 2)), [], np.zeros((1, 2)), [0]),
        (np.zeros((1, 2)), [0, 1], np.zeros((1, 2)), [0]),
        (np.zeros((1, 2)), [0], np.zeros((1, 3)), [0]),
        (np.full((1, 2), np.nan), [0], np.zeros((1, 2)), [0]),
    ],
)
def test_what_cannot_be_searched_is_refused(wrong):
    with pytest.raises(siamese.CalibrationError):
        evaluate_search(*wrong)
