"""From a distance to a probability.

Against the definition of an isotonic fit, known logistic truth, and written-out pairs.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.strategies import labelled_distances

from siamese.errors import CalibrationError, ConfigError
from siamese.verification.curves import ThresholdCurve
from siamese.verification.probability import ProbabilityMap, fit_probability, reliability


def isotonic(distances, same, prevalence):
    """The falling least-squares fit at each distinct distance, with weighted pairs.

    By its max-min formula (Barlow et al., 1972).
    """
    weight = np.where(same, prevalence / same.sum(), (1 - prevalence) / (~same).sum())
    x = np.unique(distances)
    w = [weight[distances == v].sum() for v in x]
    y = [weight[(distances == v) & same].sum() for v in x]
    m = len(x)
    return x, [
        min(max(sum(y[s : t + 1]) / sum(w[s : t + 1]) for t in range(i, m)) for s in range(i + 1))
        for i in range(m)
    ]


@settings(max_examples=300, deadline=None)
@given(labelled_distances(distinct=(1, 9), size=(2, 30)), st.sampled_from([0.5, 0.1, 0.9]))
def test_the_isotonic_fit_is_the_one_of_the_definition_kept_from_certainty(case, prevalence):
    # scikit-learn takes numbers closer than 1e-15 for one.
    distances, same = np.round(case[0], 3), case[1]
    fitted = fit_probability(ThresholdCurve.of(distances, same), prevalence)
    x, expected = isotonic(distances.astype(np.float64), same, prevalence)
    odds = prevalence / (1 - prevalence)
    floor, ceiling = (o / (1 + o) for o in (odds / (same.sum() + 2), odds * ((~same).sum() + 2)))
    assert fitted(x) == pytest.approx(np.clip(expected, floor, ceiling), abs=1e-9)
    grid = np.linspace(-1, 5, 200)
    assert (np.diff(fitted(grid)) <= 1e-12).all()
    assert ((fitted(grid) > 0) & (fitted(grid) < 1)).all()


@settings(max_examples=200, deadline=None)
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


def test_platt_finds_a_logistic_truth_and_isotonic_comes_near_it():
    d, same = logistic()
    curve, x = ThresholdCurve.of(d, same), np.linspace(0.2, 2.8, 40)
    truth = 1 / (1 + np.exp(4 * x - 6))
    platt = fit_probability(curve, same.mean(), "platt")
    assert platt.log_odds == pytest.approx((-4.0, 6.0), rel=0.02)
    assert platt(x) == pytest.approx(truth, abs=0.005)
    assert fit_probability(curve, same.mean())(x) == pytest.approx(truth, abs=0.04)
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


def test_a_long_curve_is_kept_in_few_knots_that_say_the_same():
    d, same = logistic(100_000)
    curve = ThresholdCurve.of(d, same)
    fitted = fit_probability(curve, 0.5)
    assert len(fitted.distances) <= 2500
    from sklearn.isotonic import IsotonicRegression

    weight = np.where(same, 0.5 / same.sum(), 0.5 / (~same).sum())
    whole = IsotonicRegression(increasing=False, y_min=0, y_max=1).fit(d, same, weight).predict(d)
    inside = (whole > 1e-3) & (whole < 1 - 1e-3)
    assert fitted(d[inside]) == pytest.approx(whole[inside], abs=0.01)
