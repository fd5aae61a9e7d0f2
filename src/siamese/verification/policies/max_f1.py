"""MaxF1: the threshold of the highest F1."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from siamese.errors import ConfigError
from siamese.verification.policies.base import (
    OBSERVED,
    POLICIES,
    Policy,
    Prevalence,
    is_number,
)

LARGEST = float(np.finfo(np.float32).max)


@POLICIES.register("max_f1")
@dataclass(frozen=True)
class MaxF1(Policy):
    """The highest F1 = 2 TP / (2 TP + FP + FN) at the stated prevalence.

    Pairs are weighted so that genuine ones have that prevalence.

    Args:
        prevalence: see :class:`Policy`. F1 depends on it, and so does the threshold.
        smooth: the distances are smoothed before F1 is maximised, which suits other identities
            better where those of the calibration are few (:mod:`siamese.verification.smoothing`): a
            bandwidth in the unit of the distance, or ``"auto"``. None takes the highest F1 of the
            calibration pairs, exactly.
        weights: see :class:`Policy`.
    """

    prevalence: Prevalence = OBSERVED
    smooth: str | float | None = field(default=None, kw_only=True)
    weights: str | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        s = self.smooth
        if s is not None and s != "auto" and not (is_number(s) and 0 < s <= LARGEST):  # type: ignore[operator]
            raise ConfigError(
                f"smooth must be 'auto', a finite bandwidth above 0 in the unit of the distance, "
                f"or None, not {s!r}"
            )

    def objective(self, tp: Any, fp: Any, genuine: Any, impostor: Any, prevalence: Any) -> Any:
        hit = prevalence * tp / genuine
        return 2 * hit / (hit + (1 - prevalence) * fp / impostor + prevalence)
