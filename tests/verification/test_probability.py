"""From a distance to a probability.

Against what the fit minimises, pair by pair, known truth, steps, and written-out pairs.
"""

from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.random_cases import random_cases
from tests.strategies import labelled_distances

from siamese.errors import CalibrationError, ConfigError
from siamese.verification import falling_odds
from siamese.verification.curves import ThresholdCurve
from siamese.verification.falling_odds import fit_falling_odds
from siamese.verification.probability import ProbabilityMap, fit_probability, reliability


def normal_score(own, place):
    """The normal score of a distance among a kind's: in the middle of ties, straight between."""
    n = len(own)

    def rank(v):
        return ((own < v).sum() + (own == v).sum() / 2 + 0.5) / (n + 1)

    if place < own.min() or place > own.max():
        return NormalDist().inv_cdf(0.5 / (n + 1) if place < own.min() else (n + 0.5) / (n + 1))
    low, high = own[own <= place].max(), own[own >= place].min()
    part = (place - low) / (high - low) if high > low else 0
    return NormalDist().inv_cdf((1 - part) * rank(low) + part * rank(high))


def to_be_least(knots, odds, distances, same):
    """What a fit of log odds at knots minimises, pair by pair: log loss, bending, mean slope."""
    loss = 0.0
    for d, genuine in zip(distances, same, strict=True):
        o = np.interp(d, knots, odds)
        number = same.sum() if genuine else (~same).sum()
        loss += np.logaddexp(0, -o if genuine else o) / number / 2
    scores = [sum(normal_score(distances[k], x) for k in (same, ~same)) for x in knots]
    slopes = [(odds[k + 1] - odds[k]) / (scores[k + 1] - scores[k]) for k in range(len(knots) - 1)]
    for k in range(len(slopes) - 1):
        bending = (slopes[k + 1] - slopes[k]) ** 2 / ((scores[k + 2] - scores[k]) / 2)
        loss += 0.3 / min(same.sum(), (~same).sum()) * bending / 2
    return loss + 1e-4 * ((odds[-1] - odds[0]) / (scores[-1] - scores[0])) ** 2 / 2


@settings(max_examples=60, deadline=None)
@given(labelled_distances(distinct=(2, 30), size=(4, 60)), st.integers(0, 999))
def test_no_falling_odds_at_the_knots_are_better_than_the_fitted_ones(case, seed):
    distances, same = np.round(case[0], 3).astype(np.float64), case[1]
    curve = ThresholdCurve.of(distances, same)
    counts = (np.diff(c, prepend=0).astype(np.float64) for c in (curve.tp, curve.fp))
    knots, odds = fit_falling_odds(curve.thresholds, *counts)
    assert (knots[0], knots[-1]) == (distances.min(), distances.max())
    assert (np.diff(knots) > 0).all()
    assert (np.diff(odds) <= 0).all()
    assert len(knots) <= 24  # 44 of many pairs
    if len(knots) == 1:
        assert odds == [0]
        return
    least = to_be_least(knots, odds, distances, same)
    rng = np.random.default_rng(seed)
    for _ in range(40):
        other = odds + 10 ** rng.uniform(-4, 0) * rng.normal(size=len(odds))
        other = np.minimum.accumulate(other)
        assert to_be_least(knots, other, distances, same) >= least - 1e-10


@random_cases(200)
@given(labelled_distances(distinct=(1, 9), size=(2, 30)), st.sampled_from([0.5, 0.1, 0.9]))
def test_the_fit_never_rises_and_is_kept_from_certainty(case, prevalence):
    distances, same = case
    fitted = fit_probability(ThresholdCurve.of(distances, same), prevalence)
    grid = fitted(np.linspace(-1, 5, 200))
    assert (np.diff(grid) <= 1e-12).all()
    odds = prevalence / (1 - prevalence)
    floor, ceiling = (o / (1 + o) for o in (odds / (same.sum() + 2), odds * ((~same).sum() + 2)))
    assert floor - 1e-12 <= grid.min() <= grid.max() <= ceiling + 1e-12


