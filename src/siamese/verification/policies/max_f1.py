"""MaxF1: the threshold of the highest F1."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from siamese.verification.policies.base import (
    OBSERVED,
    POLICIES,
    Policy,
    Prevalence,
)


@POLICIES.register("max_f1")
@dataclass(frozen=True)
class MaxF1(Policy):
    """The highest F1 = 2 TP / (2 TP + FP + FN) at the stated prevalence.

    Pairs are weighted so that genuine ones have that prevalence.

    Args:
        prevalence: see :class:`Policy`. F1 depends on it, and so does the threshold.
    """

    prevalence: Prevalence = OBSERVED

    def objective(self, tp: Any, fp: Any, genuine: Any, impostor: Any, prevalence: Any) -> Any:
        hit = prevalence * tp / genuine
        return 2 * hit / (hit + (1 - prevalence) * fp / impostor + prevalence)
