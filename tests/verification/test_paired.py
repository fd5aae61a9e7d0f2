"""Two distances of the same pairs: against a plain loop over drawn identities; properties."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from tests.helpers import assert_says
from tests.random_cases import THOROUGH, count_of, most_of

from siamese.errors import CalibrationError
from siamese.pairs.all_pairs import AllPairs
from siamese.pairs.base import Pairs
from siamese.verification.bootstrap import _draws
from siamese.verification.draw_order import common_keys, places
from siamese.verification.drawn import DrawnFigures
from siamese.verification.held import HeldDistances
from siamese.verification.mcnemar import McNemar
from siamese.verification.measure import measure_pairs
from siamese.verification.paired import FIGURES, compare_pairs

RULE = {"name": "all_pairs"}


def held(distances, left, right, labels):
    pairs = Pairs(left, right, labels[left] == labels[right])
    return HeldDistances(pairs, np.asarray(distances, np.float32), labels, "euclidean", RULE)


def two(n=12, each=4, noise=(0.8, 1.1), seed=0):
    """Two networks' distances of the same pairs, of the same people seen with different noise."""
    rng = np.random.default_rng(seed)
    who = np.arange(n * each) // each
    centres = rng.normal(size=(n, 4))[who]
    made = (centres + s * rng.normal(size=(n * each, 4)) for s in noise)
    return tuple(measure_pairs(x.astype(np.float32), who, AllPairs()) for x in made)


def plainly(d, threshold, times):
    """Figures of one draw, by loops: each pair counts as often as its people were drawn."""
    tp = fp = fn = tn = 0
    kinds = {True: [], False: []}
    for left, right, same, distance in zip(
        d.pairs.left, d.pairs.right, d.pairs.same, d.distances, strict=True
    ):
        one, other = d.labels[left], d.labels[right]
        weight = int(times[one] if same else times[one] * times[other])
        kinds[bool(same)].append((float(distance), weight))
        right_verdict = (distance <= threshold) == same
        tp += weight * (same and right_verdict)
        fn += weight * (same and not right_verdict)
        tn += weight * (not same and right_verdict)
        fp += weight * (not same and not right_verdict)
    genuine, impostor = (np.array(kinds[kind]).T for kind in (True, False))
    closer = np.sign(impostor[0][None] - genuine[0][:, None]) / 2 + 0.5
    area = genuine[1] @ closer @ impostor[1] / (genuine[1].sum() * impostor[1].sum())
    return {
        "auc": area,
        "f1": 2 * tp / (2 * tp + fp + fn),
        "accuracy": (tp + tn) / (tp + fp + fn + tn),
        "recall": tp / (tp + fn),
        "fmr": fp / (fp + tn),
    }


def test_the_intervals_are_those_of_a_plain_loop_over_drawn_identities(monkeypatch):
    monkeypatch.setattr("siamese.verification.bootstrap.DRAWS", 200)
    # Every distance that occurs is counted at, as the loop does.
    monkeypatch.setattr("siamese.verification.grids._STEPS", 10**6)
    a, b = two(8, 3)
    found = compare_pairs(a, b, 1.5, 2.0)
    order = places(common_keys(a.draw_keys, b.draw_keys, 8))
    draws = [t.astype(int)[order] for t in _draws(np.random.default_rng([0, 6]), 8)]
    whole = [plainly(d, t, np.ones(8, int)) for d, t in ((a, 1.5), (b, 2.0))]
    drawn = [(plainly(a, 1.5, t), plainly(b, 2.0, t)) for t in draws]
    for name in ("auc", "f1", "accuracy", "recall", "fmr"):
        figure = found.figures[name]
        assert (figure.a, figure.b) == pytest.approx((whole[0][name], whole[1][name]))
        assert figure.difference == pytest.approx(whole[1][name] - whole[0][name])
        expected = np.quantile([other[name] - one[name] for one, other in drawn], (0.025, 0.975))
        assert figure.ci95 == pytest.approx(tuple(expected), abs=1e-9), name


def test_what_is_better_one_way_is_worse_the_other_way():
    a, b = two(noise=(0.5, 1.5))
    there, back = compare_pairs(a, b, 1.5, 2.0), compare_pairs(b, a, 2.0, 1.5)
    assert list(there.figures) == [*FIGURES, "recall@fmr=0.1"]
    for name, figure in there.figures.items():
        other = back.figures[name]
        assert other.difference == -figure.difference
        assert other.ci95 == pytest.approx((-figure.ci95[1], -figure.ci95[0]), abs=1e-12)
        low, high = figure.ci95
        assert low <= figure.difference <= high
    assert (there.verdict, back.verdict) == ("worse", "better")
    assert (there.figures["eer"].difference > 0, there.figures["eer"].verdict) == (True, "worse")
    assert_says(there.sentence("old", "new"), "new is worse than old: ROC AUC 0.8", "interval -0.")
    assert json.loads(json.dumps(there.to_dict(), allow_nan=False))["verdict"] == "worse"


