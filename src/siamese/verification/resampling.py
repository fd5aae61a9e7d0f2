"""How sure a threshold and its figures are: people drawn again, with replacement, and the policy applied to each draw."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from siamese.verification.compared import AnyCompared, Compared
from siamese.verification.curves import ThresholdCurve
from siamese.verification.point import Interval
from siamese.verification.policies import Policy

MIN_PEOPLE = 5  # fewer, and resampling people says nothing
REPLICATES = 400
_WORK = 400_000_000  # pairs times replicates: seconds
_STEPS = 128  # thresholds that are looked at: so many steps of either rate,
_PER_DECADE = 12  # and so many of a small false match rate, per factor of ten
_FEW = 64  # people whose pairs are counted two by two
_CELLS = 20_000_000  # people times thresholds: bounds the memory
QUANTILES = (0.025, 0.975)


@dataclass(frozen=True, eq=False)
class Resampled:
    """Counts of accepted pairs in each draw of people, at some thresholds.

    Attributes:
        thresholds: (k,) ascending.
        tp, fp: (r, k) floating point, >= 0, weighted pairs at or below each threshold.
        genuine, impostor: (r,) all of them, > 0.
    """

    thresholds: np.ndarray
    tp: np.ndarray
    fp: np.ndarray
    genuine: np.ndarray
    impostor: np.ndarray

    @property
    def is_whole(self) -> bool:
        """Whether shapes and numbers are as the class describes."""
        r, k = len(self.genuine), len(self.thresholds)
        shapes = (self.thresholds.shape, self.tp.shape, self.fp.shape, self.genuine.shape, self.impostor.shape)
        parts = (self.thresholds, self.tp, self.fp, self.genuine, self.impostor)
        fits = r > 0 and k > 0 and shapes == ((k,), (r, k), (r, k), (r,), (r,))
        if not fits or not all(bool(np.isfinite(p).all()) for p in parts):
            return False
        rising = all(bool((np.diff(p, axis=-1) >= 0).all()) for p in (self.thresholds, self.tp, self.fp))
        least = min(float(self.tp.min()), float(self.fp.min()))
        return rising and least >= 0 and float(self.genuine.min()) > 0 and float(self.impostor.min()) > 0

    def chosen(self, policy: Policy) -> np.ndarray:
        """(r,) the policy's threshold in each draw; 0 where it refuses every pair: below that is no distance."""
        columns = policy.choose_rows(self.tp, self.fp, self.genuine, self.impostor)
        return np.where(columns < 0, 0.0, self.thresholds[np.maximum(columns, 0)])

    def threshold(self, policy: Policy) -> Interval:
        """95 % interval of the policy's threshold."""
        return interval(self.chosen(policy))

    def shift(self, earlier: Resampled, policy: Policy) -> Interval:
        """95 % interval of how far the policy's threshold lies above the one it chooses on earlier, other people's pairs.

        Both thresholds vary with the people who were there; every draw of one is compared with every draw of the other.
        """
        return interval(np.subtract.outer(self.chosen(policy), earlier.chosen(policy)).ravel())

    def like(self, threshold: float, curve: ThresholdCurve) -> Interval:
        """95 % interval for a threshold that no policy chose: of those that have its false match rate in each draw.

        Where it accepts no impostor pair: of those that have its recall. Below and beyond all distances there is no such interval: it is
        the threshold alone.
        """
        if threshold < self.thresholds[0] or threshold > self.thresholds[-1]:
            return (threshold, threshold)
        tp, fp = self.at(threshold, curve)
        whole, counts, totals = (fp, self.fp, self.impostor) if fp.mean() > 0 else (tp, self.tp, self.genuine)
        rate = float((whole / totals).mean())
        reached = np.argmax(counts / totals[:, None] >= rate, axis=1)
        return interval(self.thresholds[reached])

    def figures(self, threshold: float, share: float | None, curve: ThresholdCurve) -> dict[str, Interval]:
        """95 % intervals of the figures at a fixed threshold.

        Args:
            threshold: any.
            share: prevalence at which precision, F1 and accuracy are meant; None for that of the pairs.
            curve: of the pairs that were drawn from.
        """
        tp, fp = self.at(threshold, curve)
        recall, far = tp / self.genuine, fp / self.impostor
        p = self.genuine / (self.genuine + self.impostor) if share is None else share
        hit, false = p * recall, (1 - p) * far
        values = {
            "recall": recall,
            "far": far,
            "precision": np.divide(hit, hit + false, out=np.zeros_like(hit), where=hit + false > 0),
            "f1": 2 * hit / (hit + false + p),
            "accuracy": hit + (1 - p) - false,
        }
        return {name: interval(v) for name, v in values.items()}

    def at(self, threshold: float, curve: ThresholdCurve) -> tuple[np.ndarray, np.ndarray]:
        """(r,) and (r,) accepted pairs in each draw at any threshold.

        Between two of ``thresholds`` the counts of a draw rise as those of all pairs do.
        """
        before = int(np.searchsorted(self.thresholds, threshold, side="right")) - 1
        here, zero = curve.at(threshold), np.zeros(len(self.genuine))
        low = curve.at(float(self.thresholds[before])) if before >= 0 else None
        high = curve.at(float(self.thresholds[before + 1])) if before + 1 < len(self.thresholds) else None
        found = []
        for kind, counts in (("tp", self.tp), ("fp", self.fp)):
            base, count = (counts[:, before], getattr(low, kind)) if low else (zero, 0)
            if high is None or getattr(high, kind) == count:
                found.append(base)
                continue
            share = (getattr(here, kind) - count) / (getattr(high, kind) - count)
            found.append(base + share * (counts[:, before + 1] - base))
        return found[0], found[1]


