"""Every identity counts alike: recall is the mean of each one's own. Oracles: plain fractions."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.helpers import assert_in_the_middle, assert_says
from tests.random_cases import random_cases

import siamese
from siamese.errors import CalibrationError, ConfigError
from siamese.verification.measure import measure_pairs
from siamese.verification.policies import fmr
from siamese.verification.streaming import stream
from siamese.verification.thresholds import calibrate_pairs
from siamese.verification.weights import pair_weights

PEOPLE = "people"
POLICIES = [
    siamese.MaxF1(weights=PEOPLE),
    siamese.MaxF1(0.1, weights=PEOPLE),
    siamese.MaxAccuracy("balanced", weights=PEOPLE),
    siamese.Eer(weights=PEOPLE),
    siamese.Recall(0.7, weights=PEOPLE),
    siamese.Recall(0.6666666666666667, weights=PEOPLE),
    siamese.Precision(0.8, "balanced", weights=PEOPLE),
    siamese.Cost(4, 1, "balanced", weights=PEOPLE),
    siamese.Fmr(0.2, weights=PEOPLE),
    siamese.Fmr(0.6, gallery=4, weights=PEOPLE),
]


@st.composite
def unequal(draw):
    """Few people with unequal numbers of images, on a line: distances tie."""
    sizes = draw(st.lists(st.integers(1, 5), min_size=3, max_size=5))
    sizes[0], sizes[1] = max(sizes[0], 2), max(sizes[1], 1)
    who = np.repeat(np.arange(len(sizes)), sizes)
    at = draw(st.lists(st.integers(0, 12), min_size=len(who), max_size=len(who)))
    return np.array(at, dtype=np.float32)[:, None] / 4, who


def mean_recall(pairs, who, threshold):
    """The mean over people of the share of their own pairs that are accepted, in fractions."""
    shares = []
    for person in sorted(set(who)):
        own = [d for d, a, b in pairs if a == b == person]
        if own:
            shares.append(Fraction(sum(d <= threshold for d in own), len(own)))
    return sum(shares) / len(shares)


def worth(policy, recall, rate, genuine, impostor, pairs):
    """What the policy wants at these rates; None where its condition is not met."""
    p = {"observed": Fraction(genuine, genuine + impostor), "balanced": Fraction(1, 2)}.get(
        policy.prevalence
    ) or Fraction(str(policy.prevalence))
    if isinstance(policy, siamese.MaxF1):
        return 2 * p * recall / (p * recall + (1 - p) * rate + p)
    if isinstance(policy, siamese.MaxAccuracy):
        return p * recall + (1 - p) * (1 - rate)
    if isinstance(policy, siamese.Eer):
        return -abs(rate - (1 - recall))
    if isinstance(policy, siamese.Recall):
        return -rate if recall >= Fraction(str(policy.rate)) - Fraction(1, 10**9) else None
    if isinstance(policy, siamese.Precision):
        hit, false = p * recall, (1 - p) * rate
        return (
            recall
            if hit * (1 - Fraction(str(policy.rate))) >= Fraction(str(policy.rate)) * false
            else None
        )
    if isinstance(policy, siamese.Fmr):
        right = (1 - rate + Fraction(1, 10**9)) ** (policy.gallery or 1)
        return pairs if right >= 1 - Fraction(str(policy.rate)) else None
    return -(p * (1 - recall) * policy.false_non_match + (1 - p) * rate * policy.false_match)


@random_cases(150)
@given(unequal(), st.sampled_from(POLICIES), st.booleans())
def test_no_threshold_is_better_where_every_identity_counts_alike(case, policy, streamed):
    rows, who = case
    n = len(who)
    pairs = [
        (abs(float(rows[i, 0]) - float(rows[j, 0])), who[i], who[j])
        for i in range(n)
        for j in range(i + 1, n)
    ]
    impostor = [d for d, a, b in pairs if a != b]
    genuine = len(pairs) - len(impostor)
    refusing = isinstance(
        policy, (siamese.MaxAccuracy, siamese.Cost, siamese.Fmr, siamese.Precision)
    )
    best, highest = None, None
    if refusing:
        highest = worth(policy, Fraction(0), Fraction(0), genuine, len(impostor), 0)
    for threshold in sorted({d for d, _, _ in pairs}):
        rate = Fraction(sum(d <= threshold for d in impostor), len(impostor))
        accepted = sum(d <= threshold for d, _, _ in pairs)
        recall = mean_recall(pairs, who, threshold)
        value = worth(policy, recall, rate, genuine, len(impostor), accepted)
        if value is not None and (highest is None or value > highest):
            best, highest = threshold, value
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fmr, "RULE_OF", 0)  # these are few pairs
        found = measure_pairs(rows, who, limit=0 if streamed else None).choose(policy)
    every = np.array([d for d, _, _ in pairs], dtype=np.float32)
    if best is None:
        assert found.threshold < every.min()
    elif streamed:  # the distances here lie in different bins
        assert every[every <= found.threshold].max() == best
    else:
        assert_in_the_middle(found.threshold, best, every)


def many(sizes, seed=0, apart=1.2):
    rng = np.random.default_rng(seed)
    who = np.repeat(np.arange(len(sizes)), sizes)
    rows = apart * rng.normal(size=(len(sizes), 6))[who] + 0.6 * rng.normal(size=(len(who), 6))
    return rows.astype(np.float32), who


@pytest.mark.parametrize("limit", [None, 0])
def test_figures_are_means_over_identities_and_their_intervals_draw_identities(limit):
    rows, who = many([40] + [2, 3, 4] * 8)
    distances = measure_pairs(rows, who, limit=limit)
    found = calibrate_pairs(distances, siamese.MaxF1("balanced", weights=PEOPLE))
    held = measure_pairs(rows, who)
    same = held.pairs.same
    owner = who[held.pairs.left[same]]
    accepted = held.distances[same] <= found.threshold
    own = np.array([accepted[owner == p].mean() for p in range(who.max() + 1)])
    assert found.point.figures["recall"] == pytest.approx(own.mean())
    assert found.point.tp == accepted.sum()  # counts are of pairs
    # An independent bootstrap of that mean: identities drawn again.
    rng = np.random.default_rng(5)
    again = [own[rng.integers(len(own), size=len(own))].mean() for _ in range(4000)]
    low, high = np.quantile(again, [0.025, 0.975])
    assert found.point.ci95["recall"] == pytest.approx((low, high), abs=0.015)


def test_one_identity_with_most_pairs_decides_nothing_alone():
    # One person's images lie twice as far apart as all others', and are most of the pairs.
    rows, who = many([60] + [3] * 30, apart=4.0)
    rows[who == 0] = rows[who == 0].mean(axis=0) + 2.0 * (
        rows[who == 0] - rows[who == 0].mean(axis=0)
    )
    others = measure_pairs(*many([3] * 200, seed=1, apart=4.0))
    with pytest.warns(UserWarning, match="weights='people'"):
        alone = siamese.calibrate(rows, who, siamese.Recall(0.9))
    weighed = siamese.calibrate(rows, who, siamese.Recall(0.9, weights=PEOPLE))
    recall = [others.count_verdicts(c.threshold).recall for c in (alone, weighed)]
    assert abs(recall[1] - 0.9) < 0.06 < abs(recall[0] - 0.9)


def test_equal_numbers_of_images_need_no_weights():
    rows, who = many([4] * 30)
    plain, weighed = (
        siamese.calibrate(rows, who, siamese.MaxF1(weights=w)) for w in (None, PEOPLE)
    )
    assert weighed.threshold == plain.threshold
    assert weighed.point.figures == pytest.approx(plain.point.figures)
    assert weighed.curve.auc == pytest.approx(plain.curve.auc)
    assert weighed.curve.eer == pytest.approx(plain.curve.eer)


def test_weights_are_exact_fractions_or_nearly():
    pairs = np.array([1, 3, 0, 6, 10])
    each = pair_weights(pairs)
    assert each.tolist() == [30, 10, 0, 5, 3]
    many_sizes = np.arange(1, 200)
    each = pair_weights(many_sizes * (many_sizes + 1) // 2)
    whole = each * (many_sizes * (many_sizes + 1) // 2)
    np.testing.assert_allclose(whole / whole[0], 1, rtol=1e-6)


def test_a_weighted_calibration_is_kept_and_another_weighting_is_refused(tmp_path):
    found = siamese.calibrate(*many([9] + [2, 3] * 20), siamese.MaxF1(weights=PEOPLE))
    again = siamese.Calibration.load(found.save(tmp_path / "kept.npz"))
    assert again.point == found.point
    policy = siamese.Recall(0.8, confidence=0.9, weights=PEOPLE)
    assert again.with_policy(policy).point == found.with_policy(policy).point
    with pytest.raises(CalibrationError) as error:
        found.with_policy(siamese.Recall(0.8))
    assert_says(error.value, "weights='people'", "None", "calibrate again")
    with pytest.raises(ConfigError) as error:
        siamese.MaxF1(weights="persons")
    assert_says(error.value, "'people'", "'persons'")
    with pytest.raises(CalibrationError) as error:
        siamese.cross_validate(
            np.arange(8) / 8, np.arange(8) % 2 == 0, np.arange(8) // 4, policy=policy.plain
        )
    assert_says(error.value, "whose each pair is")


@pytest.mark.parametrize("limit", [None, 0])
def test_intervals_are_at_the_prevalence_of_the_pairs(limit):
    rows, who = many([40] + [3, 4, 5, 8] * 15, apart=0.8)
    found = calibrate_pairs(
        measure_pairs(rows, who, limit=limit), siamese.MaxF1(weights=PEOPLE), probability=None
    )
    for name in ("f1", "precision", "recall"):
        low, high = found.point.ci95[name]
        assert low < found.point.figures[name] < high, name
    low, high = found.band
    assert low < found.threshold < high
    assert found.draws.genuine.mean() == pytest.approx(found.curve.genuine, rel=0.1)


def test_refusing_every_pair_does_so_where_thresholds_are_few(monkeypatch):
    monkeypatch.setattr(stream, "CELLS", 20_000)
    rows, who = many([2] * 300, apart=0.5)
    streamed = measure_pairs(rows, who, limit=0)
    found = streamed.choose(siamese.Cost(1e9, weights=PEOPLE))
    assert streamed.count_verdicts(found.threshold) == found.counts
    assert found.counts.tp == found.counts.fp == 0


@pytest.mark.parametrize("weights", [None, PEOPLE])
@pytest.mark.parametrize("limit", [None, 0])
def test_smoothed_thresholds_have_their_counts_and_can_be_read_again(tmp_path, weights, limit):
    rows, who = many([9] + [2, 3, 4] * 20)
    distances = measure_pairs(rows, who, limit=limit)
    first = calibrate_pairs(distances, siamese.MaxF1(weights=weights))
    for found in (
        calibrate_pairs(distances, siamese.MaxF1(smooth="auto", weights=weights)),
        first.with_policy(siamese.MaxF1(smooth="auto", weights=weights)),
        first.with_policy(siamese.MaxF1(smooth=0.05, weights=weights)),
        first.with_policy(siamese.MaxF1(smooth=1e6, weights=weights)),
    ):
        assert distances.count_verdicts(found.threshold) == found.confusion
        low, high = found.point.gap or (found.threshold, found.threshold)
        assert low <= found.threshold <= high
        assert siamese.Calibration.load(found.save(tmp_path / "kept.npz")).point == found.point
