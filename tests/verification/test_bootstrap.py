"""Intervals over identities.

Counted again by hand for given draws, streamed as held, and as wide as chance makes them.
"""

import warnings

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.random_cases import count_of, most_of, random_cases
from tests.strategies import crowd, labelled_distances

from siamese.distances.euclidean import EuclideanDistance
from siamese.pairs.all_pairs import AllPairs
from siamese.pairs.balanced_pairs import BalancedPairs
from siamese.verification import bootstrap, pair_distances
from siamese.verification.bootstrap import bootstrap_identities
from siamese.verification.curves import ThresholdCurve
from siamese.verification.draw_order import places
from siamese.verification.figures import evaluate_pairs
from siamese.verification.measure import measure_pairs
from siamese.verification.policies.cost import Cost
from siamese.verification.policies.eer import Eer
from siamese.verification.policies.fmr import Fmr
from siamese.verification.policies.max_accuracy import MaxAccuracy
from siamese.verification.policies.max_f1 import MaxF1
from siamese.verification.policies.recall import Recall
from siamese.verification.streaming.stream import StreamedDistances
from siamese.verification.thresholds import calibrate


def measured(rows, labels):
    pairs = AllPairs()(labels)
    return pairs, EuclideanDistance().between(rows, pairs.left, pairs.right)


@pytest.fixture
def draws(monkeypatch):
    """Three draws of identities, known to the test."""
    times = np.random.default_rng(1).multinomial(20, np.full(20, 1 / 20), size=3)
    monkeypatch.setattr(bootstrap, "_draws", lambda *_: times.astype(np.float64))
    return times


@pytest.mark.parametrize("rule", [AllPairs(), BalancedPairs(limit=60)])
def test_held_pairs_count_as_often_as_their_identities_were_drawn(draws, rule):
    rows, labels = crowd(120, 20, 6)
    distances = measure_pairs(rows, labels, rule, EuclideanDistance())
    drawn = bootstrap_identities(distances)
    pairs, d = distances.pairs, distances.distances
    for r, times in enumerate(draws[:, places(distances.draw_keys)]):
        for k in range(0, len(drawn.thresholds), 7):
            at = d <= drawn.thresholds[k]
            tp = sum(times[labels[i]] for i in pairs.left[pairs.same & at])
            fp = sum(
                times[labels[i]] * times[labels[j]]
                for i, j in zip(
                    pairs.left[~pairs.same & at], pairs.right[~pairs.same & at], strict=True
                )
            )
            assert (drawn.tp[r, k], drawn.fp[r, k]) == (tp, fp)


@pytest.mark.parametrize("limit", [0, None])
def test_no_interval_moves_where_people_are_renamed_or_images_given_in_another_order(limit):
    rows, labels = crowd(120, 20, 6)
    names = np.array([f"person {n}" for n in np.random.default_rng(2).permutation(99)])[labels]
    order = np.random.default_rng(3).permutation(len(rows))
    given = ((rows, labels), (rows, names), (rows[order], names[order]))
    measured = [measure_pairs(*these, AllPairs(), limit=limit) for these in given]
    found = [bootstrap_identities(d).figures(2.0, 0.5, d.curve()) for d in measured]
    assert found[0] == found[1] == found[2]
    other = bootstrap_identities(measured[0], seed=1).figures(2.0, 0.5, measured[0].curve())
    assert other != found[0]  # other draws would show
    colours = np.where(np.arange(120) % 2, "red", "green")
    one, other = (
        evaluate_pairs(d, 2.0, groups={"group": of}).groups
        for d, of in ((measured[0], colours), (measured[2], colours[order]))
    )
    assert one == other
    assert one["group"].cells[0].ci95


def numbers(streamed):
    """(N,) the number that each given row's identity has in a stream."""
    return streamed.labels[np.argsort(streamed._tiles.order)]


