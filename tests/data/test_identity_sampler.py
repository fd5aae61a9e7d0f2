"""Batches of P identities with K images each.

Everybody's turn comes equally often, and data that cannot be sampled are refused.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.helpers import assert_says
from tests.random_cases import random_cases

from siamese.data.samplers.base import IdentityRows
from siamese.data.samplers.identity_sampler import IdentitySampler
from siamese.errors import DataError


def labels_of(counts: list[int], shuffle: int | None = 1) -> np.ndarray:
    labels = np.repeat(np.arange(len(counts)), counts)
    return labels if shuffle is None else np.random.default_rng(shuffle).permutation(labels)


@random_cases(100)
@given(
    counts=st.lists(st.integers(1, 12), min_size=2, max_size=30).filter(
        lambda c: sum(n > 1 for n in c) >= 2
    ),
    identities=st.integers(2, 8),
    images=st.integers(2, 6),
    seed=st.integers(0, 2**31),
    step=st.integers(0, 50),
)
def test_a_batch_holds_p_identities_and_k_images_of_each(counts, identities, images, seed, step):
    labels = labels_of(counts)
    plan = IdentitySampler(identities, images).plan(IdentityRows(labels), (seed,), 1, step, 0, 1)
    drawn = Counter(labels[plan.indices].tolist())
    assert len(set(plan.indices.tolist())) == len(plan)
    assert len(drawn) == min(identities, sum(n > 1 for n in counts))
    assert all(n == min(images, counts[identity]) for identity, n in drawn.items())
    assert all(counts[identity] > 1 for identity in drawn)
    assert plan.pairs is None
    assert plan.indices.dtype == np.int64


def turns(counts: list[int], sampler: IdentitySampler, epoch: int, world: int = 1) -> Counter:
    labels = labels_of(counts)
    met: Counter = Counter()
    for rank in range(world):
        batches = sampler.batches(labels, seed=3, rank=rank, world=world)
        batches.set_epoch(epoch)
        for plan in batches:
            met.update(set(labels[plan.indices].tolist()))
    return met


@pytest.mark.parametrize("world", [1, 2, 3])
def test_everybody_has_as_many_turns_in_an_epoch(world):
    counts = [2] * 10 + [3] * 10 + [50] * 4
    for epoch in range(3):
        # 5 lists of 6 batches.
        met = turns(
            counts, IdentitySampler(identities=4, images=2, steps=30 // world), epoch, world
        )
        assert set(met.values()) == {5}
        assert len(met) == 24


def test_turns_are_even_where_the_identities_do_not_fill_whole_batches():
    counts = [2] * 10
    met = turns(counts, IdentitySampler(identities=4, images=2, steps=100), 0)
    assert sum(met.values()) == 400
    assert max(met.values()) - min(met.values()) <= 2  # 400 turns among 10 identities


def test_images_of_one_identity_are_drawn_evenly():
    labels = labels_of([10, 10, 10, 10])
    batches = IdentitySampler(identities=4, images=4, steps=500).batches(labels)
    drawn = Counter(i for plan in batches for i in plan.indices.tolist())
    assert len(drawn) == 40
    for n in drawn.values():  # 2,000 draws of one identity, 4 of 10 at a time
        assert abs(n - 200) < 5 * np.sqrt(500 * 0.4 * 0.6)


def test_an_epoch_shows_each_image_about_once():
    labels = labels_of([7] * 30 + [1] * 100)
    batches = IdentitySampler(identities=5, images=4).batches(labels)
    assert len(batches) == len(list(batches)) == 11  # 210 images that can be drawn, 20 in a batch
    assert len(IdentitySampler(identities=5, images=4).batches(labels, world=2)) == 6
    assert len(IdentitySampler(identities=5, images=4, steps=3).batches(labels, world=2)) == 3


def test_where_one_identity_alone_has_several_images_all_others_take_turns_as_impostors():
    labels = labels_of([5] + [1] * 20)
    batches = IdentitySampler(identities=4, images=3, steps=200).batches(labels)
    met: Counter = Counter()
    for plan in batches:
        assert Counter(labels[plan.indices].tolist())[0] == 3
        assert len(plan) == 6
        met.update(labels[plan.indices].tolist())
    assert set(met) == set(range(21))


@pytest.mark.parametrize(
    ("counts", "words"), [([5], ["1 identities"]), ([1, 1, 1], ["3 identities", "0 of them"])]
)
def test_data_that_cannot_form_pairs_are_refused(counts, words):
    with pytest.raises(DataError) as caught:
        IdentitySampler().batches(labels_of(counts))
    assert_says(caught.value, *words, "add data")


@pytest.mark.parametrize("arguments", [(1, 4), (4, 1), (0, 0)])
def test_fewer_than_two_make_no_batch(arguments):
    with pytest.raises(ValueError, match="at least 2"):
        IdentitySampler(*arguments)


def test_rows_are_grouped_by_identity():
    identities = IdentityRows(np.array([3, 1, 3, 7, 1, 3]))
    assert [rows.tolist() for rows in identities.rows] == [[1, 4], [0, 2, 5], [3]]
    assert identities.several.tolist() == [0, 1]


def test_identities_are_drawn_by_their_number_of_images():
    counts = [1] * 40 + [2] * 20 + [10] * 10
    labels, sampler = labels_of(counts), IdentitySampler(4, 2, most=5)
    rows, met, drawn = IdentityRows(labels), Counter(), 3000
    for step in range(drawn):
        plan = sampler.plan(rows, (0,), 0, step, 0, 1)
        who = set(labels[plan.indices].tolist())
        assert len(who) == 4
        assert any(counts[identity] > 1 for identity in who)  # a genuine pair
        assert len(plan) == sum(min(2, counts[identity]) for identity in who)
        met.update(who)
    turns_of = {n: np.mean([met[i] for i, c in enumerate(counts) if c == n]) for n in (1, 2, 10)}
    # In proportion to 1, 2 and 5, but for drawing without replacement and the genuine pair.
    assert turns_of[2] / turns_of[1] == pytest.approx(2, rel=0.15)
    assert turns_of[10] / turns_of[2] == pytest.approx(2.5, rel=0.15)


def test_with_single_images_drawn_an_epoch_shows_all_images_about_once():
    assert len(IdentitySampler(4, 2, most=1).batches(labels_of([1] * 40 + [2] * 20))) == 10
    assert len(IdentitySampler(4, 2).batches(labels_of([1] * 40 + [2] * 20))) == 5
    with pytest.raises(ValueError, match="most"):
        IdentitySampler(most=0)
