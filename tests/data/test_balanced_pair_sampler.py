"""Balanced pairs, half genuine and half impostor.

No pair comes twice, and identities are drawn before their images.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.random_cases import random_cases

from siamese.data.samplers.balanced_pair_sampler import BalancedPairSampler
from siamese.data.samplers.base import IdentityRows


def labels_of(counts: list[int]) -> np.ndarray:
    return np.random.default_rng(1).permutation(np.repeat(np.arange(len(counts)), counts))


@random_cases(100)
@given(
    counts=st.lists(st.integers(2, 20), min_size=8, max_size=30),
    half=st.integers(1, 8),
    seed=st.integers(0, 2**31),
    step=st.integers(0, 50),
)
def test_a_batch_is_half_genuine_and_half_impostor_pairs_each_once(counts, half, seed, step):
    labels = labels_of(counts)
    plan = BalancedPairSampler(2 * half).plan(IdentityRows(labels), (seed,), 1, step, 0, 1)
    assert plan.pairs.shape == (2, 2 * half)
    assert len(set(plan.indices.tolist())) == len(plan)  # each image is loaded once
    left, right = plan.indices[plan.pairs]
    assert set(plan.pairs.ravel().tolist()) == set(range(len(plan)))  # and none for nothing
    same = labels[left] == labels[right]
    assert same.sum() == half
    assert (left != right).all()
    distinct = {frozenset(pair) for pair in zip(left.tolist(), right.tolist(), strict=True)}
    assert len(distinct) == 2 * half


def test_a_small_data_set_gives_the_pairs_that_it_has():
    labels = np.array([0, 0, 1])
    plan = BalancedPairSampler(64).plan(IdentityRows(labels), (0,), 0, 0, 0, 1)
    left, right = plan.indices[plan.pairs]
    assert {frozenset(p) for p in zip(left.tolist(), right.tolist(), strict=True)} == {
        frozenset((0, 1)),
        frozenset((0, 2)),
        frozenset((1, 2)),
    }
    assert plan.pairs.shape == (2, 3)


def meetings(counts: list[int], pairs: int, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """How often each identity was in a genuine pair, and in an impostor pair."""
    labels = labels_of(counts)
    genuine, impostor = np.zeros(len(counts)), np.zeros(len(counts))
    for plan in BalancedPairSampler(pairs, steps=steps).batches(labels, seed=2):
        left, right = labels[plan.indices[plan.pairs]]
        same = left == right
        np.add.at(genuine, left[same], 1)
        np.add.at(impostor, left[~same], 1)
        np.add.at(impostor, right[~same], 1)
    return genuine, impostor


def chi_square(observed: np.ndarray) -> float:
    expected = observed.mean()
    return float(((observed - expected) ** 2 / expected).sum())


def test_identities_are_met_equally_often_however_many_images_they_have():
    counts = [500] + [2] * 39
    genuine, impostor = meetings(counts, pairs=4, steps=2000)
    assert genuine.sum() == 4000
    for met in (genuine, impostor):
        # 39 degrees of freedom: mean 39, standard deviation 8.8; drawing images first would give
        # some 100,000.
        assert chi_square(met) < 39 + 5 * 8.8
        assert met[0] < 1.4 * met[1:].mean()


def test_somebody_with_500_images_is_met_no_more_often_even_where_a_batch_needs_nearly_everybody():
    # 16 genuine pairs among 20 identities.
    genuine, _ = meetings([500] + [2] * 19, pairs=32, steps=300)
    assert genuine.sum() == 300 * 16
    assert genuine[0] < 1.2 * genuine[1:].mean()


def test_images_of_one_identity_are_drawn_evenly():
    labels = labels_of([10] * 6)
    drawn: Counter = Counter()
    for plan in BalancedPairSampler(8, steps=1000).batches(labels):
        drawn.update(plan.indices[plan.pairs].ravel().tolist())
    assert len(drawn) == 60
    assert chi_square(np.array(list(drawn.values()))) < 59 + 5 * np.sqrt(2 * 59)


def test_both_sides_of_impostor_pairs_are_alike():
    labels = labels_of([5] * 10)
    lower = 0
    for plan in BalancedPairSampler(20, steps=200).batches(labels):
        left, right = labels[plan.indices[plan.pairs]]
        lower += int((left < right).sum())
    # Of 2,000 impostor pairs: neither side is tied to an identity's number.
    assert 600 < lower < 1400


@pytest.mark.parametrize("pairs", [0, 1, 3, -2])
def test_an_odd_or_empty_number_of_pairs_is_refused(pairs):
    with pytest.raises(ValueError, match="even"):
        BalancedPairSampler(pairs)


def test_an_epoch_shows_each_image_about_once():
    labels = labels_of([3] * 30 + [1] * 38)
    assert len(BalancedPairSampler(8).batches(labels)) == 8  # 128 images, 16 in a batch
    assert len(BalancedPairSampler(8).batches(labels, world=3)) == 3
    assert len(BalancedPairSampler(8, steps=5).batches(labels, world=3)) == 5
