"""Thresholds whose promise holds on other identities, with a stated confidence.

A threshold that just keeps a rate on the calibration pairs breaks it on about half of all other
sets of identities. Here a one-sided bound of the promised figure over identities decides: of all
thresholds whose bound meets what is asked for, the most permissive one is chosen (for a recall the
strictest), and of a cost the threshold with the lowest bound.

Both rates of a pair rise with the threshold. The search for a false match rate or a recall
therefore breaks its promise only where the bound is wrong at the one threshold at which the rate is
exactly met, and no correction for the number of thresholds is needed (Bates, Angelopoulos et al.,
*Distribution-free, risk-controlling prediction sets*, 2021). For a precision that holds as far as
it falls with the threshold, and a cost is the lowest of some hundred bounds: for these two it was
measured, not proven.

The bound of a rate is that of Fay and Feuer (*Confidence intervals for directly standardized rates:
a method based on the gamma distribution*, Statistics in Medicine 1997), with identities as the
units: the errors of one identity come together, some identities have many, and most have none. It
is the upper limit for as many errors as were seen and those of one more identity, which is twice as
bad as the worst one that was seen: of rare errors a few identities have most, and the worst of all
is seldom among those at hand (of LFW, 1 % of the people have a quarter to a third of the false
matches at a rate of 0.001). Their variance is that over identities (of a false match rate the
first-order part of a U-statistic, Hoeffding 1948), raised to its own upper limit, since a few
identities make up most of it. The bound is never below Clopper and Pearson's limit for no error in
as many trials as there are: identities with genuine pairs (for a recall), or pairs of identities
with impostor pairs (for a false match rate). Where no error was seen that limit is the bound, 1 -
(1 - confidence)^(1 / trials). It is exact where errors of different trials are independent. Pairs
that share an identity are not: an identity that is alike to everybody, if one in a thousand is, is
mostly absent from a hundred. So the number of identities that is asked for is the least that may
do.

For a precision and a cost, which need both rates, the draws of the bootstrap over identities
(:mod:`siamese.verification.bootstrap`) are raised until the quantiles of both rates are these
bounds, and the quantile of the figure is taken.

What is kept on people that were not calibrated on: ``benchmarks/promises.py``. The pairs count as
they are: where a few identities have most of the genuine pairs, a bound of the recall is too near.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from siamese.errors import CalibrationError
from siamese.verification.bootstrap import IdentityBootstrap, unseen_error_rates
from siamese.verification.confusion import Confusion
from siamese.verification.curves import Choice, ThresholdCurve
from siamese.verification.policies.base import Policy

WORSE = 2  # times the errors of the worst identity seen, for one that is not


class Assured(NamedTuple):
    """A choice, and what may be promised of it for other identities.

    Attributes:
        choice: the threshold with its counts and its gap.
        bound: of the promised figure, with the policy's confidence.
    """

    choice: Choice
    bound: float


def choose_assured(
    policy: Policy, curve: ThresholdCurve, draws: IdentityBootstrap | None
) -> Assured:
    """The threshold of a policy with a confidence.

    Args:
        policy: one that promises a figure, with a confidence.
        curve: of the calibration pairs; the threshold is chosen among its thresholds.
        draws: of the identities of these pairs.

    Raises:
        CalibrationError: no draws, or so few identities that the promise cannot be made: the
            message says how many would do.
    """
    policy.check(curve.genuine, curve.impostor)
    if draws is None or draws.errors is None:
        why = (
            "the calibration has no intervals (fewer than 5 identities, or intervals=False)"
            if draws is None
            else "the calibration was made by an earlier version"
        )
        again = (
            "calibrate with intervals, on five identities or more"
            if draws is None
            else ("calibrate again")
        )
        raise CalibrationError(
            f"a promise for other identities (confidence={policy.assured_at:g}) needs intervals "
            f"over identities, and {why}; {again}, or leave out confidence"
        )
    bounds = _Bounds(policy, curve, draws)
    check_trials(policy, *(int(n) for n in draws.independent))
    grid = [bounds.at(float(t)) for t in draws.thresholds]
    if policy.limit is None:
        best = int(np.argmin(grid))
        found = Assured(curve.choice_at(float(draws.thresholds[best])), grid[best])
        refused = bounds.of_refusing()
        if refused > found.bound:
            return found
        if curve.choose(policy.plain).counts.tp:
            raise CalibrationError(
                f"no cost lower than that of refusing every pair ({refused:.3g}) can be promised "
                f"for other identities with a confidence of {policy.assured_at:g}: the lowest "
                f"bound is {found.bound:.3g}; calibrate on more identities, ask for a lower "
                f"confidence, or state how many pairs are genuine where it is used (prevalence)"
            )
        return Assured(curve.refuse_all(), refused)
    kept = np.array([bounds.meets(bound) for bound in grid])
    if bounds.rising:  # a recall: from the largest threshold down to the first failure
        kept = np.logical_and.accumulate(kept[::-1])[::-1]
    met = np.flatnonzero(kept)
    if not len(met):
        if bounds.figure == "fmr":  # the smallest distance is that of too many impostor pairs
            return Assured(curve.refuse_all(), bounds.of_refusing())
        raise CalibrationError(bounds.unreachable(grid))
    place = bounds.refine(int(met[0] if bounds.rising else met[-1]))
    chosen = float(curve.thresholds[place])
    return Assured(curve.choice_at(chosen), bounds.at(chosen))


class _Bounds:
    """The bound of a policy's figure at any threshold.

    Args:
        policy, curve, draws: as for :func:`choose_assured`.

    Attributes:
        rising: whether the figure is one that must be at least something and rises with the
            threshold: the strictest threshold that reaches it is the best.
    """

    def __init__(self, policy: Policy, curve: ThresholdCurve, draws: IdentityBootstrap) -> None:
        assert policy.promises is not None
        assert policy.assured_at is not None
        self.policy, self.curve, self.draws = policy, curve, draws
        self.figure, direction = policy.promises
        self.least = direction == "at least"
        self.rising = self.figure == "recall"
        self.confidence = float(policy.assured_at)
        self.prevalence = float(policy.prevalence_of(curve.genuine, curve.impostor))
        self.identities, self.two = (int(n) for n in draws.independent)

    def meets(self, bound: float) -> bool:
        """Whether a bound meets the limit."""
        limit = self.policy.limit
        assert limit is not None
        return bound >= limit if self.least else bound <= limit

    def unreachable(self, bounds: list[float]) -> str:
        """What to say where no threshold keeps the promise."""
        best = max(bounds) if self.least else min(bounds)
        clean, limit = no_error_bound(self.two, self.confidence), float(self.policy.limit or 0)
        more = "calibrate on more identities, or ask for less"
        if self.figure == "precision":
            allowed = self.prevalence * (1 - limit) / ((1 - self.prevalence) * limit)
            if allowed < clean:
                needed = identities_for(trials_needed(allowed, self.confidence))
                more = (
                    f"at this prevalence its rate must be below {allowed:.2g}, which takes "
                    f"{needed:,} identities at the least; {more}"
                )
        return (
            f"a {self.figure} of {limit:g} cannot be promised for other identities with a "
            f"confidence of {self.confidence:g}: of all thresholds the best bound is {best:.4g} at "
            f"a prevalence of {self.prevalence:.3g}. {self.two:,} pairs of identities were "
            f"compared, so that even without any false match its rate could be {clean:.2g}; {more}"
        )

    def at(self, threshold: float) -> float:
        """The bound at a threshold."""
        here = self.curve.at(threshold)
        missed, false = self.missed(threshold, here), self.false(threshold, here)
        if self.figure == "fmr":
            return false
        if self.figure == "recall":
            return 1 - missed
        tp, fp = self.draws.counts_at(threshold, self.curve)
        recalls = 1 - self._raised(1 - tp / self.draws.genuine, missed, here.fn, self.identities, 0)
        fmrs = self._raised(fp / self.draws.impostor, false, here.fp, self.two, 1)
        return self._quantile(self.policy.promised(recalls, fmrs, self.prevalence))

    def missed(self, threshold: float, here: Confusion) -> float:
        """Upper bound of the false non-match rate at a threshold with these counts."""
        missed = 1 - self.curve.rates(threshold)[0] if here.fn else 0.0
        return self._bound(threshold, 0, missed, self.identities)

    def false(self, threshold: float, here: Confusion) -> float:
        """Upper bound of the false match rate at a threshold with these counts."""
        return self._bound(threshold, 1, here.fp / self.curve.impostor, self.two)

    def of_refusing(self) -> float:
        """The bound where every pair is refused: there is no false match, and no match."""
        nothing = np.zeros(len(self.draws.genuine))
        return self._quantile(self.policy.promised(nothing, nothing, self.prevalence))

    def refine(self, column: int) -> int:
        """The best threshold of the curve that meets the limit.

        Between two thresholds of the draws the figure changes in one direction.

        Args:
            column: the best of the draws' thresholds that meets it.
        """
        kept, drawn = self.curve.thresholds, self.draws.thresholds
        step = -1 if self.rising else 1
        side = "left" if self.rising else "right"

        def place(threshold: float) -> int:
            """The threshold of a thinned curve, on the side where the promise holds."""
            found = int(np.searchsorted(kept, threshold, side=side)) - (not self.rising)  # type: ignore[call-overload]
            return min(max(found, 0), len(kept) - 1)

        good, bad = place(float(drawn[column])), -1 if self.rising else len(kept)
        if 0 <= column + step < len(drawn):
            bad = place(float(drawn[column + step]))
        while abs(bad - good) > 1:
            between = (good + bad) // 2
            if self.meets(self.at(float(self.curve.thresholds[between]))):
                good = between
            else:
                bad = between
        return good

    def _bound(self, threshold: float, kind: int, observed: float, trials: int) -> float:
        """Upper bound of an error rate; see the module's description.

        Args:
            threshold: any.
            kind: 0 for refused genuine pairs, 1 for accepted impostor pairs.
            observed: the rate at this threshold.
            trials: independent ones.
        """
        least = no_error_bound(trials, self.confidence)
        if not observed:
            return least
        squares, fourths, most = self._spread(threshold, kind)
        limit = gamma_limit(observed, squares, fourths, WORSE * most, self.confidence)
        return min(1.0, max(limit, least))

    def _spread(self, threshold: float, kind: int) -> np.ndarray:
        """(3,) how the errors at a threshold are spread; between those of the draws a mean."""
        draws, last = self.draws, len(self.draws.thresholds) - 1
        assert draws.errors is not None
        before = int(np.searchsorted(draws.thresholds, threshold, side="right")) - 1
        low, high = max(before, 0), min(before + 1, last)
        name = "fp" if kind else "tp"
        here, first, second = (
            getattr(self.curve.at(float(t)), name)
            for t in (threshold, draws.thresholds[low], draws.thresholds[high])
        )
        part = (here - first) / (second - first) if second > first else 0.0
        ends = draws.errors[kind][:, low], draws.errors[kind][:, high]
        found: np.ndarray = ends[0] + part * (ends[1] - ends[0])
        return found

    def _raised(
        self, rates: np.ndarray, bound: float, errors: int, trials: int, stream: int
    ) -> np.ndarray:
        """(r,) a rate's draws, raised so that their quantile is its bound.

        Args:
            rates: (r,) of each draw.
            bound: of the rate.
            errors: how many were seen; without any, the draws are those of an unseen error.
            trials: independent ones.
            stream: of random numbers.
        """
        if not errors:
            return unseen_error_rates(trials, len(rates), stream)
        reached = float(np.quantile(rates, self.confidence))
        if reached >= bound:
            return rates
        raised = rates * (bound / reached) if reached > 0 else np.full_like(rates, bound)
        return np.minimum(raised, 1.0)

    def _quantile(self, values: np.ndarray) -> float:
        level = 1 - self.confidence if self.least else self.confidence
        return float(np.quantile(values, level))


def check_trials(policy: Policy, identities: int, two: int) -> None:
    """Raise where a policy's promise cannot be made, even if no error were seen.

    Args:
        policy: any; one without a confidence is never refused here.
        identities: with genuine pairs.
        two: pairs of identities with impostor pairs.

    Raises:
        CalibrationError: says how many are needed.
    """
    confidence, limit = policy.assured_at, None
    if confidence is not None and policy.promises is not None:
        limit = policy.limit
    if confidence is None or limit is None or policy.promises is None:
        return
    figure = policy.promises[0]
    if figure == "fmr" and two < (needed := trials_needed(limit, confidence)):
        raise CalibrationError(
            f"a false match rate of {limit:.4g} cannot be promised for other identities with a "
            f"confidence of {confidence:g} from {two:,} pairs of identities: even without any "
            f"false match the bound would be {no_error_bound(two, confidence):.2g}; it needs "
            f"impostor pairs of {needed:,} pairs of identities, that is {identities_for(needed):,} "
            f"identities at the least, with all their pairs (siamese.AllPairs(), pairs=all_pairs, "
            f"--pairs all_pairs); calibrate on more, or ask for a higher rate or a lower confidence"
        )
    if figure == "recall" and identities < (needed := trials_needed(1 - limit, confidence)):
        reached = 1 - no_error_bound(identities, confidence)
        raise CalibrationError(
            f"a recall of {limit:g} cannot be promised for other identities with a confidence of "
            f"{confidence:g} from {identities:,} identities with genuine pairs: even without any "
            f"error no more than {reached:.3g} could be; it needs {needed:,} identities of two "
            f"images or more at the least; calibrate on more, or ask for a lower recall or "
            f"confidence"
        )


def no_error_bound(trials: int, confidence: float) -> float:
    """Upper limit of the rate of an error that did not occur in so many independent trials."""
    return -math.expm1(math.log1p(-confidence) / trials)


def trials_needed(rate: float, confidence: float) -> int:
    """How many independent trials without an error bound its rate by ``rate``."""
    return math.ceil(math.log1p(-confidence) / math.log1p(-rate) - 1e-9)


def identities_for(pairs: int) -> int:
    """How many identities have so many pairs of two."""
    return math.ceil((1 + math.sqrt(1 + 8 * pairs)) / 2)


def gamma_limit(
    errors: float, squares: float, fourths: float, most: float, confidence: float
) -> float:
    """Upper limit of a number of errors that come in clusters (Fay and Feuer 1997).

    With v the variance of the number and w the most errors of one identity, it is the quantile of a
    gamma distribution with mean ``errors + w`` and variance ``v + w^2``. The variance is ``squares
    (1 + z sqrt(fourths) / squares)``, its own upper limit, with z the normal quantile of the
    confidence.

    Args:
        errors: how many were seen, > 0; all of these may be parts of all pairs, the limit is, too.
        squares, fourths: sums over identities of d^2 and of d^4, with d what the identity has more
            or less than its share.
        most: errors of one more identity.
        confidence: of the limit.
    """
    from scipy.special import gammaincinv, ndtri

    variance = squares + float(ndtri(confidence)) * math.sqrt(fourths)
    mean, spread = errors + most, variance + most * most
    return float(spread / mean * gammaincinv(mean * mean / spread, confidence))
