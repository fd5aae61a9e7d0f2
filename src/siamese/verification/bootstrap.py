"""Bootstrap over identities: how precise thresholds and figures are.

Identities are drawn again, with replacement. There is one bootstrap. The intervals of an operating
point and those of an evaluation come from the same draws, so that they agree for the same pairs.

Where no error of a kind was observed, drawing again finds none either. There a rate's draws are
those of Clopper and Pearson's upper limit (*The use of confidence or fiducial limits illustrated in
the case of the binomial*, Biometrika 1934; the "rule of three"). The number of independent trials
is, for the recall, that of identities with genuine pairs, and, for the false match rate, that of
pairs of identities with impostor pairs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from siamese.verification.confusion import Confusion
from siamese.verification.curves import ThresholdCurve
from siamese.verification.draw_order import places
from siamese.verification.grids import CELLS as _CELLS
from siamese.verification.grids import draw_grid
from siamese.verification.pair_distances import PairDistances
from siamese.verification.point import Interval, rates_at
from siamese.verification.policies.base import Policy
from siamese.verification.smoothing import bandwidth, smoothed_draws
from siamese.verification.weights import pair_weights

MIN_IDENTITIES = 5  # with fewer, drawing identities again gives no useful interval
DRAWS = 1000
QUANTILES = (0.025, 0.975)


@dataclass(frozen=True, eq=False)
class IdentityBootstrap:
    """Counts of accepted pairs in each draw of identities, at some thresholds.

    Attributes:
        thresholds: (k,) ascending.
        tp, fp: (r, k) floating point, >= 0, weighted pairs at or below each threshold.
        genuine, impostor: (r,) all of them, > 0.
        independent: (2,) int64: identities with genuine pairs, and pairs of identities with
            impostor pairs, > 0: the numbers of independent trials where no error was observed.
        errors: (2, 3, k) float64, of the pairs that were drawn from, at each threshold: how the
            errors are spread over identities, refused genuine pairs first, then accepted impostor
            pairs, as parts of all such pairs. The sums over identities of d^2 and of d^4, with d an
            identity's errors less its share by its number of pairs; and the most errors of one
            identity. An impostor pair counts for both of its identities. None in what earlier
            versions stored.
    """

    thresholds: np.ndarray
    tp: np.ndarray
    fp: np.ndarray
    genuine: np.ndarray
    impostor: np.ndarray
    independent: np.ndarray
    errors: np.ndarray | None = None

    @property
    def is_valid(self) -> bool:
        """Whether shapes and numbers are as the class describes."""
        r, k = len(self.genuine), len(self.thresholds)
        parts = (self.thresholds, self.tp, self.fp, self.genuine, self.impostor)
        shapes = tuple(part.shape for part in parts)
        fits = r > 0 and k > 0 and shapes == ((k,), (r, k), (r, k), (r,), (r,))
        if not fits or not all(bool(np.isfinite(p).all()) for p in parts):
            return False
        if self.independent.shape != (2,) or not bool((self.independent > 0).all()):
            return False
        if self.errors is not None and not (
            self.errors.shape == (2, 3, k)
            and bool(np.isfinite(self.errors).all() and (self.errors >= 0).all())
        ):
            return False
        ascending = (self.thresholds, self.tp, self.fp)
        rising = all(bool((np.diff(p, axis=-1) >= 0).all()) for p in ascending)
        least = min(float(self.tp.min()), float(self.fp.min()))
        totals = min(float(self.genuine.min()), float(self.impostor.min()))
        return rising and least >= 0 and totals > 0

    def choose(self, policy: Policy, curve: ThresholdCurve) -> np.ndarray:
        """(r,) the policy's threshold in each draw, in the middle of the gap that it has there.

        Below all thresholds where it refuses every pair.

        Args:
            policy: whatever its confidence is.
            curve: of the pairs that were drawn from.
        """
        tp, fp = self.tp, self.fp
        if policy.smooth is not None:
            width = bandwidth(policy, self.thresholds, tp.mean(axis=0))
            if width > 0:
                tp, fp = (smoothed_draws(counts, self.thresholds, width) for counts in (tp, fp))
        columns = policy.choose_rows(tp, fp, self.genuine, self.impostor)
        accepted, row = self.tp + self.fp, np.arange(len(columns))
        here = np.maximum(columns, 0)
        # Up to the last threshold with the same pairs of the draw, and on to the next distance.
        same = accepted <= accepted[row, here][:, None]
        last = same.shape[1] - 1 - np.argmax(same[:, ::-1], axis=1)
        ends = curve.next_distances(self.thresholds)[last]
        low = self.thresholds[here]
        below = np.nextafter(self.thresholds[0], -np.inf)
        found: np.ndarray = np.where(columns < 0, below, low / 2 + np.maximum(ends, low) / 2)
        return found

    def threshold_interval(self, policy: Policy, curve: ThresholdCurve) -> Interval:
        """95 % interval of the policy's threshold; arguments as for :meth:`choose`."""
        return interval(self.choose(policy, curve))

    def shift_interval(
        self,
        earlier: IdentityBootstrap,
        policy: Policy,
        curves: tuple[ThresholdCurve, ThresholdCurve],
    ) -> Interval:
        """95 % interval of the policy's threshold here less that on earlier, other pairs.

        Both thresholds vary with the identities that were drawn; every draw of one is compared with
        every draw of the other. ``curves`` are of the pairs here and of the earlier ones.
        """
        here, before = self.choose(policy, curves[0]), earlier.choose(policy, curves[1])
        return interval(np.subtract.outer(here, before).ravel())

    def interval_like(self, threshold: float, curve: ThresholdCurve) -> Interval:
        """95 % interval for a threshold that no policy chose.

        Of the thresholds that have its false match rate in each draw; where it accepts no impostor
        pair, of those that have its recall. Below and beyond all distances there is no such
        interval: it is the threshold alone.
        """
        if threshold < self.thresholds[0] or threshold > self.thresholds[-1]:
            return (threshold, threshold)
        tp, fp = self.counts_at(threshold, curve)
        some = fp.mean() > 0
        whole, counts, totals = (
            (fp, self.fp, self.impostor) if some else (tp, self.tp, self.genuine)
        )
        rate = float((whole / totals).mean())
        reached = np.argmax(counts / totals[:, None] >= rate, axis=1)
        return interval(self.thresholds[reached])

    def rates_at(
        self, threshold: float, curve: ThresholdCurve, counts: Confusion
    ) -> tuple[np.ndarray, np.ndarray]:
        """(r,) and (r,) recall and false match rate of each draw at a threshold.

        Where all pairs of a kind had one verdict, the draws are those of the module's description.

        Args:
            threshold: any.
            curve: of the pairs that were drawn from.
            counts: of these pairs at the threshold.
        """
        tp, fp = self.counts_at(threshold, curve)
        recall, fmr = tp / self.genuine, fp / self.impostor
        identities, two = (int(n) for n in self.independent)
        if not counts.fn or not counts.tp:
            rare = unseen_error_rates(identities, len(recall), 0)
            recall = rare if not counts.tp else 1 - rare
        if not counts.fp or not counts.tn:
            rare = unseen_error_rates(two, len(fmr), 1)
            fmr = rare if not counts.fp else 1 - rare
        return recall, fmr

    def figures(
        self, threshold: float, prevalence: float | None, curve: ThresholdCurve
    ) -> dict[str, Interval]:
        """95 % intervals of recall, fmr, precision, f1 and accuracy at a fixed threshold.

        Args:
            threshold: any.
            prevalence: of genuine pairs, at which the figures are meant; None for that of the
                pairs, in each draw.
            curve: of the pairs that were drawn from, with exact counts at the threshold.
        """
        here = curve.at(threshold)
        own = self.genuine / (self.genuine + self.impostor)
        recall, fmr = (np.float64(rate) for rate in curve.rates(threshold))
        shown = rates_at(recall, fmr, curve.prevalence if prevalence is None else prevalence)
        known = {name: float(value) for name, value in shown.items()}
        rates = self.rates_at(threshold, curve, here)
        values = rates_at(*rates, own if prevalence is None else prevalence)
        return {name: interval_around(known[name], v) for name, v in values.items()}

    def counts_at(self, threshold: float, curve: ThresholdCurve) -> tuple[np.ndarray, np.ndarray]:
        """(r,) and (r,) accepted pairs in each draw at any threshold.

        Between two of ``thresholds`` the counts of a draw rise as those of all pairs do.
        """
        before = int(np.searchsorted(self.thresholds, threshold, side="right")) - 1
        here, zero = curve.at(threshold), np.zeros(len(self.genuine))
        low = curve.at(float(self.thresholds[before])) if before >= 0 else None
        last = before + 1 == len(self.thresholds)
        high = None if last else curve.at(float(self.thresholds[before + 1]))
        found = []
        for kind, counts in (("tp", self.tp), ("fp", self.fp)):
            base, count = (counts[:, before], getattr(low, kind)) if low else (zero, 0)
            if high is None or getattr(high, kind) == count:
                found.append(base)
                continue
            part = (getattr(here, kind) - count) / (getattr(high, kind) - count)
            found.append(base + part * (counts[:, before + 1] - base))
        return found[0], found[1]

    def __repr__(self) -> str:
        return f"IdentityBootstrap({self.tp.shape[0]:,} draws at {self.tp.shape[1]:,} thresholds)"


