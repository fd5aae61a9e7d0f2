"""AllPairs: every pair of images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from siamese.errors import CalibrationError
from siamese.pairs.base import MAX_PAIRS, PAIR_RULES, PairRule, Pairs, labels_of


@PAIR_RULES.register("all_pairs")
@dataclass(frozen=True)
class AllPairs(PairRule):
    """Every pair i < j once: the prevalence is that of the data, usually a few per cent or less.

    Examples:
        >>> import siamese
        >>> import numpy as np
        >>> pairs = siamese.AllPairs()(np.array([7, 7, 8]))
        >>> pairs.left.tolist(), pairs.right.tolist(), pairs.same.tolist()
        ([0, 0, 1], [1, 2, 2], [True, False, False])
    """

    exhaustive: ClassVar[bool] = True

    def __call__(self, labels: np.ndarray) -> Pairs:
        labels = labels_of(labels)
        n = len(labels)
        if n * (n - 1) // 2 > MAX_PAIRS:
            raise CalibrationError(
                f"all pairs of {n:,} images are {n * (n - 1) // 2:,}, more than {MAX_PAIRS:,}: "
                f"use balanced_pairs"
            )
        left, right = np.triu_indices(n, 1)
        return Pairs(left, right, labels[left] == labels[right])

    def counts(self, labels: np.ndarray) -> tuple[int, int]:
        labels = labels_of(labels)
        # Python integers, which do not overflow; no pair is formed.
        sizes = np.unique(labels, return_counts=True)[1].astype(object)
        genuine = int((sizes * (sizes - 1) // 2).sum())
        return genuine, len(labels) * (len(labels) - 1) // 2 - genuine
