"""The threshold is F1-optimal, exactly.

Against brute force in rationals and against scikit-learn, on tie-heavy cases.
"""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import precision_recall_curve
from tests.helpers import assert_in_the_middle
from tests.random_cases import random_cases
from tests.strategies import labelled_distances

from siamese.errors import CalibrationError
from siamese.verification.confusion import count_verdicts
from siamese.verification.curves import ThresholdCurve
from siamese.verification.point import OperatingPoint
from siamese.verification.policies.max_f1 import MaxF1
from siamese.verification.thresholds import max_f1


def f1_of(distances, same, threshold):
    """F1 as a fraction, counted pair by pair."""
    tp = sum(1 for d, s in zip(distances, same, strict=True) if d <= threshold and s)
    fp = sum(1 for d, s in zip(distances, same, strict=True) if d <= threshold and not s)
    fn = sum(1 for d, s in zip(distances, same, strict=True) if not d <= threshold and s)
    return Fraction(2 * tp, 2 * tp + fp + fn)


@random_cases(700)
@given(labelled_distances())
def test_no_threshold_beats_it_and_of_equals_it_is_the_smallest(case):
    distances, same = case
    found = max_f1(distances, same)
    # Between two distances nothing changes, so these are all the thresholds there are, refusing
    # everything included.
    candidates = [float(d) for d in np.unique(distances)]
    values = {t: f1_of(distances.tolist(), same, t) for t in candidates}
    best = max(values.values())
    assert best >= f1_of(distances.tolist(), same, min(candidates) - 1)
    assert_in_the_middle(found.threshold, min(t for t, v in values.items() if v == best), distances)
    assert found.f1 == float(best)


@random_cases(250)
@given(labelled_distances(distinct=(1, 40), size=(2, 200)))
def test_agrees_with_scikit_learn(case):
    distances, same = case
    precision, recall, _ = precision_recall_curve(same, -distances.astype(np.float64))
    with np.errstate(invalid="ignore"):
        f1 = np.nan_to_num(2 * precision * recall / (precision + recall))
    assert max_f1(distances, same).f1 == pytest.approx(f1.max(), abs=1e-12)


@random_cases(250)
@given(labelled_distances())
def test_a_genuine_pair_is_the_last_accepted_and_applying_it_again_gives_the_stored_counts(case):
    distances, same = case
    found = max_f1(distances, same)
    assert distances[distances <= found.threshold].max() in distances[same]
    assert count_verdicts(distances, same, found.threshold) == found.confusion
    assert found.confusion.total == len(distances)


@random_cases(300)
@given(labelled_distances(), st.randoms(use_true_random=False))
def test_the_order_of_pairs_does_not_matter(case, random):
    distances, same = case
    order = list(range(len(distances)))
    random.shuffle(order)
    assert max_f1(distances[order], same[order]) == max_f1(distances, same)


def test_nearly_equal_f1_is_compared_as_fractions():
    # With P genuine pairs: 2 TP / (TP + FP + P). Both candidates round to one double; the exact
    # larger one must win.
    tp1, tp2, p, fp1 = 10**12, 10**12 + 10**4, 2 * 10**12 + 3, 7
    # Choose fp2 so that tp2 / (tp2 + fp2 + p) is just above tp1 / (tp1 + fp1 + p)
    fp2 = -(-(tp2 * (tp1 + fp1 + p)) // tp1) - 1 - tp2 - p
    curve = ThresholdCurve(
        np.array([0.1, 0.2, 0.3]), np.array([tp1, tp2, p]), np.array([fp1, fp2, 10**14])
    )
    exact = [
        Fraction(2 * t, t + f + p)
        for t, f in zip(curve.tp.tolist(), curve.fp.tolist(), strict=True)
    ]
    assert exact[1] > exact[0]
    assert float(exact[1]) == float(exact[0])
    assert curve.choose(MaxF1()).gap == (0.2, np.nextafter(0.3, 0))


@pytest.mark.parametrize(
    ("distances", "same", "words"),
    [
        ([0.1, 0.2], [1, 1], "0 impostor"),
        ([0.1, 0.2], [0, 0], "0 genuine"),
        ([], [], "no pairs"),
        ([0.1, np.nan], [1, 0], "NaN or infinite"),
        ([0.1, np.inf], [1, 0], "NaN or infinite"),
        ([0.1, 0.2, 0.3], [1, 0], "one label per distance"),
        ([0.1, 0.2], [1, 2], "booleans"),
        ([[0.1, 0.2]], [[1, 0]], "must both be"),
    ],
)
def test_unusable_pairs_are_refused_with_a_reason(distances, same, words):
    with pytest.raises(CalibrationError, match=words):
        max_f1(np.array(distances, dtype=float), np.array(same))


def test_all_distances_equal_accepts_all():
    found = max_f1(np.full(10, 0.5), np.arange(10) < 3)
    assert found.threshold == 0.5
    c = found.confusion
    assert (c.tp, c.fp, c.fn, c.tn) == (3, 7, 0, 0)


def test_an_operating_point_survives_json_and_refuses_what_is_no_threshold():
    import json

    point = OperatingPoint(
        0.5, "max_f1", "euclidean", "calibration", {"name": "all_pairs"}, 3, 7, 0.3, 1.0, 3, 0, 0, 7
    )
    assert OperatingPoint.from_dict(json.loads(json.dumps(point.to_dict()))) == point
    with pytest.raises(CalibrationError, match="threshold"):
        OperatingPoint.from_dict(point.to_dict() | {"threshold": float("nan")})
    incomplete = point.to_dict()
    del incomplete["tp"]
    with pytest.raises(CalibrationError, match="calibrate again"):
        OperatingPoint.from_dict(incomplete)
