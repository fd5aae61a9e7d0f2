"""Confusion: the four counts at one threshold, and the rates that follow from them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from siamese.distances.base import is_match
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
    check_threshold(threshold)
    distances, same = check_pairs(distances, same)
    match = is_match(distances, threshold)
    tp, fp = int(np.count_nonzero(match & same)), int(np.count_nonzero(match & ~same))
    genuine = int(np.count_nonzero(same))
    return Confusion(tp, fp, genuine - tp, len(same) - genuine - fp)


def check_threshold(threshold: float) -> None:
    """Raise :class:`CalibrationError` for NaN."""
    if math.isnan(threshold):
        raise CalibrationError(
            "the threshold is not a number (NaN); calibrate first, or give a number"
        )


def check_pairs(distances: np.ndarray, same: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distances and labels as arrays that can be counted.

    Raises:
        CalibrationError: different lengths, no pairs, NaN or infinite distances, labels that are
            neither booleans nor 0 and 1.
    """
    distances, same = np.asarray(distances), np.asarray(same)
    if distances.ndim != 1 or distances.shape != same.shape:
        raise CalibrationError(
            f"distances {distances.shape} and same {same.shape} must both be (n,); give one label "
            f"per distance"
        )
    if not len(distances):
        raise CalibrationError("no pairs to count; give at least one genuine and one impostor pair")
    if distances.dtype.kind not in "fiu":
        raise CalibrationError(f"distances must be numbers, not {distances.dtype}")
    if distances.dtype.kind in "iu":
        distances = distances.astype(np.float64)
    if not np.isfinite(distances).all():
        bad = int(np.count_nonzero(~np.isfinite(distances)))
        raise CalibrationError(
            f"{bad} of {len(distances)} distances are NaN or infinite; look for diverged training "
            f"or bad input"
        )
    if same.dtype != bool:
        if not np.isin(same, (0, 1)).all():
            raise CalibrationError(
                "same must hold booleans, or 1 for the same identity and 0 for different ones"
            )
        same = same.astype(bool)
    return distances, same


def _ratio(numerator: int, denominator: int, otherwise: float = float("nan")) -> float:
    return numerator / denominator if denominator else otherwise
