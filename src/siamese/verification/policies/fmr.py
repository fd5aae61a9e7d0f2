"""Fmr: the threshold with a false match rate of at most a given one."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any, ClassVar

import numpy as np

from siamese.errors import CalibrationError
from siamese.verification.policies.base import (
    OBSERVED,
    POLICIES,
    ROUNDING,
    RULE_OF,
    Policy,
    Prevalence,
    check_rate,
)


@POLICIES.register("fmr")
@dataclass(frozen=True)
class Fmr(Policy):
    """The most genuine pairs accepted with a false match rate of at most ``rate``.

    An error unless ``rate`` times the number of impostor pairs is at least 30: with fewer expected
    errors nothing is known about a rate so small (rule of 30, Doddington et al. 2000). Pairs that
    share an identity are not independent, so 30 is the minimum. Where no genuine pair can be
    accepted at that rate, every pair is refused: the threshold lies just below the smallest
    distance.

    Args:
        rate: accepted impostor pairs over all impostor pairs, 0 < rate < 1.
        prevalence: see :class:`Policy`; the threshold does not depend on it.
    """

    rate: float = 1e-3
    prevalence: Prevalence = OBSERVED
    may_refuse_all: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        check_rate("the false match rate", self.rate, one=False)

    def check(self, genuine: int, impostor: int) -> None:
        super().check(genuine, impostor)
        if Fraction(repr(float(self.rate))) * impostor < RULE_OF:
            least = Fraction(RULE_OF) / Fraction(repr(float(self.rate)))
            smallest = "these support none"
            if impostor > RULE_OF:
                lowest = _rounded_up(Fraction(RULE_OF, impostor))
                smallest = f"the smallest rate that these support is {lowest}"
            raise CalibrationError(
                f"a false match rate of {self.rate:g} cannot be known from {impostor:,} impostor "
                f"pairs: it needs {RULE_OF} expected errors (rule of 30), that is "
                f"{-(-least.numerator // least.denominator):,} pairs; {smallest}; calibrate on all "
                f"pairs of your identities (siamese.AllPairs(), pairs=all_pairs, siamese calibrate "
                f"BUNDLE --data IDENTITIES --pairs all_pairs), or on more identities"
            )

    def objective(self, tp: Any, fp: Any, genuine: Any, impostor: Any, prevalence: Any) -> Any:
        if isinstance(fp, Fraction):
            return (
                tp if fp <= Fraction(repr(float(self.rate))) * impostor + ROUNDING else Fraction(-1)
            )
        return np.where(fp <= self.rate * impostor + 2 * float(ROUNDING), tp / genuine, -np.inf)


def _rounded_up(rate: Fraction) -> str:
    """A rate in two digits, rounded up."""
    text = f"{float(rate):.1e}"
    if Fraction(text) < rate:
        digits, exponent = text.split("e")
        text = f"{float(digits) + 0.1:.1f}e{exponent}"
    return f"{float(text):.2g}"