def test_the_same_distances_differ_by_nothing_and_surely():
    a, _ = two()
    found = compare_pairs(a, a, 1.5, 1.5, prevalence=0.1)
    assert {"f1@prevalence", "accuracy@prevalence"} < set(found.figures)
    for figure in found.figures.values():
        assert (figure.difference, figure.ci95) == (0, (0, 0))
        assert figure.verdict == "not shown"
    other = compare_pairs(a, a, 1.5, 2.5).figures  # at another threshold
    assert (other["auc"].ci95, other["fmr"].verdict) == ((0, 0), "worse")


def test_two_that_make_no_error_are_not_shown_to_be_equal():
    a, b = two(6, 3, (0.01, 0.02))
    figures = compare_pairs(a, b, 0.3, 0.3).figures
    for name, figure in figures.items():
        low, high = figure.ci95
        assert low < 0 < high
        assert low == pytest.approx(-high, abs=1e-12)
        # Each has the limits of 6 identities, or of 15 pairs of them: 0.46 and 0.22 at 97.5 %.
        assert (0.15 if name == "fmr" else 0.3) < high < 0.5, name


def test_a_difference_is_surer_than_two_intervals_say():
    a, _ = two(20, 4, (1.0, 1.0))
    rng = np.random.default_rng(3)
    shaken = a.distances * (1 + 0.01 * rng.normal(size=len(a.distances)))
    b = replace(a, distances=shaken.astype(np.float32))
    low, high = compare_pairs(a, b, 1.5, 1.5).figures["auc"].ci95
    own = compare_pairs(a, b, 1.5, 1.5).figures["auc"].a
    assert high - low < 0.02 < 1 - own


def test_few_identities_claim_nothing():
    a, b = two(4, 5)
    found = compare_pairs(a, b, 1.5, 1.5)
    assert {figure.ci95 for figure in found.figures.values()} == {None}
    assert found.verdict == "not known"
    assert_says(found.sentence(), "not known")
    assert_says(found.why_no_interval, "4 identities are too few")


def test_the_order_of_images_changes_nothing():
    labels = np.arange(40) // 4
    rng = np.random.default_rng(1)
    x = rng.normal(size=(10, 4))[labels]
    sides = [(x + s * rng.normal(size=(40, 4))).astype(np.float32) for s in (0.7, 1.2)]
    order = rng.permutation(40)
    one, other = (
        compare_pairs(*(measure_pairs(y[rows], labels[rows]) for y in sides), 1.5, 1.5)
        for rows in (np.arange(40), order)
    )
    assert one == other


@pytest.mark.random_cases
def test_equally_good_ones_are_told_apart_in_about_one_case_of_twenty(monkeypatch):
    """The promise of a 95 % interval, in a simulation where the difference is 0."""
    monkeypatch.setattr("siamese.verification.bootstrap.DRAWS", 100)
    trials = count_of(200)
    cases = [two(40, 2, (0.9, 0.9), seed) for seed in range(trials)]
    verdicts = [compare_pairs(a, b, 1.5, 1.5).verdict for a, b in cases]
    # At 6 % (40 identities); not hardly ever, either.
    told_apart = sum(verdict != "not shown" for verdict in verdicts)
    assert (5 if THOROUGH else 1) <= told_apart <= most_of(trials, 0.06, 0.02)
    assert not THOROUGH or min(verdicts.count("better"), verdicts.count("worse")) >= 1


def test_a_real_difference_is_found(monkeypatch):
    monkeypatch.setattr("siamese.verification.bootstrap.DRAWS", 100)
    cases = (two(40, 2, (1.2, 0.7), seed) for seed in range(20))
    assert sum(compare_pairs(a, b, 1.5, 1.5).verdict == "better" for a, b in cases) >= 17


