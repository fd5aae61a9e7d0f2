"""FixedPairs: pairs that were chosen earlier."""

from __future__ import annotations

from typing import Any

import numpy as np

from siamese.errors import CalibrationError
from siamese.pairs.base import FIXED, PairRule, Pairs, labels_of, row_numbers


class FixedPairs(PairRule):
    """Pairs that a split protocol or a data set's authors have chosen.

    Args:
        left, right: (n,) int64 row numbers.
        source: where they come from, for the operating point ("image_disjoint").
    """

    def __init__(self, left: np.ndarray, right: np.ndarray, source: str) -> None:
        self.left, self.right = row_numbers("left", left), row_numbers("right", right)
        self.source = source

    def __call__(self, labels: np.ndarray) -> Pairs:
        labels = labels_of(labels)
        rows = np.concatenate([self.left, self.right])
        if len(rows) and not 0 <= rows.min() <= rows.max() < len(labels):
            raise CalibrationError(
                f"the pairs of {self.source} name row {rows.max()}, but there are {len(labels)} "
                f"images: they belong to another table"
            )
        return Pairs(self.left, self.right, labels[self.left] == labels[self.right])

    def describe(self) -> dict[str, Any]:
        """``{"name": "fixed_pairs", "source": ...}``.

        Enough to say which pairs they are, not to draw them again.
        """
        return {"name": FIXED, "source": self.source}
