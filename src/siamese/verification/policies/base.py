"""Policy: the base of the rules by which a threshold is chosen from counts of pairs."""

from __future__ import annotations

import math
import numbers
from dataclasses import replace
from fractions import Fraction
from typing import Any, ClassVar, Union

import numpy as np

from siamese.distances.arrays import in_words
from siamese.errors import CalibrationError, ConfigError, SiameseError
from siamese.registry import Registry

Prevalence = Union[str, float]

# Rates and prevalences are at least so large: with a smaller one no number of pairs is enough to
# know anything, and what is left of 1 has no digits.
LEAST = 1e-12

PEOPLE = "people"
OBSERVED, BALANCED = "observed", "balanced"
# Doddington et al., *The NIST speaker recognition evaluation*, Speech Communication 31, 2000: with
# 30 errors the true rate is within 30 % of the observed one, with 90 % confidence, if the pairs are
# independent.
RULE_OF = 30
# Values this near to the best, as parts of the largest, are compared again as exact fractions.
NEAR = 1e-11
# Rounding errors of an objective's values, as parts of the largest of them.
NOISE = 1e-15
# A bound with more confidence than this would hang on a few of the bootstrap's draws.
MOST_CONFIDENT = 0.99
# Parts of a pair: a rate written as 0.3333333333333333 allows one false match in three pairs.
ROUNDING = Fraction(1, 10**9)
# The same of weighted pairs, as parts of all of them: so exactly a rate is written.
DIGITS = Fraction(1, 10**15)