def test_pairs_that_do_not_overlap_reach_the_limits_and_those_that_say_nothing_the_prevalence():
    genuine, impostor = np.linspace(0.1, 0.4, 20), np.linspace(0.7, 1.5, 190)
    same = np.arange(210) < 20
    apart = np.concatenate([genuine, impostor])
    p = fit_probability(ThresholdCurve.of(apart, same), 0.5)
    # One in n + 2 of the genuine pairs may lie so far, and of the impostor pairs so near.
    assert p([0.1, 1.5]) == pytest.approx([192 / 193, 1 / 23])
    for distances in (np.ones(210), 2 - apart):  # the same for all, the wrong way round
        p = fit_probability(ThresholdCurve.of(distances, same), 0.2)
        assert p(np.linspace(0, 2, 9)) == pytest.approx(0.2)


@random_cases(200)
@given(
    labelled_distances(distinct=(2, 9), size=(4, 40)),
    st.sampled_from([0.5, 0.02, 0.9]),
    st.sampled_from([0.5, 0.02, 0.9]),
)
def test_another_prevalence_is_the_fit_to_pairs_of_that_prevalence(case, first, second):
    curve = ThresholdCurve.of(*case)
    moved, fitted = fit_probability(curve, first).at(second), fit_probability(curve, second)
    assert moved(curve.thresholds) == pytest.approx(fitted(curve.thresholds), abs=1e-9)
    assert moved.prevalence == second


def logistic(n=200_000, slope=-4.0, intercept=6.0, seed=0):
    """Pairs whose chance to be genuine is 1 / (1 + exp(4 d - 6))."""
    rng = np.random.default_rng(seed)
    d = rng.uniform(0, 3, n)
    return d, rng.random(n) < 1 / (1 + np.exp(-(slope * d + intercept)))


def test_platt_finds_a_logistic_truth_and_the_smooth_fit_comes_near_it():
    d, same = logistic()
    curve, x = ThresholdCurve.of(d, same), np.linspace(0.2, 2.8, 40)
    truth = 1 / (1 + np.exp(4 * x - 6))
    platt = fit_probability(curve, same.mean(), "platt")
    assert platt.log_odds == pytest.approx((-4.0, 6.0), rel=0.02)
    assert platt(x) == pytest.approx(truth, abs=0.005)
    assert fit_probability(curve, same.mean())(x) == pytest.approx(truth, abs=0.02)
    # Bayes: at another prevalence the odds change by a factor.
    moved = platt.at(0.01)(x)
    factor = 0.01 / 0.99 * (1 - same.mean()) / same.mean()
    assert moved / (1 - moved) == pytest.approx(factor * platt(x) / (1 - platt(x)))


def test_platt_never_rises_with_the_distance_even_where_the_pairs_say_so():
    d, same = logistic(2000)
    assert fit_probability(ThresholdCurve.of(-d + 3, same), 0.5, "platt").log_odds[0] == 0


@pytest.mark.parametrize("kind", ["isotonic", "platt"])
def test_calibration_error_and_brier_score_are_those_of_written_out_pairs(kind):
    d, same = logistic(3000)
    fitted = fit_probability(ThresholdCurve.of(d[:1500], same[:1500]), 0.5, kind)
    others, truth = d[1500:], same[1500:]
    judged = reliability(fitted, ThresholdCurve.of(others, truth))
    weight = np.where(truth, 0.5 / truth.sum(), 0.5 / (~truth).sum())
    p = np.array([fitted(v) for v in others.tolist()])
    error = 0.0
    for low in range(15):
        inside = (p >= low / 15) & (p < (low + 1) / 15)
        if inside.any():
            w = weight[inside]
            error += w.sum() * abs(
                (w * p[inside]).sum() / w.sum() - (w * truth[inside]).sum() / w.sum()
            )
    assert judged.calibration_error == pytest.approx(error, abs=1e-9)
    assert judged.brier == pytest.approx((weight * (p - truth) ** 2).sum(), abs=1e-9)
    assert sum(judged.weight) == pytest.approx(1)
    assert judged.calibration_error < 0.05
    inverted = ProbabilityMap("platt", 0.5, (), (4.0, -6.0))  # says the opposite
    assert reliability(inverted, ThresholdCurve.of(others, truth)).calibration_error > 0.5


@pytest.mark.parametrize("kind", ["isotonic", "platt"])
def test_it_survives_json_and_refuses_what_is_no_map(kind):
    import json

    d, same = logistic(500)
    fitted = fit_probability(ThresholdCurve.of(d, same), 0.5, kind)
    stored = json.loads(json.dumps(fitted.to_dict(), allow_nan=False))
    assert ProbabilityMap.from_dict(stored) == fitted
    for change in (
        {"kind": "magic"},
        {"prevalence": float("nan")},
        {"log_odds": [0.1]},
        {"log_odds": [1.0, 2.0]},
        {"prevalence": 5.0},
        {"distances": None},
    ):
        with pytest.raises(CalibrationError, match="calibrate again"):
            ProbabilityMap.from_dict(stored | change)
    with pytest.raises(ConfigError, match="between 0 and 1"):
        fitted.at(1.0)


