"""Pairs, distances, thresholds and figures: tensors in, dataclasses out; knows no Lightning."""

from siamese.verification.calibration import Calibration, OperatingPoint, max_f1
from siamese.verification.curves import Confusion, ThresholdCurve, auc, confusion, eer
from siamese.verification.evaluate import Compared, SplitEvaluation, bootstrap, calibrate, compare, evaluate
from siamese.verification.pairs import PROTOCOLS, AllPairs, BalancedPairs, PairProtocol, Pairs

__all__ = [
    "PROTOCOLS",
    "AllPairs",
    "BalancedPairs",
    "Calibration",
    "Compared",
    "Confusion",
    "OperatingPoint",
    "PairProtocol",
    "Pairs",
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