@pytest.mark.parametrize("tile", [17, 768])
@pytest.mark.parametrize("few", [0, 64])
def test_streamed_pairs_of_few_identities_count_as_held_ones_and_of_many_to_first_order(
    monkeypatch, draws, tile, few
):
    monkeypatch.setattr(pair_distances, "_FEW", few)
    rows, labels = crowd(120, 20, 6)
    pairs, d = measured(rows, labels)
    streamed = StreamedDistances(rows, labels, EuclideanDistance(), tile)
    labels = numbers(streamed)
    drawn = bootstrap_identities(streamed)
    for r, times in enumerate(draws):
        left, right = times[labels[pairs.left]], times[labels[pairs.right]]
        share = np.where(pairs.same, left, left * right if few else left + right - 1)
        assert drawn.genuine[r] == share[pairs.same].sum()
        assert drawn.impostor[r] == pytest.approx(share[~pairs.same].sum())
        for k in range(0, len(drawn.thresholds), 7):
            at = d <= drawn.thresholds[k]  # an edge of a bin: counted exactly
            assert drawn.tp[r, k] == share[pairs.same & at].sum()
            # Never below zero, nor below a smaller threshold's.
            assert drawn.fp[r, k] >= share[~pairs.same & at].sum() - 1e-9


@pytest.mark.parametrize(
    "policy",
    [
        MaxF1(),
        MaxF1(prevalence=0.1),
        MaxAccuracy(),
        MaxAccuracy(prevalence=0.01),
        Eer(),
        Fmr(0.3),
        Recall(0.8),
        Recall(1),
        Cost(20, 1, prevalence=0.1),
        Cost(1e5, 1, prevalence=1e-6),
        MaxAccuracy(prevalence=1e-9),
    ],
)
@random_cases(200)
@given(st.lists(labelled_distances(distinct=(5, 5), size=(120, 120)), min_size=1, max_size=4))
def test_each_draw_is_decided_as_the_policy_decides_exactly(policy, cases):
    """Every pair counts once, or any whole number of times: the exact choice is the oracle."""
    grid = np.arange(5)
    rows, expected = [], []
    for distances, same in cases:
        place = np.unique(distances, return_inverse=True)[1]
        same[:105], same[105:] = False, True  # enough impostor pairs for the rule of 30
        curve = ThresholdCurve.of(place.astype(float), same)
        tp, fp = (np.array([getattr(curve.at(t), kind) for t in grid]) for kind in ("tp", "fp"))
        rows.append((tp, fp))
        expected.append(policy.choose(tp, fp, curve.genuine, curve.impostor))
    tp, fp = (np.array(part, dtype=float) for part in zip(*rows, strict=True))
    found = policy.choose_rows(tp, fp, tp[:, -1], fp[:, -1])
    assert found.tolist() == expected


def test_at_any_threshold_a_draw_of_everybody_once_counts_as_the_curve_does(monkeypatch):
    rows, labels = crowd(120, 20, 6)
    monkeypatch.setattr(bootstrap, "_draws", lambda *_: np.ones((1, 20)))
    distances = measure_pairs(rows, labels, AllPairs(), EuclideanDistance())
    curve = distances.curve()
    drawn = bootstrap_identities(distances)
    assert len(drawn.thresholds) < len(curve.thresholds) / 5  # most are between two that are held
    for threshold in [0.0, *curve.thresholds[::3].tolist(), 99.0]:
        c = distances.count_verdicts(threshold)
        assert [part.item() for part in drawn.counts_at(threshold, curve)] == pytest.approx(
            [c.tp, c.fp]
        )


@pytest.mark.parametrize("cells", [20 * 64, 20 * 65, 20 * 150])
def test_fewer_thresholds_where_identities_are_many_but_always_the_last(monkeypatch, cells):
    rows, labels = crowd(120, 20, 6)
    distances = measure_pairs(rows, labels, AllPairs(), EuclideanDistance())
    curve = distances.curve()
    every = bootstrap_identities(distances).thresholds
    monkeypatch.setattr(bootstrap, "_CELLS", cells)
    fewer = bootstrap_identities(distances).thresholds
    assert cells / 40 < len(fewer) <= cells / 20 < len(every)
    assert fewer[-1] == every[-1] == curve.thresholds[-1]