@pytest.mark.parametrize(
    ("only_a", "only_b"), [(0, 0), (1, 0), (3, 11), (11, 3), (40, 40), (0, 2000), (300, 400)]
)
def test_mcnemar_is_the_binomial_test_at_one_half(only_a, only_b):
    from scipy.stats import binomtest  # comes with scikit-learn

    found = McNemar(5, only_a, only_b, 2).p
    n = only_a + only_b
    assert found == pytest.approx(binomtest(only_a, n).pvalue if n else 1, rel=1e-9)
    by_hand = sum(math.comb(n, k) for k in range(n + 1) if abs(2 * k - n) >= abs(only_a - only_b))
    assert found == pytest.approx(by_hand / 2**n, rel=1e-12)


def test_mcnemar_counts_who_is_right_where_everyone_is_in_one_pair():
    labels = np.array([0, 0, 1, 1, 2, 3, 4, 5, 6, 7])
    left, right = np.array([0, 2, 4, 6, 8]), np.array([1, 3, 5, 7, 9])
    a = held([0.1, 0.9, 0.9, 0.9, 0.1], left, right, labels)  # right, wrong, right, right, wrong
    b = held([0.1, 0.1, 0.1, 0.9, 0.1], left, right, labels)  # right, right, wrong, right, wrong
    found = compare_pairs(a, b, 0.5, 0.5)
    assert found.mcnemar == McNemar(both=2, only_a=1, only_b=1, neither=1)
    assert found.why_no_mcnemar is None
    # Each pair at a threshold of its own: those of A turn its second and third verdict round.
    each = np.array([0.5, 0.95, 0.95, 0.5, 0.5])
    turned = compare_pairs(a, b, each, np.full(5, 0.5))
    assert turned.mcnemar == McNemar.of(
        [True, True, False, True, False], [True, True, False, True, False]
    )
    assert turned.threshold_a is None
    assert turned.figures["auc"] == found.figures["auc"]
    # Once more with one identity in two pairs.
    labels[9] = 0
    shared = compare_pairs(*(replace(d, labels=labels) for d in (a, b)), 0.5, 0.5)
    assert (shared.mcnemar, shared.sharing) == (None, 2)
    assert_says(shared.why_no_mcnemar, "2 of 5 pairs share an identity")


def test_thresholds_for_each_pair_give_the_figures_of_one_where_they_are_equal():
    a, b = two()
    n = a.genuine + a.impostor
    each = compare_pairs(a, b, np.full(n, 1.5), np.full(n, 1.75)).figures
    one = compare_pairs(a, b, 1.5, 1.75).figures
    assert list(each) == list(one)
    for name, figure in one.items():
        assert (each[name].a, each[name].b) == (figure.a, figure.b)
        # Thresholds between which the counts of draws are interpolated are others.
        assert each[name].ci95 == pytest.approx(figure.ci95, abs=0.01)
    with pytest.raises(CalibrationError, match="finite"):
        compare_pairs(a, b, np.full(n, np.nan), 1.5)


def test_streamed_pairs_are_compared_alike(monkeypatch):
    held_ones = compare_pairs(*two(), 1.5, 1.5)
    monkeypatch.setattr("siamese.verification.measure.HELD", 0)
    a, b = two()
    found = compare_pairs(a, b, 1.5, 1.5)
    n = a.genuine + a.impostor
    assert found.sharing == held_ones.sharing == n
    assert found.figures["f1"].difference == held_ones.figures["f1"].difference
    for name, figure in held_ones.figures.items():
        # A pair or two of 72.
        assert found.figures[name].ci95 == pytest.approx(figure.ci95, abs=1.5 / 72), name
    assert compare_pairs(a, two()[0], 1.5, 1.5).figures["auc"].ci95 == (0, 0)
    with pytest.raises(CalibrationError, match="give one number"):
        compare_pairs(a, b, np.full(n, 1.5), 1.5)


def test_other_pairs_are_refused():
    a, b = two()
    few, _ = two(6)
    with pytest.raises(CalibrationError) as caught:
        compare_pairs(a, few, 1.0, 1.0)
    assert_says(caught.value, "same pairs of the same images", "48 and 24 images")
    back = replace(b, pairs=Pairs(b.pairs.right, b.pairs.left, b.pairs.same))
    with pytest.raises(CalibrationError, match="in another order"):
        compare_pairs(a, back, 1.0, 1.0)
    with pytest.raises(CalibrationError, match="finite"):
        compare_pairs(a, b, 1.0, np.inf)
    with pytest.raises(CalibrationError, match="prevalence"):
        compare_pairs(a, b, 1.0, 1.0, prevalence=1.5)


def test_a_difference_without_draws_has_no_interval():
    nothing = DrawnFigures({"auc": 0.5}, {}, None)
    assert nothing.less(replace(nothing, observed={"auc": 0.25}), "auc") == (0.25, None)
