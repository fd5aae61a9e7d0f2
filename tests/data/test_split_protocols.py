"""The split protocols of the two baselines.

Who and what is on which side, over many seeds and tables.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.helpers import assert_says, made_up_table

from siamese.data.manifest import SplitManifest, pairs_among
from siamese.data.split_protocols.base import Split
from siamese.data.split_protocols.held_out_identities import HeldOutIdentities
from siamese.data.split_protocols.image_disjoint import ImageDisjoint
from siamese.datasets.identities import IdentityTable
from siamese.errors import SplitError

# LFW's own numbers of people with 1, 2, ... images: (images, identities).
LFW = [
    (1, 4069), (2, 779), (3, 291), (4, 187), (5, 112), (6, 55), (7, 39), (8, 33), (9, 26),
    (10, 15), (11, 16), (12, 10), (13, 11), (14, 10), (15, 11), (16, 3), (17, 8), (18, 5), (19, 7),
    (20, 5), (21, 4), (22, 5), (23, 3), (24, 3), (25, 1), (26, 2), (27, 1), (28, 2), (29, 2),
    (30, 2), (31, 2), (32, 3), (33, 3), (35, 1), (36, 1), (37, 1), (39, 2), (41, 2), (42, 2),
    (44, 1), (48, 1), (49, 1), (52, 2), (53, 1), (55, 1), (60, 1), (71, 1), (77, 1), (109, 1),
    (121, 1), (144, 1), (236, 1), (530, 1),
]  # fmt: skip

SLOW = pytest.mark.slow  # more seeds


def lfw_table() -> IdentityTable:
    return made_up_table([n for n, identities in LFW for _ in range(identities)])


def test_the_table_is_as_skewed_as_lfw():
    table = lfw_table()
    assert (len(table), len(table.distinct_identities)) == (13_233, 5_749)


@pytest.mark.parametrize(
    "seeds",
    [range(20), *(pytest.param(range(s, s + 60), marks=SLOW) for s in range(20, 200, 60))],
    ids=lambda r: f"{r[0]}-{r[-1]}",
)
def test_no_image_is_in_two_splits_of_lfw_under_image_disjoint(seeds):
    table = lfw_table()
    labels = table.labels
    for seed in seeds:
        split = ImageDisjoint(calibration=256)(table, seed)
        assert list(split.rows) == ["train", "calibration", "validation", "test"]
        uses = np.concatenate(list(split.rows.values()))
        assert len(np.unique(uses)) == len(uses)
        for name, wanted in {
            "train": 40_000,
            "calibration": 256,
            "validation": 256,
            "test": 256,
        }.items():
            left, right = split.rows[name][split.pairs[name]]  # as rows of the table
            same = labels[left] == labels[right]
            assert (len(left), same.sum()) == (wanted, wanted // 2)
            assert (left != right).all()
            distinct = {frozenset(pair) for pair in zip(left.tolist(), right.tolist(), strict=True)}
            assert len(distinct) == wanted
            if name != "train":  # every image of a picked split is in its pairs
                assert np.array_equal(np.unique([left, right]), split.rows[name])
        assert len(uses) == len(table)


@pytest.mark.parametrize(
    "seeds",
    [range(20), *(pytest.param(range(s, s + 60), marks=SLOW) for s in range(20, 200, 60))],
    ids=lambda r: f"{r[0]}-{r[-1]}",
)
def test_nobody_is_in_test_and_elsewhere_of_lfw_under_held_out_identities(seeds):
    table = lfw_table()
    labels = table.labels
    for seed in seeds:
        split = HeldOutIdentities(calibration=0.1)(table, seed)
        assert list(split.rows) == ["train", "calibration", "validation", "test"]
        identities = {name: set(labels[rows].tolist()) for name, rows in split.rows.items()}
        for other in ("train", "calibration", "validation"):
            assert not identities["test"] & identities[other]
        assert not identities["train"] & identities["calibration"]
        uses = np.concatenate(list(split.rows.values()))
        assert np.array_equal(np.sort(uses), np.arange(len(table)))  # every image in exactly one
        assert len(identities["test"]) == 575
        others = len(table) - len(split.rows["test"])
        assert len(split.rows["validation"]) == round(0.2 * others)


def test_validation_of_image_disjoint_is_hardly_skewed_and_train_is():
    table = lfw_table()
    split = ImageDisjoint()(table, 0)

    def most(name: str) -> int:  # genuine pairs of the identity that is in most of them
        left, right = table.labels[split.rows[name][split.pairs[name]]]
        return max(Counter(left[left == right].tolist()).values())

    assert most("validation") <= 3
    assert most("train") > 10


def test_calibration_changes_neither_validation_nor_test():
    table = lfw_table()
    for plain, more in (
        (HeldOutIdentities()(table, 3), HeldOutIdentities(calibration=0.2)(table, 3)),
        (ImageDisjoint()(table, 3), ImageDisjoint(calibration=256)(table, 3)),
    ):
        assert "calibration" not in plain.rows
        for name in ("validation", "test"):
            assert np.array_equal(plain.rows[name], more.rows[name])
            if plain.pairs:
                assert np.array_equal(plain.pairs[name], more.pairs[name])


@settings(max_examples=60)
@given(
    counts=st.lists(st.integers(1, 12), min_size=12, max_size=60),
    seed=st.integers(0, 2**31),
    test=st.floats(0.1, 0.5),
    calibration=st.just(0.0) | st.floats(0.1, 0.5),
)
def test_held_out_identities_of_any_table(counts, seed, test, calibration):
    table = made_up_table(counts)
    try:
        split = HeldOutIdentities(test, 0.2, calibration)(table, seed)
    except SplitError as error:
        assert_says(error, "data.split")
        return
    # Making it asserts that test identities are never seen.
    manifest = SplitManifest.make(table, split, protocol="held_out_identities", seed=seed)
    assert manifest.calibrating == ("calibration" if calibration else "validation")
    for rows in split.rows.values():
        of = Counter(table.labels[rows].tolist())
        assert len(of) > 1
        assert max(of.values()) > 1


@pytest.mark.parametrize(
    ("protocol", "words"),
    [
        (lambda: ImageDisjoint(validation=255), "validation=255"),
        (lambda: ImageDisjoint(train=0), "train=0"),
        (lambda: HeldOutIdentities(test=1.0), "test and validation in (0, 1)"),
        (lambda: HeldOutIdentities(calibration=-0.1), "calibration in [0, 1)"),
    ],
)
def test_settings_that_cannot_be(protocol, words):
    with pytest.raises(SplitError) as caught:
        protocol()
    assert_says(caught.value, words, "data.split")


def test_too_few_pairs_are_told_with_the_number_that_there_are():
    with pytest.raises(SplitError) as caught:
        ImageDisjoint(train=4000, validation=8, test=8)(made_up_table([4] * 30), 0)
    number = int(str(caught.value).split(" has ")[1].split(" ")[0].replace(",", ""))
    assert_says(caught.value, f"data.split.train={number}")
    split = ImageDisjoint(train=number, validation=8, test=8)(made_up_table([4] * 30), 0)
    assert split.pairs["train"].shape == (2, number)


@pytest.mark.parametrize("seeds", [range(100)])
def test_calibration_moves_nobody_else_on_small_tables_either(seeds):
    for seed in seeds:
        table = made_up_table(np.random.default_rng(seed).integers(1, 6, 15).tolist())
        try:
            plain, more = (
                HeldOutIdentities(0.2)(table, seed),
                HeldOutIdentities(0.2, calibration=0.3)(table, seed),
            )
        except SplitError:
            continue
        for name in ("validation", "test"):
            assert np.array_equal(plain.rows[name], more.rows[name])


def test_where_the_first_splits_take_everything_they_are_to_be_lowered():
    with pytest.raises(SplitError) as caught:
        ImageDisjoint(train=20, validation=20, test=10)(made_up_table([2] * 12), 0)
    assert_says(caught.value, "lower data.split.validation")
    assert "=0" not in str(caught.value)


def test_a_manifest_of_image_disjoint_refuses_an_image_on_two_sides_but_not_an_identity():
    table = made_up_table([6] * 12)
    split = ImageDisjoint(train=40, validation=8, test=8)(table, 1)
    SplitManifest.make(table, split, protocol="image_disjoint")
    crossing = Split(
        {**split.rows, "test": np.sort(np.append(split.rows["test"], split.rows["train"][0]))}
    )
    with pytest.raises(SplitError) as caught:
        SplitManifest.make(table, crossing, protocol="image_disjoint")
    assert_says(caught.value, "file", table.files[split.rows["train"][0]], "train", "test")
    with pytest.raises(SplitError) as caught:  # the same rows, called disjoint
        SplitManifest.make(table, split, protocol="identity_disjoint")
    assert_says(caught.value, "identity")


def test_pairs_survive_saving_and_lose_those_with_an_image_in_quarantine(tmp_path: Path):
    table = made_up_table([6] * 12)
    split = ImageDisjoint(train=40, validation=8, test=8)(table, 1)
    manifest = SplitManifest.make(table, split, protocol="image_disjoint", settings={"train": 40})
    manifest = SplitManifest.load(manifest.save(tmp_path / "split.json"))
    before = manifest.chosen_pairs("train")
    assert np.array_equal(before, split.pairs["train"])
    bad = manifest.splits["train"][int(before[0, 0])]["file"]
    named = [tuple(manifest.table("train").files[row] for row in pair) for pair in before.T]
    manifest.quarantine[bad] = "damaged"
    left = [
        tuple(manifest.table("train").files[row] for row in pair)
        for pair in manifest.chosen_pairs("train").T
    ]
    assert left == [pair for pair in named if bad not in pair]
    assert len(left) < len(named)


@pytest.mark.parametrize(
    "pairs",
    [
        {"left": [0], "right": []},
        {"left": [0], "right": [10**6]},
        {"left": ["a"], "right": [0]},
        [1, 2],
        {"left": [0]},
    ],
)
def test_altered_pairs_are_refused(pairs):
    table = made_up_table([6] * 12)
    manifest = SplitManifest.make(
        table, ImageDisjoint(train=40, validation=8, test=8)(table, 1), protocol="image_disjoint"
    )
    manifest.pairs["train"] = pairs
    with pytest.raises(SplitError) as caught:
        manifest.check()
    assert_says(caught.value, "pairs of 'train'", "make a new split")


@given(st.lists(st.booleans(), min_size=2, max_size=20), st.integers(0, 99))
def test_pairs_among_the_kept_name_the_same_rows(kept, seed):
    kept = np.array(kept)
    pairs = np.random.default_rng(seed).integers(0, len(kept), (2, 30))
    new = pairs_among(pairs, kept)
    survivors = np.flatnonzero(kept)
    assert [tuple(survivors[pair]) for pair in new.T] == [
        tuple(pair) for pair in pairs.T if kept[pair[0]] and kept[pair[1]]
    ]
