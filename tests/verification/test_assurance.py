"""Thresholds whose promise holds on other identities.

Oracles: limits on paper and by scipy's distributions, every threshold tried in turn, and made-up
people whose true rates are known.
"""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from scipy.stats import beta, gamma, norm
from tests.helpers import assert_says
from tests.random_cases import THOROUGH, count_of, most_of

import siamese
from siamese.errors import CalibrationError, ConfigError
from siamese.verification.assurance import (
    _Bounds,
    choose_assured,
    gamma_limit,
    no_error_bound,
    trials_needed,
)
from siamese.verification.bootstrap import bootstrap_identities
from siamese.verification.measure import measure_pairs

SURE = 0.95
ASSURED = [
    siamese.Fmr(0.02, confidence=SURE),
    siamese.Fmr(0.3, confidence=SURE, gallery=20),
    siamese.Recall(0.9, confidence=SURE),
    siamese.Precision(0.9, "balanced", confidence=SURE),
    siamese.Cost(5, 1, "balanced", confidence=SURE),
]


def people(n, seed=0, images=4, apart=1.0, d=8):
    """Made-up people; the farther apart, the fewer errors."""
    rng = np.random.default_rng(seed)
    rows = apart * rng.normal(size=(n, 1, d)) + 0.5 * rng.normal(size=(n, images, d))
    return rows.reshape(-1, d).astype(np.float32), np.repeat(np.arange(n), images)


def bound_of(found):
    return found.point.promise["bound"]


@pytest.mark.parametrize("trials", [1, 30, 59, 4000])
def test_where_no_error_is_seen_the_bound_is_clopper_and_pearsons(trials):
    assert no_error_bound(trials, SURE) == pytest.approx(beta.ppf(SURE, 1, trials))
    rate = beta.ppf(SURE, 1, trials)
    assert trials_needed(rate, SURE) == trials
    assert trials_needed(rate * 0.999, SURE) > trials


def test_a_gamma_limit_on_paper_and_of_errors_that_come_alone():
    # Fay and Feuer: the quantile of a gamma distribution of mean e + w and variance v + w^2.
    v = 40 + norm.ppf(SURE) * math.sqrt(200)
    shape, scale = (25 + 3) ** 2 / (v + 9), (v + 9) / (25 + 3)
    assert gamma_limit(25, 40, 200, 3, SURE) == pytest.approx(gamma.ppf(SURE, shape, scale=scale))
    # Where each error is one identity's alone, and the variance were known, it is Poisson's limit.
    for errors in (1, 7, 200):
        assert gamma_limit(errors, errors, 0, 1, SURE) == pytest.approx(gamma.ppf(SURE, errors + 1))
    # Errors that come together say less than as many that come alone.
    assert gamma_limit(20, 20, 20, 1, SURE) < gamma_limit(20, 100, 2500, 5, SURE)


def spread_by_hand(distances, threshold, kind):
    """Errors of each identity, one pair at a time: sums of d^2, of d^4, and the most."""
    errors, pairs = (np.zeros(distances.labels.max() + 1) for _ in range(2))
    sides = zip(distances.pairs.left, distances.pairs.right, strict=True)
    for (i, j), same, d in zip(sides, distances.pairs.same, distances.distances, strict=True):
        if same == (kind == 1):
            continue
        wrong = d > threshold if same else d <= threshold
        for who in {distances.labels[i], distances.labels[j]}:
            pairs[who] += 1
            errors[who] += wrong
    off = errors - errors.sum() / pairs.sum() * pairs
    every = np.sum(distances.pairs.same == (kind == 0))
    return np.sum(off**2) / every**2, np.sum(off**4) / every**4, errors.max() / every


@pytest.mark.parametrize("limit", [None, 0])
def test_the_spread_of_errors_is_that_of_single_pairs(limit):
    rows, who = people(12, images=3)
    held = measure_pairs(rows, who)
    draws = bootstrap_identities(measure_pairs(rows, who, limit=limit))
    for column in range(0, len(draws.thresholds), 7):
        for kind in (0, 1):
            expected = spread_by_hand(held, draws.thresholds[column], kind)
            np.testing.assert_allclose(draws.errors[kind][:, column], expected, atol=1e-12)


