"""How sure a threshold and its figures are: people drawn again, with replacement, and the policy applied to each draw.

Where no error of a kind was observed, drawing again finds none either. There a rate's draws are those of Clopper and Pearson's upper
limit (*The use of confidence or fiducial limits illustrated in the case of the binomial*, Biometrika 1934; the "rule of three"), for as
many independent trials as there are people with genuine pairs, for the recall, or two people with impostor pairs, for the false match rate.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from siamese.verification.pair_distances import PairDistances
from siamese.verification.pair_distances import HeldDistances
from siamese.verification.confusion import Confusion
from siamese.verification.curves import ThresholdCurve
from siamese.verification.point import Interval
from siamese.verification.point import figures
from siamese.verification.point import weighed
from siamese.verification.policies.base import Policy

MIN_IDENTITIES = 5  # fewer, and resampling people says nothing
DRAWS = 400
SMALL = 25_000  # held pairs: so many are counted one by one in every draw; more, as streamed ones are
_STEPS = 128  # thresholds that are looked at: so many steps of either rate,
_PER_DECADE = 12  # and so many of a small false match rate, per factor of ten
_FEW = 64  # people whose pairs are counted two by two
_CELLS = 20_000_000  # people times thresholds: bounds the memory
QUANTILES = (0.025, 0.975)


@dataclass(frozen=True, eq=False)
class IdentityBootstrap:
    """Counts of accepted pairs in each draw of people, at some thresholds.

    Attributes:
        thresholds: (k,) ascending.
        tp, fp: (r, k) floating point, >= 0, weighted pairs at or below each threshold.
        genuine, impostor: (r,) all of them, > 0.
        independent: (2,) int64: people with genuine pairs, and two people with impostor pairs, > 0: of how many independent trials the absence
            of errors is worth.
    """

    thresholds: np.ndarray
    tp: np.ndarray
    fp: np.ndarray
    genuine: np.ndarray
    impostor: np.ndarray
    independent: np.ndarray

    @property
    def is_valid(self) -> bool:
        """Whether shapes and numbers are as the class describes."""
        r, k = len(self.genuine), len(self.thresholds)
        shapes = (self.thresholds.shape, self.tp.shape, self.fp.shape, self.genuine.shape, self.impostor.shape)
        parts = (self.thresholds, self.tp, self.fp, self.genuine, self.impostor)
        fits = r > 0 and k > 0 and shapes == ((k,), (r, k), (r, k), (r,), (r,))
        if not fits or not all(bool(np.isfinite(p).all()) for p in parts):
            return False
        if self.independent.shape != (2,) or not bool((self.independent > 0).all()):
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

    def shift(self, earlier: IdentityBootstrap, policy: Policy) -> Interval:
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
        here = curve.at(threshold)
        p = self.genuine / (self.genuine + self.impostor) if share is None else share
        rates = tp / self.genuine, fp / self.impostor
        values = weighed(*with_unseen_errors(*rates, here, self.independent), p)
        known = figures(here, curve.genuine / (curve.genuine + curve.impostor) if share is None else share)
        return {name: interval_around(known[name], v) for name, v in values.items()}

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


def interval_around(observed: float, values: np.ndarray) -> Interval:
    """95 % interval of (r,) values, one for each draw, as wide as holds what was observed."""
    low, high = interval(values)
    return min(low, observed), max(high, observed)


def unseen_error_rates(trials: int, draws: int, stream: int = 0) -> np.ndarray:
    """(draws,) rates of errors, none of which was observed in so many trials: Clopper and Pearson's limits at even levels, in a random order."""
    levels = (np.arange(draws) + 0.5) / draws
    rates: np.ndarray = -np.expm1(np.log1p(-levels) / trials)
    return np.random.default_rng([stream, 7]).permutation(rates)


