"""Cross-validated verification: each fold judged at the threshold that the other folds chose."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from siamese.distances.arrays import as_array, as_threshold
from siamese.distances.verdict import is_match
from siamese.errors import CalibrationError
from siamese.verification.confusion import check_pairs
from siamese.verification.curves import ThresholdCurve
from siamese.verification.policies.base import RULE_OF, Policy, as_policy, is_number
from siamese.verification.policies.max_accuracy import MaxAccuracy

RATES = (0.1, 0.01, 0.001)


@dataclass(frozen=True)
class Fold:
    """One tested fold.

    Attributes:
        fold: its number.
        name: what it is called.
        threshold: chosen on the pairs of all other folds, or given.
        tp, fp, fn, tn: its pairs at that threshold; each pair has a verdict.
        missing: how many of them name an image without a face.
        missing_right: how many of those have a right verdict.
    """

    fold: int
    name: str
    threshold: float
    tp: int
    fp: int
    fn: int
    tn: int
    missing: int
    missing_right: int

    @property
    def pairs(self) -> int:
        """Number of pairs."""
        return self.tp + self.fp + self.fn + self.tn

    @property
    def accuracy(self) -> float:
        """Share of pairs with a right verdict.

        Where no face was found, it is the verdict on what was compared instead.
        """
        return (self.tp + self.tn) / self.pairs

    @property
    def strict_accuracy(self) -> float:
        """The same, but every pair with an image without a face counts as wrong."""
        return (self.tp + self.tn - self.missing_right) / self.pairs


@dataclass(frozen=True)
class FoldedEvaluation:
    """Figures of k tested folds.

    Attributes:
        benchmark: which pairs.
        policy: how thresholds were chosen; "given" for a number.
        folds: each of them.
        auc, eer: over all tested pairs; NaN where only one kind was tested.
        recall_at_fmr: false match rate -> recall, for each of 0.1, 0.01 and 0.001 at which 30
            impostor pairs or more are accepted.
        images, not_acquired: how many images the benchmark has, and on how many the cropper found
            nothing (failure to acquire); None where that is not known.
    """

    benchmark: str
    policy: str
    folds: tuple[Fold, ...]
    auc: float
    eer: float
    recall_at_fmr: Mapping[float, float]
    images: int | None = None
    not_acquired: int | None = None

    @property
    def mean(self) -> float:
        """Mean accuracy over the folds; each pair has a verdict."""
        return _mean([fold.accuracy for fold in self.folds])

    @property
    def standard_error(self) -> float:
        """Of :attr:`mean`; NaN for one fold."""
        return _standard_error([fold.accuracy for fold in self.folds])

    @property
    def strict_mean(self) -> float:
        """Mean accuracy over the folds; pairs with an image without a face count as wrong."""
        return _mean([fold.strict_accuracy for fold in self.folds])

    @property
    def strict_standard_error(self) -> float:
        """Of :attr:`strict_mean`; NaN for one fold."""
        return _standard_error([fold.strict_accuracy for fold in self.folds])

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; null for figures that one fold, or one kind of pairs, cannot give."""
        figures = {
            name: getattr(self, name)
            for name in (
                "mean",
                "standard_error",
                "strict_mean",
                "strict_standard_error",
                "auc",
                "eer",
            )
        }
        folds = [
            asdict(f) | {"accuracy": f.accuracy, "strict_accuracy": f.strict_accuracy}
            for f in self.folds
        ]
        rest = {"images": self.images, "not_acquired": self.not_acquired, "folds": folds}
        at = {"recall_at_fmr": {str(rate): recall for rate, recall in self.recall_at_fmr.items()}}
        known = {name: None if math.isnan(value) else value for name, value in figures.items()}
        return {"benchmark": self.benchmark, "policy": self.policy} | known | at | rest

    def __repr__(self) -> str:
        return (
            f"FoldedEvaluation({self.benchmark!r}: accuracy {self.mean:.4f} +- "
            f"{self.standard_error:.4f} over {len(self.folds)} folds, by {self.policy})"
        )