def bootstrap_identities(
    distances: PairDistances,
    seed: int = 0,
    weights: str | None = None,
    keys: np.ndarray | None = None,
) -> IdentityBootstrap | None:
    """Draw identities with replacement, 1,000 times, and count again.

    Pairs that share an identity are not independent, so identities are drawn, not pairs. Where
    identity p was drawn m_p times, a genuine pair of p counts m_p times and an impostor pair of p
    and q counts m_p m_q times (the subset bootstrap of Bolle, Ratha and Pankanti, *Error analysis
    of pattern recognition systems*, CVIU 2004, extended to both sides of an impostor pair). Of
    streamed pairs, or more than 25,000 held ones, of more than 64 identities the first-order part
    of this is taken, m_p + m_q - 1 (Hoeffding's decomposition of a U-statistic, 1948). The rest is
    small where false matches are many; where they are a few dozen, the interval of their rate is
    narrower without it. The counts are taken at a few hundred thresholds, between which they rise
    as those of all pairs do; the ends of a threshold's interval are that coarse.

    The bootstrap assumes that identities have similar weights: where one identity has most of the
    genuine pairs (:meth:`PairDistances.largest_share`), intervals are too narrow.

    Args:
        distances: of the pairs.
        seed: of the draws.
        weights: of genuine pairs, as a policy has them; ``tp`` and ``genuine`` are then weighted.
        keys: in the order of which identities are drawn; by default those of the distances.

    Returns:
        None with fewer than 5 identities, or where no draw has both kinds of pairs.
    """
    identities = distances.identities
    if identities < MIN_IDENTITIES:
        return None
    distances.expect_draws()
    grid = draw_grid(distances.bootstrap_curve())
    while len(grid) * identities > _CELLS:
        grid = grid[(len(grid) + 1) % 2 :: 2]  # the last one stays
    rng = np.random.default_rng([seed, 6])
    own, others = distances.by_identity(grid)
    times = _draws(rng, identities)
    keys = distances.draw_keys if keys is None else keys
    if keys is not None:
        times = times[:, distances.in_tables(places(keys))]
    tp, fp = distances.count_draws(grid, times, own, others)
    if weights is not None:
        each = pair_weights(own.sum(axis=1))
        # In the unit of pairs: the prevalence stays that of the pairs.
        own = own * each[:, None] * (distances.genuine / float((own.sum(axis=1) * each).sum()))
        tp = np.cumsum(times.astype(np.float64) @ own, axis=1)
    usable = (tp[:, -1] > 0) & (fp[:, -1] > 0)
    if not usable.any():
        return None
    tp, fp = tp[usable], fp[usable]
    return IdentityBootstrap(
        grid,
        tp[:, :-1],
        fp[:, :-1],
        tp[:, -1],
        fp[:, -1],
        distances.independent_trials(),
        _errors_by_identity(own, others),
    )


