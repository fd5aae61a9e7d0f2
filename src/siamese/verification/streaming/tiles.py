"""All pairs of an embedding matrix in tiles, each pair in its exact bin of distances.

A tile's squared distances come from a float64 matrix product, of rows scaled so that the longest is
between 1/2 and 1 (by a power of two, which rounds nothing) and then moved so that their mean is the
origin. Rounded to float32, they are put into bins by the upper bits of their bit patterns, which
are ordered as the numbers are. The edge of a bin, as a distance, is the float32 number nearest to
the distance at the bin's end.

A matrix product rounds, and how depends on the tile. But the error of a squared distance is at most
``(D + 4) u (|a| + |b|)^2`` with u = 2^-53, whatever the order of summation (Higham, *Accuracy and
Stability of Numerical Algorithms*, 2002, section 3.1), and moving the rows changes it by ``3 u (|a|
+ |b|)^2`` at most; four times the sum is allowed for here. A pair is *doubtful* where its square
lies within ``MARGIN_STEPS`` float32 steps of a bin's end, which is more than all rounding together
(of the square, of the edge, of the distance: five steps at most), or where the bound is more than a
quarter of such a step. For doubtful pairs, a few in a thousand, the distance is rounded to float32
from both ends of the bound, and where the two differ, about once in ten million, it is computed as
:meth:`Distance.measure` does. So every pair is in the bin of the distance that a verdict compares,
whatever the tile, the number of threads or of processes.

On CUDA the same holds: its float64 products are sums of rounded products in some order, and a fused
multiply-add rounds once where two roundings are allowed for. Tensor cores multiply float64 without
rounding the factors. What the bound does not cover is cuBLAS's emulation of float64 by integers,
which is off unless it is asked for (``CUBLAS_EMULATE_DOUBLE_PRECISION``). Subnormal float32 numbers
are below the first bin, so it does not matter how a device rounds to them.

Rows may have terms of their own (:meth:`Distance.row_terms`): a square is then ``|a - b|^2 + s +
t`` with s, t >= 0. All of the above holds with ``|a|^2 + s`` for ``|a|^2``. Both are added to the
product as one number; s and t are the same numbers here and in :meth:`Distance.of_rows`, so the
only new errors are those of two additions, ``2 u (|a|^2 + s)`` for each row, which four times the
sum allows for; and ``|a - b|^2 + s + t`` is at most 4 where ``|a|^2 + s`` and ``|b|^2 + t`` are at
most 1.
"""

from __future__ import annotations

import collections
import itertools
import math
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from siamese.distances.base import Distance
from siamese.errors import CalibrationError
from siamese.verification.draw_order import draw_keys, places
from siamese.verification.streaming.tile import Tile

Place = tuple[slice, slice]  # rows and columns of a tile

# Tests set it: what runs on a device is run on the CPU, where there is no device.
COUNT_AS_ON_A_DEVICE = False
DEVICE_TILE = 4096  # rows of a tile on a device: enough work for all of it, some 400 MB
TILE = 768  # rows and columns: what a tile holds stays in the processor's cache
SHIFT = 13  # lower bits of a float32 number that a bin ignores: 2^(23 - 13) bins per octave
# Octaves of squares, below the largest possible one: nearly all that float32 has. Closer pairs are
# in the first bin.
OCTAVES = 120
MARGIN_STEPS = 8  # float32 steps from a bin's end in which a pair is doubtful
UNIT = 2.0**-53
BLOCK = 4096  # rows that are made at once: bounds the memory
MAX_THREADS = 8  # bounds the memory
SMALLEST, LARGEST = 1e-18, float(np.finfo(np.float32).max)
FARTHEST = 1e30  # what a stored operating point may hold (siamese.verification.stored_point.Real)


