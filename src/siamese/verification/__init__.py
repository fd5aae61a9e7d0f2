"""Pairs, distances, thresholds and figures: tensors in, dataclasses out; knows no Lightning."""

from siamese.verification.calibration import Calibration, OperatingPoint, max_f1
from siamese.verification.curves import Confusion, ThresholdCurve, auc, confusion, eer
from siamese.verification.evaluate import Compared, SplitEvaluation, bootstrap, calibrate, compare, evaluate

__all__ = [
    "Calibration",
    "Compared",
    "Confusion",
    "OperatingPoint",
    "SplitEvaluation",
    "ThresholdCurve",
    "auc",
    "bootstrap",
    "calibrate",
    "compare",
    "confusion",
    "eer",
    "evaluate",
    "max_f1",
]
