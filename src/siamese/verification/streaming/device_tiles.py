"""Tiles on a device with float64, CUDA's: what is counted stays there, what is doubtful comes back.

Products, bins and counts, and the search for doubtful pairs, run on the device. The doubtful pairs
and those near a threshold, a few in a thousand, are decided on the CPU as they are there without a
device. So the counts are the same bits.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from siamese.verification.streaming.tile import Tile
from siamese.verification.streaming.tiles import (
    MARGIN_STEPS,
    SHIFT,
    UNIT,
    blind_bins,
    to_float,
)


class DeviceTile(Tile):
    """A :class:`Tile` whose tensors lie on a device."""

    def upper(self) -> Tensor:
        """See :meth:`Tile.upper`."""
        shape, device = (self.height, self.width), self.bins.device
        above = torch.ones(shape, dtype=torch.bool, device=device)
        return (above.triu_(1) if self.diagonal else above).view(-1)

    def bins_at(self, flat: np.ndarray) -> np.ndarray:
        """See :meth:`Tile.bins_at`."""
        found: np.ndarray = self.bins[self._places(flat)].cpu().numpy()
        return found

    def values_at(self, flat: np.ndarray) -> Tensor:
        """See :meth:`Tile.values_at`."""
        return self.values[self._places(flat)].cpu()

    def candidates(self, wanted: np.ndarray) -> np.ndarray:
        """See :meth:`Tile.candidates`."""
        maybe = self._maybe(wanted)
        inside = np.flatnonzero(maybe)
        low, high = int(inside[0]), int(inside[-1])
        found = torch.nonzero((self.bins >= low) & (self.bins <= high)).view(-1)
        if len(inside) <= high - low:
            held = torch.from_numpy(maybe).to(self.bins.device)
            found = found[held[self.bins[found]]]
        return self.counted(found.cpu().numpy())

    def _places(self, flat: np.ndarray) -> Tensor:
        return torch.from_numpy(np.asarray(flat, dtype=np.int64)).to(self.bins.device)


def tile_maker(
    rows: Tensor, squares: Tensor, low: int, bins: int, most: int
) -> Callable[[slice, slice], Tile]:
    """A function that makes a tile on the device of the rows, with memory of its own.

    Args:
        rows: (N, D) float64, scaled as :class:`siamese.verification.streaming.tiles.Tiles` does it.
        squares: (N,) float64 of their lengths, with terms of their own.
        low: the key at which the first bin's codes begin.
        bins: number of bins.
        most: pairs of a tile.
    """
    device, d = rows.device, rows.shape[1]
    wide = torch.empty(most, dtype=torch.float64, device=device)
    narrow = torch.empty(most, dtype=torch.float32, device=device)
    floor = float(to_float(low + 2 * MARGIN_STEPS))

    def made(i: slice, j: slice) -> Tile:
        a, b = rows[i], rows[j]
        sa, sb = squares[i, None], squares[None, j]
        size = len(a) * len(b)
        values, codes = wide[:size], narrow[:size]
        torch.add(sa, sb, out=values.view(len(a), len(b))).addmm_(a, b.T, alpha=-2)
        codes.copy_(values).clamp_(min=floor)
        steps = codes.view(torch.int32).sub_(low)
        doubtful = (steps & ((1 << SHIFT) - 1)) < 2 * MARGIN_STEPS
        longest = math.sqrt(float(sa.max())) + math.sqrt(float(sb.max()))
        error = 4 * (d + 7) * UNIT * longest**2
        blind = blind_bins(error, low, bins)
        doubtful |= steps < blind << SHIFT
        flat = torch.nonzero(doubtful).view(-1).cpu().numpy()
        codes_of_bins = steps.bitwise_right_shift_(SHIFT)
        shape = (i.start, j.start, len(a), len(b))
        if i.start == j.start:
            flat = flat[flat // len(b) < flat % len(b)]
        return DeviceTile(*shape, codes_of_bins, values, error, flat, blind)

    return made