class Tiles:
    """Rows grouped by identity, and every pair i < j of them.

    Its memory: N x D numbers of 8 bytes, about 40 bytes for each row, and some MB for each thread.
    The embeddings are not copied where they lie on the CPU, in memory or mapped from a file; the
    few that are measured one by one are looked up there.

    Args:
        embeddings: (N, D) floating point, finite, N >= 2.
        labels: (N,) integers, one number per identity.
        distance: by matrix products where it is :attr:`Distance.squared`, pair by pair otherwise
            (slow).
        size: rows of a tile; by default as many as suit the place.
        device: where tiles are made and counted; by default where the embeddings are. Rows that the
            distance does not make points of (:attr:`Distance.squared`), and all where a device has
            no float64, are on the CPU.

    Attributes:
        device: where the tensors of tiles are.
        keys: (identities,) uint64 a hash of each given identity.
        places: (identities,) the number of each of them: in the order of the hashes, because
            neighbours in the given order (for example by name) may be alike.
        order: (N,) the given row that each row is.
        labels: (N,) consecutive numbers of identities, ascending.
        edges: (bins,) float32 ascending, the largest distance of each bin.

    Raises:
        CalibrationError: numbers so large or small that float32 does not hold their distances.
    """

    def __init__(
        self,
        embeddings: Tensor,
        labels: np.ndarray,
        distance: Distance,
        size: int | None = None,
        device: str | torch.device | None = None,
    ) -> None:
        self.device = _device_for(distance, embeddings.device if device is None else device)
        self._counts_there = self.device.type != "cpu" or COUNT_AS_ON_A_DEVICE
        if size is None:
            size = DEVICE_TILE if self._counts_there else TILE
        identity = np.unique(labels, return_inverse=True)[1]
        self.keys, hashes = draw_keys(embeddings, labels)
        self.places = places(self.keys)
        number = self.places[identity]
        self.order = np.lexsort((hashes, number))
        self.labels = number[self.order]
        self._distance, self._parts = distance, _parts(self.labels, max(1, size))
        # Half of a tile on the diagonal is no pair i < j, and of smaller tiles less is.
        self._blocks = [_halves(self.labels, part) for part in self._parts]
        self._given = embeddings.detach().cpu()
        self._scale = 1.0
        if distance.squared:
            rows = self._points()
            blocks = [slice(b, b + BLOCK) for b in range(0, len(rows), BLOCK)]
            terms = [distance.row_terms(rows[block]) for block in blocks]
            self._scale = 2.0 ** -math.frexp(longest_row(rows, distance))[1]
            rows.mul_(self._scale)
            # Far from the origin a product's error would hide the distances.
            self._rows = rows.sub_(rows.mean(dim=0))
            self._squares = torch.cat([rows[block].square().sum(dim=1) for block in blocks])
            for block, term in zip(blocks, terms, strict=True):
                if term is not None:
                    self._squares[block] += term * self._scale**2
            self._rows = self._rows.to(self.device)
            self._squares = self._squares.to(self.device)
        self._low, self.edges = self._grid()

    def _points(self) -> Tensor:
        """(N, K) float64 :meth:`Distance.rows` in the order of the tiles, made in blocks."""
        found: Tensor | None = None
        for start in range(0, len(self.order), BLOCK):
            part = self._distance.rows(self._ordered(slice(start, start + BLOCK)))
            if found is None:
                found = torch.empty(len(self.order), part.shape[1], dtype=part.dtype)
            found[start : start + BLOCK] = part
        assert found is not None
        return found

    def _ordered(self, rows: slice | np.ndarray) -> Tensor:
        """Given embeddings by the numbers of tiles' rows."""
        return self._given[torch.from_numpy(self.order[rows])]

    def diagonal(self) -> list[Place]:
        """The tiles on the diagonal, of about half as many rows as the others.

        They hold all genuine pairs, except for identities with more rows than a tile.
        """
        return [(rows, rows) for blocks in self._blocks for rows in blocks]

    def rest(self) -> list[Place]:
        """The tiles above the diagonal."""
        beside = [place for blocks in self._blocks for place in itertools.combinations(blocks, 2)]
        return list(itertools.combinations(self._parts, 2)) + beside

    def every(self) -> list[Place]:
        """All tiles."""
        return self.diagonal() + self.rest()

    def among(self, count: int) -> list[Place]:
        """Tiles of all pairs i < j of the first rows, at most so many."""
        size = max(rows.stop - rows.start for rows in self._parts)
        parts = _parts(self.labels[:count], size)
        return [(rows, rows) for rows in parts] + list(itertools.combinations(parts, 2))

    def each(self, work: Callable[[Tile], None], places: list[Place]) -> None:
        """Call ``work`` with tiles, from several threads at once where torch may use several.

        Args:
            work: must guard what it changes.
            places: which tiles.
        """
        waiting = iter(places)
        before = torch.get_num_threads()
        several = self._distance.squared and not self._counts_there
        threads = min(before, MAX_THREADS) if several else 1
        if threads == 1:
            self._work(work, waiting)
            return

        def alone() -> None:
            torch.set_num_threads(1)  # of this thread, and of those that start now
            try:
                self._work(work, waiting)
            finally:
                collections.deque(waiting, maxlen=0)  # if one thread fails the others stop

        try:
            with ThreadPoolExecutor(threads) as pool:
                for done in [pool.submit(alone) for _ in range(threads)]:
                    done.result()
        finally:
            collections.deque(waiting, maxlen=0)
            torch.set_num_threads(before)

    @torch.no_grad()
    def _work(self, work: Callable[[Tile], None], waiting: Iterator[Place]) -> None:
        made: Callable[[slice, slice], Tile] = self._pair_by_pair
        if self._distance.squared:
            made = self._on_device() if self._counts_there else self._by_products()
        for place in waiting:
            work(made(*place))

    def measured(self, i: np.ndarray, j: np.ndarray) -> np.ndarray:
        """(n,) float32 distances of pairs of rows, as ``measure`` gives them; in blocks."""
        found, step = np.empty(len(i), dtype=np.float32), max(1, (1 << 20) // self._given.shape[1])
        for start in range(0, len(i), step):
            a, b = (self._ordered(v[start : start + step]) for v in (i, j))
            # Not `measure`, which changes the distance's mode: several threads use it.
            if self._distance.squared:
                a, b = self._distance.rows(a), self._distance.rows(b)
                found[start : start + step] = self._distance.of_rows(a, b).numpy()
            else:
                found[start : start + step] = self._distance.measure(a, b).numpy()
        return found

    def exact(self, tile: Tile, flat: np.ndarray) -> np.ndarray:
        """(n,) float32 distances of pairs of a tile, as ``measure`` gives them."""
        values = tile.values_at(flat)
        if not self._distance.squared:
            return values.numpy()
        low, high = (self._rounded(values + error) for error in (-tile.error, tile.error))
        found = low.numpy()
        unsure = np.flatnonzero((low != high).numpy())
        if len(unsure):
            found[unsure] = self.measured(*tile.rows(flat[unsure]))
        return found

    def same(self, tile: Tile, flat: np.ndarray) -> np.ndarray:
        """(n,) bool: whether each pair shows one identity."""
        i, j = tile.rows(flat)
        same: np.ndarray = self.labels[i] == self.labels[j]
        return same

    def genuine(self, tile: Tile) -> np.ndarray | None:
        """Flat positions of the genuine pairs i < j; None where there can be none."""
        a = self.labels[tile.first : tile.first + tile.height]
        b = self.labels[tile.second : tile.second + tile.width]
        if not tile.diagonal and a[-1] != b[0]:
            return None
        return tile.counted(np.flatnonzero(a[:, None] == b[None]))

    def bin_of(self, distances: np.ndarray) -> np.ndarray:
        """(n,) int64 bins of float32 distances."""
        return np.searchsorted(self.edges, distances, side="left")

    # --- by matrix products ---

    def _by_products(self) -> Callable[[slice, slice], Tile]:
        """A function that makes a tile, with memory of its own."""
        d, most = self._rows.shape[1], max(rows.stop - rows.start for rows in self._parts) ** 2
        wide, narrow = torch.empty(most, dtype=torch.float64), torch.empty(most)
        bits = np.empty(most, dtype=np.int32)
        floor = float(to_float(self._low + 2 * MARGIN_STEPS))

        def made(i: slice, j: slice) -> Tile:
            a, b = self._rows[i], self._rows[j]
            sa, sb = self._squares[i, None], self._squares[None, j]  # with terms of their own
            size = len(a) * len(b)
            values, codes = wide[:size], narrow[:size]
            torch.add(sa, sb, out=values.view(len(a), len(b))).addmm_(a, b.T, alpha=-2)
            codes.copy_(values).clamp_(min=floor)
            # float32 steps from the first bin's start, plus MARGIN_STEPS.
            steps = codes.view(torch.int32).sub_(self._low)
            lower = np.bitwise_and(steps.numpy(), (1 << SHIFT) - 1, out=bits[:size])
            doubtful = lower < 2 * MARGIN_STEPS
            longest = math.sqrt(float(sa.max())) + math.sqrt(float(sb.max()))
            error = 4 * (d + 7) * UNIT * longest**2
            blind = blind_bins(error, self._low, len(self.edges))
            if blind and int(steps.min()) < blind << SHIFT:
                doubtful |= steps.numpy() < blind << SHIFT
            flat = np.flatnonzero(doubtful)
            tile = Tile(
                i.start,
                j.start,
                len(a),
                len(b),
                steps.bitwise_right_shift_(SHIFT),
                values,
                error,
                flat,
                blind,
            )
            return replace(tile, doubtful=tile.counted(flat)) if tile.diagonal else tile

        return made

    def _on_device(self) -> Callable[[slice, slice], Tile]:
        from siamese.verification.streaming.device_tiles import tile_maker

        most = max(rows.stop - rows.start for rows in self._parts) ** 2
        return tile_maker(self._rows, self._squares, self._low, len(self.edges), most)

    def _grid(self) -> tuple[int, np.ndarray]:
        """The key at which the first bin's codes begin, and the bins' edges as distances."""
        if not self._distance.squared:  # a code is the distance itself
            ends = (np.arange(1, (_key(LARGEST) >> SHIFT) + 2, dtype=np.int64) << SHIFT) - 1
            return 0, to_float(np.minimum(ends, _key(LARGEST)))
        # 4 is the square of the distance between two opposite rows of length 1.
        top = _key(4.0) + 2 * MARGIN_STEPS
        low = (top - (OCTAVES << 23)) >> SHIFT << SHIFT
        bins = ((top - low) >> SHIFT) + 1
        ends = low + MARGIN_STEPS + (np.arange(1, bins + 1, dtype=np.int64) << SHIFT)
        return low, self._rounded(torch.from_numpy(to_float(ends).astype(np.float64))).numpy()

    def _rounded(self, squares: Tensor) -> Tensor:
        """float32 distances of scaled squares (float64)."""
        return self._distance.of_squares(squares.clamp(min=0) / self._scale**2).float()

    # --- pair by pair ---

    def _pair_by_pair(self, i: slice, j: slice) -> Tile:
        a, b = self._ordered(i), self._ordered(j)
        # Adding 0 turns minus zero into zero.
        values = self._distance.matrix(a, b).contiguous().view(-1) + 0.0
        if not bool(values.isfinite().all()):
            raise CalibrationError(
                "the learned distance gives NaN or infinite values; train again, at a lower rate"
            )
        bins = values.view(torch.int32) >> SHIFT
        return Tile(
            i.start, j.start, len(a), len(b), bins, values, 0.0, np.zeros(0, dtype=np.int64), 0
        )


def blind_bins(error: float, low: int, bins: int) -> int:
    """How many bins are so close that the error is more than a quarter of a float32 step there.

    Args:
        error: of a scaled square.
        low: the key at which the first bin's codes begin.
        bins: how many there are.
    """
    return min(max(0, (_key(error * 2.0**26) - low >> SHIFT) + 1), bins)


def _device_for(distance: Distance, device: str | torch.device) -> torch.device:
    """Where the tiles of a distance are made."""
    wanted = torch.device(device)
    return wanted if distance.squared and wanted.type != "mps" else torch.device("cpu")


def longest_row(rows: Tensor, distance: Distance) -> float:
    """Largest length of :meth:`Distance.rows`, of a squared distance.

    Where rows have terms of their own (:meth:`Distance.row_terms`), each counts as one more
    coordinate, at a right angle to all others.

    Raises:
        CalibrationError: float32, or a file, does not hold the distances between rows of that
            length.
    """
    longest, some = 0.0, False
    for start in range(0, len(rows), BLOCK):
        block = rows[start : start + BLOCK]
        terms = distance.row_terms(block)
        lengths = torch.linalg.vector_norm(block, dim=1)
        if terms is not None:
            lengths = torch.hypot(lengths, terms.sqrt())
        longest, some = max(longest, float(lengths.max())), some or bool(block.any())
    largest = float(distance.of_squares(torch.tensor([4 * longest * longest], dtype=torch.float64)))
    if not largest < FARTHEST:
        raise CalibrationError(
            f"the embeddings are too large: their distances exceed {FARTHEST:g}, beyond which no "
            f"threshold is kept; divide them by their largest norm"
        )
    if largest < SMALLEST and some:
        raise CalibrationError(
            "the embeddings are too small: their distances vanish in float32; divide them by "
            "their largest norm"
        )
    return longest


def _parts(labels: np.ndarray, size: int) -> list[slice]:
    """Consecutive rows, at most ``size``, that end where an identity ends, if one does."""
    ends = np.append(np.flatnonzero(labels[1:] != labels[:-1]) + 1, len(labels))
    parts, start = [], 0
    while start < len(labels):
        fits = ends[np.searchsorted(ends, start + size, side="right") - 1]
        stop = int(fits) if start < fits <= start + size else min(start + size, len(labels))
        parts.append(slice(start, stop))
        start = stop
    return parts


def _halves(labels: np.ndarray, part: slice) -> list[slice]:
    """A part in two, where an identity ends near its middle; whole, if it has one identity."""
    here = labels[part]
    ends = np.flatnonzero(here[1:] != here[:-1]) + 1
    if not len(ends):
        return [part]
    middle = part.start + int(ends[np.abs(2 * ends - len(here)).argmin()])
    return [slice(part.start, middle), slice(middle, part.stop)]


def _key(number: float) -> int:
    return int(np.float32(number).view(np.int32))


def to_float(keys: int | np.ndarray) -> np.ndarray:
    """float32 numbers of bit patterns."""
    return np.asarray(keys, dtype=np.int32).view(np.float32)
