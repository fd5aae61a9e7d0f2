"""Recall: the threshold with a recall of at least a given one."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from siamese.verification.policies.base import (
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
        rate: accepted genuine pairs over all genuine pairs, 0 < rate <= 1.
        prevalence: see :class:`Policy`; the threshold does not depend on it.
    """

    rate: float = 0.95
    prevalence: Prevalence = OBSERVED

    def __post_init__(self) -> None:
        super().__post_init__()
        check_rate("the recall that is asked for", self.rate, one=True)

    def objective(self, tp: Any, fp: Any, genuine: Any, impostor: Any, prevalence: Any) -> Any:
        if isinstance(fp, Fraction):
            return (
                -fp
                if tp >= Fraction(repr(float(self.rate))) * genuine - ROUNDING
                else -impostor - 1
            )
        return np.where(tp >= self.rate * genuine - 2 * float(ROUNDING), -fp / impostor, -np.inf)