class Policy:
    """Base of the rules by which a threshold is chosen from counts of accepted pairs.

    A policy defines an objective of TP and FP; the threshold with the highest one is chosen, of
    several the smallest. Every objective rises, or stays, with TP and falls, or stays, with FP
    (except those of :class:`Eer` and :class:`Fmr`, which say so): so the best threshold is a
    genuine pair's distance, or lies below all distances where refusing every pair is best.

    A policy that promises a figure (:class:`siamese.Fmr`, :class:`siamese.Recall`,
    :class:`siamese.Precision`, :class:`siamese.Cost`) makes one of two promises. By default it is
    kept on the calibration pairs, exactly; about half of all other sets of identities break it.
    With a ``confidence``, it is kept on other identities, with that confidence
    (:mod:`siamese.verification.assurance`).

    Attributes:
        prevalence: share of genuine pairs where the threshold will be used: ``"observed"``, that of
            the calibration pairs; ``"balanced"``, one half; or a number between 0 and 1. It weighs
            false matches against false non-matches in the objectives of F1, accuracy and cost, and
            in the figures of every policy.
        weights: None, every pair counts alike; or ``"people"``, every identity does: the recall is
            the mean of each identity's own, so that one with most of the genuine pairs decides
            nothing alone. Impostor pairs count alike in either case.
        may_refuse_all: whether refusing every pair can be best.
        at_genuine: whether the best threshold, unless it refuses all, is always a genuine pair's
            distance.
        weighs_kinds: whether the threshold depends on the prevalence.
        smooth: whether the distances are smoothed first, see :class:`siamese.MaxF1`.
        confidence: with which the promise is to be kept on other identities, or None.
        promises: what is promised: a figure's name, and whether it is ``"at most"`` or ``"at
            least"`` the limit; None where the policy promises an optimum alone.
    """

    prevalence: Prevalence
    weights: str | None
    confidence: float | None
    smooth: str | float | None = None
    promises: ClassVar[tuple[str, str] | None] = None
    may_refuse_all: ClassVar[bool] = False
    at_genuine: ClassVar[bool] = True
    weighs_kinds: ClassVar[bool] = True

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            object.__setattr__(self, name, _plain(value))
        p = self.prevalence
        known = p in (OBSERVED, BALANCED) if isinstance(p, str) else _is_share(p)
        if not known:
            raise ConfigError(
                f"prevalence must be {OBSERVED!r}, {BALANCED!r} or a number between 0 and 1 "
                f"({LEAST:g} to 1 - {LEAST:g}), not {in_words(p)}"
            )
        if self.weights not in (None, PEOPLE):
            raise ConfigError(
                f"weights must be {PEOPLE!r}, so that every identity counts alike, or None, so "
                f"that every pair does, not {in_words(self.weights)}"
            )
        c = getattr(self, "confidence", None)
        if c is not None and not (is_number(c) and 0.5 <= c <= MOST_CONFIDENT):
            raise ConfigError(
                f"confidence must be a number from 0.5 to {MOST_CONFIDENT}, such as 0.95, not "
                f"{in_words(c)}; leave it out (in Python None) for a promise on the calibration "
                f"identities alone"
            )

    @property
    def exact(self) -> Policy:
        """The same policy without smoothing."""
        return self if self.smooth is None else replace(self, smooth=None)  # type: ignore[type-var]

    @property
    def plain(self) -> Policy:
        """The same policy without a confidence: its promise is for the calibration pairs."""
        return self if self.assured_at is None else replace(self, confidence=None)  # type: ignore[type-var]

    @property
    def assured_at(self) -> float | None:
        """The confidence of the promise; None for one on the calibration pairs."""
        return getattr(self, "confidence", None)

    @property
    def aim(self) -> str:
        """What the threshold is chosen for, to follow "chosen": ``"for the highest F1"``.

        Of the settings it says those that only this policy has; the others are added
        (:mod:`siamese.verification.policy_words`). A policy that has none is called by its name.
        """
        raise NotImplementedError

    @property
    def limit(self) -> float | None:
        """What the promised figure of a pair is at most, or at least; None for the best possible.

        Of policies that promise a figure.
        """
        raise NotImplementedError

    def promised(self, recall: Any, fmr: Any, prevalence: float) -> Any:
        """The figure that is promised, from the two rates.

        Args:
            recall, fmr: floating point, 0..1, of any shape.
            prevalence: of genuine pairs.
        """
        raise NotImplementedError

    def describe(self) -> dict[str, Any]:
        """Name and settings, as an operating point records them."""
        return POLICIES.settings(self)

    def check(self, genuine: int, impostor: int, *, every_pair: bool = False) -> None:
        """Raise :class:`CalibrationError` where so many pairs cannot support the policy.

        Args:
            genuine, impostor: how many pairs of either kind there are.
            every_pair: whether these are all pairs of the images, so that no more can be taken.
        """
        check_both_kinds(genuine, impostor)

    def at(self, prevalence: float) -> Policy:
        """The same policy at that prevalence, if it takes the prevalence as observed.

        Otherwise the policy itself.
        """
        return replace(self, prevalence=prevalence) if self.prevalence == OBSERVED else self  # type: ignore[type-var]

    def prevalence_of(self, genuine: int, impostor: int) -> Fraction:
        """The prevalence as a number."""
        if self.prevalence == OBSERVED:
            return Fraction(genuine, genuine + impostor)
        return (
            Fraction(1, 2)
            if self.prevalence == BALANCED
            else Fraction(repr(float(self.prevalence)))
        )

    def objective(self, tp: Any, fp: Any, genuine: Any, impostor: Any, prevalence: Any) -> Any:
        """The number to maximise, of order 1.

        It is computed in the arithmetic of the arguments (arrays of floats, or Fractions). Where
        the policy's condition is not met, it is minus infinity; of Fractions None.

        Args:
            tp, fp: accepted genuine and impostor pairs.
            genuine, impostor: all of them.
            prevalence: of genuine pairs, 0..1.
        """
        raise NotImplementedError

    def bound(
        self,
        low: tuple[Any, Any],
        high: tuple[Any, Any],
        genuine: Any,
        impostor: Any,
        prevalence: Any,
    ) -> Any:
        """An upper bound of the objective at all thresholds between two others.

        Args:
            low, high: counts (tp, fp) at the two thresholds.
            genuine, impostor, prevalence: as for :meth:`objective`.
        """
        return self.objective(high[0], low[1], genuine, impostor, prevalence)

    def choose(
        self,
        tp: np.ndarray,
        fp: np.ndarray,
        genuine: int,
        impostor: int,
        prevalence: Fraction | None = None,
    ) -> int:
        """The best of counts at ascending thresholds, compared exactly; -1 for refusing every pair.

        Args:
            tp, fp: (m,) int64, at distances that occur; tp may be weighted.
            genuine, impostor: all pairs, also those beyond the last threshold; genuine ones in the
                unit of tp.
            prevalence: of genuine pairs; by default that of these numbers, as the policy takes it.

        Raises:
            CalibrationError: the pairs cannot support the policy.
        """
        if self.assured_at is not None:
            raise CalibrationError(
                f"a promise with confidence={self.assured_at:g} needs to know who is on the "
                f"images, and this threshold is chosen from distances alone; use siamese.calibrate "
                f"(siamese calibrate BUNDLE --data IDENTITIES), or leave out confidence"
            )
        self.check(genuine, impostor)
        if prevalence is None:
            prevalence = self.prevalence_of(genuine, impostor)
        values = self.objective(
            tp.astype(np.float64),
            fp.astype(np.float64),
            float(genuine),
            float(impostor),
            float(prevalence),
        )
        chosen = -1
        best = self._exactly(0, 0, genuine, impostor, prevalence) if self.may_refuse_all else None
        allowed = np.ones(len(values), dtype=bool)
        if self.at_genuine:  # of thresholds with the same genuine pairs the first
            allowed = np.diff(tp, prepend=0) > 0
        near = NEAR * float(scale(values))
        # Rounding may let in candidates that exactly miss what is asked for: then the next follow.
        possible = False
        while not possible and not np.isneginf(highest := values[allowed].max(initial=-np.inf)):
            best_few = allowed & (values >= highest - near)
            for i in np.flatnonzero(best_few).tolist():
                value = self._exactly(int(tp[i]), int(fp[i]), genuine, impostor, prevalence)
                possible |= value is not None
                if value is not None and (best is None or value > best):
                    chosen, best = i, value
            allowed &= ~best_few
        return chosen

    def choose_rows(
        self, tp: np.ndarray, fp: np.ndarray, genuine: np.ndarray, impostor: np.ndarray
    ) -> np.ndarray:
        """The best of each row of weighted counts, in floating point, for the bootstrap.

        Args:
            tp, fp: (r, m) at m ascending thresholds.
            genuine, impostor: (r,) totals, > 0.

        Returns:
            (r,) columns; -1 for refusing every pair.
        """
        g, i = genuine[:, None], impostor[:, None]
        prevalence = (
            g / (g + i)
            if self.prevalence == OBSERVED
            else np.full_like(g, float(self.prevalence_of(1, 1)))
        )
        values = self.objective(tp, fp, g, i, prevalence)
        # Objectives of rare genuine pairs are small at their best, and large only where impostor
        # pairs are accepted.
        near = np.maximum(NEAR * np.abs(values.max(axis=1)), NOISE * scale(values))
        best: np.ndarray = np.argmax(values >= (values.max(axis=1) - near)[:, None], axis=1)
        if self.may_refuse_all:
            nothing = self.objective(np.zeros_like(g), np.zeros_like(g), g, i, prevalence)[:, 0]
            best = np.where(nothing >= values.max(axis=1) - near, -1, best)
        return np.where(np.isneginf(values.max(axis=1)), -1, best)

    def _exactly(self, tp: int, fp: int, genuine: int, impostor: int, prevalence: Fraction) -> Any:
        return self.objective(
            Fraction(tp), Fraction(fp), Fraction(genuine), Fraction(impostor), prevalence
        )


