"""Rows grouped by identity, and their ordered genuine pairs by number."""

from __future__ import annotations

import numpy as np


class IdentityGroups:
    """Rows grouped by identity, with the ordered genuine pairs numbered from 0.

    The pairs are not written out.

    Args:
        labels: (N,) integers, one number per identity.
    """

    def __init__(self, labels: np.ndarray) -> None:
        labels = np.asarray(labels)
        self.order = np.argsort(labels, kind="stable")
        grouped = labels[self.order]
        first = np.ones(len(labels), dtype=bool)
        first[1:] = grouped[1:] != grouped[:-1]
        self.starts = np.flatnonzero(first)
        self.sizes = np.diff(np.append(self.starts, len(labels)))
        # The end of each identity's ordered genuine pairs.
        self.ends = np.cumsum(self.sizes * (self.sizes - 1))
        self.position = np.empty(len(labels), dtype=np.int64)
        self.position[self.order] = np.arange(len(labels))

    @property
    def ordered_genuine(self) -> int:
        """Number of ordered genuine pairs."""
        return int(self.ends[-1]) if len(self.ends) else 0

    def genuine(self, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The two rows of each ordered genuine pair, by number."""
        identity = np.searchsorted(self.ends, numbers, side="right")
        size, start = self.sizes[identity], self.starts[identity]
        first, second = np.divmod(
            numbers - (self.ends[identity] - size * (size - 1)), np.maximum(size - 1, 1)
        )
        second = second + (second >= first)  # skips the pair of an image with itself
        return self.order[start + first], self.order[start + second]

    def impostors(self, rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """For each row a random row of another identity, all with the same probability."""
        identity = np.searchsorted(self.starts, self.position[rows], side="right") - 1
        drawn = rng.integers(0, len(self.order) - self.sizes[identity])
        others: np.ndarray = self.order[
            drawn + np.where(drawn >= self.starts[identity], self.sizes[identity], 0)
        ]
        return others
