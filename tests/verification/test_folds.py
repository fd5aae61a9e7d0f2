"""Cross-validated verification against brute force in fractions.

And no fold has a say in its own threshold.
"""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score
from tests.helpers import assert_in_the_middle, assert_says

from siamese.errors import CalibrationError
from siamese.verification.folds import cross_validate


@st.composite
def folded(draw):
    """Few distinct distances, so that ties abound; both kinds in every fold."""
    folds = draw(st.integers(2, 4))
    n = draw(st.integers(2, 6))
    rows = [
        (f, bool(i % 2), draw(st.integers(0, 6)) / 4) for f in range(folds) for i in range(2 * n)
    ]
    fold, same, distances = zip(*rows, strict=True)
    return np.array(distances, np.float32), np.array(same), np.array(fold)


def right(distances, same, threshold) -> int:
    return sum(
        (d <= threshold) == s for d, s in zip(distances.tolist(), same.tolist(), strict=True)
    )


def best_threshold(distances, same) -> float:
    """The smallest of the most accurate thresholds.

    They are every distance that occurs, and a number just below all of them.
    """
    candidates = [
        float(np.nextafter(distances.min(), np.float32(-1))),
        *sorted(set(distances.tolist())),
    ]
    return max(candidates, key=lambda t: (right(distances, same, t), -t))


@given(folded())
def test_against_brute_force(case):
    distances, same, fold = case
    found = cross_validate(distances, same, fold)
    shares = []
    for tested in found.folds:
        here = fold == tested.fold
        expected = best_threshold(distances[~here], same[~here])
        if expected in distances:
            assert_in_the_middle(tested.threshold, expected, distances[~here])
        else:  # every pair is refused
            assert tested.threshold == expected
        got = right(distances[here], same[here], tested.threshold)
        shares.append(Fraction(got, int(here.sum())))
        assert tested.tp + tested.fn == same[here].sum()
        assert tested.fp + tested.tn == (~same[here]).sum()
        assert tested.accuracy == pytest.approx(float(shares[-1]))
    mean = sum(shares) / len(shares)
    variance = sum((s - mean) ** 2 for s in shares) / (len(shares) - 1)
    assert found.mean == pytest.approx(float(mean))
    assert found.standard_error == pytest.approx(math.sqrt(variance / len(shares)), abs=1e-12)
    assert found.auc == pytest.approx(roc_auc_score(same, -distances))


@given(folded(), st.randoms(use_true_random=False))
@settings(max_examples=40)
def test_the_order_of_pairs_does_not_matter(case, random):
    distances, same, fold = case
    order = list(range(len(same)))
    random.shuffle(order)
    shuffled = cross_validate(distances[order], same[order], fold[order])
    assert shuffled == cross_validate(distances, same, fold)


@given(folded(), st.randoms(use_true_random=False))
@settings(max_examples=40)
def test_a_fold_has_no_say_in_its_own_threshold(case, random):
    distances, same, fold = case
    before = cross_validate(distances, same, fold).folds[0]
    spoilt, turned = distances.copy(), same.copy()
    here = np.flatnonzero(fold == before.fold)
    spoilt[here] = [random.randint(0, 9) / 8 for _ in here]
    turned[here] = [random.random() < 0.5 for _ in here]
    after = cross_validate(spoilt, turned, fold, tested=[before.fold]).folds[0]
    assert after.threshold == before.threshold


DISTANCES = np.array([0.1, 0.2, 0.9, 0.8, 0.15, 0.7, 0.3, 0.95], np.float32)
SAME = np.array([1, 1, 0, 0, 1, 0, 1, 0], bool)
FOLD = np.array([0, 0, 0, 0, 1, 1, 1, 1])


