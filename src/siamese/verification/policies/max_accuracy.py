"""MaxAccuracy: the threshold of the most correct verdicts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

from siamese.verification.policies.base import (
    OBSERVED,
    POLICIES,
    Policy,
    Prevalence,
)


@POLICIES.register("max_accuracy")
@dataclass(frozen=True)
class MaxAccuracy(Policy):
    """The highest share of right verdicts at the stated prevalence.

    Where genuine pairs are rare, refusing every pair can be best; the threshold then lies just
    below the smallest distance.

    Args:
        prevalence: see :class:`Policy`.
        weights: see :class:`Policy`.
    """

    prevalence: Prevalence = OBSERVED
    weights: str | None = field(default=None, kw_only=True)
    may_refuse_all: ClassVar[bool] = True

    @property
    def aim(self) -> str:
        return "for the most right verdicts"

    def objective(self, tp: Any, fp: Any, genuine: Any, impostor: Any, prevalence: Any) -> Any:
        return prevalence * tp / genuine - (1 - prevalence) * fp / impostor
