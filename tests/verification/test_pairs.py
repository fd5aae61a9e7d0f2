"""Pair protocols: what they promise about every labelling."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from siamese.errors import CalibrationError, ConfigError
from siamese.verification import PROTOCOLS, AllPairs, BalancedPairs, Pairs

labellings = st.lists(st.integers(0, 6), min_size=2, max_size=40).map(np.array)


def as_set(pairs, kind):
    return {frozenset(p) for p in zip(pairs.left[kind].tolist(), pairs.right[kind].tolist(), strict=True)}


@settings(max_examples=300, deadline=None)
@given(labellings)
def test_all_pairs_are_all_pairs(labels):
    pairs = AllPairs()(labels)
    expected = {frozenset((i, j)) for i in range(len(labels)) for j in range(i)}
    assert as_set(pairs, np.full(len(pairs), True)) == expected
    assert len(pairs) == len(expected)
    assert all(s == (labels[i] == labels[j]) for i, j, s in zip(pairs.left, pairs.right, pairs.same, strict=True))


@settings(max_examples=500, deadline=None)
@given(labellings, st.integers(1, 60), st.integers(0, 5))
def test_balanced_pairs_are_balanced_true_and_different(labels, limit, seed):
    pairs = BalancedPairs(limit, seed)(labels)
    everything = AllPairs()(labels)
    assert pairs.genuine == pairs.impostor == min(limit, everything.genuine, everything.impostor)
    genuine, impostor = as_set(pairs, pairs.same), as_set(pairs, ~pairs.same)
    assert len(genuine) + len(impostor) == len(pairs)  # none twice, order ignored
    assert genuine <= as_set(everything, everything.same)
    assert impostor <= as_set(everything, ~everything.same)


@settings(max_examples=50, deadline=None)
@given(labellings, st.integers(0, 5))
def test_balanced_pairs_repeat_themselves(labels, seed):
    first, second = BalancedPairs(20, seed)(labels), BalancedPairs(20, seed)(labels)
    assert np.array_equal(first.left, second.left)
    assert np.array_equal(first.right, second.right)


def test_people_are_drawn_first():
    # One person with 400 pictures beside 100 with four: 79,800 of the 80,400 genuine pairs are his.
    labels = np.concatenate([np.zeros(400, int), np.repeat(np.arange(1, 101), 4)])
    pairs = BalancedPairs(limit=300, seed=1)(labels)
    his = int((labels[pairs.left[pairs.same]] == 0).sum())
    assert his < 15  # about 300 / 101; by pairs it would be 298
    met = int(((labels[pairs.left] == 0) | (labels[pairs.right] == 0))[~pairs.same].sum())
    assert met < 25  # about 2 x 300 / 101; by pictures it would be half of all


def test_another_seed_gives_other_pairs():
    labels = np.repeat(np.arange(20), 10)
    a, b = BalancedPairs(100, 0)(labels), BalancedPairs(100, 1)(labels)
    assert as_set(a, ~a.same) != as_set(b, ~b.same)


def test_all_pairs_of_too_many_pictures_is_refused_before_memory_is_taken():
    with pytest.raises(CalibrationError, match="balanced_pairs"):
        AllPairs()(np.zeros(20_000, dtype=np.int64))


def test_protocols_are_named_with_their_settings():
    for protocol in (AllPairs(), BalancedPairs(7, 3)):
        assert PROTOCOLS.build(protocol.describe()) == protocol
    with pytest.raises(ConfigError, match="did you mean 'limit'"):
        PROTOCOLS.build({"name": "balanced_pairs", "limt": 3})
    with pytest.raises(ConfigError, match="limit >= 1"):
        PROTOCOLS.build({"name": "balanced_pairs", "limit": 0})


def test_pairs_of_different_lengths_are_refused():
    with pytest.raises(CalibrationError, match="equally long"):
        Pairs(np.arange(3), np.arange(2), np.ones(3, dtype=bool))
