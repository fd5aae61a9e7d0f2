"""Thresholds whose promise holds on other identities, with a stated confidence.

A threshold that just keeps a rate on the calibration pairs breaks it on about half of all other
sets of identities. Here a one-sided bound of the promised figure over identities decides: of all
thresholds whose bound meets what is asked for, the most permissive one is chosen (for a recall the
strictest), and of a cost the threshold with the lowest bound. The rates of a pair rise with the
threshold, so this choice breaks its promise only where the bound at one threshold is wrong, that
at which the rate is exactly met: no correction for the number of thresholds is needed (the argument
of Angelopoulos et al., *Learn then Test*, 2021, for nested risks).

The bound is the larger of two:

* the quantile of the bootstrap over identities (:mod:`siamese.verification.bootstrap`), at a level
  that is widened for few identities (the expanded percentile interval of Hesterberg, *What teachers
  should know about the bootstrap*, The American Statistician 2015);
* Clopper and Pearson's limit, taken over independent trials. They are the identities with genuine
  pairs (for a recall), or the pairs of identities with impostor pairs (for a false match rate). The
  number of errors is that of identities with an error, halved for false matches, which have two.
  A bootstrap cannot see how much a handful of errors may vary; this limit can. It is taken up to
  30 such errors (the rule of 30). Where no error was seen, it alone is the bound, exactly:
  1 - (1 - confidence)^(1/trials).

So many trials are needed that the bound without any error meets the promise.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from siamese.errors import CalibrationError
from siamese.verification.bootstrap import IdentityBootstrap, unseen_error_rates
from siamese.verification.confusion import Confusion
from siamese.verification.curves import Choice, ThresholdCurve
from siamese.verification.policies.base import RULE_OF, Policy


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
    if draws is None or draws.erring is None:
        why = (
            "the calibration has no intervals (fewer than 5 identities, or intervals=False)"
            if draws is None
            else "the calibration was made by an earlier version"
        )
        raise CalibrationError(
            f"a promise for other identities (confidence={policy.assured_at:g}) needs intervals "
            f"over identities, and {why}; calibrate again on more identities, or leave out "
            f"confidence"
        )
    bounds = _Bounds(policy, curve, draws)
    bounds.check_trials()
    grid = [bounds.at(float(t)) for t in draws.thresholds]
    if policy.limit is None:
        best = int(np.argmin(grid))
        found = Assured(curve.choice_at(float(draws.thresholds[best])), grid[best])
        refused = bounds.of_refusing()
        return Assured(curve.refuse_all(), refused) if refused <= found.bound else found
    met = np.flatnonzero([bounds.meets(bound) for bound in grid])
    if not len(met):
        if bounds.meets(bounds.of_refusing()):
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

    def check_trials(self) -> None:
        """Raise where even no error at all would leave the bound beyond the limit."""
        limit = self.policy.limit
        if self.figure == "fmr" and limit is not None:
            needed = trials_needed(limit, self.confidence)
            if self.two < needed:
                raise CalibrationError(self._too_few(limit, needed))
        if self.figure == "recall" and limit is not None:
            needed = trials_needed(1 - limit, self.confidence)
            if self.identities < needed:
                reached = 1 - no_error_bound(self.identities, self.confidence)
                raise CalibrationError(
                    f"a recall of {limit:g} cannot be promised for other identities with a "
                    f"confidence of {self.confidence:g} from {self.identities:,} identities with "
                    f"genuine pairs: even without any error no more than {reached:.3g} could be; "
                    f"it needs {needed:,} identities of two images or more; calibrate on more, or "
                    f"ask for a lower recall or confidence"
                )

    def _too_few(self, limit: float, needed: int) -> str:
        best = no_error_bound(self.two, self.confidence)
        people = math.ceil((1 + math.sqrt(1 + 8 * needed)) / 2)
        return (
            f"a false match rate of {limit:.4g} cannot be promised for other identities with a "
            f"confidence of {self.confidence:g} from {self.two:,} pairs of identities: even "
            f"without any false match the bound would be {best:.2g}; it needs impostor pairs of "
            f"{needed:,} pairs of identities, that is {people:,} identities with all their pairs "
            f"(siamese.AllPairs(), pairs=all_pairs, --pairs all_pairs); calibrate on more, or ask "
            f"for a higher rate or a lower confidence"
        )

    def unreachable(self, bounds: list[float]) -> str:
        """What to say where no threshold keeps the promise."""
        best = max(bounds) if self.least else min(bounds)
        clean = no_error_bound(self.two, self.confidence)
        return (
            f"a {self.figure} of {self.policy.limit:g} cannot be promised for other identities "
            f"with a confidence of {self.confidence:g}: of all thresholds the best bound is "
            f"{best:.4g} at a prevalence of {self.prevalence:.3g}. {self.two:,} pairs of "
            f"identities were compared, so that even without any false match its rate could be "
            f"{clean:.2g}; calibrate on more identities, or ask for less"
        )

    def at(self, threshold: float) -> float:
        """The bound at a threshold."""
        here = self.curve.at(threshold)
        if self.figure == "fmr" and not here.fp:
            return no_error_bound(self.two, self.confidence)
        if self.figure == "recall" and not here.fn:
            return 1 - no_error_bound(self.identities, self.confidence)
        missed, false = self._rates(threshold, here)
        return self._quantile(self.policy.promised(1 - missed, false, self.prevalence))

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

    def _rates(self, threshold: float, here: Confusion) -> tuple[np.ndarray, np.ndarray]:
        """(r,) and (r,) false non-match and false match rates, one for each draw of identities.

        Their upper quantiles are the bounds of the module's description.

        Args:
            threshold: any.
            here: counts at it.
        """
        draws, last = self.draws, len(self.draws.thresholds) - 1
        assert draws.erring is not None
        tp, fp = draws.counts_at(threshold, self.curve)
        # Between two thresholds the smaller numbers of erring identities, for the larger bound.
        before = int(np.searchsorted(draws.thresholds, threshold, side="right")) - 1
        after = min(int(np.searchsorted(draws.thresholds, threshold, side="left")), last)
        missing, matching = float(draws.erring[0, after]), float(draws.erring[1, max(before, 0)])
        missed, false = 1 - tp / draws.genuine, fp / draws.impostor
        return (
            self._raised(missed, here.fn / self.curve.genuine, missing, self.identities, 0),
            self._raised(false, here.fp / self.curve.impostor, matching, self.two, 1),
        )

    def _raised(
        self, rates: np.ndarray, observed: float, errors: float, trials: int, stream: int
    ) -> np.ndarray:
        """A rate's draws, raised so that their quantile is not below Clopper and Pearson's limit.

        Args:
            rates: (r,) of each draw.
            observed: of all pairs.
            errors: number of trials with an error.
            trials: independent ones.
            stream: of random numbers.
        """
        if not observed:
            return unseen_error_rates(trials, len(rates), stream)
        if errors >= RULE_OF:
            return rates
        errors = min(max(errors, 1.0), float(trials))
        floor = observed * clopper_pearson(errors, trials, self.confidence) * trials / errors
        reached = float(np.quantile(rates, self._level))
        if reached >= floor:
            return rates
        raised = rates * (floor / reached) if reached > 0 else np.full_like(rates, floor)
        return np.minimum(raised, 1.0)

    def _quantile(self, values: np.ndarray) -> float:
        level = self._level
        return float(np.quantile(values, 1 - level if self.least else level))

    @property
    def _level(self) -> float:
        few = self.identities
        if self.figure == "fmr":
            few = round((1 + math.sqrt(1 + 8 * self.two)) / 2)
        return expanded_level(self.confidence, few)


def no_error_bound(trials: int, confidence: float) -> float:
    """Upper limit of the rate of an error that did not occur in so many independent trials."""
    return -math.expm1(math.log1p(-confidence) / trials)


def trials_needed(rate: float, confidence: float) -> int:
    """How many independent trials without an error bound its rate by ``rate``."""
    return math.ceil(math.log1p(-confidence) / math.log1p(-rate) - 1e-9)


def clopper_pearson(errors: float, trials: int, confidence: float) -> float:
    """Upper limit of the rate of an error that occurred so often; it may be a fraction."""
    from scipy.special import betaincinv

    if errors >= trials:
        return 1.0
    return float(betaincinv(errors + 1, trials - errors, confidence))


def expanded_level(confidence: float, identities: int) -> float:
    """The level of a bootstrap's quantile that has the confidence with few identities.

    Source: Hesterberg 2015, section 5.2: phi(sqrt(n / (n - 1)) t), t of n - 1 degrees of freedom.
    """
    from scipy.special import ndtr, stdtrit

    n = max(identities, 2)
    return float(ndtr(math.sqrt(n / (n - 1)) * stdtrit(n - 1, confidence)))
