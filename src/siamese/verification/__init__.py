"""Pairs, distances, thresholds and figures: tensors in, dataclasses out; knows no Lightning."""

from siamese.verification.calibration import Calibration
from siamese.verification.choosing import calibrate, calibrated, max_f1
from siamese.verification.compared import AnyCompared, Compared, compare, to_show
from siamese.verification.confusion import Confusion, confusion
from siamese.verification.curves import ThresholdCurve, auc, eer
from siamese.verification.evaluate import SplitEvaluation, bootstrap, evaluate
from siamese.verification.folds import Fold, FoldedEvaluation, cross_validate
from siamese.verification.point import OperatingPoint
from siamese.verification.policies import POLICIES, Cost, Eer, Far, MaxAccuracy, MaxF1, Policy, Recall, as_policy
from siamese.verification.probability import ProbabilityMap, Reliability, fit_probability, reliability
from siamese.verification.resampling import Resampled, resample
from siamese.verification.stream import PairStream

__all__ = [
    "POLICIES",
    "AnyCompared",
    "Calibration",
    "Compared",
    "Confusion",
    "Cost",
    "Eer",
    "Far",
    "Fold",
    "FoldedEvaluation",
    "MaxAccuracy",
    "MaxF1",
    "OperatingPoint",
    "PairStream",
    "Policy",
    "ProbabilityMap",
    "Recall",
    "Reliability",
    "Resampled",
    "SplitEvaluation",
    "ThresholdCurve",
    "as_policy",
    "auc",
    "bootstrap",
    "calibrate",
    "calibrated",
    "compare",
    "confusion",
    "cross_validate",
    "eer",
    "evaluate",
    "fit_probability",
    "max_f1",
    "reliability",
    "resample",
    "to_show",
]
