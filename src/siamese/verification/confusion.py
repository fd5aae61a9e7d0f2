"""Confusion: the four counts at one threshold, and the rates that follow from them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from siamese.distances.arrays import as_array, as_float64, as_threshold
from siamese.distances.verdict import is_match
from siamese.errors import CalibrationError


@dataclass(frozen=True)
class Confusion:
    """Counts of pairs at one threshold; "positive" means "same identity"."""

    tp: int
    fp: int
    fn: int
    tn: int

    @property
    def total(self) -> int:
        return self.tp + self.fp + self.fn + self.tn

    @property
    def accuracy(self) -> float:
        """(TP + TN) / all; NaN without pairs."""
        return _ratio(self.tp + self.tn, self.total)

    @property
    def error(self) -> float:
        """(FP + FN) / all; NaN without pairs."""
        return _ratio(self.fp + self.fn, self.total)

    @property
    def precision(self) -> float:
        """TP / (TP + FP); 0 where nothing is accepted."""
        return _ratio(self.tp, self.tp + self.fp, 0.0)

    @property
    def recall(self) -> float:
        """TP / (TP + FN), the true match rate; NaN without genuine pairs."""
        return _ratio(self.tp, self.tp + self.fn)

    @property
    def fmr(self) -> float:
        """FP / (FP + TN), the false match rate; NaN without impostor pairs."""
        return _ratio(self.fp, self.fp + self.tn)

    @property
    def f1(self) -> float:
        """2 TP / (2 TP + FP + FN); NaN without pairs that count."""
        return _ratio(2 * self.tp, 2 * self.tp + self.fp + self.fn)


def count_verdicts(distances: np.ndarray, same: np.ndarray, threshold: float) -> Confusion:
    """Count the verdicts of ``is_match`` at a threshold.

    Args:
        distances: (n,) floating point.
        same: (n,) bool.
        threshold: in the unit of the distances.

    Raises:
        CalibrationError: a threshold that is not a number; otherwise see :func:`check_pairs`.
    """
    threshold = as_threshold(threshold)
    distances, same = check_pairs(distances, same)
    match = is_match(distances, threshold)
    tp, fp = int(np.count_nonzero(match & same)), int(np.count_nonzero(match & ~same))
    genuine = int(np.count_nonzero(same))
    return Confusion(tp, fp, genuine - tp, len(same) - genuine - fp)


def check_pairs(distances: np.ndarray, same: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distances and labels as arrays that can be counted: float16, float32 or float64, and bool.

    Raises:
        CalibrationError: different lengths, no pairs, NaN or infinite distances, distances that
            float64 does not hold, labels that are neither booleans nor 0 and 1.
    """
    distances, same = as_array(distances, "the distances"), as_array(same, "the labels (same)")
    if distances.ndim != 1 or distances.shape != same.shape:
        raise CalibrationError(
            f"distances {distances.shape} and same {same.shape} must both be (n,); give one label "
            f"per distance"
        )
    if not len(distances):
        raise CalibrationError("no pairs to count; give at least one genuine and one impostor pair")
    if distances.dtype.kind not in "fiu":
        raise CalibrationError(
            f"distances must be numbers, not {distances.dtype}; give floating point numbers"
        )
    if distances.dtype.itemsize > 8 or distances.dtype.kind in "iu":
        wide, distances = distances, as_float64(distances, "the distances")
        if bool(((distances != wide) & np.isfinite(wide)).any()):
            raise CalibrationError(
                "the distances have more digits than float64, and so would differ from their "
                "threshold; round them first: distances.astype(float)"
            )
    if not np.isfinite(distances).all():
        bad = int(np.count_nonzero(~np.isfinite(distances)))
        raise CalibrationError(
            f"{bad} of {len(distances)} distances are NaN or infinite; look for diverged training "
            f"or bad input"
        )
    if same.dtype != bool:
        if same.dtype.kind not in "iuf" or not np.isin(same, (0, 1)).all():
            raise CalibrationError(
                "same must hold booleans, or 1 for the same identity and 0 for different ones"
            )
        same = same.astype(bool)
    return distances, same


def _ratio(numerator: int, denominator: int, otherwise: float = float("nan")) -> float:
    return numerator / denominator if denominator else otherwise
