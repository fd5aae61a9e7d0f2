"""AUC, EER and counts against scikit-learn and against pair-by-pair counting."""

import numpy as np
import pytest
from hypothesis import given, settings
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
from tests.strategies import labelled_distances

from siamese.errors import CalibrationError
from siamese.verification import ThresholdCurve, auc, confusion, eer


@settings(max_examples=1000, deadline=None)
@given(labelled_distances(distinct=(1, 30), size=(2, 150)))
def test_auc_and_eer_agree_with_scikit_learn(case):
    distances, same = case
    curve = ThresholdCurve.of(distances, same)
    scores = -distances.astype(np.float64)
    assert auc(curve) == pytest.approx(roc_auc_score(same, scores), abs=1e-12)
    fpr, tpr, _ = roc_curve(same, scores, drop_intermediate=False)
    crossing = brentq(lambda x: 1 - x - interp1d(fpr, tpr)(x), 0, 1, xtol=1e-12)
    # Where the curve rises straight up at the crossing, the root is any height on it: compare the rates, not the abscissa.
    assert eer(curve) == pytest.approx(crossing, abs=1e-8)


@settings(max_examples=1000, deadline=None)
@given(labelled_distances())
def test_metrics_at_a_threshold_agree_with_scikit_learn(case):
    distances, same = case
    threshold = float(np.median(distances))
    c = confusion(distances, same, threshold)
    predicted = np.array([d <= threshold for d in distances.tolist()])
    tn, fp, fn, tp = confusion_matrix(same, predicted, labels=[False, True]).ravel().tolist()
    assert (c.tp, c.fp, c.fn, c.tn) == (tp, fp, fn, tn)
    assert c.accuracy == pytest.approx(accuracy_score(same, predicted))
    assert c.error == pytest.approx(1 - accuracy_score(same, predicted))
    assert c.precision == pytest.approx(precision_score(same, predicted, zero_division=0))
    assert c.recall == pytest.approx(recall_score(same, predicted))
    assert c.f1 == pytest.approx(f1_score(same, predicted))


@settings(max_examples=300, deadline=None)
@given(labelled_distances())
def test_the_curve_counts_what_each_threshold_accepts(case):
    distances, same = case
    curve = ThresholdCurve.of(distances, same)
    for threshold, tp, fp in zip(curve.thresholds.tolist(), curve.tp.tolist(), curve.fp.tolist(), strict=True):
        c = confusion(distances, same, threshold)
        assert (c.tp, c.fp) == (tp, fp)
    assert (np.diff(curve.thresholds) > 0).all()


@pytest.mark.parametrize(
    ("distances", "expected"), [([0, 0, 1, 1], (1.0, 0.0)), ([1, 1, 0, 0], (0.0, 1.0)), ([1, 1, 1, 1], (0.5, 0.5))]
)
def test_perfect_reversed_and_blind(distances, expected):
    curve = ThresholdCurve.of(np.array(distances, dtype=float), np.array([True, True, False, False]))
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
