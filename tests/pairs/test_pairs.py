"""Pair rules: what they promise about every labelling."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.random_cases import random_cases

from siamese.errors import CalibrationError, ConfigError
from siamese.pairs.all_pairs import AllPairs
from siamese.pairs.balanced_pairs import BalancedPairs
from siamese.pairs.base import PAIR_RULES, Pairs
from siamese.pairs.fixed_pairs import FixedPairs
from siamese.pairs.ordered_pairs import OrderedPairs

labellings = st.lists(st.integers(0, 6), min_size=2, max_size=40).map(np.array)


def as_set(pairs, kind):
    return {
        frozenset(p)
        for p in zip(pairs.left[kind].tolist(), pairs.right[kind].tolist(), strict=True)
    }


@random_cases(300)
@given(labellings)
def test_all_pairs_are_all_pairs(labels):
    pairs = AllPairs()(labels)
    expected = {frozenset((i, j)) for i in range(len(labels)) for j in range(i)}
    assert as_set(pairs, np.full(len(pairs), True)) == expected
    assert len(pairs) == len(expected)
    assert all(
        s == (labels[i] == labels[j])
        for i, j, s in zip(pairs.left, pairs.right, pairs.same, strict=True)
    )


@random_cases(500)
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


def test_identities_are_drawn_first():
    # One identity with 400 images beside 100 with four: 79,800 of 80,400 genuine pairs are its own.
    labels = np.concatenate([np.zeros(400, int), np.repeat(np.arange(1, 101), 4)])
    pairs = BalancedPairs(limit=300, seed=1)(labels)
    own = int((labels[pairs.left[pairs.same]] == 0).sum())
    assert own < 15  # about 300 / 101; by pairs it would be 298
    met = int(((labels[pairs.left] == 0) | (labels[pairs.right] == 0))[~pairs.same].sum())
    assert met < 25  # about 2 x 300 / 101; by images it would be half of all


def test_another_seed_gives_other_pairs():
    labels = np.repeat(np.arange(20), 10)
    a, b = BalancedPairs(100, 0)(labels), BalancedPairs(100, 1)(labels)
    assert as_set(a, ~a.same) != as_set(b, ~b.same)


def test_all_pairs_of_too_many_images_is_refused_before_memory_is_taken():
    with pytest.raises(CalibrationError, match="balanced_pairs"):
        AllPairs()(np.zeros(20_000, dtype=np.int64))


def test_rules_are_named_with_their_settings():
    for rule in (AllPairs(), BalancedPairs(7, 3)):
        assert PAIR_RULES.build(rule.describe()) == rule
    with pytest.raises(ConfigError, match="did you mean 'limit'"):
        PAIR_RULES.build({"name": "balanced_pairs", "limt": 3})
    with pytest.raises(ConfigError, match=r"limit of \w+_pairs must be a whole number from 1"):
        PAIR_RULES.build({"name": "balanced_pairs", "limit": 0})


def test_pairs_of_different_lengths_are_refused():
    with pytest.raises(CalibrationError, match="equally long"):
        Pairs(np.arange(3), np.arange(2), np.ones(3, dtype=bool))


@random_cases(300)
@given(labellings, st.integers(0, 5))
def test_ordered_pairs_are_every_genuine_pair_both_ways_with_an_impostor_each(labels, seed):
    pairs = OrderedPairs(10_000, seed)(labels)
    ordered = [
        (a, b)
        for a in range(len(labels))
        for b in range(len(labels))
        if a != b and labels[a] == labels[b]
    ]
    if len(set(labels.tolist())) < 2 or not ordered:
        assert not len(pairs)
        return
    listed = list(zip(pairs.left.tolist(), pairs.right.tolist(), strict=True))
    assert sorted(p for p, same in zip(listed, pairs.same, strict=True) if same) == sorted(ordered)
    assert sorted(a for (a, _), same in zip(listed, pairs.same, strict=True) if not same) == sorted(
        a for a, _ in ordered
    )
    assert all(
        (labels[a] == labels[b]) == same for (a, b), same in zip(listed, pairs.same, strict=True)
    )


@pytest.mark.parametrize("identities", [12, 2000])
def test_ordered_pairs_beyond_the_limit_are_a_random_part_of_them(identities):
    # 2,000 identities with 60 images have 7,080,000 ordered genuine pairs: too many to write out
    # and permute.
    labels = np.repeat(np.arange(identities), 60)
    pairs = OrderedPairs(500, seed=1)(labels)
    assert (pairs.genuine, pairs.impostor) == (500, 500)
    genuine = set(zip(pairs.left[:500].tolist(), pairs.right[:500].tolist(), strict=True))
    assert len(genuine) == 500
    half = np.mean([labels[a] < identities / 2 for a, _ in genuine])
    assert abs(half - 0.5) < 0.1  # not the first ones
    assert genuine != set(
        zip(
            *(side[:500].tolist() for side in _sides(OrderedPairs(500, seed=2)(labels))),
            strict=True,
        )
    )


def _sides(pairs):
    return pairs.left, pairs.right


def test_fixed_pairs_are_what_they_are_and_labels_say_which_are_genuine():
    pairs = FixedPairs(np.array([0, 2]), np.array([1, 0]), "somebody")(np.array([7, 7, 9]))
    assert pairs.same.tolist() == [True, False]
    assert FixedPairs(np.array([0]), np.array([1]), "somebody").describe() == {
        "name": "fixed_pairs",
        "source": "somebody",
    }
    with pytest.raises(CalibrationError, match="row 2, but there are 2 images"):
        FixedPairs(np.array([0, 2]), np.array([1, 0]), "somebody")(np.array([7, 7]))


def test_a_limit_of_ordered_pairs_below_1_is_refused():
    with pytest.raises(ConfigError, match=r"limit of \w+_pairs must be a whole number from 1"):
        OrderedPairs(0)