def test_pairs_without_a_face_are_counted_both_ways():
    missing = np.array([0, 0, 0, 1, 0, 0, 1, 0], bool)
    distances = np.where(np.float32(0.3) == DISTANCES, np.float32(0.6), DISTANCES)
    found = cross_validate(distances, SAME, FOLD, missing=missing)
    # On paper: fold 0 gets 0.65, halfway from 0.6 to 0.7, and is right four times; fold 1 gets 0.5,
    # halfway from 0.2 to 0.8, and refuses the genuine pair at 0.6.
    assert [f.threshold for f in found.folds] == [pytest.approx(0.65), pytest.approx(0.5)]
    assert [f.accuracy for f in found.folds] == [1, 0.75]
    # The one that is wrong already is not counted twice.
    assert [f.strict_accuracy for f in found.folds] == [0.75, 0.75]
    assert (found.mean, found.strict_mean) == (0.875, 0.75)


def test_refused_pairs_are_different_identities_and_choose_nothing():
    refused = np.array([1, 0, 1, 0, 0, 0, 0, 0], bool)
    distances = DISTANCES.copy()
    distances[refused] = np.nan  # nothing may look at them
    found = cross_validate(distances, SAME, FOLD, refused=refused)
    first = found.folds[0]
    assert (first.tp, first.fn, first.fp, first.tn) == (1, 1, 0, 2)
    assert (first.missing, first.missing_right) == (2, 1)
    rest = cross_validate(DISTANCES[~refused], SAME[~refused], FOLD[~refused])
    assert [f.threshold for f in found.folds] == [f.threshold for f in rest.folds]


def test_only_the_folds_that_are_asked_for_are_tested():
    found = cross_validate(DISTANCES, SAME, FOLD, tested=[1])
    assert [f.fold for f in found.folds] == [1]
    assert math.isnan(found.standard_error)
    assert found.to_dict()["standard_error"] is None
    assert found.auc == 1  # of fold 1 alone


def test_a_given_threshold_is_applied_as_it_is():
    found = cross_validate(DISTANCES, SAME, FOLD, policy=0.75)
    assert {f.threshold for f in found.folds} == {0.75}
    assert (found.policy, found.folds[1].fp) == ("given", 1)
    found = cross_validate(DISTANCES, SAME, np.zeros(8, int), policy=0.75)
    assert found.mean == pytest.approx(7 / 8)


def test_another_policy():
    found = cross_validate(DISTANCES, SAME, FOLD, policy={"name": "recall", "rate": 1.0})
    assert found.policy == "recall"
    assert found.folds[1].threshold == pytest.approx(0.5)  # halfway from 0.2 to 0.8


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"fold": np.zeros(8, int)}, ["one fold alone", "give a threshold"]),
        ({"same": SAME[:5]}, ["equally long"]),
        ({"tested": [7]}, ["fold 7", "no pairs"]),
        ({"missing": np.zeros(3, bool)}, ["equally long"]),
        ({"distances": np.where(FOLD, np.nan, DISTANCES)}, ["NaN"]),
        ({"same": FOLD == 0}, ["both kinds"]),
    ],
)
def test_what_cannot_be_judged(change, words):
    arguments = {"distances": DISTANCES, "same": SAME, "fold": FOLD} | change
    with pytest.raises(CalibrationError) as caught:
        cross_validate(**arguments)
    assert_says(caught.value, *words)


@pytest.mark.parametrize("threshold", [0.5, np.float32(0.5), np.float64(0.5)])
def test_a_number_of_any_kind_is_a_threshold(threshold):
    found = cross_validate(
        np.array([0.1, 0.9]), np.array([True, False]), np.array([0, 0]), policy=threshold
    )
    assert (found.mean, found.policy, found.folds[0].threshold) == (1.0, "given", 0.5)


@pytest.mark.parametrize("threshold", [float("nan"), float("inf"), np.float32("nan")])
def test_a_threshold_that_is_no_number_is_refused(threshold):
    with pytest.raises(CalibrationError, match="finite number"):
        cross_validate(
            np.array([0.1, 0.9]), np.array([True, False]), np.array([0, 0]), policy=threshold
        )
