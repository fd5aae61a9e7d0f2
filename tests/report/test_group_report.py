"""Figures by group as people read them: what tables, sentences and the plot say, and do not."""

import numpy as np
import pytest
from rich.console import Console
from tests.verification.test_groups import people

from siamese.pairs.all_pairs import AllPairs
from siamese.report.group_plot import cell_text, group_matrices
from siamese.report.group_tables import group_sentences, groups_tables, show_groups
from siamese.report.plots import save
from siamese.verification.groups import evaluate_columns, evaluate_groups
from siamese.verification.measure import measure_pairs


@pytest.fixture(scope="module")
def found():
    rows, labels, values = people(60, 3)
    lots = np.array([f"[lot] {n}" for n in range(7)])[labels % 7]
    columns = {"group_sex": np.where(np.arange(180) < 3, "", values), "group_lot": lots}
    return evaluate_columns(measure_pairs(rows, labels, AllPairs()), columns, 1.0)


def text_of(tables):
    console = Console(width=100, record=True, quiet=False)
    with console.capture() as said:
        for table in tables:
            console.print(table)
    return said.get()


def test_the_tables_give_every_group_and_the_worst_pairs_of_groups(found):
    said = text_of(groups_tables(found["group_lot"], "test"))
    assert max(map(len, said.splitlines())) <= 100
    assert "test by group_lot, at threshold 1.0000" in said
    for n in range(7):
        assert f"[lot] {n} " in said  # no markup
    worst = sorted(found["group_lot"].between, key=lambda cell: -cell.fmr)[:5]
    below = said[said.index("between groups") :]
    assert "(5 of 21)" in below
    places = [below.index(" - ".join(cell.groups)) for cell in worst]
    assert places == sorted(places)
    whole = text_of(groups_tables(found["group_sex"], "test"))
    near = found["group_sex"].cell("near", "near")
    assert f"{near.fmr:.2g}" in whole
    assert "images of an unknown group, left out here: 3" in whole
    missed = found["group_sex"].disparities["fnmr"]
    assert f"the geometric mean: {missed.ratio:.3g} ({missed.group})" in whole
    assert "false match rate: no ratio: the rate is 0 in far" in whole


def test_the_sentences_tell_a_difference_and_admit_that_there_is_none(found, capsys):
    unequal, equal = group_sentences(found["group_sex"])
    near, far = (found["group_sex"].cell(name, name) for name in ("near", "far"))
    for cell in (near, far):
        low, high = cell.ci95["fmr"]
        assert f"{cell.fmr:.2g} ({low:.2g}-{high:.2g}) in {cell.groups[0]}" in unequal
    assert unequal.startswith("group_sex: the false match rate differs between groups: ")
    assert unequal.endswith("intervals do not overlap")
    assert equal == "group_sex: no difference in false non-match rate between groups is shown"
    show_groups(found, "test")
    said = capsys.readouterr().out
    assert unequal in said
    show_groups({}, "test")
    assert capsys.readouterr().out == ""


def test_of_many_groups_wider_intervals_are_compared():
    rows, labels, values = people(60, 3)
    many = np.where(values == "near", "near", np.char.add("far", (labels % 10).astype(str)))
    found = evaluate_groups(measure_pairs(rows, labels, AllPairs()), many, 2.0)
    assert len(found.groups) == 6
    assert found.level == pytest.approx(1 - 0.25 / 6)
    assert "intervals, made wider for 6 groups, do not overlap" in group_sentences(found)[0]


def test_few_identities_tell_nothing():
    rows, labels, values = people(8, 3)
    found = evaluate_groups(measure_pairs(rows, labels, AllPairs()), values, 1.0)
    assert all("is not known" in sentence for sentence in group_sentences(found))


def test_the_plot_writes_every_rate_and_the_limit_of_none(found, tmp_path):
    figure = group_matrices(found, "test")
    panels = [axes for axes in figure.axes if axes.get_title()]
    for axes, evaluation in zip(panels, found.values(), strict=True):
        assert [t.get_text() for t in axes.texts] == [cell_text(c) for c in evaluation.cells]
        assert [t.get_text() for t in axes.get_yticklabels()] == list(evaluation.groups)
        brightness = {}
        for cell, patch in zip(evaluation.cells, axes.patches, strict=True):
            x, y = (int(v + 0.5) for v in patch.get_xy())
            assert (evaluation.groups[x], evaluation.groups[y]) == cell.groups
            if cell.fmr:
                brightness[cell.fmr] = np.dot(patch.get_facecolor()[:3], (0.299, 0.587, 0.114))
        in_order = [brightness[rate] for rate in sorted(brightness)]
        assert in_order == sorted(in_order)  # a higher rate is brighter, in grey too
    assert save(figure, tmp_path / "groups.png").stat().st_size > 10_000


def test_a_plot_of_zeros_alone_and_of_no_pairs_is_drawn(tmp_path):
    rows, labels, _ = people(12, 2)
    lone = np.where(labels == 0, "$lone$", "rest")
    lone[1] = "rest"
    found = evaluate_columns(measure_pairs(rows, labels, AllPairs()), {"group": lone}, 1e-6)
    cells = {cell.groups: cell_text(cell) for cell in found["group"].cells}
    limit = 1 - 0.025 ** (1 / 66)
    assert cells["$lone$", "$lone$"] == "-"
    assert cells["$lone$", "rest"] == "0"
    assert cells["rest", "rest"].replace("\n", " ") == f"0 (<= {limit:.2g})"
    save(group_matrices(found, "test"), tmp_path / "groups.png")
