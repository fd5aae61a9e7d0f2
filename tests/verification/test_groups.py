"""Figures by group: against all pairs one by one in fractions, and against known sampling spread.

Draws are compared with pairs that are copied as often as their identities were drawn.
"""

import json
from fractions import Fraction
from itertools import combinations, combinations_with_replacement

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.helpers import assert_says
from tests.random_cases import random_cases
from tests.strategies import crowd

from siamese.distances.cosine import CosineDistance
from siamese.distances.euclidean import EuclideanDistance
from siamese.errors import CalibrationError
from siamese.pairs.all_pairs import AllPairs
from siamese.pairs.balanced_pairs import BalancedPairs
from siamese.verification import group_counts
from siamese.verification.figures import evaluate_pairs
from siamese.verification.group_figures import GroupFigures
from siamese.verification.groups import _disparity, evaluate_columns, evaluate_groups
from siamese.verification.measure import measure_pairs
from siamese.verification.streaming.stream import StreamedDistances


@st.composite
def grouped_rows(draw, most=14):
    """Rows on a coarse lattice, identities, and groups of images, some of them unknown."""
    n = draw(st.integers(3, most))
    half = st.integers(-3, 3).map(lambda v: v / 2)
    rows = draw(st.lists(st.lists(half, min_size=2, max_size=2), min_size=n, max_size=n))
    labels = draw(st.lists(st.integers(0, 7), min_size=n, max_size=n))
    labels[:3] = [0, 0, 1]
    values = draw(st.lists(st.sampled_from(["a", "b", "b", "c", ""]), min_size=n, max_size=n))
    values[0] = "b"
    return torch.tensor(rows, dtype=torch.float32), np.array(labels), values


def one_by_one(rows, labels, values, distance, threshold, pairs):
    """(group, group) -> counts and rates in fractions, from one pair after the other."""
    names = sorted({v for v in values if v})
    found = {}
    for cell in combinations_with_replacement(names, 2):
        tp = fp = genuine = impostor = 0
        for i, j in pairs:
            if tuple(sorted((values[i], values[j]))) != cell:
                continue
            near = float(distance.measure(rows[i : i + 1], rows[j : j + 1])) <= threshold
            if labels[i] == labels[j]:
                genuine, tp = genuine + 1, tp + near
            else:
                impostor, fp = impostor + 1, fp + near
        here = [i for i, v in enumerate(values) if v in cell]
        within, fn = cell[0] == cell[1], genuine - tp
        found[cell] = (
            len({labels[i] for i in here}),
            len(here),
            genuine,
            impostor,
            tp,
            fp,
            Fraction(fn, genuine) if genuine else None,
            Fraction(fp, impostor) if impostor else None,
            Fraction(2 * tp, 2 * tp + fp + fn) if within and genuine and impostor else None,
        )
    return found


def as_given(evaluation):
    names = ("identities", "images", "genuine", "impostor", "tp", "fp", "fnmr", "fmr", "f1")
    return {cell.groups: tuple(getattr(cell, name) for name in names) for cell in evaluation.cells}


@random_cases(150)
@given(
    grouped_rows(),
    st.sampled_from([0.0, 0.25, 0.5, 1.0, 1.4, 9.0, -1.0]),
    st.sampled_from(["held", "streamed", "balanced"]),
    st.sampled_from([EuclideanDistance(), CosineDistance()]),
    st.integers(1, 20),
    st.sampled_from([0, 3, 10**6]),
)
def test_every_cell_equals_counting_one_pair_after_the_other(
    case, threshold, kind, distance, tile, singly
):
    rows, labels, values = case
    n = len(labels)
    pairs = list(combinations(range(n), 2))
    if kind == "streamed":
        measured = StreamedDistances(rows, labels, distance, tile)
    else:
        rule = AllPairs() if kind == "held" else BalancedPairs(5)
        measured = measure_pairs(rows, labels, rule, distance)
        pairs = list(zip(measured.pairs.left, measured.pairs.right, strict=True))
    assert measured.every_pair == (kind != "balanced")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(group_counts, "SINGLY", singly)
        patch.setattr(group_counts, "_WAITING", singly)
        patch.setattr(group_counts, "DRAWS", 3)
        found = evaluate_groups(measured, values, threshold)
    expected = one_by_one(rows, labels, values, distance, threshold, pairs)
    given_back = as_given(found)
    assert list(given_back) == list(expected)
    for cell, counts in expected.items():
        assert given_back[cell][:6] == counts[:6]
        for value, fraction in zip(given_back[cell][6:], counts[6:], strict=True):
            assert (value is None) == (fraction is None)
            assert value is None or value == pytest.approx(float(fraction), abs=1e-12)
    assert found.unknown == values.count("")


