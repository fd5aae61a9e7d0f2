"""The threshold of the most correct verdicts."""

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


@POLICIES.register("max_accuracy")
@dataclass(frozen=True)
class MaxAccuracy(Policy):
    """The highest share of right verdicts at the stated prevalence.

    Where genuine pairs are rare, refusing every pair can be best; the threshold then lies just below the smallest distance.

    Args:
        prevalence: see :class:`Policy`.
    """

    prevalence: Prevalence = OBSERVED
    may_refuse_all: ClassVar[bool] = True

    def objective(self, tp: Any, fp: Any, genuine: Any, impostor: Any, prevalence: Any) -> Any:
        return prevalence * tp / genuine - (1 - prevalence) * fp / impostor
