"""Precision: the threshold with a precision of at least a given one."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, ClassVar

import numpy as np

from siamese.verification.policies.base import (
    NEAR,
    OBSERVED,
    POLICIES,
    Policy,
    Prevalence,
    check_rate,
)


@POLICIES.register("precision")
@dataclass(frozen=True)
class Precision(Policy):
    """The most genuine pairs accepted with a precision of at least ``rate``.

    Precision is the share of genuine pairs among the accepted ones, at the stated prevalence. Where
    no threshold reaches it, every pair is refused: the threshold lies just below the smallest
    distance.

    Args:
        rate: precision, 0 < rate <= 1; below 1 with a confidence.
        prevalence: see :class:`Policy`. Precision depends on it, and so does the threshold.
        confidence: with which the precision is reached on other identities, 0.5 to 0.99; None for
            the calibration pairs alone. See :mod:`siamese.verification.assurance`.
        weights: see :class:`Policy`.
    """

    rate: float = 0.99
    prevalence: Prevalence = OBSERVED
    confidence: float | None = field(default=None, kw_only=True)
    weights: str | None = field(default=None, kw_only=True)
    may_refuse_all: ClassVar[bool] = True
    promises: ClassVar[tuple[str, str] | None] = ("precision", "at least")

    def __post_init__(self) -> None:
        super().__post_init__()
        check_rate("the precision that is asked for", self.rate, one=self.confidence is None)

    @property
    def aim(self) -> str:
        return f"for a precision of at least {self.rate:g}"

    @property
    def limit(self) -> float:
        return float(self.rate)

    def promised(self, recall: Any, fmr: Any, prevalence: float) -> Any:
        hit, false = prevalence * recall, (1 - prevalence) * fmr
        return np.divide(hit, hit + false, out=np.ones_like(hit + false), where=hit + false > 0)

    def objective(self, tp: Any, fp: Any, genuine: Any, impostor: Any, prevalence: Any) -> Any:
        hit, false = prevalence * tp / genuine, (1 - prevalence) * fp / impostor
        if isinstance(fp, Fraction):
            rate = Fraction(repr(float(self.rate)))
            return tp if hit * (1 - rate) >= rate * false else None
        near = NEAR * (hit + false)  # rounding errors; candidates are compared exactly
        reached = hit * (1 - self.rate) >= self.rate * false - near
        return np.where(reached, tp / genuine, -np.inf)
