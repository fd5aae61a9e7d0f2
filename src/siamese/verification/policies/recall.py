"""The threshold that keeps a recall."""

from __future__ import annotations
import numbers
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, ClassVar, Union
import numpy as np
from siamese.errors import CalibrationError
from siamese.errors import ConfigError
from siamese.registry import Registry
from siamese.verification.confusion import Confusion
from siamese.verification.policies.base import OBSERVED
from siamese.verification.policies.base import POLICIES
from siamese.verification.policies.base import Policy
from siamese.verification.policies.base import Prevalence
from siamese.verification.policies.base import is_number
from siamese.verification.policies.base import check_rate
from siamese.verification.policies.base import ROUNDING


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
        _check_rate("the recall that is asked for", self.rate, one=True)

    def objective(self, tp: Any, fp: Any, genuine: Any, impostor: Any, prevalence: Any) -> Any:
        if isinstance(fp, Fraction):
            return -fp if tp >= Fraction(repr(float(self.rate))) * genuine - ROUNDING else -impostor - 1
        return np.where(tp >= self.rate * genuine - 2 * float(ROUNDING), -fp / impostor, -np.inf)