def test_streamed_intervals_are_as_wide_as_held_ones():
    rows, labels = crowd(800, 150, 12)
    held = measure_pairs(rows, labels, AllPairs(), EuclideanDistance(), limit=10**9)
    streamed = StreamedDistances(rows, labels, EuclideanDistance())
    a, b = (bootstrap_identities(c) for c in (held, streamed))
    for policy in (MaxF1(), Recall(0.9), Fmr(0.01)):
        at = held.choose(policy)[0]
        for first, second in [
            (
                a.threshold_interval(policy, held.curve()),
                b.threshold_interval(policy, streamed.curve()),
            ),
            *zip(
                a.figures(at, None, held.curve()).values(),
                b.figures(at, None, held.curve()).values(),
                strict=True,
            ),
        ]:
            width = first[1] - first[0]
            assert second[1] - second[0] == pytest.approx(width, rel=0.25, abs=1e-4)
            assert second == pytest.approx(first, abs=0.3 * width + 1e-4)


@pytest.mark.random_cases
@pytest.mark.parametrize("streamed", [False, True])
def test_ninety_five_of_a_hundred_intervals_hold_the_truth(monkeypatch, streamed):
    """The true rates of a fixed threshold are known from a large sample of the same kind."""

    def sample(identities, seed):
        rng = np.random.default_rng(seed)
        who = np.repeat(np.arange(identities), 4)
        # Some identities vary more than others: pairs are not independent.
        spread = rng.uniform(0.3, 1.2, identities)[who, None]
        return torch.tensor(
            rng.normal(size=(identities, 5))[who] + spread * rng.normal(size=(len(who), 5)),
            dtype=torch.float32,
        ), who

    threshold = 2.0
    whole = (
        calibrate(*sample(2500, 10**6), intervals=False, probability=None)
        .with_policy(threshold)
        .point.figures
    )
    monkeypatch.setattr("siamese.verification.measure.HELD", 0 if streamed else 10**9)
    inside, samples = {"recall": 0, "fmr": 0, "f1": 0}, count_of(100)
    for seed in range(samples):
        rows, who = sample(50, seed)
        distances = measure_pairs(rows, who, AllPairs(), EuclideanDistance())
        drawn = bootstrap_identities(distances)
        found = drawn.figures(threshold, 0.5, distances.curve())
        truth = whole | {"f1": 2 * whole["recall"] / (1 + whole["recall"] + whole["fmr"])}
        for name in inside:
            low, high = found[name]
            inside[name] += low <= truth[name] <= high
    # Percentile intervals of 50 identities fall a little short of 95 %.
    assert min(inside.values()) >= samples - most_of(samples, 0.065), inside


@pytest.mark.random_cases
@pytest.mark.parametrize("streamed", [False, True])
def test_ninety_five_of_a_hundred_intervals_hold_a_rate_of_which_nothing_was_seen(
    monkeypatch, streamed
):
    """At rates from one in 300 to one in 30,000 mostly none of these 3,040 pairs is wrong."""

    def sample(identities, seed):
        rng = np.random.default_rng(seed)
        who = np.repeat(np.arange(identities), 4)
        return torch.tensor(
            rng.normal(size=(identities, 16))[who] + 0.4 * rng.normal(size=(len(who), 16)),
            dtype=torch.float32,
        ), who

    whole = calibrate(*sample(2000, 10**6), intervals=False, probability=None)
    monkeypatch.setattr("siamese.verification.measure.HELD", 0 if streamed else 10**9)
    drawn, samples = [], count_of(100)
    for seed in range(samples):
        distances = measure_pairs(*sample(20, seed), AllPairs(), EuclideanDistance())
        drawn.append((bootstrap_identities(distances), distances.curve()))
    for rate in (3e-3, 3e-4, 3e-5):
        k = np.searchsorted(whole.curve.fmr, rate)
        threshold = float(whole.curve.thresholds[k])
        truth = {"fmr": whole.curve.fmr[k], "recall": whole.curve.recall[k]}
        none = sum(curve.at(threshold).fp == 0 for _, curve in drawn)
        for name in truth:
            inside = 0
            for draws, curve in drawn:
                low, high = draws.figures(threshold, 0.5, curve)[name]
                inside += low <= truth[name] <= high
            assert inside >= samples - most_of(samples, 0.065), (rate, name, none)
    assert none > 0.8 * samples  # at the last rate: else the test tells nothing


def test_fewer_than_five_identities_give_no_interval():
    rows, labels = crowd(40, 4, 6)
    distances = measure_pairs(rows, labels, AllPairs(), EuclideanDistance())
    assert bootstrap_identities(distances) is None


