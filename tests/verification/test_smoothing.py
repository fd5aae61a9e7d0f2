"""F1 of smoothed distances, against every pair as a normal distribution of its own."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm
from tests.random_cases import random_cases

import siamese
from siamese.verification.curves import ThresholdCurve


@pytest.mark.parametrize("prevalence", [0.5, 0.05])
@pytest.mark.parametrize("smooth", ["auto", 0.02, 0.3])  # few cases would not draw all of them
@random_cases(20)
@given(st.integers(0, 10**6))
def test_no_threshold_has_a_higher_smoothed_f1(smooth, prevalence, seed):
    rng = np.random.default_rng(seed)
    genuine, impostor = rng.normal(0.5, 0.1, 12), rng.normal(0.9, 0.1, 80)
    distances = np.concatenate([genuine, impostor])
    same = np.arange(len(distances)) < len(genuine)
    found = ThresholdCurve.of(distances, same).choose(siamese.MaxF1(prevalence, smooth=smooth))
    # Azzalini 1981: 1.3 standard deviations of the n genuine distances, by the third root of n.
    width = 1.3 * genuine.std() * len(genuine) ** (-1 / 3) if smooth == "auto" else smooth

    def f1(thresholds):
        at = np.atleast_1d(thresholds)[:, None]
        recall, fmr = (norm.cdf((at - d) / width).mean(axis=1) for d in (genuine, impostor))
        return 2 * prevalence * recall / (prevalence * recall + (1 - prevalence) * fmr + prevalence)

    best = f1(np.linspace(distances.min(), distances.max(), 4000)).max()
    assert f1(found.threshold) >= best - 1e-3
    assert found.counts.tp == np.count_nonzero(genuine <= found.threshold)
    assert found.counts.fp == np.count_nonzero(impostor <= found.threshold)


def test_genuine_distances_that_are_all_equal_are_not_smoothed():
    distances, same = np.array([0.2, 0.2, 0.5, 0.9]), np.array([True, True, False, False])
    found = ThresholdCurve.of(distances, same).choose(siamese.MaxF1(smooth="auto"))
    assert found.threshold == pytest.approx(0.35)


def test_few_people_lose_less_on_others():
    def distances(n, rng):
        genuine, impostor = rng.normal(0.6, 0.1, n), rng.normal(1.0, 0.1, 20 * n)
        return np.concatenate([genuine, impostor]), np.arange(21 * n) < n

    others = ThresholdCurve.of(*distances(20_000, np.random.default_rng(0)))
    lost = {smooth: [] for smooth in (None, "auto")}
    for seed in range(1, 61):
        curve = ThresholdCurve.of(*distances(15, np.random.default_rng(seed)))
        for smooth, values in lost.items():
            counts = others.at(curve.choose(siamese.MaxF1(smooth=smooth)).threshold)
            values.append(others.f1().max() - counts.f1)
    assert np.mean(lost["auto"]) < 0.8 * np.mean(lost[None])


@pytest.mark.parametrize("smooth", [0, -1, "automatic", True, float("inf"), 10**400])
def test_a_bandwidth_that_is_none_is_refused(smooth):
    with pytest.raises(siamese.ConfigError, match="smooth must be 'auto'"):
        siamese.MaxF1(smooth=smooth)