def stepped(distances, same):
    """P by the ends of the steps of isotonic regression, straight in log odds between: a zigzag."""
    from sklearn.isotonic import IsotonicRegression

    weight = np.where(same, 0.5 / same.sum(), 0.5 / (~same).sum())
    found = IsotonicRegression(increasing=False, y_min=0, y_max=1).fit(distances, same, weight)
    with np.errstate(divide="ignore"):
        odds = np.log(found.y_thresholds_) - np.log1p(-found.y_thresholds_)
    odds = np.clip(odds, -np.log(same.sum() + 2), np.log((~same).sum() + 2))
    return ProbabilityMap("isotonic", 0.5, tuple(found.X_thresholds_), tuple(odds))


def zigzag(probability, low, high):
    """Total variation of the slope of the log odds between two distances, in mean slopes.

    0 is a straight line, 2 one ramp between two even stretches that are as long; every further step
    adds twice its steepness.
    """
    p = probability(np.linspace(low, high, 400))
    slope = np.diff(np.log(p) - np.log1p(-p))
    return np.abs(np.diff(slope)).sum() / abs(slope.mean())


# A distance as it is measured, and crowded at 0 and 1 as a learned one is: (of the first, slope).
@pytest.mark.parametrize("measured", [lambda d: d, lambda d: 1 / (1 + np.exp(-12 * (d - 1.2)))])
def test_few_pairs_give_no_zigzag_and_come_nearer_to_the_truth_than_steps(measured):
    x = np.linspace(0.7, 1.7, 300)  # where both kinds are met
    density = [np.exp(-(((x - m) / 0.25) ** 2) / 2) for m in (1.0, 1.4)]
    truth = density[0] / (density[0] + density[1])
    errors, turns = [], []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        d = measured(np.concatenate([rng.normal(1.0, 0.25, 40), rng.normal(1.4, 0.25, 400)]))
        same = np.arange(440) < 40
        smooth, steps = fit_probability(ThresholdCurve.of(d, same), 0.5), stepped(d, same)
        errors.append([np.mean((p(measured(x)) - truth) ** 2) for p in (smooth, steps)])
        turns.append([zigzag(p, 0.7, 1.7) for p in (smooth, steps)])
    assert np.mean(errors, axis=0)[0] < 0.7 * np.mean(errors, axis=0)[1]
    if measured(0.7) == 0.7:
        assert np.max(turns, axis=0)[0] < 20 < 100 < np.min(turns, axis=0)[1]


def test_stored_steps_of_older_bundles_still_say_what_they_said():
    d, same = logistic(500)
    steps = stepped(d, same)
    loaded = ProbabilityMap.from_dict(steps.to_dict())
    assert loaded == steps
    assert len(loaded.distances) > 24
    odds = np.interp(d, steps.distances, steps.log_odds)
    assert loaded(d) == pytest.approx(1 / (1 + np.exp(-odds)), abs=1e-12)


FALLING = [lambda d: 3 - 2 * d - np.sin(4 * d) / 2, lambda d: 6 * (1.5 - d) ** 3]


@pytest.mark.parametrize("odds", FALLING)
def test_many_pairs_bend_it_to_any_falling_truth_in_few_knots(odds, monkeypatch):
    rng = np.random.default_rng(0)
    d, x = rng.uniform(0, 3, 100_000), np.linspace(0.1, 2.9, 99)
    same = rng.random(len(d)) < 1 / (1 + np.exp(-odds(d)))
    curve, share = ThresholdCurve.of(d, same), same.mean()
    truth = 1 / (1 + np.exp(-odds(x)))
    fitted, line = (fit_probability(curve, share, kind)(x) for kind in ("isotonic", "platt"))
    assert fitted == pytest.approx(truth, abs=0.03)
    assert np.abs(line - truth).max() > 0.1
    assert len(fit_probability(curve, share).distances) <= 44
    # Distances are taken together in groups; one by one they say the same.
    monkeypatch.setattr(falling_odds, "_GROUPS", 10**6)
    assert fit_probability(curve, share)(x) == pytest.approx(fitted, abs=1e-3)
