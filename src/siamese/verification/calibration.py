"""The F1-optimal threshold, found exactly, and the OperatingPoint that says where it came from."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import numpy as np

from siamese.errors import CalibrationError
from siamese.verification.curves import Confusion, ThresholdCurve, checked


@dataclass(frozen=True)
class OperatingPoint:
    """A threshold with its birth certificate: F1 depends on prevalence, so a threshold means nothing without its pairs.

    Attributes:
        threshold: accept as the same person where distance <= threshold.
        policy: how it was chosen ("max_f1").
        distance: name of the distance it belongs to ("euclidean").
        split: which pictures it was chosen on ("calibration").
        protocol: which pairs of them, :meth:`PairProtocol.describe`.
        genuine, impostor: numbers of pairs.
        prevalence: genuine / (genuine + impostor).
        f1: reached on those pairs.
        tp, fp, fn, tn: counts on those pairs.
        people, images: whose pairs they are; None where unknown.
        epoch, step: of the training run, when it was chosen; None outside one.
    """

    threshold: float
    policy: str
    distance: str
    split: str
    protocol: Mapping[str, Any]
    genuine: int
    impostor: int
    prevalence: float
    f1: float
    tp: int
    fp: int
    fn: int
    tn: int
    people: int | None = None
    images: int | None = None
    epoch: int | None = None
    step: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> OperatingPoint:
        """The reverse of :meth:`to_dict`.

        Raises:
            CalibrationError: a value is missing, or the threshold is not a number.
        """
        known = {f.name for f in fields(cls)}
        try:
            point = cls(**{k: v for k, v in values.items() if k in known})
        except TypeError as error:
            raise CalibrationError(f"incomplete operating point ({error}); calibrate again") from error
        if (
            isinstance(point.threshold, bool)
            or not isinstance(point.threshold, (int, float))
            or not math.isfinite(point.threshold)
        ):
            raise CalibrationError(f"the operating point's threshold is {point.threshold!r}; calibrate again")
        return point

    @property
    def confusion(self) -> Confusion:
        """The counts as one object."""
        return Confusion(self.tp, self.fp, self.fn, self.tn)


@dataclass(frozen=True)
class Calibration:
    """What :func:`max_f1` found: a threshold and the counts there."""

    threshold: float
    confusion: Confusion = field(repr=True)

    @property
    def f1(self) -> float:
        return self.confusion.f1


def max_f1(distances: np.ndarray, same: np.ndarray) -> Calibration:
    """The threshold with the highest F1 among all real numbers, exactly; of several the smallest.

    Between two neighbouring distances nothing changes, so only distances that occur need be tried. Moving the threshold down
    from an impostor pair's distance to the next genuine one's lowers FP and leaves TP, so the optimum lies at a genuine
    pair's distance. F1 = 2 TP / (TP + FP + P) with P genuine pairs; candidates whose rounded F1 is near the best are compared
    as fractions of integers. Pairs at equal distances are accepted or refused together.

    Args:
        distances: (n,) floating point, finite.
        same: (n,) bool, True for the same person.

    Returns:
        threshold (equal to one of the distances) and counts.

    Raises:
        CalibrationError: no genuine or no impostor pair, NaN or infinite distances, lengths that differ.
    """
    distances, same = checked(distances, same)
    curve = ThresholdCurve.of(distances, same)
    if not curve.genuine or not curve.impostor:
        raise CalibrationError(
            f"{curve.genuine} genuine and {curve.impostor} impostor pairs: a threshold needs both kinds; "
            f"calibrate on several people with two pictures or more"
        )
    rounded = 2 * curve.tp / (curve.tp + curve.fp + curve.genuine)
    best = -1
    for i in np.flatnonzero(rounded >= rounded.max() * (1 - 1e-12)).tolist():
        # tp / (tp + fp + P) > tp' / (tp' + fp' + P), multiplied out in Python integers
        if best < 0 or _f1_over(curve, i, best) > _f1_over(curve, best, i):
            best = i
    tp, fp = int(curve.tp[best]), int(curve.fp[best])
    return Calibration(float(curve.thresholds[best]), Confusion(tp, fp, curve.genuine - tp, curve.impostor - fp))


def _f1_over(curve: ThresholdCurve, i: int, j: int) -> int:
    return int(curve.tp[i]) * (int(curve.tp[j]) + int(curve.fp[j]) + curve.genuine)
