"""Extremes: the closest impostor pairs and the farthest genuine ones among all that are shown."""

from __future__ import annotations

import numpy as np

from siamese.processes import Processes

Found = tuple[np.ndarray, np.ndarray, np.ndarray]  # left rows, right rows, distances


class Extremes:
    """Keeps the most extreme pairs; of equal ones those of the smallest left, then right rows.

    So what is kept does not depend on the order in which pairs are shown, or by whom.

    Args:
        count: of each kind.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._kept = {same: _nothing() for same in (False, True)}

    def add(self, same: bool, one: np.ndarray, other: np.ndarray, distances: np.ndarray) -> None:
        """Look at (n,) pairs of one kind.

        Args:
            same: whether they are genuine ones, of which the farthest are kept.
            one, other: (n,) rows.
            distances: (n,) float32.
        """
        new = (np.minimum(one, other), np.maximum(one, other), distances)
        left, right, values = map(np.concatenate, zip(self._kept[same], new, strict=True))
        best = np.lexsort((right, left, -values if same else values))[: self._count]
        self._kept[same] = (left[best], right[best], values[best])

    def join(self, processes: Processes) -> None:
        """Keep the most extreme pairs of what all processes have looked at."""
        if processes.count == 1:
            return
        for same in (False, True):
            everybody = processes.gather(self._kept[same])
            self._kept[same] = _nothing()
            for found in everybody:
                self.add(same, *found)

    def pairs(self) -> Found:
        """The closest impostor pairs, the closest first, then the genuine ones, farthest first."""
        left, right, distances = map(
            np.concatenate, zip(self._kept[False], self._kept[True], strict=True)
        )
        return left, right, distances


def _nothing() -> Found:
    rows = np.zeros(0, dtype=np.int64)
    return rows, rows, np.zeros(0, dtype=np.float32)
