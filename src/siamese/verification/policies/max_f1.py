"""The threshold of the highest F1."""

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


@POLICIES.register("max_f1")
@dataclass(frozen=True)
class MaxF1(Policy):
    """The highest F1 = 2 TP / (2 TP + FP + FN), each pair weighed so that genuine ones have the stated prevalence.

    Args:
        prevalence: see :class:`Policy`. F1 depends on it, and so does the threshold.
    """

    prevalence: Prevalence = OBSERVED

    def objective(self, tp: Any, fp: Any, genuine: Any, impostor: Any, prevalence: Any) -> Any:
        hit = prevalence * tp / genuine
        return 2 * hit / (hit + (1 - prevalence) * fp / impostor + prevalence)