def cross_validate(
    distances: np.ndarray,
    same: np.ndarray,
    fold: np.ndarray,
    *,
    policy: str | dict[str, Any] | Policy | float = MaxAccuracy(),  # noqa: B008 - frozen
    tested: Sequence[int] | None = None,
    missing: np.ndarray | None = None,
    refused: np.ndarray | None = None,
    choosing: np.ndarray | None = None,
    benchmark: str = "pairs",
    names: Mapping[int, str] | None = None,
) -> FoldedEvaluation:
    """Judge each fold at the threshold that the pairs of all other folds choose.

    LFW's View 2 (Huang, Ramesh, Berg and Learned-Miller, *Labeled Faces in the Wild*, University of
    Massachusetts, Amherst, technical report 07-49, 2007): ten folds, the mean of their accuracies,
    and its standard error, the folds' sample standard deviation over the root of their number. That
    benchmark requires a verdict for every pair. Where the detector finds no face on an image there
    are two correct ways to count, and both are reported: the verdict that was given, or always a
    mistake.

    Args:
        distances: (n,) floating point, smaller is more alike.
        same: (n,) bool.
        fold: (n,) integers.
        policy: chooses the thresholds; a number is applied as it is to every fold.
        tested: which folds; by default all.
        missing: (n,) bool, pairs that name an image without a face.
        refused: (n,) bool, pairs without a distance, since an image was left out: their verdict is
            "different", and they do not help to choose a threshold. ``distances`` may hold any
            values there.
        choosing: (number of tested folds, n): for each tested fold the distances that its threshold
            is chosen from, where these are others: of a distance that was fitted to the benchmark's
            own images, for each fold without those of the fold. By default ``distances``.
        benchmark: what the pairs are called.
        names: what the folds are called; by default their numbers.

    Raises:
        CalibrationError: arrays that do not fit each other, distances or a threshold that are not
            finite, one fold alone without a given threshold, or folds that cannot support the
            policy.
        ConfigError: an unknown policy.
    """
    distances, same = as_array(distances, "the distances"), as_array(same, "the labels (same)")
    fold = as_array(fold, "the folds")
    none = np.zeros(same.shape, bool)
    refused = none if refused is None else _flags(refused, "refused")
    missing = none if missing is None else _flags(missing, "missing")
    if not same.shape == fold.shape == refused.shape == missing.shape == distances.shape:
        raise CalibrationError(
            "distances, same, fold and what is missing must be (n,) and equally long; give one "
            "entry per pair"
        )
    missing = missing | refused
    if distances.dtype.kind not in "fiu":
        raise CalibrationError(f"distances must be numbers, not {distances.dtype}; give an array")
    if fold.dtype.kind not in "iu":
        raise CalibrationError(
            f"fold must hold whole numbers, one per pair, not {fold.dtype}; number the folds"
        )
    distances, same = check_pairs(np.where(refused, 0, distances).astype(distances.dtype), same)
    given = as_threshold(policy, finite=True) if is_number(policy) else None
    rule = None if given is not None else as_policy(policy)  # type: ignore[arg-type]
    chosen = np.unique(fold).tolist() if tested is None else list(tested)
    if rule is not None and len(np.unique(fold)) < 2:
        raise CalibrationError(
            f"{benchmark}: one fold alone chooses no threshold that it could be judged by; give a "
            f"threshold, or pairs in several folds"
        )
    pools = [distances] * len(chosen) if choosing is None else as_array(choosing, "choosing")
    if np.shape(pools) != (len(chosen), len(same)):
        raise CalibrationError(
            f"choosing must be ({len(chosen)}, {len(same)}), one row for each tested fold, not "
            f"{np.shape(pools)}"
        )
    found = []
    for number, pool in zip(chosen, pools, strict=True):
        here, elsewhere = fold == number, (fold != number) & ~refused
        threshold = given
        if rule is not None:
            pairs = check_pairs(pool[elsewhere], same[elsewhere])
            threshold = ThresholdCurve.of(*pairs).choose(rule).threshold
        assert threshold is not None
        called = str(number) if names is None else names[number]
        found.append(
            _judge(
                number, called, threshold, distances[here], same[here], missing[here], refused[here]
            )
        )
    judged = np.isin(fold, chosen)
    # Refused pairs are "different" at every threshold: farther than all others.
    beyond = np.where(
        refused, np.nextafter(distances.max(initial=0), np.inf, dtype=distances.dtype), distances
    )
    curve = ThresholdCurve.of(beyond[judged], same[judged])
    both = bool(curve.genuine and curve.impostor)
    rates = {
        rate: curve.recall_at_fmr(rate)
        for rate in RATES
        if both and rate * curve.impostor >= RULE_OF
    }
    nan = float("nan")
    name = "given" if rule is None else rule.describe()["name"]
    return FoldedEvaluation(
        benchmark, name, tuple(found), curve.auc if both else nan, curve.eer if both else nan, rates
    )


def _flags(values: Any, name: str) -> np.ndarray:
    found = as_array(values, name)
    if found.dtype != bool and not (found.dtype.kind in "iuf" and np.isin(found, (0, 1)).all()):
        raise CalibrationError(f"{name} must hold booleans, one per pair; give True or False")
    return found.astype(bool)


def _judge(
    number: int,
    name: str,
    threshold: float,
    distances: np.ndarray,
    same: np.ndarray,
    missing: np.ndarray,
    refused: np.ndarray,
) -> Fold:
    if not len(same):
        raise CalibrationError(f"fold {name} has no pairs; name one that has")
    accepted = is_match(distances, threshold) & ~refused
    right = accepted == same
    counts = (
        accepted & same,
        accepted & ~same,
        ~accepted & same,
        ~accepted & ~same,
        missing,
        missing & right,
    )
    tp, fp, fn, tn, without, right_without = (int(np.count_nonzero(which)) for which in counts)
    return Fold(number, name, threshold, tp, fp, fn, tn, without, right_without)


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _standard_error(values: Sequence[float]) -> float:
    if len(values) < 2:
        return float("nan")
    centre = _mean(values)
    return math.sqrt(math.fsum((v - centre) ** 2 for v in values) / (len(values) - 1) / len(values))
