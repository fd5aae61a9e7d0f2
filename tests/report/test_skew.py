"""Images per identity against plain counting, and against what is known of LFW."""

import io
import json
import os
import statistics
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from siamese.report import plots
from siamese.report.skew import (
    BUCKETS,
    images_per_identity,
    is_skewed,
    skew_counts,
    skew_plot,
    skew_summary,
    skew_table,
)

ROOT = os.environ.get("SIAMESE_LFW")
IDENTITIES = st.lists(st.sampled_from(["a", "b", "c", "$d_", "é", "f", "g"]), max_size=400)
EDGES = [1, 2, 3, 5, 6, 10, 11, 25, 26, 75, 76, 200, 201, 530]


def identities(counts):
    """The identity of each image, where the identities have so many images."""
    return [f"p{i}" for i, n in enumerate(counts) for _ in range(n)]


def printed(table, width=120):
    """The cells of a table as it is printed: first column -> the others."""
    console = Console(file=io.StringIO(), width=width)
    console.print(table)
    lines = (line.strip().strip("\u2502\u2503") for line in console.file.getvalue().splitlines())
    rows = [
        [cell.strip() for cell in line.replace("\u2503", "\u2502").split("\u2502")]
        for line in lines
        if line
    ]
    return {row[0]: row[1:] for row in rows if len(row) > 1}


@given(IDENTITIES)
def test_counts_against_plain_counting(identities):
    expected = sorted(Counter(identities).values(), reverse=True)
    counts = images_per_identity(identities)
    assert counts.tolist() == expected
    assert counts.dtype == np.int64
    assert skew_counts(identities) == [
        sum(low <= n and (high is None or n <= high) for n in expected) for low, high in BUCKETS
    ]


@given(st.lists(st.integers(1, 300), max_size=20))
def test_every_identity_is_in_one_bucket(counts):
    assert sum(skew_counts(identities(counts))) == len(counts)


def test_the_edges_of_the_buckets():
    assert skew_counts(identities(EDGES)) == [1, 1, 2, 2, 2, 2, 2, 2]


@given(IDENTITIES)
def test_the_summary_is_plain_json_and_right(identities):
    summary = json.loads(json.dumps(skew_summary({"train": identities}), allow_nan=False))["train"]
    counts = list(Counter(identities).values())
    assert (summary["identities"], summary["images"]) == (len(counts), len(identities))
    assert list(summary["identities with"].values()) == skew_counts(identities)
    if not counts:
        assert summary["median"] is summary["mean"] is summary["standard deviation"] is None
        return
    assert summary["median"] == statistics.median(counts)
    assert summary["mean"] == pytest.approx(statistics.fmean(counts))
    assert summary["standard deviation"] == pytest.approx(statistics.pstdev(counts))


def test_the_table_says_what_the_summary_says():
    splits = {"train": identities(EDGES), "[b]odd[/b]": identities([3, 3]), "none": []}
    cells = printed(skew_table(splits))
    assert cells.pop("images each") == ["train", "[b]odd[/b]", "none"]
    names = ["1", "2", "3-5", "6-10", "11-25", "26-75", "76-200", "201+"]
    assert [[int(n) for n in cells[name]] for name in names] == [
        list(row) for row in zip(*(skew_counts(i) for i in splits.values()), strict=True)
    ]
    assert list(cells)[-5:] == ["identities", "images", "median", "mean", "standard deviation"]
    assert cells["identities"] == ["14", "2", "0"]
    assert cells["images"] == ["1,171", "6", "0"]
    assert cells["median"] == ["18.00", "3.00", "-"]
    assert cells["mean"] == ["83.64", "3.00", "-"]


def test_the_plot_draws_the_first_identities_and_measures_all():
    counts = list(range(1, 401))
    (axes,) = skew_plot({"train": identities(counts)}, top=50).axes
    values, edges, _ = axes.patches[0].get_data()
    assert values.tolist() == counts[::-1][:50]
    assert edges.tolist() == [i + 0.5 for i in range(51)]
    lines = [line.get_ydata()[0] for line in axes.lines]
    assert lines == pytest.approx([200.5, 200.5, 200.5 + statistics.pstdev(counts)])
    assert axes.get_title() == "train: 400 identities, 80,200 images"
    assert axes.get_xlabel().endswith("(first 50 of 400)")


@pytest.mark.parametrize(
    ("counts", "scale"),
    [([3, 2, 2, 1], "linear"), ([39, 2, 2], "linear"), ([40, 2, 2], "log"), ([530, 1, 1], "log")],
)
def test_the_axis_is_logarithmic_where_few_have_most(counts, scale):
    assert skew_plot({"train": identities(counts)}).axes[0].get_yscale() == scale


@given(st.lists(st.integers(1, 600), min_size=1, max_size=20))
def test_every_bar_is_to_be_seen(counts):
    (axes,) = skew_plot({"train": identities(counts)}).axes
    low, high = axes.get_ylim()
    assert low < min(counts)
    assert max(counts) < high
    assert axes.patches[0].get_data().baseline <= low or axes.get_yscale() == "linear"


def test_splits_can_be_compared():
    """One scale for all, and who has most images is named, as it was written."""
    figure = skew_plot(
        {"train": identities([500, 3, 1, 1, 1]), "test": identities([2, 1])},
        spelling={"p0": "P. Null"},
    )
    large, small = figure.axes
    assert small.get_ylim() == large.get_ylim()
    named = [[t.get_text() for t in axes.texts] for axes in (large, small)]
    assert named == [["most images\nP. Null 500\np1 3\np2 1"], ["most images\nP. Null 2\np1 1"]]


def test_there_is_no_skew_where_all_are_alike():
    assert not is_skewed({"train": identities([10, 10]), "test": identities([3, 3]), "none": []})
    assert is_skewed({"train": identities([10, 10]), "test": identities([3, 2])})
    (axes,) = skew_plot({"test": identities([3, 3])}).axes
    assert not axes.texts


def test_plots_are_saved_without_warnings(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for splits in (
            {"one": ["a"]},
            {"none": []},
            {
                "_$x_$": identities([2, 1]),
                "김": identities([500] + [1] * 30),
                "all alike": identities([4] * 40),
            },
            {"train": identities([530, 200] + [1] * 100_000)},
        ):
            assert plots.save(skew_plot(splits), tmp_path / "skew.png").stat().st_size > 5000


@pytest.mark.skipif(
    not ROOT or not Path(ROOT).is_dir(), reason="SIAMESE_LFW does not name the folder of LFW"
)
def test_lfw_as_a_whole():
    folders = {path.parent for path in Path(ROOT).glob("*/*/*_0001.jpg")} or {
        p.parent for p in Path(ROOT).glob("*/*_0001.jpg")
    }
    identities = [folder.name for folder in folders for _ in folder.glob("*.jpg")]
    assert skew_counts(identities) == [4069, 779, 590, 168, 102, 35, 4, 2]
    summary = skew_summary({"lfw": identities})["lfw"]
    assert (summary["identities"], summary["images"], summary["median"]) == (5749, 13233, 1.0)
