"""BenchmarkFolds: the tested pairs are the file's, and nobody in them is met before."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from tests.helpers import assert_says, write_identities

from siamese.data.split_protocols.benchmark_folds import BenchmarkFolds
from siamese.datasets.identities import IdentityTable
from siamese.datasets.lfw import lfw_view2, load_lfw
from siamese.errors import SplitError

PEOPLE = 40
EACH = [3 if i < 20 else [3, 5, 9, 12][i % 4] for i in range(PEOPLE)]


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """Empty files in LFW's layout, with four folds of five people each."""
    root = tmp_path_factory.mktemp("lfw")
    names = [f"P{i:02d}" for i in range(PEOPLE)]
    for name, each in zip(names, EACH, strict=True):
        (root / name).mkdir()
        for i in range(1, each + 1):
            (root / name / f"{name}_{i:04d}.jpg").touch()
    lines = ["4\t3"]
    for fold in range(4):
        who = names[5 * fold : 5 * fold + 5]
        lines += [f"{who[i]}\t1\t{i + 2 if i < 2 else 3}" for i in range(3)]
        lines += [f"{who[i]}\t1\t{who[i + 1]}\t2" for i in range(3)]
    (root / "pairs.txt").write_text("\n".join(lines) + "\n")
    return IdentityTable.from_folder(root)


@pytest.mark.parametrize("tested", [[0], [1, 3]])
def test_nobody_of_a_tested_fold_is_trained_on(table, tested):
    split = BenchmarkFolds("lfw_view2", tested, 0.2)(table, seed=1)
    who = {name: {table.identities[r] for r in rows} for name, rows in split.rows.items()}
    met = {f"p{5 * fold + i:02d}" for fold in tested for i in range(4)}  # the fifth is in no pair
    assert who["test"] == met
    assert not who["train"] & met
    assert not who["calibration"] & met
    assert not who["train"] & who["calibration"]
    assert who["train"] | who["calibration"] | met == set(table.distinct_identities)
    assert len(who["calibration"]) == round(0.2 * (PEOPLE - len(met)))
    for name in ("train", "calibration"):  # with all of their images
        assert len(split.rows[name]) == sum(EACH[int(person[1:])] for person in who[name])


def test_the_tested_pairs_are_those_of_the_file(table):
    split = BenchmarkFolds("lfw_view2", [2])(table)
    files = np.array(table.files)[split.rows["test"]]
    pairs = [(files[a], files[b]) for a, b in split.pairs["test"].T]
    lines = (table.root / "pairs.txt").read_text().splitlines()[1 + 12 : 1 + 18]
    expected = []
    for line in lines:
        a, i, *rest = line.split("\t")
        b, j = rest if len(rest) == 2 else (a, rest[0])
        expected.append((f"{a}/{a}_{int(i):04d}.jpg", f"{b}/{b}_{int(j):04d}.jpg"))
    assert [set(pair) for pair in pairs] == [set(pair) for pair in expected]
    assert (np.diff(split.rows["test"]) > 0).all()


def test_the_seed_changes_who_calibrates_and_nothing_else(table):
    one, same, other = (BenchmarkFolds("lfw_view2", [0])(table, seed) for seed in (0, 0, 5))
    assert np.array_equal(one.rows["calibration"], same.rows["calibration"])
    assert np.array_equal(one.rows["test"], other.rows["test"])
    assert not np.array_equal(one.rows["calibration"], other.rows["calibration"])


def test_those_who_calibrate_have_as_many_images_as_the_others(table):
    """Over many draws their mean number varies far less than that of people drawn at random."""
    rest = [EACH[i] for i in range(5, PEOPLE)] + [EACH[4]]
    rng = np.random.default_rng(0)
    drawn, ours = [], []
    for seed in range(40):
        drawn.append(np.mean(rng.permutation(rest)[:9]))
        rows = BenchmarkFolds("lfw_view2", 0, 0.25)(table, seed).rows["calibration"]
        ours.append(len(rows) / 9)
    assert abs(np.mean(ours) - np.mean(rest)) < 0.4
    assert np.std(ours) < 0.5 * np.std(drawn)


def test_what_cannot_be_split_says_why(table):
    with pytest.raises(SplitError) as caught:
        BenchmarkFolds("lfw_view2")(table)
    assert_says(caught.value, "data.split.tested=[0]")
    with pytest.raises(SplitError) as caught:
        BenchmarkFolds("lfw_view2", [7])(table)
    assert_says(caught.value, "folds 0 to 3")
    with pytest.raises(SplitError) as caught:
        BenchmarkFolds("lfw_view3")
    assert_says(caught.value, "lfw_view2")
    few = table.select([r for r, who in enumerate(table.identities) if who < "p19"])
    with pytest.raises(SplitError) as caught:
        BenchmarkFolds("lfw_view2", [0, 1, 2, 3])(few)
    assert_says(caught.value, "people to train on", "data.split.tested")
    with pytest.raises(SplitError, match="calibration"):
        BenchmarkFolds(calibration=0)
    with pytest.raises(SplitError) as caught:
        BenchmarkFolds("lfw_view2", [0])(table.select(range(1, len(table))))
    assert_says(caught.value, "P00/P00_0001.jpg", "whole data set")


def test_other_pictures_are_told_which_split_is_theirs(table, tmp_path):
    write_identities(tmp_path / "mine", [3] * 12)
    with pytest.raises(SplitError) as caught:
        BenchmarkFolds()(IdentityTable.from_folder(tmp_path / "mine"))
    assert_says(
        caught.value,
        "needs LFW's official files, and pairsDevTrain.txt lies neither in it nor beside it",
        "siamese download lfw lfw",
        "data/split=identity_disjoint",
    )
    with pytest.raises(SplitError, match="pairsDevTrain"):
        BenchmarkFolds("lfw_view1").look_for_files(table.root)
    BenchmarkFolds("lfw_view2", 0).look_for_files(table.root)


@pytest.mark.parametrize("given", ["all/lfw", "all/lfw/lfw_funneled"])
@pytest.mark.parametrize("place", ["all/lfw/lfw_funneled", "all/lfw", "all", "."])
def test_the_files_are_found_wherever_they_are_read_from(given, place, table, tmp_path):
    """In the given folder, in that of the images, or beside either; and nowhere else."""
    split = BenchmarkFolds("lfw_view2", [0])
    shutil.copytree(table.root, tmp_path / "all/lfw/lfw_funneled")
    (tmp_path / "all/lfw/lfw_funneled/pairs.txt").rename(tmp_path / place / "pairs.txt")
    if place == ".":
        with pytest.raises(SplitError, match=r"pairs\.txt lies neither"):
            split.look_for_files(tmp_path / given)
        return
    split.look_for_files(tmp_path / given)
    assert len(split(load_lfw(tmp_path / given)).pairs["test"].T) == 6
    assert lfw_view2(tmp_path / given).folds == 4
