"""Drift between two sets of identities.

Sets of the same kind are seldom called different, of another kind nearly always.
"""

import itertools

import numpy as np
import pytest
from tests.random_cases import count_of, most_of

from siamese.errors import CalibrationError
from siamese.verification.policies.fmr import Fmr
from siamese.verification.policies.max_f1 import MaxF1
from siamese.verification.thresholds import calibrate


def sample(seed, identities=40, spread=0.6, scale=1.0):
    rng = np.random.default_rng(seed)
    who = np.repeat(np.arange(identities), 5)
    # Some identities vary more than others.
    own = spread * rng.uniform(0.5, 1.5, identities)[who, None]
    return scale * (
        rng.normal(size=(identities, 6))[who] + own * rng.normal(size=(len(who), 6))
    ), who


def differs(earlier, later):
    low, high = later.shift_from(earlier)
    return not low <= 0 <= high


@pytest.mark.random_cases
@pytest.mark.parametrize("policy", [MaxF1(prevalence="balanced"), Fmr(0.01)])
def test_identities_of_the_same_kind_are_called_different_about_once_in_twenty(policy):
    trials = count_of(60)
    found = [calibrate(*sample(seed), policy, probability=None) for seed in range(trials + 1)]
    alarms = sum(differs(a, b) for a, b in itertools.pairwise(found))
    assert alarms <= most_of(trials, 0.05)
    outside = sum(not b.band[0] <= a.threshold <= b.band[1] for a, b in itertools.pairwise(found))
    assert outside > alarms


@pytest.mark.random_cases
@pytest.mark.parametrize("many", [20, 200])
def test_more_identities_or_other_pairs_of_the_same_kind_are_no_drift(many):
    """Of more identities' pairs fewer are genuine: that moves the threshold, and is no drift."""
    trials = count_of(16)
    found = [
        (
            calibrate(*sample(s), probability=None),
            calibrate(*sample(s + 500, many), probability=None),
        )
        for s in range(trials)
    ]
    assert sum(differs(a, b) for a, b in found) <= most_of(trials, 0.05)
    moved = np.mean([a.threshold for a, _ in found]) - np.mean([b.threshold for _, b in found])
    assert abs(moved) > 0.1  # else the test tells nothing
    for seed in range(count_of(10)):
        every, some = (
            calibrate(*sample(seed), pairs=pairs, probability=None)
            for pairs in ("all_pairs", "balanced_pairs")
        )
        assert not differs(every, some)
        assert not differs(some, every)


def test_what_cannot_be_compared_is_refused():
    found = calibrate(*sample(0))
    with pytest.raises(CalibrationError, match="of euclidean and of cosine distance"):
        found.shift_from(calibrate(*sample(0), distance="cosine"))
    with pytest.raises(CalibrationError, match="give what calibrate returned"):
        found.shift_from(4.0)


@pytest.mark.parametrize("policy", ["max_f1", MaxF1(prevalence="balanced"), Fmr(0.01)])
def test_identities_whose_distances_are_larger_are_noticed(policy):
    for seed in range(10):
        earlier = calibrate(*sample(seed), policy, probability=None)
        later = calibrate(*sample(seed + 100, scale=2.0), policy, probability=None)
        assert differs(earlier, later)
        low, high = later.shift_from(earlier)
        assert low <= later.threshold - earlier.threshold <= high


def test_where_nothing_can_be_said_nothing_is():
    earlier = calibrate(*sample(0), "eer")
    few = calibrate(*sample(1, identities=4), "eer")
    assert few.shift_from(earlier) is None
    assert earlier.shift_from(few) is None
    assert earlier.with_policy(1.0).shift_from(earlier) is None
    # 6 identities have too few impostor pairs for the rate that these chose.
    six = calibrate(*sample(3, identities=6), "eer")
    assert calibrate(*sample(2), Fmr(1e-2)).shift_from(six) is None
