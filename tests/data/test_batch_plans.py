"""What all samplers share.

A plan follows from seed, epoch, step and process alone; evaluation meets every row once.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from siamese.data.samplers.balanced_pair_sampler import BalancedPairSampler
from siamese.data.samplers.base import BatchPlan, IdentityRows, PlannedBatches, SequentialBatches
from siamese.data.samplers.identity_sampler import IdentitySampler

LABELS = np.random.default_rng(1).permutation(np.repeat(np.arange(30), 5))
SAMPLERS = [IdentitySampler(4, 3, steps=12), BalancedPairSampler(10, steps=12)]


def written(plan: BatchPlan) -> tuple:
    return plan.indices.tolist(), None if plan.pairs is None else plan.pairs.tolist(), plan.seed


def epoch_of(batches: PlannedBatches, epoch: int) -> list[tuple]:
    batches.set_epoch(epoch)
    return [written(plan) for plan in batches]


@pytest.fixture(params=SAMPLERS, ids=lambda s: type(s).__name__)
def sampler(request):
    return request.param


def test_a_plan_does_not_depend_on_those_before_it(sampler):
    in_order = [
        written(sampler.plan(IdentityRows(LABELS), (5,), 2, step, 0, 1)) for step in range(12)
    ]
    identities = IdentityRows(LABELS)
    backwards = [
        written(sampler.plan(identities, (5,), 2, step, 0, 1)) for step in reversed(range(12))
    ]
    assert backwards[::-1] == in_order
    assert epoch_of(sampler.batches(LABELS, seed=5), 2) == in_order


def test_the_global_random_state_does_not_matter(sampler):
    np.random.seed(1)  # noqa: NPY002 - the very state that must not matter
    one = epoch_of(sampler.batches(LABELS), 0)
    np.random.seed(2)  # noqa: NPY002
    assert epoch_of(sampler.batches(LABELS), 0) == one


def test_epochs_seeds_steps_and_processes_give_different_batches(sampler):
    plans = [
        tuple(plan[0])
        for seed in (0, 1)
        for epoch in (0, 1)
        for rank in (0, 1)
        for plan in epoch_of(sampler.batches(LABELS, seed, rank, world=2), epoch)
    ]
    assert len(set(plans)) == len(plans) == 2 * 2 * 2 * 12


def test_every_batch_of_a_run_is_augmented_by_a_seed_of_its_own(sampler):
    seeds = [
        plan[2]
        for epoch in (0, 1)
        for rank in (0, 1)
        for plan in epoch_of(sampler.batches(LABELS, 9, rank, world=2), epoch)
    ]
    assert len(set(seeds)) == len(seeds)
    assert len({len(seed) for seed in seeds}) == 1


def test_processes_together_draw_what_one_process_would(sampler):
    """Step ``s`` of process ``r`` of ``w`` is turn ``s * w + r``.

    So adding processes does not change what is drawn.
    """
    alone = [plan[:2] for plan in epoch_of(sampler.batches(LABELS, 4), 1)]
    ranks = [
        [plan[:2] for plan in epoch_of(sampler.batches(LABELS, 4, rank, world=3), 1)]
        for rank in range(3)
    ]
    together = [ranks[turn % 3][turn // 3] for turn in range(12)]
    assert together == alone


def test_a_running_epoch_is_not_disturbed_by_the_announcement_of_the_next(sampler):
    batches = sampler.batches(LABELS)
    expected = epoch_of(batches, 0)
    batches.set_epoch(0)
    seen = []
    for plan in batches:
        seen.append(written(plan))
        batches.set_epoch(1)
    assert seen == expected


@given(n=st.integers(1, 300), size=st.integers(1, 70), world=st.integers(1, 9))
def test_evaluation_meets_every_row_exactly_once_in_order(n, size, world):
    ranks = [list(SequentialBatches(n, size, rank, world)) for rank in range(world)]
    assert [len(SequentialBatches(n, size, rank, world)) for rank in range(world)] == [
        len(plans) for plans in ranks
    ]
    assert len({len(plans) for plans in ranks}) == 1
    turns = [ranks[turn % world][turn // world] for turn in range(sum(map(len, ranks)))]
    whole = -(-n // size)
    assert np.concatenate([plan.indices for plan in turns[:whole]]).tolist() == list(range(n))
    # All have equally many: the last batch of all is repeated where one would have fewer.
    assert len(turns) - whole < world
    for plan in turns[whole:]:
        assert plan.indices.tolist() == turns[whole - 1].indices.tolist()
    assert all(len(plan) == size for plan in turns[: whole - 1])
    assert 1 <= len(turns[-1]) <= size
    assert all(plan.seed is None and plan.pairs is None for plan in turns)
