"""Files of pairs: LFW's format and CSV, every mistake in them, and the official files."""

from __future__ import annotations

import dataclasses
import os
import warnings
from pathlib import Path

import numpy as np
import pytest
from tests.helpers import assert_says, write_image

from siamese.datasets.lfw import lfw_view1, lfw_view2
from siamese.datasets.pairs_file import PairsFile
from siamese.errors import DataError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Ann has 3 images, Bob 2, Eve 1, and one of Bob's is a PNG."""
    for name, number, suffix in (
        ("Ann", 1, "jpg"),
        ("Ann", 2, "jpg"),
        ("Ann", 3, "jpg"),
        ("Bob", 1, "png"),
        ("Bob", 2, "jpg"),
        ("Eve", 1, "jpg"),
    ):
        write_image(tmp_path / "lfw" / name / f"{name}_{number:04d}.{suffix}", number)
    return tmp_path / "lfw"


def written(root: Path, text: str, name: str = "pairs.txt") -> Path:
    path = root / name
    path.write_text(text, encoding="utf-8")
    return path


def told(pairs: PairsFile) -> list[tuple[str, str, bool, int]]:
    columns = (pairs.left, pairs.right, pairs.same, pairs.fold)
    return [
        (pairs.files[a], pairs.files[b], bool(s), int(f))
        for a, b, s, f in zip(*columns, strict=True)
    ]


CSV = "left,right,same\n{}"
TWO_FOLDS = "2\t1\nAnn\t1\t2\nAnn\t1\tEve\t1\nBob\t1\t2\nBob\t2\tAnn\t3\n"
ROWS = [
    ("Ann/Ann_0001.jpg", "Ann/Ann_0002.jpg", True, 0),
    ("Ann/Ann_0001.jpg", "Eve/Eve_0001.jpg", False, 0),
    ("Bob/Bob_0001.png", "Bob/Bob_0002.jpg", True, 1),
    ("Bob/Bob_0002.jpg", "Ann/Ann_0003.jpg", False, 1),
]


def test_lfws_format(root):
    pairs = PairsFile.read(written(root, TWO_FOLDS))
    assert told(pairs) == ROWS
    assert len(pairs.files) == 6
    assert pairs.tested == (0, 1)
    shown = [pairs.identities[pairs.files.index(f)] for f, *_ in ROWS]
    assert shown == ["Ann", "Ann", "Bob", "Bob"]
    assert len(set(pairs.labels.tolist())) == 3
    assert all(path.is_file() for path in pairs.paths)


def test_one_fold_spaces_and_a_byte_order_mark(root):
    pairs = PairsFile.read(written(root, "\ufeff1\nAnn 1 2\nAnn  1   Eve 1\n\n"))
    assert told(pairs) == ROWS[:2]


def test_csv(root):
    text = "note,left,right,same,fold\n" + "".join(f"x,{a},./{b},{s},f{f}\n" for a, b, s, f in ROWS)
    pairs = PairsFile.read(written(root.parent, text, "mine.csv"), root)
    assert told(pairs) == ROWS
    assert (pairs.name, pairs.fold_names) == ("mine", ("f0", "f1"))


def test_an_identity_in_two_folds_is_warned_of(root):
    rows = [
        "Ann/Ann_0001.jpg,Ann/Ann_0002.jpg,1,x",
        "Ann/Ann_0001.jpg,Eve/Eve_0001.jpg,0,x",
        "Bob/Bob_0001.png,Bob/Bob_0002.jpg,1,y",
        "Bob/Bob_0001.png,{},0,y",
    ]
    # Nothing says that 0003 shows Ann.
    for other, warned in (("Ann/Ann_0003.jpg", False), ("Ann/Ann_0002.jpg", True)):
        path = written(root, "left,right,same,fold\n" + "\n".join(rows).format(other), "mine.csv")
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            PairsFile.read(path)
        assert ["1 identities" in str(w.message) for w in caught] == [True] * warned


def test_folds_that_are_not_there_cannot_be_tested(root):
    pairs = PairsFile.read(written(root, TWO_FOLDS))
    with pytest.raises(DataError, match="no fold 7"):
        dataclasses.replace(pairs, tested=(0, 7))


