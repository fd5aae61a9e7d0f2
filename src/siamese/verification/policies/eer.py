"""The threshold at which both error rates are equal."""

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


@POLICIES.register("eer")
@dataclass(frozen=True)
class Eer(Policy):
    """The threshold at which the false match rate and the false non-match rate are nearest to each other.

    Args:
        prevalence: see :class:`Policy`; the threshold does not depend on it.
    """

    prevalence: Prevalence = OBSERVED
    at_genuine: ClassVar[bool] = False

    def objective(self, tp: Any, fp: Any, genuine: Any, impostor: Any, prevalence: Any) -> Any:
        return -abs(fp / impostor + tp / genuine - 1)

    def bound(self, low: tuple[Any, Any], high: tuple[Any, Any], genuine: Any, impostor: Any, prevalence: Any) -> Any:
        below, above = (fp / impostor + tp / genuine - 1 for tp, fp in (low, high))  # rises with the threshold
        return np.where((below <= NEAR) & (above >= -NEAR), 0.0, -np.minimum(abs(below), abs(above)))
