"""MaxF1: the threshold of the highest F1."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from siamese.distances.arrays import in_words
from siamese.errors import ConfigError
from siamese.verification.policies.base import (
    OBSERVED,
    POLICIES,
    Policy,
    Prevalence,
    is_number,
)

# Of a bandwidth: what no distance that is kept differs by, and the largest number of a setting.
SMALLEST, LARGEST = 1e-30, 1e12


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

    Examples:
        >>> import siamese
        >>> import numpy as np
        >>> people, rows = np.repeat(np.arange(5), 2), np.arange(10.0)[:, None]
        >>> policy = siamese.MaxF1(prevalence="balanced")
        >>> siamese.calibrate(rows, people, policy).threshold
        1.5
    """

    prevalence: Prevalence = OBSERVED
    smooth: str | float | None = field(default=None, kw_only=True)
    weights: str | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        s = self.smooth
        if s is not None and s != "auto" and not (is_number(s) and SMALLEST <= s <= LARGEST):  # type: ignore[operator]
            raise ConfigError(
                f"smooth must be 'auto', a bandwidth above 0 in the unit of the distance "
                f"({SMALLEST:g} to {LARGEST:g}), or None, not {in_words(s)}"
            )

    @property
    def aim(self) -> str:
        return "for the highest F1"

    def objective(self, tp: Any, fp: Any, genuine: Any, impostor: Any, prevalence: Any) -> Any:
        hit = prevalence * tp / genuine
        return 2 * hit / (hit + (1 - prevalence) * fp / impostor + prevalence)