def test_of_a_csv_genuine_pairs_tell_who_is_who(root):
    rows = [
        ("Ann/Ann_0001.jpg", "Ann/Ann_0002.jpg", 1),
        ("Ann/Ann_0003.jpg", "Ann/Ann_0002.jpg", 1),
        ("Ann/Ann_0001.jpg", "Eve/Eve_0001.jpg", 0),
    ]
    pairs = PairsFile.read(
        written(
            root, "left,right,same\n" + "".join(f"{a},{b},{s}\n" for a, b, s in rows), "mine.csv"
        )
    )
    assert len(set(pairs.identities[:3])) == 1
    assert len(set(pairs.identities)) == 2
    np.testing.assert_array_equal(pairs.same, pairs.labels[pairs.left] == pairs.labels[pairs.right])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("2\t1\nAnn\t1\t2\n", ["1 pairs", "2 x 2 x 1", "copy the file again"]),
        ("1\nAnn 1 x\nAnn 1 Eve 1\n", ["line 2", "'Ann 1 x'", "name i j"]),
        ("1\nAnn 1 2\nAnn 1 Eve\n", ["line 3", "name i other_name j"]),
        ("1\nAnn 1 1\nAnn 1 Eve 1\n", ["line 2", "paired with itself"]),
        ("1\nAnn 1 9\nAnn 1 Eve 1\n", ["1 of 3 images", "Ann/Ann_0009.jpg"]),
        ("0\n", ["no pairs"]),
        ("", ["neither LFW's format nor a CSV", "'left'"]),
        ("left,rigth,same\n", ["'right'", "did you name it 'rigth'"]),
        ("left;right;same\na;b;1\n", ["separate columns by commas"]),
        ("one,other,label\na,b,1\n", ["'left'", "its columns are: label, one, other"]),
        ("left,right,same\na,b,maybe\n", ["line 2", "'maybe'"]),
        ("left,right,same\na,,1\n", ["line 2", "missing"]),
        ("left,right,same\n./a,a,1\n", ["line 2", "paired with itself"]),
        ("left,right,same\n", ["no pairs"]),
        (
            "left,right,same,fold\nAnn/Ann_0001.jpg,Ann/Ann_0002.jpg,1,x\nAnn/Ann_0001.jpg,Eve/Eve_0001.jpg,0,\n",
            ["line 3", "no fold", "the line before has one"],
        ),
        (
            "left,right,same,fold\nAnn/Ann_0001.jpg,Ann/Ann_0002.jpg,1,\nAnn/Ann_0001.jpg,Eve/Eve_0001.jpg,0,y\n",
            ["line 3", "a fold", "the line before has none"],
        ),
        ("²\nAnn 1 2\n", ["neither LFW's format nor a CSV"]),
        (
            "1\nAnn 1 2\nAnn 1 Ann 3\n",
            ["Ann/Ann_0003.jpg", "show one identity", "listed as different", "correct one"],
        ),
        ("1\nAnn 1 2\nAnn ² Eve 1\n", ["line 3", "name i other_name j"]),
        (
            "2 1\nAnn 1 2\nAnn 1 Eve 1\nAnn 2 1\nBob 1 Eve 1\n",
            ["Ann/Ann_0002.jpg", "Ann/Ann_0001.jpg", "paired twice"],
        ),
        (
            CSV.format(
                "Ann/Ann_0001.jpg,Ann/Ann_0002.jpg,1\nAnn/Ann_0002.jpg,Ann/Ann_0001.jpg,0\n"
            ),
            ["paired twice"],
        ),
        (
            CSV.format(
                "Ann/Ann_0001.jpg,Ann/Ann_0002.jpg,1\nAnn/Ann_0002.jpg,Ann/Ann_0003.jpg,1\nAnn/Ann_0001.jpg,Ann/Ann_0003.jpg,0\n"
            ),
            [
                "Ann/Ann_0001.jpg",
                "Ann/Ann_0003.jpg",
                "show one identity, as other pairs",
                "listed as different",
            ],
        ),
        (
            "left,right,same,fold\nAnn/Ann_0001.jpg,Ann/Ann_0002.jpg,1,x\nAnn/Ann_0001.jpg,Eve/Eve_0001.jpg,0,y\n",
            ["outside fold x", "impostor"],
        ),
    ],
)
def test_mistakes_are_named(root, text, words):
    with pytest.raises(DataError) as caught:
        PairsFile.read(written(root, text))
    assert_says(caught.value, *words)


def test_files_that_are_none(root, tmp_path):
    with pytest.raises(DataError, match="cannot be read"):
        PairsFile.read(tmp_path / "none.txt")
    (tmp_path / "latin.txt").write_bytes("1\nJosé 1 2\n".encode("latin-1"))
    with pytest.raises(DataError, match="not UTF-8"):
        PairsFile.read(tmp_path / "latin.txt")
    with pytest.raises(DataError, match="no such folder"):
        PairsFile.read(written(root, TWO_FOLDS), tmp_path / "nowhere")


def test_the_views_of_a_made_up_lfw(root):
    written(root.parent, TWO_FOLDS)
    written(root.parent, "1\nAnn 1 2\nAnn 1 Bob 1\n", "pairsDevTrain.txt")
    written(root.parent, "1\nBob 1 2\nEve 1 Bob 2\n", "pairsDevTest.txt")
    for place in (root, root.parent):  # the images' folder, or the one above it
        assert told(lfw_view2(place)) == ROWS
    development = lfw_view1(root)
    assert development.tested == (1,)
    assert development.fold_names == ("pairsDevTrain", "pairsDevTest")
    assert development.fold.tolist() == [0, 0, 1, 1]
    assert told(development)[2] == ("Bob/Bob_0001.png", "Bob/Bob_0002.jpg", True, 1)
    (root.parent / "pairs.txt").unlink()
    with pytest.raises(DataError) as caught:
        lfw_view2(root)
    assert_says(caught.value, "pairs.txt", "siamese download lfw")


@pytest.fixture
def real() -> str:
    if root := os.environ.get("SIAMESE_LFW"):
        return root
    pytest.skip("SIAMESE_LFW names no folder")


def test_the_official_files(real):
    two, one = lfw_view2(real), lfw_view1(real)
    assert (len(two), len(two.files), two.folds, int(two.same.sum())) == (6000, 7701, 10, 3000)
    assert (len(one), one.folds, one.tested) == (3200, 2, (1,))
    assert np.bincount(two.fold).tolist() == [600] * 10
    assert np.bincount(one.fold).tolist() == [2200, 1000]
    for pairs in (two, one):
        assert (pairs.same == (pairs.labels[pairs.left] == pairs.labels[pairs.right])).all()
        identities = [
            {
                pairs.identities[row]
                for side in (pairs.left, pairs.right)
                for row in side[pairs.fold == f]
            }
            for f in range(pairs.folds)
        ]
        assert sum(map(len, identities)) == len(set.union(*identities))  # nobody is in two folds
    assert len(set(one.identities)) == 3095
    assert len(set(one.identities) & set(two.identities)) == 2465
    unordered = [
        {frozenset((p.files[a], p.files[b])) for a, b in zip(p.left, p.right, strict=True)}
        for p in (one, two)
    ]
    assert (len(unordered[0]), len(unordered[0] & unordered[1])) == (3200, 758)