@pytest.mark.parametrize("held", [0, 10**9])
def test_one_identity_with_most_of_the_genuine_pairs_is_warned_of(monkeypatch, held):
    monkeypatch.setattr("siamese.verification.measure.HELD", held)
    rng = np.random.default_rng(0)
    for often, warned in ((6, False), (20, True)):  # 15 of 75 genuine pairs, 190 of 250
        who = np.repeat(np.arange(7), [often, *[5] * 6])
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            rows = rng.normal(size=(len(who), 3))
            calibrate(rows, who)
            assert len(caught) == warned
            calibrate(rows, who, intervals=False)  # which has none to be too narrow
        assert "intervals" not in "".join(str(w.message) for w in caught[1:])
        assert [str(w.message).split(":")[0] for w in caught] == (
            ["one identity has 76% of the genuine pairs of split 'calibration'"] * 2
            if warned
            else []
        )


def test_held_pairs_are_counted_one_by_one_for_their_identities():
    rows, labels = crowd(120, 20, 6)
    held = measure_pairs(rows, labels, AllPairs(), EuclideanDistance())
    edges = np.quantile(held.distances, [0.1, 0.5]).astype(np.float32).astype(np.float64)
    own, others, both = np.zeros((20, 3)), np.zeros((20, 3)), np.zeros((20, 20, 3))
    for i, j, d in zip(
        held.pairs.left, held.pairs.right, held.distances.astype(np.float64), strict=True
    ):
        a, b = sorted((labels[i], labels[j]))
        k = 0 if d <= edges[0] else 1 if d <= edges[1] else 2
        if a == b:
            own[a, k] += 1
        else:
            others[a, k] += 1
            others[b, k] += 1
            both[a, b, k] += 1
    assert (held.by_identity(edges)[0] == own).all()
    assert (held.by_identity(edges)[1] == others).all()
    assert (held.by_two_identities(edges) == both).all()


@pytest.mark.parametrize("policy", [Cost(1e5, 1, prevalence=1e-6), MaxAccuracy(prevalence=1e-12)])
def test_where_genuine_pairs_are_rare_the_band_is_that_of_thresholds_that_accept_some(policy):
    rng = np.random.default_rng(0)
    who = np.repeat(np.arange(30), 5)
    found = calibrate(10 * rng.normal(size=(30, 6))[who] + rng.normal(size=(150, 6)), who, policy)
    low, high = found.band
    assert 0 < low <= found.threshold <= high
    assert low > found.threshold / 2


def test_every_pair_is_counted_for_its_identities():
    rows, labels = crowd(120, 20, 6)
    pairs, _ = measured(rows, labels)
    streamed = StreamedDistances(rows, labels, EuclideanDistance(), tile=25)
    own, others = streamed.by_identity(streamed.curve().thresholds.astype(np.float64))
    labels = numbers(streamed)
    for identity in range(20):
        part = (labels[pairs.left] == identity) | (labels[pairs.right] == identity)
        assert own[identity].sum() == (part & pairs.same).sum()
        assert others[identity].sum() == (part & ~pairs.same).sum()


def test_the_interval_of_a_threshold_holds_it_also_where_no_draw_comes_near():
    outside = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        who = np.repeat(np.arange(6), 3)
        found = calibrate(
            rng.normal(size=(6, 3))[who] + 0.3 * rng.normal(size=(18, 3)), who, probability=None
        )
        # Genuine pairs have none this large, or impostor pairs none this small.
        for number in (0.3, 1.0):
            given = found.with_policy(number)
            low, high = given.band
            assert low <= number <= high
            outside += not low < number < high
    assert outside  # else the test tells nothing


def test_a_threshold_in_the_middle_of_its_gap_is_not_the_end_of_its_interval():
    """Few identities, far apart: draws have gaps as well, and are placed in their middle."""
    ends, width = 0, []
    for seed in range(40):
        rows, labels = crowd(40, 8, 3, seed)
        found = calibrate(rows, labels, "max_f1", probability=None)
        low, high = found.band
        ends += found.threshold in (low, high)
        width.append((found.threshold - low, high - found.threshold))
    assert ends <= 20
    below, above = np.mean(width, axis=0)
    assert 0.2 < below / above < 5
