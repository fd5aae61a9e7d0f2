"""Eer: the threshold at which both error rates are equal."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from siamese.verification.policies.base import (
    NEAR,
    OBSERVED,
    POLICIES,
    Policy,
    Prevalence,
)


@POLICIES.register("eer")
@dataclass(frozen=True)
class Eer(Policy):
    """The threshold at which false match rate and false non-match rate are nearest to each other.

    Args:
        prevalence: see :class:`Policy`; the threshold does not depend on it.
        weights: see :class:`Policy`.
    """

    prevalence: Prevalence = OBSERVED
    weights: str | None = field(default=None, kw_only=True)
    at_genuine: ClassVar[bool] = False
    weighs_kinds: ClassVar[bool] = False

    @property
    def aim(self) -> str:
        return "so that both error rates are equal"

    def objective(self, tp: Any, fp: Any, genuine: Any, impostor: Any, prevalence: Any) -> Any:
        return -abs(fp / impostor + tp / genuine - 1)

    def bound(
        self,
        low: tuple[Any, Any],
        high: tuple[Any, Any],
        genuine: Any,
        impostor: Any,
        prevalence: Any,
    ) -> Any:
        # Both rise with the threshold.
        below, above = (fp / impostor + tp / genuine - 1 for tp, fp in (low, high))
        return np.where(
            (below <= NEAR) & (above >= -NEAR), 0.0, -np.minimum(abs(below), abs(above))
        )
