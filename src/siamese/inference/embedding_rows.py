"""EmbeddingRows: embeddings that come one after another, in one table that grows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


class EmbeddingRows:
    """A table of embeddings, made larger where the next ones do not fit into it.

    Kept each on its own, embeddings would come to lie between what the search for faces takes and
    gives back, whose pieces are then too small for the next search: the process grew by a quarter
    of a megabyte for every photograph.

    Args:
        expected: how many rows there will be; more may come.
    """

    def __init__(self, expected: int = 0) -> None:
        self._expected, self._size = expected, 0
        self._table: np.ndarray | None = None

    def __len__(self) -> int:
        return self._size

    def add(self, rows: np.ndarray) -> int:
        """Add (n, D) float32; the place of the first of them, n >= 1."""
        place, self._size = self._size, self._size + len(rows)
        if self._table is None or self._size > len(self._table):
            larger = np.empty(
                (max(self._expected, 2 * place, self._size), rows.shape[1]), dtype=rows.dtype
            )
            if self._table is not None:
                larger[:place] = self._table[:place]
            self._table = larger
        self._table[place : self._size] = rows
        return place

    def take(self, places: Sequence[int]) -> np.ndarray:
        """(n, D) float32, a copy of the rows at n places."""
        return self._rows()[list(places)]

    def whole(self) -> np.ndarray:
        """(n, D) float32, all rows in the order in which they came; of none (0, 0)."""
        rows = self._rows()
        return rows if self._table is None or len(rows) == len(self._table) else rows.copy()

    def _rows(self) -> np.ndarray:
        if self._table is None:
            return np.zeros((0, 0), dtype=np.float32)
        return self._table[: self._size]
