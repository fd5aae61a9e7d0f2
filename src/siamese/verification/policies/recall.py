"""Recall: the threshold with a recall of at least a given one."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, ClassVar

import numpy as np

from siamese.verification.policies.base import (
    DIGITS,
    OBSERVED,
    POLICIES,
    ROUNDING,
    Policy,
    Prevalence,
    check_rate,
)


@POLICIES.register("recall")
@dataclass(frozen=True)
class Recall(Policy):
    """The fewest impostor pairs accepted with a recall (true match rate) of at least ``rate``.

    Args:
        rate: accepted genuine pairs over all genuine pairs, 0 < rate <= 1;
            below 1 with a confidence.
        prevalence: see :class:`Policy`; the threshold does not depend on it.
        confidence: with which the recall is reached on other identities, 0.5 to 0.99; None for the
            calibration pairs alone. See :mod:`siamese.verification.assurance`.
        weights: see :class:`Policy`.
    """

    rate: float = 0.95
    prevalence: Prevalence = OBSERVED
    confidence: float | None = field(default=None, kw_only=True)
    weights: str | None = field(default=None, kw_only=True)
    weighs_kinds: ClassVar[bool] = False
    promises: ClassVar[tuple[str, str] | None] = ("recall", "at least")

    def __post_init__(self) -> None:
        super().__post_init__()
        check_rate("the recall that is asked for", self.rate, one=self.confidence is None)

    @property
    def aim(self) -> str:
        return f"for a recall of at least {self.rate:g}"

    @property
    def limit(self) -> float:
        return float(self.rate)

    def promised(self, recall: Any, fmr: Any, prevalence: float) -> Any:
        return recall

    def objective(self, tp: Any, fp: Any, genuine: Any, impostor: Any, prevalence: Any) -> Any:
        if isinstance(fp, Fraction):
            needed = Fraction(repr(float(self.rate))) * genuine
            return -fp if tp >= needed - ROUNDING - genuine * DIGITS else None
        near = 2 * (float(ROUNDING) + genuine * float(DIGITS))
        return np.where(tp >= self.rate * genuine - near, -fp / impostor, -np.inf)
