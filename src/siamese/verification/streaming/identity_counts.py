"""IdentityCounts: how many pairs of each identity lie in each column, a range of distances."""

from __future__ import annotations

import threading
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from siamese.verification.streaming.tile import Tile


@dataclass(frozen=True)
class Moved:
    """Pairs of a tile whose true bin is not the one in ``Tile.bins``.

    Attributes:
        flat: (m,) their flat positions.
        before, after: (m,) the bin in ``Tile.bins``, and the true one.
        same: (m,) bool, True for a genuine pair.
    """

    flat: np.ndarray
    before: np.ndarray
    after: np.ndarray
    same: np.ndarray


class IdentityCounts:
    """Counts the pairs of tiles, from several threads at once.

    Args:
        labels: (N,) consecutive numbers of identities, ascending.
        column: (bins,) integers, ascending from 0: the column of each bin.
        device: where the tensors of tiles are.

    Attributes:
        own: (identities, columns) integers, genuine pairs of each identity.
        others: (identities, columns) integers, impostor pairs that each identity takes part in.
    """

    def __init__(
        self, labels: np.ndarray, column: np.ndarray, device: torch.device | None = None
    ) -> None:
        sizes, self._columns = np.bincount(labels), int(column[-1]) + 1
        self._column_of, self._identity_of = column.astype(np.int32), labels.astype(np.int32)
        self._column = torch.from_numpy(self._column_of).to(device)
        self._identity = torch.from_numpy(self._identity_of).to(device)
        kind = np.int32 if int(sizes.max()) * len(labels) < 2**31 else np.int64
        self.own, self.others = (np.zeros((len(sizes), self._columns), kind) for _ in range(2))
        self._guard = threading.Lock()

    def add(self, tile: Tile, genuine: np.ndarray | None, moved: Moved) -> None:
        """Count the pairs of a tile.

        Args:
            tile: whose bins are counted.
            genuine: flat positions of its genuine pairs; None where there are none.
            moved: all of its pairs whose true bin is another.
        """
        columns = self._columns + 1  # the last one is for what is no pair i < j
        a = self._identity[tile.first : tile.first + tile.height]
        b = self._identity[tile.second : tile.second + tile.width]
        keys = torch.index_select(self._column, 0, tile.bins)
        if tile.diagonal:
            keys.masked_fill_(~tile.upper(), self._columns)
        square = keys.view(tile.height, tile.width)
        rows, sides = ((a - a[0]) * columns)[:, None], ((b - b[0]) * columns)[None]
        square += rows
        hits = [(a, _count(keys, a, columns))]
        own = None
        if genuine is not None:
            own = _count(keys[torch.from_numpy(genuine).to(keys.device)], a, columns)
        square += sides - rows
        hits.append((b, _count(keys, b, columns)))
        with self._guard:
            for who, counted in hits:
                self.others[int(who[0]) : int(who[-1]) + 1] += counted
            if own is not None:
                self.own[int(a[0]) : int(a[-1]) + 1] += own
                # The hits include genuine pairs, on both sides.
                self.others[int(a[0]) : int(a[-1]) + 1] -= 2 * own
            self._move(tile, moved)

    def _move(self, tile: Tile, moved: Moved) -> None:
        column = self._column_of
        before, after = column[moved.before], column[moved.after]
        places = tile.rows(moved.flat)
        for table, kind, sides in ((self.own, True, places[:1]), (self.others, False, places)):
            these = np.flatnonzero((before != after) & (moved.same == kind))
            for rows in sides:
                who = self._identity_of[rows[these]]
                np.subtract.at(table, (who, before[these]), 1)
                np.add.at(table, (who, after[these]), 1)


def merged(table: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """(identities, k + 1) sums of consecutive columns, the last one of all that remain.

    Args:
        table: (identities, columns) integers; changed.
        ends: (k,) ascending: columns up to the first, second ... sum.
    """
    upto = np.cumsum(table, axis=1, out=table)
    found = np.empty((len(table), len(ends) + 1), dtype=table.dtype)
    found[:, :-1] = np.where(ends > 0, upto[:, np.maximum(ends - 1, 0)], 0)
    found[:, -1] = upto[:, -1]
    found[:, 1:] -= found[:, :-1].copy()
    return found


def _count(keys: Tensor, who: Tensor, columns: int) -> np.ndarray:
    """(identities, columns - 1) int32: how often each key occurs; the last column is left out.

    Args:
        keys: (identity - first identity) * columns + column.
        who: ascending identities.
        columns: number of columns.
    """
    identities = int(who[-1] - who[0]) + 1
    counted = torch.bincount(keys, minlength=identities * columns).int()
    return counted.view(identities, columns)[:, :-1].cpu().numpy()