def interval(values: np.ndarray) -> Interval:
    """95 % interval of (r,) values, one for each draw."""
    low, high = np.quantile(np.asarray(values, dtype=np.float64), QUANTILES)
    return float(low), float(high)


def interval_around(observed: float, values: np.ndarray) -> Interval:
    """95 % interval of (r,) values, one for each draw, widened to contain what was observed."""
    low, high = interval(values)
    return min(low, observed), max(high, observed)


def unseen_error_rates(trials: int, draws: int, stream: int = 0) -> np.ndarray:
    """(draws,) rates of an error that was not observed in so many trials.

    Clopper and Pearson's limits at even levels, in a random order.
    """
    levels = (np.arange(draws) + 0.5) / draws
    rates: np.ndarray = -np.expm1(np.log1p(-levels) / trials)
    return np.random.default_rng([stream, 7]).permutation(rates)


def _errors_by_identity(own: np.ndarray, others: np.ndarray) -> np.ndarray:
    """(2, 3, k) how errors are spread over identities; see :class:`IdentityBootstrap`.

    Args:
        own, others: (identities, k + 1) pairs, from :meth:`PairDistances.by_identity`.
    """
    found = np.empty((2, 3, own.shape[1] - 1))
    for kind, table in enumerate((own, others)):
        every = table.sum(dtype=np.float64) / (1 + kind)  # impostor pairs are there twice
        pairs = table.sum(axis=1, dtype=np.float64)
        accepted = np.zeros(len(table))
        for column in range(own.shape[1] - 1):
            accepted += table[:, column]
            errors = (accepted if kind else np.maximum(pairs - accepted, 0)) / every
            squares = np.square(errors - errors.sum() / pairs.sum() * pairs)
            found[kind, :, column] = squares.sum(), squares @ squares, errors.max()
    return found


def _draws(rng: np.random.Generator, identities: int) -> np.ndarray:
    """(r, identities) float32: how often each identity is drawn; float32 saves memory."""
    times = np.empty((DRAWS, identities), dtype=np.float32)
    for row in times:  # as multinomial numbers, which numpy draws ten times more slowly
        row[:] = np.bincount(rng.integers(identities, size=identities), minlength=identities)
    return times