def people(n=60, each=4, seed=0):
    """Embeddings of identities; those of "far" lie further apart than those of "near"."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(n), each)
    near = np.arange(n) % 2 == 0
    centres = rng.normal(size=(n, 4)) * np.where(near, 0.8, 2.5)[:, None]
    rows = centres[labels] + 0.4 * rng.normal(size=(n * each, 4))
    values = np.where(near[labels], "near", "far")
    return torch.tensor(rows, dtype=torch.float32), labels, values


def test_one_group_has_the_counts_of_the_whole_and_several_add_up_to_it():
    rows, labels = crowd(400, 60, 8)
    for measured in (
        StreamedDistances(rows, labels, EuclideanDistance()),
        measure_pairs(rows, labels, "balanced_pairs"),
    ):
        threshold = float(np.quantile(measured.curve().thresholds, 0.4))
        counts = measured.count_verdicts(threshold)
        for values in (["all"] * 400, [str(i % 7) for i in range(400)]):
            cells = evaluate_groups(measured, values, threshold).cells
            sums = {
                name: sum(getattr(cell, name) for cell in cells)
                for name in ("tp", "fp", "genuine", "impostor")
            }
            assert sums == {
                "tp": counts.tp,
                "fp": counts.fp,
                "genuine": measured.genuine,
                "impostor": measured.impostor,
            }
        one = evaluate_groups(measured, ["all"] * 400, threshold, prevalence=0.1).within[0]
        whole = evaluate_pairs(measured, threshold, prevalence=0.1)
        assert (one.fmr, one.fnmr) == pytest.approx((whole.fmr, 1 - whole.recall), abs=1e-12)
        assert one.f1 == pytest.approx(whole.at_prevalence["f1"], abs=1e-12)
        # The same draws of identities, but for how impostor pairs are weighted.
        low, high = whole.ci95["fmr"]
        assert one.ci95["fmr"] == pytest.approx((low, high), abs=0.2 * (high - low))
        low, high = whole.ci95["f1@prevalence"]
        assert one.ci95["f1"] == pytest.approx((low, high), abs=0.2 * (high - low))


def test_new_names_permute_the_cells_and_change_nothing_else():
    rows, labels, values = people()
    measured = measure_pairs(rows, labels, AllPairs())
    found = evaluate_groups(measured, values, 1.5)
    renamed = np.where(values == "near", "zoo", "ant")
    again = evaluate_groups(measured, renamed, 1.5)
    assert again.groups == ("ant", "zoo")
    for old, new in {"near": "zoo", "far": "ant"}.items():
        for other, newer in {"near": "zoo", "far": "ant"}.items():
            one, two = found.cell(old, other), again.cell(new, newer)
            assert as_given(found)[one.groups] == as_given(again)[two.groups]
            assert one.ci95 == two.ci95


@pytest.mark.parametrize("rule", [AllPairs(), BalancedPairs()])
@pytest.mark.parametrize("coarse", [False, True])
def test_draws_weigh_pairs_as_copies_of_their_identities_do(monkeypatch, rule, coarse):
    """The oracle goes through the pairs one by one; images of one identity are in two groups."""
    rows, labels, _ = people(9, 3)
    values = np.array(["a", "b", "c"])[(np.arange(27) // 2) % 3]
    measured = measure_pairs(rows, labels, rule)
    times = [np.random.default_rng(s).multinomial(9, [1 / 9] * 9).astype(float) for s in range(5)]
    monkeypatch.setattr(group_counts, "draw_identities", lambda *_: iter([np.stack(times)]))
    monkeypatch.setattr(group_counts, "SINGLY", 0 if coarse else 10**6)
    found = group_counts.Units.of(labels, np.searchsorted(["a", "b", "c"], values), 3)
    accepted, every = group_counts.Tally(found), group_counts.AllPairsCounted(found)
    measured.accepted(1.5, accepted.add)
    if not measured.every_pair:
        every = group_counts.Tally(found)
        measured.accepted(np.inf, every.add)
    tp, genuine, fp, impostor = group_counts.count_again(accepted, every, 0)
    rough = accepted.coarse | every.coarse
    assert rough.any() == coarse
    pairs = measured.pairs
    for draw, m in enumerate(times):
        expected = np.zeros((4, 3, 3))
        for i, j, d in zip(pairs.left, pairs.right, measured.distances, strict=True):
            cell = tuple(sorted("abc".index(values[k]) for k in (i, j)))
            p, q = labels[i], labels[j]
            weight = m[p] if p == q else m[p] + m[q] - 1 if rough[cell] else m[p] * m[q]
            for kind, counts in ((0, d <= 1.5), (1, True)):
                expected[kind + 2 * (p != q)][cell] += weight * counts
        for mine, oracle in zip((tp, genuine, fp, impostor), expected, strict=True):
            assert np.triu(mine[draw]) == pytest.approx(np.maximum(oracle, 0), abs=1e-9)


def test_intervals_hold_the_rates_of_the_population():
    """Of 60 data sets, the 95 % intervals of a figure should hold the true one in 57."""
    everybody, whose, values = people(3000, 2, seed=99)
    measured = StreamedDistances(everybody, whose, EuclideanDistance())
    truth = evaluate_groups(measured, values, 1.3, prevalence=0.5)
    cells = (("near", "near"), ("far", "far"))
    held = dict.fromkeys([(*cell, name) for cell in cells for name in ("fmr", "fnmr", "f1")], 0)
    held["far", "near", "fmr"] = 0
    for seed in range(60):
        rows, labels, values = people(50, 2, seed)
        measured = measure_pairs(rows, labels, AllPairs())
        found = evaluate_groups(measured, values, 1.3, prevalence=0.5)
        for one, other, name in held:
            low, high = found.cell(one, other).ci95[name]
            held[one, other, name] += low <= getattr(truth.cell(one, other), name) <= high
    assert min(held.values()) >= 51, held


def test_a_difference_is_told_and_chance_is_not():
    rows, labels, values = people()
    measured = measure_pairs(rows, labels, AllPairs())
    found = evaluate_groups(measured, values, 1.5)
    unequal = found.disparities["fmr"]
    assert unequal.differs == ("near", "far")
    near, far = (found.cell(name, name) for name in ("near", "far"))
    assert near.ci95["fmr"][0] > far.ci95["fmr"][1]
    assert (unequal.group, unequal.highest) == ("near", near.fmr)
    assert unequal.ratio == pytest.approx(near.fmr / (near.fmr * far.fmr) ** 0.5)
    told = 0
    for seed in range(40):  # groups that mean nothing: identities by lot
        chosen = np.random.default_rng(seed).permutation(60) % 12
        lots = [str(chosen[label]) for label in labels]
        told += evaluate_groups(measured, lots, 1.5).disparities["fmr"].differs is not None
    assert told <= 4


def test_a_rate_of_zero_has_a_limit_and_no_ratio():
    rows, labels, values = people()
    measured = measure_pairs(rows, labels, AllPairs())
    found = evaluate_groups(measured, values, float(measured.distances.min()) / 2)
    assert found.disparities["fmr"].ratio is None
    assert_says(found.disparities["fmr"].note, "0 in far, near")
    cell = found.cell("near", "near")
    # Clopper and Pearson: (1 - limit)^trials = 2.5 %, of 30 identities' 435 pairs.
    assert cell.ci95["fmr"] == (0, pytest.approx(1 - 0.025 ** (1 / 435), rel=0.01))
    assert cell.ci95["fnmr"] == (pytest.approx(0.025 ** (1 / 30), rel=0.01), 1)
    between = found.cell("far", "near")
    assert between.ci95 == {"fmr": (0, pytest.approx(1 - 0.025 ** (1 / 900), rel=0.01))}
    assert (between.fnmr, between.f1) == (None, None)


def test_of_chosen_pairs_the_limit_counts_the_pairs_of_identities_that_were_chosen():
    rows, labels, _ = people(12, 4)
    values = np.array(["a", "b"])[np.arange(48) % 2]  # of every identity in both groups
    measured = measure_pairs(rows, labels, BalancedPairs(40))
    found = evaluate_groups(measured, values, float(measured.distances.min()) / 2)
    for cell in found.cells:
        seen = {
            frozenset((labels[i], labels[j]))
            for i, j in zip(measured.pairs.left, measured.pairs.right, strict=True)
            if tuple(sorted((values[i], values[j]))) == cell.groups and labels[i] != labels[j]
        }
        limit = 1 - 0.025 ** (1 / len(seen))
        assert cell.ci95["fmr"] == (0, pytest.approx(limit, rel=0.01))


def test_few_identities_have_figures_and_no_intervals():
    rows, labels, values = people(30)
    values = np.where(labels < 4, "few", values)
    values[labels == 29] = "lone"
    found = evaluate_groups(measure_pairs(rows, labels, AllPairs()), values, 1.5)
    assert found.cell("few", "few").fmr is not None
    assert found.cell("few", "few").ci95 == found.cell("few", "near").ci95 == {}
    assert set(found.cell("near", "near").ci95) == {"fmr", "fnmr", "f1"}
    assert found.cell("lone", "lone").fmr is None
    assert found.cell("lone", "lone").f1 is None


def test_few_identities_with_two_images_have_no_interval_of_what_is_missed():
    rows, labels, _ = people(30, 1)
    labels[:3] = labels[3:6]  # three identities of two images, and 24 of one
    found = evaluate_groups(measure_pairs(rows, labels, AllPairs()), ["all"] * 30, 1.0)
    assert found.within[0].genuine == 3
    assert set(found.within[0].ci95) == {"fmr"}


@pytest.mark.filterwarnings("error")
def test_a_draw_without_genuine_pairs_and_false_matches_has_no_f1():
    labels = np.concatenate([np.repeat(np.arange(5), 2), np.arange(5, 30)])
    rows = torch.tensor(labels[:, None], dtype=torch.float32)
    rows[-1] = rows[-2]  # one false match; five identities with two images, all accepted
    cell = evaluate_groups(measure_pairs(rows, labels, AllPairs()), ["all"] * 35, 0.0).within[0]
    assert (cell.tp, cell.genuine, cell.fp) == (5, 5, 1)
    assert cell.ci95["f1"][0] > 0


def test_any_two_intervals_apart_are_found_and_unequal_widths_do_not_hide_them():
    wide = {"a": (0.1, 0.9), "b": (0.3, 0.8), "c": (0.0, 0.2), "d": (0.05, 0.25)}

    def told(groups):
        cells = [
            GroupFigures((name, name), 9, 9, 0, 9, 0, 1, None, 0.1, None, {}) for name in groups
        ]
        intervals = {(name, "fmr"): wide[name] for name in groups}
        return _disparity("fmr", cells, intervals).differs

    assert told("abcd") == ("b", "c")
    assert told("acd") is None
    assert told("ab") is None


def test_the_written_form_is_plain_json_and_images_may_change_groups():
    rows, labels, _ = people(20)
    mask = np.where(np.arange(80) % 2, "mask", "none")
    found = evaluate_groups(measure_pairs(rows, labels, AllPairs()), mask, 1.5, "group_mask")
    across = found.cell("mask", "none")
    assert across.genuine == 20 * 4
    assert "fnmr" in across.ci95
    written = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert written["cells"][1]["groups"] == ["mask", "none"]
    assert written["cells"][1]["ci95"]["fnmr"] == list(across.ci95["fnmr"])
    assert written["disparities"]["fmr"]["differs"] is None


def test_groups_are_ordered_by_their_numbers_and_unknown_is_no_group():
    rows = people(6, 1)[0]
    measured = measure_pairs(rows, np.array([0, 0, 1, 1, 2, 3]), AllPairs())
    values = ["10-14", "5-9", None, float("nan"), " 100 ", ""]
    found = evaluate_groups(measured, values, 1.0)
    assert found.groups == ("5-9", "10-14", "100")
    assert found.unknown == 3
    assert set(evaluate_columns(measured, {"one": values, "empty": [""] * 6}, 1.0)) == {"one"}


def test_mistakes_are_explained():
    rows, labels, values = people(31, 2)
    measured = measure_pairs(rows, labels, AllPairs())
    for wrong, words in (
        (values[:-1], ("'group_x' has 61 values", "62 images")),
        ([str(i) for i in labels], ("31 groups", "at most 30", "merge")),
        ([""] * 62, ("no image", "group_x")),
    ):
        with pytest.raises(CalibrationError) as caught:
            evaluate_groups(measured, wrong, 1.0, "group_x")
        assert_says(caught.value, *words)
    for threshold, prevalence in ((float("nan"), None), (1.0, 0.0)):
        with pytest.raises(CalibrationError):
            evaluate_groups(measured, values, threshold, prevalence=prevalence)
    with pytest.raises(CalibrationError, match="61 values"):
        evaluate_columns(measured, {"group": values[:-1]}, 1.0)
    with pytest.raises(CalibrationError, match="'nowhere'"):
        evaluate_groups(measured, values, 1.0).cell("near", "nowhere")
