"""Fmr: the largest threshold with a false match rate of at most a given one."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, ClassVar

import numpy as np

from siamese.distances.arrays import in_words
from siamese.errors import CalibrationError, ConfigError
from siamese.verification.policies.base import (
    OBSERVED,
    POLICIES,
    ROUNDING,
    RULE_OF,
    Policy,
    Prevalence,
    check_rate,
)

MOST = 10**12  # identities of a gallery


@POLICIES.register("fmr")
@dataclass(frozen=True)
class Fmr(Policy):
    """The largest threshold with a false match rate of at most ``rate``.

    So it accepts the most genuine pairs at that rate. The genuine pairs have no say in it: where
    all of a few are close, a smaller threshold would do for them, but not for those of others.

    Without a confidence the rate is kept on the calibration pairs. It is then an error unless
    ``rate`` times the number of impostor pairs is at least 30: with fewer expected errors nothing
    is known about a rate so small (rule of 30, Doddington et al. 2000). Pairs that share an
    identity are not independent, so 30 is the minimum. Where too many impostor pairs have the
    smallest distance, every pair is refused: the threshold lies just below it.

    Args:
        rate: accepted impostor pairs over all impostor pairs, 0 < rate < 1; with a gallery, see
            there.
        prevalence: see :class:`Policy`; the threshold does not depend on it.
        confidence: with which the rate is kept on other identities, 0.5 to 0.99; None for the
            calibration pairs alone. See :mod:`siamese.verification.assurance`.
        gallery: number of identities, 1 or more, that a picture is compared with in a search.
            ``rate`` is then the rate of searches with a false match, for somebody who is not in the
            gallery: of a pair at most 1 - (1 - rate)^(1/gallery) may be accepted (ISO/IEC 19795-1,
            FPIR of N comparisons). A rate of 0.01 for a pair is one of 0.39 for a search among 50.
            Comparisons are taken as independent; where some identities are alike to many others,
            fewer searches go wrong.
        weights: see :class:`Policy`.

    Examples:
        >>> import siamese
        >>> import numpy as np
        >>> draw = np.random.default_rng(0)
        >>> people = np.repeat(np.arange(30), 6)  # made up: 30 people, six pictures each
        >>> rows = draw.normal(size=(30, 10))[people] + 0.5 * draw.normal(size=(180, 10))
        >>> kept = siamese.calibrate(rows, people, siamese.Fmr(0.05))
        >>> promised = siamese.calibrate(rows, people, siamese.Fmr(0.05, confidence=0.95))
        >>> promised.threshold < kept.threshold
        True
    """

    rate: float = 1e-3
    prevalence: Prevalence = OBSERVED
    confidence: float | None = field(default=None, kw_only=True)
    gallery: int | None = field(default=None, kw_only=True)
    weights: str | None = field(default=None, kw_only=True)
    may_refuse_all: ClassVar[bool] = True
    at_genuine: ClassVar[bool] = False
    weighs_kinds: ClassVar[bool] = False
    promises: ClassVar[tuple[str, str] | None] = ("fmr", "at most")

    def __post_init__(self) -> None:
        super().__post_init__()
        check_rate("the false match rate", self.rate, one=False)
        if isinstance(self.gallery, float) and self.gallery.is_integer():  # typed as a setting
            object.__setattr__(self, "gallery", int(self.gallery))
        n = self.gallery
        if n is not None and (isinstance(n, bool) or not isinstance(n, int) or not 1 <= n <= MOST):
            raise ConfigError(
                f"gallery must be the number of identities that a search compares with, a whole "
                f"number from 1 to {MOST:,}, or None for pairs, not {in_words(n)}"
            )

    @property
    def pair_rate(self) -> Fraction:
        """The false match rate of a pair: ``rate``, or, of a search, its share."""
        if self.gallery is None or self.gallery == 1:
            return Fraction(repr(float(self.rate)))
        return Fraction(-math.expm1(math.log1p(-self.rate) / self.gallery))

    @property
    def aim(self) -> str:
        if self.gallery is not None:
            return f"for a false match in at most {self.rate:g} of searches among {self.gallery:,}"
        return f"for a false match rate of at most {self.rate:g}"

    @property
    def limit(self) -> float:
        return float(self.pair_rate)

    def promised(self, recall: Any, fmr: Any, prevalence: float) -> Any:
        return fmr

    def check(self, genuine: int, impostor: int, *, every_pair: bool = False) -> None:
        super().check(genuine, impostor)
        rate = self.pair_rate
        if self.confidence is None and rate * impostor < RULE_OF:
            least = Fraction(RULE_OF) / rate
            smallest = "these support none"
            if impostor > RULE_OF:
                lowest = _rounded_up(Fraction(RULE_OF, impostor))
                smallest = f"the smallest rate that these support is {lowest}"
            search = "" if self.gallery is None else f" (of a search among {self.gallery:,}: "
            search += f"{self.rate:g})" if search else ""
            all_pairs = (
                "on all pairs of your identities (siamese.AllPairs(), pairs=all_pairs, siamese "
                "calibrate BUNDLE --data IDENTITIES --pairs all_pairs), or "
            )
            raise CalibrationError(
                f"a false match rate of {float(rate):.4g}{search} cannot be known from "
                f"{impostor:,} impostor "
                f"pairs: it needs {RULE_OF} expected errors (rule of 30), that is "
                f"{-(-least.numerator // least.denominator):,} pairs; {smallest}; calibrate "
                f"{'' if every_pair else all_pairs}on more identities"
            )

    def objective(self, tp: Any, fp: Any, genuine: Any, impostor: Any, prevalence: Any) -> Any:
        if isinstance(fp, Fraction):
            return tp + fp if fp <= self.pair_rate * impostor + ROUNDING else None
        return np.where(self._allowed(fp, impostor), (tp + fp) / (genuine + impostor), -np.inf)

    def bound(
        self,
        low: tuple[Any, Any],
        high: tuple[Any, Any],
        genuine: Any,
        impostor: Any,
        prevalence: Any,
    ) -> Any:
        # The next threshold above the lower one may accept one genuine pair more, and no other.
        possible = self._allowed(low[1], impostor)
        return np.where(possible, (high[0] + high[1]) / (genuine + impostor), -np.inf)

    def _allowed(self, fp: Any, impostor: Any) -> Any:
        return fp <= float(self.pair_rate) * impostor + 2 * float(ROUNDING)


def _rounded_up(rate: Fraction) -> str:
    """A rate in two digits, rounded up."""
    text = f"{float(rate):.1e}"
    if Fraction(text) < rate:
        digits, exponent = text.split("e")
        text = f"{float(digits) + 0.1:.1f}e{exponent}"
    return f"{float(text):.2g}"