@pytest.mark.parametrize("policy", ASSURED, ids=lambda p: p.describe()["name"] + str(p.limit)[:4])
@pytest.mark.parametrize("apart", [1.0, 3.0])
def test_no_more_permissive_threshold_keeps_the_promise(policy, apart):
    # Of every threshold that occurs the bound is computed; where people are far apart there are
    # thresholds without any error.
    rows, who = people(90, images=3, apart=apart)
    distances = measure_pairs(rows, who)
    draws, curve = bootstrap_identities(distances), distances.curve()
    found = choose_assured(policy, curve, draws)
    bounds = _Bounds(policy, curve, draws)
    figure, direction = policy.promises
    counts = found.choice.counts
    if policy.limit is None:  # the lowest of the thresholds of the draws
        assert found.bound == min(bounds.at(float(t)) for t in draws.thresholds)
        return
    assert found.bound >= policy.limit if direction == "at least" else found.bound <= policy.limit
    at = np.searchsorted(curve.thresholds, found.choice.threshold, side="right") - 1
    assert (curve.tp[at], curve.fp[at]) == (counts.tp, counts.fp)
    # Whatever is more permissive (for a recall: stricter) among the thresholds around it fails.
    step = -1 if figure == "recall" else 1
    following = curve.thresholds[at + step :: step][
        : 3000 : 1 if len(curve.thresholds) < 4000 else 40
    ]
    for threshold in following[:40]:
        assert not bounds.meets(bounds.at(float(threshold)))
    assert (found.choice.gap is None) or found.choice.gap[0] <= found.choice.threshold


def far_apart(n):
    """People whom nobody takes for another; six with two images, the others with one."""
    rows, who = people(n, images=2, apart=30.0)
    kept = (np.arange(len(who)) % 2 == 0) | (who < 6)
    return rows[kept], who[kept]


def test_without_an_error_the_bound_is_exact_and_the_threshold_lies_in_the_middle_of_the_gap():
    # 78 people are 3,003 pairs of people, as many as a rate of 0.001 needs: none may be accepted.
    found = siamese.calibrate(*far_apart(78), siamese.Fmr(0.001, confidence=SURE))
    curve = found.curve
    last, closest = curve.thresholds[curve.fp == 0][-1], curve.thresholds[curve.fp > 0][0]
    assert (found.point.tp, found.point.fp) == (6, 0)
    assert found.threshold == pytest.approx((last + closest) / 2, rel=1e-6)
    assert bound_of(found) == pytest.approx(beta.ppf(SURE, 1, 78 * 77 // 2))
    with pytest.raises(CalibrationError) as error:
        siamese.calibrate(*far_apart(77), siamese.Fmr(0.001, confidence=SURE))
    assert_says(error.value, "78 identities")


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        (siamese.Fmr(0.001, confidence=SURE), ["0.001", "190 pairs of identities", "2,995", "78"]),
        (siamese.Recall(0.9, confidence=SURE), ["recall of 0.9", "20 identities", "29 identities"]),
        (siamese.Precision(0.9999, confidence=SURE), ["precision of 0.9999", "190", "more"]),
    ],
)
def test_too_few_identities_are_refused_with_the_number_that_would_do(policy, words):
    rows, who = people(20)
    with pytest.raises(CalibrationError) as error:
        siamese.calibrate(rows, who, policy)
    assert_says(error.value, "confidence of 0.95", *words)


def world(n, seed):
    """Unit-length embeddings of people, some of whom are alike to many."""
    rng = np.random.default_rng([9, seed])
    spread = 0.45 * (1 + np.abs(0.3 * rng.normal(size=(n, 1, 1))))
    rows = rng.normal(size=(n, 1, 6)) + spread * rng.normal(size=(n, 3, 6))
    rows /= np.linalg.norm(rows, axis=2, keepdims=True)
    return rows.reshape(-1, 6).astype(np.float32), np.repeat(np.arange(n), 3)


@pytest.mark.random_cases
def test_promises_are_kept_on_strangers_as_often_as_stated():
    strangers = measure_pairs(*world(1500, 0)).curve()  # nearly the true rates
    kept = {(policy, sure): [] for policy in ASSURED for sure in (True, False)}
    trials = count_of(40)
    for seed in range(1, trials + 1):
        first = siamese.calibrate(*world(60, seed), probability=None)
        for (policy, sure), tally in kept.items():
            found = first.with_policy(policy if sure else policy.plain)
            there = strangers.at(found.threshold)
            figure = policy.promised(
                np.float64(there.recall), np.float64(there.fmr), found.point.target_prevalence
            )
            limit = found.point.promise["limit"]
            least = found.point.promise["direction"] == "at least"
            tally.append(bool(figure >= limit if least else figure <= limit))
    for policy in ASSURED:
        broken = trials - sum(kept[policy, True])
        assert broken <= most_of(trials, 0.05, 0.05), policy
        # About half without a confidence.
        assert sum(kept[policy, False]) < sum(kept[policy, True]), policy
        assert not THOROUGH or np.mean(kept[policy, False]) <= 0.8, policy