def with_unseen_errors(recall: np.ndarray, fmr: np.ndarray, here: Confusion, independent: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Recall and false match rate of each draw, (r,) and (r,); where all pairs of a kind had one verdict, as the module describes.

    Args:
        here: counts of all pairs.
        independent: see :class:`IdentityBootstrap`.
    """
    people, two = (int(n) for n in independent)
    if not here.fn or not here.tp:
        rare = unseen_error_rates(people, len(recall), 0)
        recall = rare if not here.tp else 1 - rare
    if not here.fp or not here.tn:
        rare = unseen_error_rates(two, len(fmr), 1)
        fmr = rare if not here.fp else 1 - rare
    return recall, fmr


def bootstrap_identities(
    compared: PairDistances,
    curve: ThresholdCurve,
    replicates: int = DRAWS,
    seed: int = 0,
) -> IdentityBootstrap | None:
    """Draw people with replacement and count again.

    Where person p was drawn m_p times, a genuine pair of p counts m_p times and an impostor pair of p and q m_p m_q times
    (Bolle, Ratha and Pankanti, *Error analysis of pattern recognition systems*, CVIU 2004). Of streamed pairs, or more than 25,000 held
    ones, of more than 64 people the first-order part of this is taken, m_p + m_q - 1 (Hoeffding's decomposition of a U-statistic, 1948).
    The rest is small where false matches are many; where they are a few dozen, the interval of their rate is narrower without it. The
    counts are taken at a few hundred thresholds, so an interval's ends are that coarse.

    People are taken to be alike in how much they weigh: where one person has most of the genuine pairs (:func:`largest_share`), intervals
    are too narrow.

    Args:
        compared: pairs.
        curve: of these pairs.
        replicates: draws.
        seed: of the draws.

    Returns:
        None with fewer than 5 people, or where no draw has both kinds of pairs.
    """
    people, person = np.unique(compared.labels, return_inverse=True)
    if len(people) < MIN_IDENTITIES:
        return None
    grid = _grid(curve if isinstance(compared, HeldDistances) else compared.binned())
    while len(grid) * len(people) > _CELLS:
        grid = grid[(len(grid) + 1) % 2 :: 2]  # the last one stays
    rng = np.random.default_rng([seed, 6])
    times = _draws(rng, len(people), replicates)
    if isinstance(compared, HeldDistances) and len(compared.distances) <= SMALL:
        tp, fp, genuine, impostor = _held(compared, person, grid, times)
    else:
        own, others = compared.by_identity(grid)
        g = np.cumsum(_weighed(times, own), axis=1)
        if len(people) <= _FEW:
            both = compared.by_two_identities(grid).astype(np.float64)
            m = times.astype(np.float64)
            i = np.cumsum(sum(m[:, [p]] * (m @ both[p]) for p in range(len(people))), axis=1)
        else:
            i = np.cumsum(_weighed(times, others), axis=1) - np.cumsum(others.sum(axis=0)) / 2
            i = np.maximum.accumulate(np.maximum(i, 0), axis=1)
        tp, fp, genuine, impostor = g[:, :-1], i[:, :-1], g[:, -1], i[:, -1]
    usable = (genuine > 0) & (impostor > 0)
    if not usable.any():
        return None
    return IdentityBootstrap(grid, tp[usable], fp[usable], genuine[usable], impostor[usable], independent(compared))


def independent(compared: PairDistances) -> np.ndarray:
    """(2,) int64 people with genuine pairs, and two people with impostor pairs."""
    if isinstance(compared, HeldDistances):
        left, right = compared.labels[compared.pairs.left], compared.labels[compared.pairs.right]
        same = compared.pairs.same
        two = np.stack([np.minimum(left, right)[~same], np.maximum(left, right)[~same]])
        return np.array([len(np.unique(left[same])), np.unique(two, axis=1).shape[1]])
    sizes = np.unique(compared.labels, return_counts=True)[1]
    return np.array([np.count_nonzero(sizes > 1), len(sizes) * (len(sizes) - 1) // 2])


def largest_share(compared: PairDistances) -> float:
    """The largest part of the genuine pairs that one person has, 0..1; where it is large, people drawn again tell too little."""
    if isinstance(compared, HeldDistances):
        own = np.unique(compared.labels[compared.pairs.left[compared.pairs.same]], return_counts=True)[1]
    else:
        sizes = np.unique(compared.labels, return_counts=True)[1]
        own = sizes * (sizes - 1) // 2
    return float(own.max(initial=0) / max(1, own.sum()))


def _held(compared: HeldDistances, person: np.ndarray, grid: np.ndarray, times: np.ndarray) -> tuple[Any, ...]:
    same, k = compared.pairs.same, len(grid) + 1
    left, right = person[compared.pairs.left], person[compared.pairs.right]
    column = np.searchsorted(grid, compared.distances.astype(np.float64), side="left")
    tp, fp = np.empty((len(times), k)), np.empty((len(times), k))
    own, lefts, rights = left[same], left[~same], right[~same]
    for r, m in enumerate(times.astype(np.float64)):
        tp[r] = np.bincount(column[same], m[own], minlength=k)
        fp[r] = np.bincount(column[~same], m[lefts] * m[rights], minlength=k)
    tp, fp = np.cumsum(tp, axis=1), np.cumsum(fp, axis=1)
    return tp[:, :-1], fp[:, :-1], tp[:, -1], fp[:, -1]


def _weighed(times: np.ndarray, table: np.ndarray) -> np.ndarray:
    """(r, k) float64 of (r, people) draws and (people, k) counts, in blocks of people."""
    blocks = range(0, len(table), 1024)
    parts = (times[:, b : b + 1024].astype(np.float64) @ table[b : b + 1024].astype(np.float64) for b in blocks)
    return sum(parts, np.zeros((1, 1)))


def _draws(rng: np.random.Generator, people: int, replicates: int) -> np.ndarray:
    """(replicates, people) how often each person is drawn, as float32: they are few, people may be many."""
    times = np.empty((replicates, people), dtype=np.float32)
    for row in times:
        row[:] = rng.multinomial(people, np.full(people, 1 / people))
    return times


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
