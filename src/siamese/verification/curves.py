"""Counts at every threshold, and what follows from them: ROC and DET curves, F1, AUC and EER."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from siamese.distances.arrays import as_threshold
from siamese.errors import CalibrationError, ConfigError
from siamese.verification.confusion import Confusion, check_pairs
from siamese.verification.point import Interval
from siamese.verification.policies.base import PEOPLE, Policy, check_prevalence
from siamese.verification.policies.fmr import Fmr
from siamese.verification.smoothing import choose_smoothed

# Lower bits of a float32 number in which kept thresholds do not differ: 2^-10 of the number.
_KEPT_BITS = 13
# An area under the ROC curve that is no better than guessing, for all practical purposes.
CHANCE = 0.55


class Choice(NamedTuple):
    """What a policy chose.

    Attributes:
        threshold: in the middle of ``gap``; anywhere in it where the policy smooths distances.
        counts: of the pairs at the threshold.
        gap: (low, high), the thresholds with the same counts: from the farthest accepted pair to
            just below the closest refused one. None where there is no pair on one side: every pair
            is refused (the threshold lies just below the smallest distance) or accepted (it is the
            largest distance). Of a curve with a ``resolution`` above 0 it may be narrower than
            the whole gap.
    """

    threshold: float
    counts: Confusion
    gap: Interval | None


@dataclass(frozen=True, eq=False)
class ThresholdCurve:
    """Accepted pairs at each distance that occurs; pairs at equal distances are counted together.

    Attributes:
        thresholds: (m,) strictly ascending distances.
        tp, fp: (m,) int64 genuine and impostor pairs at or below each threshold.
        resolution: 0 where every distance that occurs is a threshold; otherwise thresholds are at
            most this part of their value apart, and the counts at them are exact.
        weighted: (m,) int64 accepted genuine pairs where every identity counts alike, in a unit of
            their own (:func:`siamese.verification.weights.pair_weights`); None where every pair
            does. Recall, F1, areas and error rates are then weighted, counts never.
    """

    thresholds: np.ndarray
    tp: np.ndarray
    fp: np.ndarray
    resolution: float = 0.0
    weighted: np.ndarray | None = None

    @classmethod
    def of(
        cls, distances: np.ndarray, same: np.ndarray, weights: np.ndarray | None = None
    ) -> ThresholdCurve:
        """Sort once, count everywhere.

        Args:
            distances: (n,) floating point, finite, n >= 1.
            same: (n,) bool.
            weights: (n,) int64 of the genuine pairs; None for none.

        Raises:
            CalibrationError: see :func:`check_pairs`.
        """
        distances, same = check_pairs(distances, same)
        order = np.argsort(distances, kind="stable")
        ascending = distances[order]
        # The last pair of each group of equal distances.
        last = np.flatnonzero(np.append(ascending[1:] != ascending[:-1], True))
        tp = np.cumsum(same[order], dtype=np.int64)[last]
        weighted = None
        if weights is not None:
            weighted = np.cumsum((weights * same)[order], dtype=np.int64)[last]
        return cls(ascending[last], tp, last + 1 - tp, 0.0, weighted)

    @property
    def is_valid(self) -> bool:
        """Whether shapes and numbers are as the class describes."""
        parts = (self.thresholds, self.tp, self.fp)
        if (
            len({p.shape for p in parts}) != 1
            or self.thresholds.ndim != 1
            or not len(self.thresholds)
        ):
            return False
        if self.hits.shape != self.tp.shape or self.hits.dtype.kind != "i" or self.hits[0] < 0:
            return False
        rising = bool((np.diff(self.thresholds) > 0).all()) and all(
            bool((np.diff(p) >= 0).all()) for p in (self.tp, self.fp, self.hits)
        )
        whole = (
            self.tp.dtype.kind == self.fp.dtype.kind == "i"
            and min(int(self.tp[0]), int(self.fp[0])) >= 0
        )
        return (
            rising
            and whole
            and bool(np.isfinite(self.thresholds).all())
            and 0 <= self.resolution < 1
        )

    def choose(self, policy: Policy) -> Choice:
        """A policy's threshold and the counts there.

        The policy chooses among the thresholds of the curve. All thresholds up to the next distance
        have the same counts, so nothing but the strangers of tomorrow tells them apart: the middle
        is taken, where pairs that lie a little farther or closer than those seen are judged right.
        Where every pair is refused, the threshold lies below all distances.

        Raises:
            CalibrationError: the pairs cannot support the policy.
        """
        if policy.smooth is not None:
            threshold = self.smoothed(policy)
            place = self._before(threshold)
            if self.resolution and place >= 0:  # the counts are known at its thresholds alone
                return self.choice_at(float(self.thresholds[place]))
            return Choice(threshold, self.at(threshold), self.gap(threshold))
        policy.check(self.genuine, self.impostor)
        hits = self.hits_for(policy)
        share = policy.prevalence_of(self.genuine, self.impostor)
        # The rule of 30 and the like are of pairs; they were checked above.
        chosen = policy.choose(hits, self.fp, int(hits[-1]), self.impostor, share)
        return self.refuse_all() if chosen < 0 else self.choice_at(float(self.thresholds[chosen]))

    def smoothed(self, policy: Policy) -> float:
        """The threshold of a policy that smooths distances; it need not be one of the curve's.

        Raises:
            CalibrationError: the pairs cannot support the policy.
        """
        policy.check(self.genuine, self.impostor)
        hits = self.hits_for(policy)
        found = choose_smoothed(policy, self.thresholds, hits, self.fp, self.genuine)
        return self.choose(policy.exact).threshold if found is None else found

    def refuse_all(self) -> Choice:
        """A threshold below all distances."""
        first = self.thresholds[0]
        threshold = _below(first) if self.tp[0] + self.fp[0] else first
        return Choice(float(threshold), Confusion(0, 0, self.genuine, self.impostor), None)

    @property
    def hits(self) -> np.ndarray:
        """(m,) int64 accepted genuine pairs, weighted where they are."""
        return self.tp if self.weighted is None else self.weighted

    def hits_for(self, policy: Policy) -> np.ndarray:
        """The accepted genuine pairs as a policy weighs them.

        Raises:
            CalibrationError: it weighs identities, and the curve counts pairs alone.
        """
        if policy.weights is None:
            return self.tp
        if self.weighted is None:
            raise CalibrationError(
                f"weights={policy.weights!r} needs to know whose each pair is, and only pairs were "
                f"counted here; calibrate with a policy that has these weights"
            )
        return self.weighted

    def rates(self, threshold: float) -> tuple[float, float]:
        """Recall and false match rate at a threshold, weighted where they are.

        Of pairs of both kinds; between two thresholds as :meth:`at`.
        """
        before = self._before(threshold)
        if before < 0:
            return 0.0, 0.0
        return (
            int(self.hits[before]) / int(self.hits[-1]),
            int(self.fp[before]) / int(self.fp[-1]),
        )

    def choice_at(self, threshold: float) -> Choice:
        """The choice of the counts at a threshold: the middle of its gap."""
        gap = self.gap(threshold)
        placed = threshold if gap is None else middle(gap, self.thresholds.dtype)
        return Choice(placed, self.at(placed), gap)

    @cached_property
    def accepted(self) -> np.ndarray:
        """(m,) int64 pairs at or below each threshold, of either kind."""
        both: np.ndarray = self.tp + self.fp
        return both

    def next_distances(self, thresholds: np.ndarray) -> np.ndarray:
        """(k,) float64 up to where the counts at (k,) thresholds are known to stay.

        It is the threshold itself where nothing is known, or no pair follows; see :meth:`gap`.
        """
        kept = self.thresholds.astype(np.float64)
        here = np.searchsorted(kept, thresholds, side="right") - 1
        beyond = np.searchsorted(self.accepted, self.accepted[np.maximum(here, 0)], side="right")
        farther = kept[np.minimum(beyond, len(kept) - 1)]
        known = (here >= 0) & (beyond < len(kept))
        found: np.ndarray = np.where(known, farther - self.resolution * abs(farther), thresholds)
        upto: np.ndarray = np.maximum(found, thresholds)
        return upto

    def gap(self, threshold: float) -> Interval | None:
        """The thresholds that are known to have the same counts as this one; see :class:`Choice`.

        None below all thresholds of the curve, and where every pair is accepted.
        """
        here = self._before(threshold)
        accepted = self.accepted
        if here < 0 or not accepted[here]:
            return None
        first = int(np.searchsorted(accepted, accepted[here], side="left"))
        beyond = int(np.searchsorted(accepted, accepted[here], side="right"))
        if beyond == len(accepted):
            return None
        farther = self.thresholds[beyond]
        # The pairs that are counted at a threshold lie above that part of it at the least.
        nearest = farther - self.thresholds.dtype.type(self.resolution) * abs(farther)
        last = max(_below(nearest), self.thresholds[beyond - 1])
        return float(self.thresholds[first]), float(last)

    def at(self, threshold: float) -> Confusion:
        """Counts at a threshold.

        Between two thresholds of a curve whose ``resolution`` is not 0, they are those at the
        smaller one.

        Raises:
            CalibrationError: a threshold that is not a number.
        """
        before = self._before(threshold)
        tp, fp = (int(self.tp[before]), int(self.fp[before])) if before >= 0 else (0, 0)
        return Confusion(tp, fp, self.genuine - tp, self.impostor - fp)

    def with_counts_at(self, thresholds: Sequence[float], counts: Confusion) -> ThresholdCurve:
        """The curve with the exact counts at more thresholds, float32 numbers.

        Unchanged where none are missing.

        Args:
            thresholds: at all of which the counts are the same.
            counts: see above.
        """
        return self._with(thresholds, counts) if self.resolution else self

    def thin(self, keep: float | None = None, limit: int = 50_000) -> ThresholdCurve:
        """The same counts at fewer thresholds, for storage.

        Unchanged up to ``limit`` thresholds, else 0.1 % apart or less.

        Args:
            keep: a threshold whose counts and whose gap must stay what they are.
            limit: see above.
        """
        if len(self.thresholds) <= limit:
            return self
        bins = np.abs(self.thresholds).astype(np.float32).view(np.int32) >> _KEPT_BITS
        last = np.append(bins[1:] != bins[:-1], True)
        last[0] |= not self.tp[0] + self.fp[0]
        thresholds, tp, fp = self.thresholds[last], self.tp[last], self.fp[last]
        if self.tp[0] + self.fp[0]:  # and one below all distances
            below = _below(self.thresholds[0])
            thresholds, tp, fp = np.append(below, thresholds), np.append(0, tp), np.append(0, fp)
        weighted = self.weighted
        if weighted is not None:
            weighted = weighted[last]
            weighted = np.append(0, weighted) if len(weighted) < len(tp) else weighted
        resolution = max(self.resolution, 2.0 ** (_KEPT_BITS - 23))
        thinned = ThresholdCurve(thresholds, tp, fp, resolution, weighted)
        if keep is None:
            return thinned
        here = self._before(keep)
        if here < 0:
            return thinned
        ends = [*(self.gap(keep) or ()), keep, float(self.thresholds[here])]
        exact = None if self.weighted is None else int(self.weighted[here])
        return thinned._with(ends, self.at(keep), exact)

    def _with(
        self, thresholds: Sequence[float], counts: Confusion, weighted: int | None = None
    ) -> ThresholdCurve:
        """See :meth:`with_counts_at`; weighted counts are by default those just below."""
        kind = self.thresholds.dtype.type
        new = np.array([t for t in thresholds if float(kind(t)) == t], dtype=kind)
        new = np.setdiff1d(new, self.thresholds)
        new = new[(new > self.thresholds[0]) & (new < self.thresholds[-1])]
        places = np.searchsorted(self.thresholds, new)
        return ThresholdCurve(
            np.insert(self.thresholds, places, new),
            np.insert(self.tp, places, counts.tp),
            np.insert(self.fp, places, counts.fp),
            self.resolution,
            None
            if self.weighted is None
            else np.insert(
                self.weighted,
                places,
                self.weighted[places - 1] if weighted is None else weighted,
            ),
        )

    def _before(self, threshold: float) -> int:
        """The last threshold of the curve that is not above another one; -1 for none."""
        kind, threshold = self.thresholds.dtype.type, as_threshold(threshold)
        with np.errstate(over="ignore"):
            rounded = kind(threshold)
        # As is_match compares: the number as it is, not rounded up to the array's precision.
        number = _below(rounded) if float(rounded) > threshold else rounded
        return int(np.searchsorted(self.thresholds, number, side="right")) - 1

    @property
    def genuine(self) -> int:
        """Number of genuine pairs."""
        return int(self.tp[-1])

    @property
    def impostor(self) -> int:
        """Number of impostor pairs."""
        return int(self.fp[-1])

    @property
    def prevalence(self) -> float:
        """Share of genuine pairs among the pairs, 0..1."""
        return self.genuine / (self.genuine + self.impostor)

    @property
    def fmr(self) -> np.ndarray:
        """(m,) float64 false match rate at each threshold, 0..1.

        With :attr:`recall` it gives the ROC curve, with :attr:`fnmr` the DET curve.
        """
        return self.fp / _some(self.impostor, "impostor")

    @property
    def recall(self) -> np.ndarray:
        """(m,) float64 share of genuine pairs accepted at each threshold, 0..1.

        It is also called true match rate, or TAR.
        """
        return self.hits / _some(int(self.hits[-1]), "genuine")

    @property
    def fnmr(self) -> np.ndarray:
        """(m,) float64 false non-match rate at each threshold, 1 - recall."""
        return 1 - self.recall

    def f1(self, prevalence: float | None = None) -> np.ndarray:
        """(m,) float64 F1 at each threshold.

        Args:
            prevalence: share of genuine pairs; None for that of these pairs.
        """
        p = self._prevalence(prevalence)
        hit = p * self.recall
        return 2 * hit / (hit + (1 - p) * self.fmr + p)

    def accuracy(self, prevalence: float | None = None) -> np.ndarray:
        """(m,) float64 share of right verdicts at each threshold; prevalence as for :meth:`f1`."""
        p = self._prevalence(prevalence)
        return p * self.recall + (1 - p) * (1 - self.fmr)

    def recall_at_fmr(self, rate: float) -> float:
        """TAR@FAR: the recall at the highest threshold whose false match rate is at most ``rate``.

        Raises:
            ConfigError: a rate that is not between 0 and 1.
            CalibrationError: fewer than 30 / rate impostor pairs (rule of 30), or no genuine pair.
        """
        weights = None if self.weighted is None else PEOPLE
        return self.rates(self.choose(Fmr(rate, weights=weights)).threshold)[0]

    @property
    def auc(self) -> float:
        """Area under the ROC curve; see :func:`auc`."""
        return auc(self)

    @property
    def eer(self) -> float:
        """Equal error rate; see :func:`eer`."""
        return eer(self)

    def _prevalence(self, prevalence: float | None) -> float:
        if prevalence is None:
            return self.prevalence
        return check_prevalence(prevalence, ConfigError)

    def __repr__(self) -> str:
        return (
            f"ThresholdCurve({len(self.thresholds):,} thresholds, {self.genuine:,} genuine and "
            f"{self.impostor:,} impostor pairs)"
        )


def middle(gap: Interval, kind: np.dtype) -> float:
    """The middle of a gap, rounded to a kind of floating point numbers."""
    low, high = gap
    half = (high - low) / 2
    return float(kind.type(low + half if math.isfinite(half) else low / 2 + high / 2))


def _below(number: np.floating) -> np.floating:
    """The next smaller number of its kind."""
    found: np.floating = np.nextafter(number, type(number)(-np.inf))
    return found


def auc(curve: ThresholdCurve) -> float:
    """Area under the ROC curve.

    It is the probability that a genuine pair is closer than an impostor pair, ties counting half.
    Source: Mann and Whitney, 1947; Fawcett, *An introduction to ROC analysis*, 2006. Summed in
    integers.

    Raises:
        CalibrationError: no genuine or no impostor pair.
    """
    _needs_both(curve)
    # Python integers: the products may pass 2^63.
    genuine = np.diff(curve.hits, prepend=0).astype(object)
    impostor = np.diff(curve.fp, prepend=0).astype(object)
    farther = curve.impostor - curve.fp.astype(object)
    halves = int((genuine * (2 * farther + impostor)).sum())
    return halves / (2 * int(curve.hits[-1]) * curve.impostor)


def eer(curve: ThresholdCurve) -> float:
    """Equal error rate: where false match rate and false non-match rate are equal.

    Between neighbouring thresholds the ROC curve is taken as a straight line, as for its area.

    Raises:
        CalibrationError: no genuine or no impostor pair.
    """
    _needs_both(curve)
    false_match = np.concatenate([[0.0], curve.fp / curve.impostor])
    false_non_match = 1 - np.concatenate([[0.0], curve.hits / curve.hits[-1]])
    return float(crossing(false_match[None], false_non_match[None])[0])


def crossing(rising: np.ndarray, falling: np.ndarray) -> np.ndarray:
    """Height at which two piecewise linear curves over the same points cross, row by row.

    Args:
        rising, falling: (r, m); ``rising`` starts at 0 below ``falling`` at 1 and ends above it.

    Returns:
        (r,) heights.
    """
    above = np.argmax(rising >= falling, axis=1)  # >= 1: at the first point 0 < 1
    row = np.arange(len(rising))
    r0, r1, f0, f1 = (
        rising[row, above - 1],
        rising[row, above],
        falling[row, above - 1],
        falling[row, above],
    )
    part = (f0 - r0) / ((f0 - r0) + (r1 - f1))
    height: np.ndarray = r0 + part * (r1 - r0)
    return height


def _some(count: int, kind: str) -> int:
    if not count:
        raise CalibrationError(
            f"there is no {kind} pair, and so no rate of them; give several identities with two "
            f"images or more"
        )
    return count


def _needs_both(curve: ThresholdCurve) -> None:
    if not curve.genuine or not curve.impostor:
        raise CalibrationError(
            f"{curve.genuine} genuine and {curve.impostor} impostor pairs: both kinds are needed; "
            f"give two images of one identity and one of another"
        )