def test_the_bundle_and_the_file_keep_what_a_confidence_needs(tmp_path):
    rows, who = people(90)
    found = siamese.calibrate(rows, who)
    policy = siamese.Fmr(0.01, confidence=SURE)
    again = siamese.Calibration.load(found.save(tmp_path / "kept.npz"))
    assert again.with_policy(policy).threshold == found.with_policy(policy).threshold
    point = found.with_policy(policy).point
    assert siamese.OperatingPoint.from_dict(json.loads(json.dumps(point.to_dict()))) == point


def test_what_is_promised_and_for_whom_is_said():
    rows, who = people(90)
    first = siamese.calibrate(rows, who)
    assert first.point.promise_in_words is None  # an optimum is no promise
    plain = first.with_policy(siamese.Fmr(0.01)).point.promise_in_words
    sure = first.with_policy(siamese.Fmr(0.01, confidence=SURE)).point.promise_in_words
    assert_says(plain, "at most 0.01", "kept on the pairs", "half or more break it")
    assert_says(sure, "at most 0.01", "for other identities", "0.95")
    search = first.with_policy(siamese.Fmr(0.5, confidence=SURE, gallery=50)).point
    # 1 - (1 - 0.5)^(1/50)
    assert_says(search.promise_in_words, "among 50", "0.5", "0.0138", "(1 - 0.5)^(1/50)")
    assert search.promise["limit"] == pytest.approx(1 - 0.5 ** (1 / 50))


def test_a_search_goes_wrong_as_often_as_its_pairs_say():
    # 1 % for a pair is 39.5 % for a search among 50 whose comparisons are independent.
    assert pytest.approx(0.395, abs=5e-4) == 1 - (1 - 0.01) ** 50
    rate = siamese.Fmr(0.395, gallery=50).limit
    assert rate == pytest.approx(0.01, abs=2e-5)
    wrong = np.random.default_rng(0).random((20_000, 50)) < rate
    assert wrong.any(axis=1).mean() == pytest.approx(0.395, abs=0.01)


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        ({"name": "fmr", "confidence": 1.0}, ["confidence", "0.99", "1.0"]),
        ({"name": "fmr", "confidence": 95}, ["confidence", "0.95"]),
        ({"name": "recall", "rate": 1.0, "confidence": 0.95}, ["below 1"]),
        ({"name": "fmr", "gallery": 0}, ["gallery", "whole number"]),
        ({"name": "fmr", "gallery": 2.5}, ["gallery", "whole number"]),
        ({"name": "max_f1", "confidence": 0.95}, ["confidence"]),
    ],
)
def test_settings_out_of_range_are_refused(policy, words):
    with pytest.raises((ConfigError, siamese.UnknownNameError)) as error:
        siamese.calibrate(*people(8), policy)
    assert_says(error.value, *words)


def test_where_nobody_is_known_a_confidence_is_refused():
    rows, who = people(60)
    policy = siamese.Fmr(0.05, confidence=SURE)
    with pytest.raises(CalibrationError) as error:
        siamese.calibrate(rows, who, policy, intervals=False)
    assert_says(error.value, "intervals", "leave out confidence")
    with pytest.raises(CalibrationError) as error:
        measure_pairs(rows, who).choose(policy)
    assert_says(error.value, "who is on the images", "siamese.calibrate")


def test_a_cost_that_only_refusing_everybody_promises_is_refused_itself():
    rows, who = people(20)
    policy = siamese.Cost(10, confidence=SURE)
    assert siamese.calibrate(rows, who, policy.plain).point.tp > 0
    with pytest.raises(CalibrationError) as error:
        siamese.calibrate(rows, who, policy)
    assert_says(error.value, "refusing every pair", "more identities")
    with pytest.raises(TypeError):  # 0.95 would be taken for a prevalence
        siamese.Fmr(0.01, "balanced", 0.95)