POLICIES: Registry[Policy] = Registry(
    "policy", "POLICIES", "siamese.verification.policies", renamed={"far": "fmr"}
)


def scale(values: np.ndarray) -> Any:
    """The largest finite size of an objective's values (..., m) along the last axis."""
    return np.where(np.isfinite(values), np.abs(values), 0.0).max(axis=-1, initial=0.0)


def as_policy(policy: str | dict[str, Any] | Policy) -> Policy:
    """A policy from itself, its name, or a dictionary with its name and settings.

    Raises:
        ConfigError: an unknown name or setting, or a number.
    """
    if is_number(policy):
        raise ConfigError(
            f"{policy} is a threshold, not a policy; name a policy ({', '.join(POLICIES)}), or "
            f"give the number to with_policy or Verifier(threshold=...)"
        )
    if isinstance(policy, str) and "," in policy:
        name = policy.partition(",")[0].strip()
        example = (
            "siamese.Fmr(rate=1e-4)"
            if name not in POLICIES
            else f"siamese.{POLICIES[name].__name__}(...)"
        )
        raise ConfigError(
            f"{policy!r} is how the command writes a policy with settings; in Python give an "
            f'object, {example}, or a dictionary, {{"name": "fmr", "rate": 1e-4}}'
        )
    return policy if isinstance(policy, Policy) else POLICIES.build(policy)


def check_both_kinds(genuine: int, impostor: int) -> None:
    """Raise :class:`CalibrationError` where there are no genuine or no impostor pairs."""
    if not genuine or not impostor:
        raise CalibrationError(
            f"{genuine} genuine and {impostor} impostor pairs: a threshold needs both kinds; "
            f"calibrate on several identities with two images or more"
        )


def check_rate(what: str, rate: Any, one: bool) -> None:
    """Check that a rate lies between 0 and 1; 1 itself is allowed where ``one`` is true.

    Raises:
        ConfigError: it does not; ``what`` is what the message calls it.
    """
    if not is_number(rate):
        raise ConfigError(f"{what} must be a number, not {in_words(rate)}")
    if not (LEAST <= rate < 1 or (one and rate == 1)):
        raise ConfigError(
            f"{what} must be above 0 ({LEAST:g} at the least) and {'at most' if one else 'below'} "
            f"1, not {in_words(rate)}"
        )


def check_prevalence(prevalence: Any, kind: type[SiameseError]) -> float:
    """A share of genuine pairs as a number of Python.

    Args:
        prevalence: a number.
        kind: of error.

    Raises:
        SiameseError: of that kind, for anything but a number between 0 and 1, 1e-12 from either.
    """
    share = _plain(prevalence)
    if not _is_share(share):
        raise kind(
            f"prevalence must be between 0 and 1 (both excluded; {LEAST:g} to 1 - {LEAST:g}), not "
            f"{in_words(prevalence)}"
        )
    return float(share)


def _is_share(value: Any) -> bool:
    return is_number(value) and LEAST <= value <= 1 - LEAST


def _plain(value: Any) -> Any:
    """A number as Python has it, which JSON can hold: no fraction, and none of numpy's."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, numbers.Real) and not isinstance(value, (bool, numbers.Integral)):
        with np.errstate(over="ignore", under="ignore"):
            try:
                return float(value)
            except OverflowError:
                return math.inf
    return value


def is_number(value: Any) -> bool:
    """Whether it is a real number of Python or numpy; booleans are not."""
    return isinstance(value, numbers.Real) and not isinstance(value, bool)
