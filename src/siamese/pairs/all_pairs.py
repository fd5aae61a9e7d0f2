"""Every pair of images."""

from __future__ import annotations
from dataclasses import dataclass
from typing import Any
import numpy as np
from siamese.errors import CalibrationError
from siamese.errors import ConfigError
from siamese.registry import Registry
from siamese.pairs.base import MAX_PAIRS
from siamese.pairs.base import PAIR_RULES
from siamese.pairs.base import PairRule
from siamese.pairs.base import Pairs


@PAIR_RULES.register("all_pairs")
@dataclass(frozen=True)
class AllPairs(PairRule):
    """Every pair i < j once: the prevalence is that of the data, usually a few per cent or less."""

    def __call__(self, labels: np.ndarray) -> Pairs:
        n = len(labels)
        if n * (n - 1) // 2 > MAX_PAIRS:
            raise CalibrationError(
                f"all pairs of {n:,} pictures are {n * (n - 1) // 2:,}, more than {MAX_PAIRS:,}: use balanced_pairs"
            )
        left, right = np.triu_indices(n, 1)
        return Pairs(left, right, np.asarray(labels)[left] == np.asarray(labels)[right])