def interval(values: np.ndarray) -> Interval:
    """95 % interval of (r,) values, one for each draw."""
    low, high = np.quantile(np.asarray(values, dtype=np.float64), QUANTILES)
    return float(low), float(high)


def resample(
    compared: AnyCompared,
    curve: ThresholdCurve,
    replicates: int = REPLICATES,
    seed: int = 0,
) -> Resampled | None:
    """Draw people with replacement and count again.

    Where person p was drawn m_p times, a genuine pair of p counts m_p times and an impostor pair of p and q m_p m_q times
    (Bolle, Ratha and Pankanti, *Error analysis of pattern recognition systems*, CVIU 2004). Of streamed pairs of more
    than 64 people the first-order part of this is taken, m_p + m_q - 1 (Hoeffding's decomposition of a U-statistic, 1948), beside which
    the rest is small. The counts are taken at a few hundred thresholds, so an interval's ends are that coarse.

    People are taken to be alike in how much they weigh: where one person has most of the genuine pairs (:func:`largest_share`), intervals
    are too narrow.

    Args:
        compared: pairs.
        curve: of these pairs.
        replicates: draws; fewer, but at least 100, of more than a million held pairs.
        seed: of the draws.

    Returns:
        None with fewer than 5 people, or where no draw has both kinds of pairs.
    """
    people, person = np.unique(compared.labels, return_inverse=True)
    if len(people) < MIN_PEOPLE:
        return None
    grid = _grid(curve)
    while len(grid) * len(people) > _CELLS:
        grid = grid[(len(grid) + 1) % 2 :: 2]  # the last one stays
    rng = np.random.default_rng([seed, 6])
    if isinstance(compared, Compared):
        replicates = min(replicates, max(100, _WORK // max(1, len(compared.distances))))
        times = _draws(rng, len(people), replicates)
        tp, fp, genuine, impostor = _held(compared, person, grid, times)
    else:
        times = _draws(rng, len(people), replicates)
        own, others = compared.by_person(grid)
        g = np.cumsum(_weighed(times, own), axis=1)
        if len(people) <= _FEW:
            both = compared.by_two_people(grid).astype(np.float64)
            i = np.cumsum(sum(times[:, [p]] * (times @ both[p]) for p in range(len(people))), axis=1)
        else:
            i = np.cumsum(_weighed(times, others), axis=1) - np.cumsum(others.sum(axis=0)) / 2
            i = np.maximum.accumulate(np.maximum(i, 0), axis=1)
        tp, fp, genuine, impostor = g[:, :-1], i[:, :-1], g[:, -1], i[:, -1]
    usable = (genuine > 0) & (impostor > 0)
    if not usable.any():
        return None
    return Resampled(grid, tp[usable], fp[usable], genuine[usable], impostor[usable])


def largest_share(compared: AnyCompared) -> float:
    """The largest part of the genuine pairs that one person has, 0..1; where it is large, people drawn again tell too little."""
    if isinstance(compared, Compared):
        own = np.unique(compared.labels[compared.pairs.left[compared.pairs.same]], return_counts=True)[1]
    else:
        sizes = np.unique(compared.labels, return_counts=True)[1]
        own = sizes * (sizes - 1) // 2
    return float(own.max(initial=0) / max(1, own.sum()))


def _held(compared: Compared, person: np.ndarray, grid: np.ndarray, times: np.ndarray) -> tuple[Any, ...]:
    same, k = compared.pairs.same, len(grid) + 1
    left, right = person[compared.pairs.left], person[compared.pairs.right]
    column = np.searchsorted(grid, compared.distances.astype(np.float64), side="left")
    tp, fp = np.empty((len(times), k)), np.empty((len(times), k))
    own, lefts, rights = left[same], left[~same], right[~same]
    for r, m in enumerate(times):
        tp[r] = np.bincount(column[same], m[own], minlength=k)
        fp[r] = np.bincount(column[~same], m[lefts] * m[rights], minlength=k)
    tp, fp = np.cumsum(tp, axis=1), np.cumsum(fp, axis=1)
    return tp[:, :-1], fp[:, :-1], tp[:, -1], fp[:, -1]


def _weighed(times: np.ndarray, table: np.ndarray) -> np.ndarray:
    """(r, k) float64 of (r, people) draws and (people, k) counts, in blocks of people."""
    blocks = range(0, len(table), 1024)
    return sum((times[:, b : b + 1024] @ table[b : b + 1024].astype(np.float64) for b in blocks), np.zeros((1, 1)))


def _draws(rng: np.random.Generator, people: int, replicates: int) -> np.ndarray:
    return rng.multinomial(people, np.full(people, 1 / people), size=replicates).astype(np.float64)


def _grid(curve: ThresholdCurve) -> np.ndarray:
    """Thresholds between which neither rate changes much."""
    steps = np.stack(
        [
            np.floor(_STEPS * curve.tp / curve.genuine),
            np.floor(_STEPS * curve.fp / curve.impostor),
            np.floor(_PER_DECADE * np.log10(1 + curve.fp)),
        ]
    )
    entered = np.append(True, (steps[:, 1:] != steps[:, :-1]).any(axis=0))
    entered[-1] = True
    grid: np.ndarray = curve.thresholds[entered].astype(np.float64)
    return grid
