"""AUC, EER and counts against scikit-learn and against pair-by-pair counting."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.interpolate import interp1d
from scipy.optimize import brentq
from sklearn.metrics import (
    accuracy_score,
    confusion_matrix,
    f1_score,
    precision_score,
    recall_score,
    roc_auc_score,
    roc_curve,
)
from tests.random_cases import random_cases
from tests.strategies import labelled_distances

from siamese.errors import CalibrationError, ConfigError
from siamese.verification.confusion import count_verdicts
from siamese.verification.curves import ThresholdCurve, auc, eer


@random_cases(250)
@given(labelled_distances(distinct=(1, 30), size=(2, 150)))
def test_auc_and_eer_agree_with_scikit_learn(case):
    distances, same = case
    curve = ThresholdCurve.of(distances, same)
    scores = -distances.astype(np.float64)
    assert auc(curve) == pytest.approx(roc_auc_score(same, scores), abs=1e-12)
    fpr, tpr, _ = roc_curve(same, scores, drop_intermediate=False)
    crossing = brentq(lambda x: 1 - x - interp1d(fpr, tpr)(x), 0, 1, xtol=1e-12)
    # Where the curve rises straight up at the crossing, the root is any height on it: compare the
    # rates, not the abscissa.
    assert eer(curve) == pytest.approx(crossing, abs=1e-8)


@random_cases(250)
@given(labelled_distances())
def test_metrics_at_a_threshold_agree_with_scikit_learn(case):
    distances, same = case
    threshold = float(np.median(distances))
    c = count_verdicts(distances, same, threshold)
    predicted = np.array([d <= threshold for d in distances.tolist()])
    tn, fp, fn, tp = confusion_matrix(same, predicted, labels=[False, True]).ravel().tolist()
    assert (c.tp, c.fp, c.fn, c.tn) == (tp, fp, fn, tn)
    assert c.accuracy == pytest.approx(accuracy_score(same, predicted))
    assert c.error == pytest.approx(1 - accuracy_score(same, predicted))
    assert c.precision == pytest.approx(precision_score(same, predicted, zero_division=0))
    assert c.recall == pytest.approx(recall_score(same, predicted))
    assert c.f1 == pytest.approx(f1_score(same, predicted))


@random_cases(150)
@given(labelled_distances())
def test_the_curve_counts_what_each_threshold_accepts(case):
    distances, same = case
    curve = ThresholdCurve.of(distances, same)
    for threshold, tp, fp in zip(
        curve.thresholds.tolist(), curve.tp.tolist(), curve.fp.tolist(), strict=True
    ):
        c = count_verdicts(distances, same, threshold)
        assert (c.tp, c.fp) == (tp, fp)
    assert (np.diff(curve.thresholds) > 0).all()


@pytest.mark.parametrize(
    ("distances", "expected"),
    [([0, 0, 1, 1], (1.0, 0.0)), ([1, 1, 0, 0], (0.0, 1.0)), ([1, 1, 1, 1], (0.5, 0.5))],
)
def test_perfect_reversed_and_blind(distances, expected):
    curve = ThresholdCurve.of(
        np.array(distances, dtype=float), np.array([True, True, False, False])
    )
    assert (auc(curve), eer(curve)) == pytest.approx(expected)


def test_auc_is_exact_beyond_the_range_of_int64_products():
    # 4e9 pairs of each kind: the product 1.6e19 is more than int64 holds.
    n = 4 * 10**9
    curve = ThresholdCurve(np.array([0.1, 0.2]), np.array([n, n]), np.array([0, n]))
    assert auc(curve) == 1.0


@pytest.mark.parametrize("figure", [auc, eer])
def test_one_kind_only_is_refused(figure):
    with pytest.raises(CalibrationError, match="both kinds"):
        figure(ThresholdCurve.of(np.array([0.1, 0.2]), np.array([True, True])))


@random_cases(150)
@given(labelled_distances(), st.sampled_from([None, 0.5, 0.01]))
def test_the_curves_are_the_figures_of_each_threshold(case, prevalence):
    """To weigh genuine pairs to a share p is to write them down more often, as the oracle does."""
    distances, same = case
    curve = ThresholdCurve.of(distances, same)
    weight = np.ones(len(same))
    if prevalence:
        weight[same], weight[~same] = prevalence / same.sum(), (1 - prevalence) / (~same).sum()
    for k, t in enumerate(curve.thresholds.tolist()):
        accepted = np.array([d <= t for d in distances.tolist()])
        assert curve.recall[k] == pytest.approx(recall_score(same, accepted))
        assert curve.fnmr[k] == pytest.approx(1 - recall_score(same, accepted))
        assert curve.fmr[k] == pytest.approx(recall_score(~same, accepted))
        assert curve.f1(prevalence)[k] == pytest.approx(
            f1_score(same, accepted, sample_weight=weight)
        )
        assert curve.accuracy(prevalence)[k] == pytest.approx(
            accuracy_score(same, accepted, sample_weight=weight)
        )
    assert (curve.auc, curve.eer) == (auc(curve), eer(curve))


def test_recall_at_fmr_is_scikit_learns_and_needs_30_expected_errors():
    rng = np.random.default_rng(0)
    same = np.arange(5000) < 500
    distances = np.round(rng.normal(np.where(same, 1.0, 2.0), 0.5), 2)
    curve = ThresholdCurve.of(distances, same)
    fpr, tpr, _ = roc_curve(same, -distances, drop_intermediate=False)
    for rate in (0.01, 0.05, 0.3):
        assert curve.recall_at_fmr(rate) == pytest.approx(tpr[fpr <= rate].max())
    with pytest.raises(CalibrationError, match="rule of 30"):
        curve.recall_at_fmr(1e-3)
    with pytest.raises(ConfigError, match="between 0 and 1"):
        curve.f1(1.5)
