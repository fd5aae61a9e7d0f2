"""Samplers of explicit pairs.

Each pair once in an epoch, impostors of the right identity, a pure function of the seed.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.helpers import assert_says

from siamese.data.samplers.base import BatchPlan, Sampler
from siamese.data.samplers.chosen_pair_sampler import ChosenPairSampler
from siamese.data.samplers.ordered_pair_sampler import OrderedPairSampler
from siamese.errors import DataError

LABELS = np.repeat(np.arange(7), [1, 2, 5, 1, 3, 8, 2])[np.random.default_rng(0).permutation(22)]


def epoch_of(
    sampler: Sampler,
    epoch: int = 0,
    *,
    seed: int = 0,
    rank: int = 0,
    world: int = 1,
    **given: object,
) -> list[BatchPlan]:
    batches = sampler.batches(LABELS, seed, rank, world, **given)
    batches.set_epoch(epoch)
    return list(batches)


def rows(plan: BatchPlan) -> list[tuple[int, int]]:
    return [tuple(plan.indices[pair].tolist()) for pair in plan.pairs.T]


def all_ordered() -> list[tuple[int, int]]:
    return [(a, b) for a in range(22) for b in range(22) if a != b and LABELS[a] == LABELS[b]]


def test_every_ordered_genuine_pair_comes_once_with_an_impostor_of_its_first_image():
    genuine = []
    for plan in epoch_of(OrderedPairSampler(pairs=12)):
        pairs = rows(plan)
        half = len(pairs) // 2
        for (a, b), (c, d) in zip(pairs[:half], pairs[half:], strict=True):
            assert LABELS[a] == LABELS[b]
            assert c == a
            assert LABELS[d] != LABELS[c]
        genuine += pairs[:half]
        assert len(set(plan.indices.tolist())) == len(plan.indices)
    assert sorted(genuine) == sorted(all_ordered())


def test_impostors_are_any_image_of_anybody_else_alike():
    met = Counter()
    for epoch in range(300):
        for plan in epoch_of(OrderedPairSampler(pairs=200), epoch):
            met.update(d for c, d in rows(plan)[len(rows(plan)) // 2 :] if LABELS[c] == 5)
    expected = [row for row in range(22) if LABELS[row] != 5]
    assert sorted(met) == expected
    share = np.array([met[row] for row in expected]) / sum(met.values())
    assert np.abs(share * len(expected) - 1).max() < 0.1


@pytest.mark.parametrize("world", [1, 2, 3])
def test_chosen_pairs_come_once_each_over_all_processes(world):
    chosen = np.random.default_rng(1).integers(0, 22, (2, 57))
    seen = [
        pair
        for rank in range(world)
        for plan in epoch_of(ChosenPairSampler(pairs=4), rank=rank, world=world, pairs=chosen)
        for pair in rows(plan)
    ]
    expected = Counter(map(tuple, chosen.T.tolist()))
    if 15 % world:  # the last turns go round to the beginning of the next lap
        assert not expected - Counter(seen)
    else:
        assert Counter(seen) == expected


@settings(max_examples=50)
@given(epoch=st.integers(0, 50), seed=st.integers(0, 2**31), steps=st.none() | st.integers(1, 9))
def test_a_plan_depends_on_seed_and_place_alone(epoch, seed, steps):
    chosen = np.random.default_rng(1).integers(0, 22, (2, 57))
    for sampler, given_pairs in (
        (ChosenPairSampler(4, steps), chosen),
        (OrderedPairSampler(4, steps), None),
    ):
        one = epoch_of(sampler, epoch, seed=seed, pairs=given_pairs)
        fresh = sampler.batches(LABELS, seed, pairs=given_pairs)
        fresh.set_epoch(epoch)
        for a, b in zip(one, fresh, strict=True):
            assert np.array_equal(a.indices, b.indices)
            assert np.array_equal(a.pairs, b.pairs)
            assert a.seed == b.seed


@pytest.mark.parametrize("sampler", [ChosenPairSampler(4, steps=3), OrderedPairSampler(8, steps=3)])
def test_with_few_steps_the_next_epochs_go_on_with_the_rest(sampler):
    chosen = np.array([[a, b] for a in range(22) for b in range(a)][:60]).T
    n = 60 if isinstance(sampler, ChosenPairSampler) else len(all_ordered())
    met: Counter[tuple[int, int]] = Counter()
    for epoch in range(-(-n // 4) // 3):
        for plan in epoch_of(sampler, epoch, pairs=chosen):
            pairs = rows(plan)
            met.update(
                pairs if isinstance(sampler, ChosenPairSampler) else pairs[: len(pairs) // 2]
            )
    assert max(met.values()) == 1
    assert len(met) > n * 0.8


def test_epochs_differ():
    assert [rows(p) for p in epoch_of(OrderedPairSampler(8), 0)] != [
        rows(p) for p in epoch_of(OrderedPairSampler(8), 1)
    ]


def test_without_chosen_pairs_the_remedy_is_named():
    with pytest.raises(DataError) as caught:
        ChosenPairSampler().batches(LABELS)
    assert_says(caught.value, "data/split=image_disjoint")


@pytest.mark.parametrize("make", [lambda: ChosenPairSampler(1), lambda: OrderedPairSampler(3)])
def test_numbers_of_pairs_that_cannot_be(make):
    with pytest.raises(ValueError, match="pairs must be"):
        make()
