"""Identity-disjoint splits: nobody is on two sides.

Exact shares, alike in images per identity, the same for the same seed.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from tests.helpers import assert_says, made_up_table
from tests.random_cases import random_cases

from siamese.data.manifest import SplitManifest
from siamese.data.split_protocols.base import SPLITS
from siamese.data.split_protocols.identity_disjoint import split_identities
from siamese.datasets.identities import IdentityTable
from siamese.errors import SplitError

SKEWED = (
    [530, 236, 144, 121, 109, 77, 71, 60, 55, 53]
    + [20] * 5
    + [9, 8, 7, 6, 5] * 4
    + [3] * 15
    + [2] * 30
    + [1] * 120
)
SHARES = (0.6, 0.2, 0.2)


def identities_of(table: IdentityTable, rows: np.ndarray) -> set[str]:
    return {table.identities[r] for r in rows}


def assert_disjoint_and_complete(table: IdentityTable, split: dict[str, np.ndarray]) -> None:
    assert list(split) == list(SPLITS)
    rows = np.concatenate(list(split.values()))
    assert sorted(rows.tolist()) == list(range(len(table)))  # every image in exactly one split
    owners = Counter(identity for part in split.values() for identity in identities_of(table, part))
    assert set(owners.values()) == {1}
    assert all((np.diff(part) > 0).all() for part in split.values())


@pytest.mark.parametrize(
    "counts", [[10] * 40, SKEWED, [2, 2, 2] + [1] * 60], ids=["orl", "skewed", "single"]
)
def test_nobody_is_in_two_splits_for_200_seeds(counts):
    table = made_up_table(counts)
    made = 0
    for seed in range(200):
        try:
            split = split_identities(table, SHARES, seed)
        except SplitError:
            continue
        made += 1
        assert_disjoint_and_complete(table, split)
        # Each split can form pairs of the same and of different identities.
        for part in split.values():
            assert max(Counter(table.identities[r] for r in part).values()) >= 2
            assert len(identities_of(table, part)) >= 2
    assert made == 200 or counts[0] == 2


@random_cases(200)
@given(
    counts=st.lists(st.integers(1, 5) | st.integers(1, 60), min_size=6, max_size=60),
    shares=st.just(SHARES) | st.tuples(*[st.floats(0.1, 1.0)] * 3) | st.just((24, 8, 8)),
    seed=st.integers(0, 2**40),
)
def test_nobody_is_in_two_splits_of_any_table(counts, shares, seed):
    table = made_up_table(counts)
    try:
        split = split_identities(table, shares, seed)
    except SplitError as error:
        assert_says(error, "made up", "add")
        assume(False)
    assert_disjoint_and_complete(table, split)
    exact = [share / sum(shares) * len(counts) for share in shares]
    # Where a split's share is less than two identities, it gets two: the others give one up.
    off = 1 if min(exact) >= 2 else 2
    for name, number in zip(SPLITS, exact, strict=True):
        assert abs(len(identities_of(table, split[name])) - number) < off + 1e-6


@pytest.mark.parametrize(
    ("shares", "identities"),
    [((0.6, 0.2, 0.2), (24, 8, 8)), ((24, 8, 8), (24, 8, 8)), ((20, 4, 16), (20, 4, 16))],
)
def test_exact_numbers_of_identities(shares, identities):
    table = made_up_table([10] * 40)
    for seed in range(30):
        split = split_identities(table, shares, seed)
        assert tuple(len(identities_of(table, split[name])) for name in SPLITS) == identities


def test_splits_are_alike_in_images_per_identity():
    table = made_up_table(SKEWED)
    for seed in range(50):
        split = split_identities(table, SHARES, seed)
        for name, share in zip(SPLITS, SHARES, strict=True):
            own = [table.counts[p] for p in identities_of(table, split[name])]
            # Of those with many, few and single images each split has its share.
            for at_least in sorted(set(SKEWED)):
                there_are = sum(n >= at_least for n in SKEWED)
                assert abs(sum(n >= at_least for n in own) - share * there_are) < 2.5


def test_the_most_photographed_identity_is_in_each_split_in_proportion():
    table = made_up_table(SKEWED)
    seeds = 300
    where = Counter()
    for seed in range(seeds):
        split = split_identities(table, SHARES, seed)
        where.update(name for name in SPLITS if "p000" in identities_of(table, split[name]))
    for name, share in zip(SPLITS, SHARES, strict=True):
        assert abs(where[name] - share * seeds) < 5 * np.sqrt(seeds * share * (1 - share))


def test_everybody_is_in_each_split_in_proportion():
    counts = [9, 5, 5, 4, 3, 3, 2, 2, 1, 1, 1, 1]
    table, seeds = made_up_table(counts), 600
    where: dict[str, Counter] = {name: Counter() for name in SPLITS}
    made = 0
    for seed in range(seeds):
        try:
            split = split_identities(table, (0.5, 0.25, 0.25), seed)
        except SplitError:
            continue
        made += 1
        for name in SPLITS:
            where[name].update(identities_of(table, split[name]))
    assert made == seeds
    for name, share in zip(SPLITS, (0.5, 0.25, 0.25), strict=True):
        for identity in table.distinct_identities:
            spread = np.sqrt(seeds * share * (1 - share))
            assert abs(where[name][identity] - share * seeds) < 5 * spread


def test_any_two_equal_identities_can_meet_in_any_split():
    table, seeds = made_up_table([10] * 40), 800
    together = Counter()
    for seed in range(seeds):
        split = split_identities(table, SHARES, seed)
        together.update(
            name for name in SPLITS if {"p000", "p001"} <= identities_of(table, split[name])
        )
    for name, n in zip(SPLITS, (24, 8, 8), strict=True):
        expected = seeds * n / 40 * (n - 1) / 39  # as drawn from an urn
        assert abs(together[name] - expected) < 5 * np.sqrt(expected)


def test_the_seed_decides():
    table = made_up_table(SKEWED)
    one, again, other = (split_identities(table, SHARES, seed) for seed in (3, 3, 4))
    for name in SPLITS:
        np.testing.assert_array_equal(one[name], again[name])
    assert identities_of(table, one["test"]) != identities_of(table, other["test"])


def test_the_names_of_the_files_do_not_matter():
    table = made_up_table(SKEWED)
    shuffled = np.random.default_rng(1).permutation(len(table))
    files = [f"{number:06d}.png" for number in shuffled]
    renamed = IdentityTable.build(Path("/elsewhere"), files, table.identities, "renamed")
    assert renamed.identities != table.identities  # the rows really are in another order
    for seed in range(10):
        one, other = (
            split_identities(table, SHARES, seed),
            split_identities(renamed, SHARES, seed),
        )
        for name in SPLITS:
            assert identities_of(table, one[name]) == identities_of(renamed, other[name])


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        ([5], ["1 identity;", "at least 6 identities", "add identities"]),
        ([5] * 5, ["5 identities", "at least 6 identities", "add identities"]),
        ([1] * 50, ["0 identities with two images or more", "at least 3", "add images"]),
        ([2, 2] + [1] * 50, ["2 identities with two images or more", "add images"]),
    ],
)
def test_too_little_data_says_what_is_needed(counts, words):
    with pytest.raises(SplitError) as caught:
        split_identities(made_up_table(counts))
    assert_says(caught.value, "made up", *words)


def test_a_split_that_would_get_too_few_identities_is_named():
    with pytest.raises(SplitError) as caught:
        split_identities(made_up_table([5] * 20), (0.98, 0.01, 0.01))
    assert_says(caught.value, "calibration split", "0 identities", "data.split.shares")


@pytest.mark.parametrize(
    "shares",
    [
        (0.6, 0.4),
        (0.6, 0.4, 0),
        (1, 1, -1),
        (0.5, 0.5, float("nan")),
        (0.2,) * 4,
        (float("inf"), 1, 1),
    ],
)
def test_shares_must_be_three_numbers_above_0(shares):
    with pytest.raises(SplitError) as caught:
        split_identities(made_up_table([5] * 20), shares)
    assert_says(caught.value, "three numbers above 0", shares)


@pytest.mark.parametrize("identities", range(6, 16))
def test_six_identities_are_enough_with_equal_shares(identities):
    for seed in range(20):
        assert_disjoint_and_complete(
            table := made_up_table([3] * identities), split_identities(table, (1, 1, 1), seed)
        )


def test_a_manifest_of_any_split_holds_the_law():
    table = made_up_table([3] * 12, root="/no/such/folder")
    manifest = SplitManifest.make(
        table, split_identities(table), seed=0, settings={"shares": list(SHARES)}
    )
    manifest.check()
    # Not one of these files exists.
    assert all(e["sha256"] is None for part in manifest.splits.values() for e in part)
