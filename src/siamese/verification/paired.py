"""compare_pairs: two distances of the same pairs, such as those of two networks, and how sure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from torch import Tensor

from siamese.distances.arrays import as_array, as_float64, as_threshold
from siamese.distances.verdict import is_match
from siamese.errors import CalibrationError
from siamese.verification.bootstrap import MIN_IDENTITIES
from siamese.verification.draw_order import common_keys
from siamese.verification.drawn import DrawnFigures, draw_figures
from siamese.verification.held import HeldDistances
from siamese.verification.mcnemar import McNemar, pairs_that_share
from siamese.verification.pair_distances import PairDistances
from siamese.verification.point import Interval
from siamese.verification.policies.base import check_prevalence
from siamese.verification.same_pairs import check_same_pairs, same_distances

# In this order; those at a stated prevalence follow them, and the recalls at false match rates.
FIGURES = ("auc", "eer", "f1", "accuracy", "recall", "fmr")
_STATED = ("f1@prevalence", "accuracy@prevalence")
_NEED_NO_THRESHOLD = ("auc", "eer", "recall@")
_LESS_IS_BETTER = ("eer", "fmr")
BETTER, WORSE, NOT_SHOWN, NOT_KNOWN = "better", "worse", "not shown", "not known"


@dataclass(frozen=True)
class PairedFigure:
    """One figure of A and of B, on the same pairs.

    Attributes:
        a, b: its values, 0..1.
        difference: b - a.
        ci95: 95 % interval of the difference, from one bootstrap over the identities of both; None
            where nothing is known.
        less_is_better: as of error rates.
    """

    a: float
    b: float
    difference: float
    ci95: Interval | None
    less_is_better: bool = False

    @property
    def verdict(self) -> str:
        """What B is, by the interval: better, worse, not shown (it holds 0), not known (none)."""
        if self.ci95 is None:
            return NOT_KNOWN
        low, high = self.ci95
        if low <= 0 <= high:
            return NOT_SHOWN
        return BETTER if (low > 0) != self.less_is_better else WORSE

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "a": self.a,
            "b": self.b,
            "difference": self.difference,
            "ci95": None if self.ci95 is None else list(self.ci95),
            "verdict": self.verdict,
        }

    def __str__(self) -> str:
        if self.ci95 is None:
            return f"{self.difference:+.4f}"
        low, high = self.ci95
        return f"{self.difference:+.4f} (95 % interval {low:+.4f} to {high:+.4f})"


@dataclass(frozen=True, repr=False)
class PairedComparison:
    """A and B on the same pairs of the same images.

    Attributes:
        figures: name -> its values: ``auc`` and ``eer``, ``f1``, ``accuracy``, ``recall`` and
            ``fmr`` (false match rate) at each one's own threshold, ``f1@prevalence`` and
            ``accuracy@prevalence`` where one is stated, ``recall@fmr=0.01`` for each rate that the
            pairs support. The verdict is that of the first: of so many figures, one in twenty has
            an interval without 0 by chance.
        identities, images, genuine, impostor: what they were measured on.
        threshold_a, threshold_b: of each one's own distance; None where pairs have several.
        prevalence: that was stated; None where none was.
        mcnemar: on the verdicts at the thresholds; None where the pairs are not independent.
        sharing: how many pairs have an identity that another pair has, too.
        why_no_interval: why differences have no intervals; None where they have them.
    """

    figures: Mapping[str, PairedFigure]
    identities: int
    images: int
    genuine: int
    impostor: int
    threshold_a: float | None
    threshold_b: float | None
    prevalence: float | None
    mcnemar: McNemar | None
    sharing: int
    why_no_interval: str | None = None

    @property
    def verdict(self) -> str:
        """Whether B is better than A, by the area under the ROC curve."""
        return self.figures["auc"].verdict

    def sentence(self, a: str = "A", b: str = "B") -> str:
        """The verdict with its figure; ``a`` and ``b`` are what the two are called."""
        area = self.figures["auc"]
        shown = f"ROC AUC {area.a:.4f} and {area.b:.4f}, {area}"
        if self.verdict == NOT_SHOWN:
            return f"which of {a} and {b} is better is not shown: {shown}"
        if self.verdict == NOT_KNOWN:
            return f"which of {a} and {b} is better is not known: {shown}, without an interval"
        return f"{b} is {self.verdict} than {a}: {shown}"

    def without_intervals(self, reason: str) -> PairedComparison:
        """The same, where intervals would promise too much; ``reason`` says why."""
        figures = {name: replace(figure, ci95=None) for name, figure in self.figures.items()}
        return replace(self, figures=figures, why_no_interval=reason)

    @property
    def why_no_mcnemar(self) -> str | None:
        """Why McNemar's test was not made; None where it was."""
        if self.mcnemar is not None:
            return None
        return (
            f"McNemar's test is left out, since it needs independent pairs: {self.sharing:,} of "
            f"{self.genuine + self.impostor:,} pairs share an identity with another pair"
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        names = ("identities", "images", "genuine", "impostor", "threshold_a", "threshold_b",
                 "prevalence")  # fmt: skip
        return {
            "verdict": self.verdict,
            "sentence": self.sentence(),
            "figures": {name: figure.to_dict() for name, figure in self.figures.items()},
            **{name: getattr(self, name) for name in names},
            "mcnemar": None if self.mcnemar is None else self.mcnemar.to_dict(),
            "why_no_interval": self.why_no_interval,
            "why_no_mcnemar": self.why_no_mcnemar,
        }

    def __repr__(self) -> str:
        return (
            f"PairedComparison({self.sentence()}; {self.genuine:,} genuine and {self.impostor:,} "
            f"impostor pairs of {self.identities:,} identities)"
        )


def compare_pairs(
    a: PairDistances,
    b: PairDistances,
    threshold_a: float | np.ndarray,
    threshold_b: float | np.ndarray,
    *,
    prevalence: float | None = None,
    seed: int = 0,
) -> PairedComparison:
    """Whether B is better than A, on the same pairs of the same images.

    Identities are drawn with replacement, 1,000 times, and both are measured on each draw: most of
    what varies in one varies in the other, too, so that the interval of the difference is narrower
    than those of the two figures (the bootstrap of :class:`siamese.IdentityBootstrap`). Where no
    error, or no disagreement, was observed, the interval has the width of what was not observed.
    Of two that are equally good the intervals of few identities tell one from the other more often
    than in 5 of 100 cases: with 20 to 40 simulated identities in 6 to 9.

    Args:
        a, b: from :func:`siamese.measure_pairs`, with one list of identities and one pair rule;
            each in the unit of its own distance.
        threshold_a, threshold_b: accept where distance <= threshold; one for all pairs, or (n,)
            one for each of n held pairs, as where each fold of a benchmark has its own.
        prevalence: share of genuine pairs where the thresholds will be used, 0..1, at which f1 and
            accuracy are stated too.
        seed: of the draws.

    Raises:
        CalibrationError: other pairs on the two sides, pairs of one kind only, or a threshold or a
            prevalence that is out of range.
    """
    check_same_pairs(a, b)
    threshold_a, threshold_b = _thresholds(threshold_a), _thresholds(threshold_b)
    if prevalence is not None:
        prevalence = check_prevalence(prevalence, CalibrationError)
    judged = [_judged(d, t) for d, t in ((a, threshold_a), (b, threshold_b))]
    # The draws of both are of the same identities.
    keys = common_keys(a.draw_keys, b.draw_keys, a.identities)
    drawn = [_drawn(d, *at, prevalence, seed, keys) for d, at in zip((a, b), judged, strict=True)]
    alike = same_distances(a, b)
    same_verdicts = alike and np.array_equal(threshold_a, threshold_b)
    figures = {}
    for name in _ordered(drawn[0].observed):
        identical = alike if name.startswith(_NEED_NO_THRESHOLD) else same_verdicts
        difference, interval = drawn[1].less(drawn[0], name, identical)
        one, other = (d.observed[name] for d in drawn)
        less = name in _LESS_IS_BETTER
        figures[name] = PairedFigure(one, other, difference, interval, less)
    sharing = pairs_that_share(a)
    mcnemar = None
    if not sharing:
        mcnemar = McNemar.of(*(_right(*at) for at in judged))
    return PairedComparison(
        figures,
        a.identities,
        a.images,
        a.genuine,
        a.impostor,
        _one(threshold_a),
        _one(threshold_b),
        prevalence,
        mcnemar,
        sharing,
        _why_no_interval(drawn[0], a.identities),
    )


def _why_no_interval(drawn: DrawnFigures, identities: int) -> str | None:
    if drawn.drawn:
        return None
    what = "whether a difference holds for others is not known"
    if identities < MIN_IDENTITIES:
        return (
            f"{identities} identities are too few for intervals: {what}; give {MIN_IDENTITIES} or "
            f"more, better some dozens"
        )
    return f"so few pairs cannot be drawn again: {what}; give more of both kinds"


def _thresholds(given: Any) -> float | np.ndarray:
    """One number, or an array of several as float64."""
    if not isinstance(given, (Tensor, np.ndarray, list, tuple)) or not np.shape(given):
        return as_threshold(given, finite=True)
    several = as_float64(as_array(given, "the thresholds"), "the thresholds")
    if not np.isfinite(several).all():
        raise CalibrationError("thresholds must be finite numbers; calibrate first, or give some")
    return several


def _one(threshold: float | np.ndarray) -> float | None:
    return float(threshold) if np.ndim(threshold) == 0 else None


def _judged(distances: PairDistances, threshold: float | np.ndarray) -> tuple[PairDistances, float]:
    """Distances and the one threshold for all of them.

    Where there are several, the distances are those from the pair's own threshold, and it is 0: the
    difference of two floating point numbers has the right sign, and is 0 only where they are equal.
    """
    if np.ndim(threshold) == 0:
        return distances, float(threshold)
    if not isinstance(distances, HeldDistances) or np.shape(threshold) != distances.distances.shape:
        raise CalibrationError(
            f"thresholds {np.shape(threshold)} do not fit {distances.genuine + distances.impostor} "
            f"pairs; give one number, or, for pairs that are held, one for each"
        )
    beyond = distances.distances.astype(np.float64) - threshold
    return replace(distances, distances=beyond), 0.0


def _drawn(
    distances: PairDistances,
    judged: PairDistances,
    threshold: float,
    prevalence: float | None,
    seed: int,
    keys: np.ndarray | None,
) -> DrawnFigures:
    """The figures of one side: those at the threshold from ``judged``, all others from all."""
    at = draw_figures(judged, threshold, prevalence, seed, keys)
    if judged is distances:
        return at
    found = draw_figures(distances, 0.0, None, seed, keys)
    kept = [name for name in found.observed if name.startswith(_NEED_NO_THRESHOLD)]
    return replace(
        at,
        observed=dict(at.observed) | {name: found.observed[name] for name in kept},
        drawn=dict(at.drawn) | {name: found.drawn[name] for name in kept if found.drawn},
    )


def _ordered(observed: Mapping[str, float]) -> list[str]:
    """The figures that are compared."""
    first = [name for name in (*FIGURES, *_STATED) if name in observed]
    return first + [name for name in observed if name.startswith("recall@")]


def _right(distances: PairDistances, threshold: float) -> np.ndarray:
    """(n,) bool: which verdicts on held pairs are right."""
    assert isinstance(distances, HeldDistances)
    right: np.ndarray = is_match(distances.distances, threshold) == distances.pairs.same
    return right
