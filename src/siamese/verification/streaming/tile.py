"""Tile: the pairs of some consecutive rows with others, each in its bin of distances."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Tile:
    """Pairs of consecutive rows of :class:`Tiles`.

    Its tensors are used again by the worker's next tile.

    Attributes:
        first, second: first row and first column.
        height, width: rows and columns; a pair is named by its flat position, row * width + column.
        bins: (height * width,) int32.
        values: (height * width,) scaled squared distances, float64, to within ``error``; or
            distances, float32, exactly.
        error: see ``values``; 0 for exact distances.
        doubtful: (d,) flat positions of pairs i < j whose bin is not certain.
        blind: number of first bins that are not certain: all their pairs are doubtful, and may be
            in any of them or in the next one.
    """

    first: int
    second: int
    height: int
    width: int
    bins: Tensor
    values: Tensor
    error: float
    doubtful: np.ndarray
    blind: int

    def rows(self, flat: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Rows i and j of flat positions."""
        return self.first + flat // self.width, self.second + flat % self.width

    @property
    def diagonal(self) -> bool:
        """Whether rows and columns are the same rows: only pairs above its diagonal count."""
        return self.first == self.second

    def counted(self, flat: np.ndarray) -> np.ndarray:
        """Those of (n,) flat positions whose pairs count, i < j."""
        return flat[flat // self.width < flat % self.width] if self.diagonal else flat

    def upper(self) -> Tensor:
        """(height * width,) bool: the pairs i < j."""
        above = torch.ones(self.height, self.width, dtype=torch.bool)
        return (above.triu_(1) if self.diagonal else above).view(-1)

    def bins_at(self, flat: np.ndarray) -> np.ndarray:
        """(n,) int32 what ``bins`` has at flat positions."""
        found: np.ndarray = self.bins.numpy()[flat]
        return found

    def values_at(self, flat: np.ndarray) -> Tensor:
        """(n,) what ``values`` has at flat positions, on the CPU."""
        return self.values[torch.from_numpy(flat)]

    def candidates(self, wanted: np.ndarray) -> np.ndarray:
        """Flat positions of all pairs i < j whose true bin is wanted, and of some others.

        A doubtful pair's true bin is the one in ``bins``, or the one before; that of a pair in the
        first ``blind`` bins is any up to ``blind``.

        Args:
            wanted: (bins,) bool, one of them at least.
        """
        maybe = self._maybe(wanted)
        inside = np.flatnonzero(maybe)
        low, high = int(inside[0]), int(inside[-1])
        # Unsigned: bins below low become very large numbers.
        above = np.subtract(self.bins.numpy(), low, dtype=np.int32).view(np.uint32)
        found = np.flatnonzero(above <= np.uint32(high - low))
        if len(inside) <= high - low:
            found = found[maybe[self.bins.numpy()[found]]]
        return self.counted(found)

    def _maybe(self, wanted: np.ndarray) -> np.ndarray:
        """(bins,) bool: the values of ``bins`` of pairs whose true bin may be wanted."""
        maybe = wanted.copy()
        maybe[1:] |= wanted[:-1]
        if wanted[: self.blind + 1].any():
            maybe[: self.blind + 1] = True
        return maybe
