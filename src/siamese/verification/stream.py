"""All N (N - 1) / 2 pairs of an embedding matrix, counted by their exact distances and never held.

How it counts
-------------
A distance is a float32 number (:meth:`siamese.Distance.measure`), and non-negative floats are ordered as their bit patterns are
as integers: their *keys*. A pass forms the squared distances of a tile of pairs by a float64 matrix product, turns them into
keys, and counts keys by their upper bits: 1,024 bins per octave of distance, so that a bin's edges are 0.1 % apart or less. A
bin is a whole interval of float32 numbers, so the counts at its upper edge are the exact counts of ``distance <= edge``.

Why the counts are exact
------------------------
A matrix product rounds, and how depends on the tile. But the error of a squared distance is at most
``(D + 4) u (|a| + |b|)^2`` with u = 2^-53, whatever the order of summation (Higham, *Accuracy and Stability of Numerical
Algorithms*, 2002, section 3.1); four times that is allowed for here. Only where this bound leaves open on which side of a bin's
edge a pair lies, a few in ten thousand, is it looked at again: the distance is rounded to float32 from both ends of the bound, and
where the two disagree, about once in ten million, it is computed as ``measure`` does. So every count is that of the distances
which a verdict compares, whatever the tile, the number of threads or of processes.

Why the optimum is exact
------------------------
Within a bin, TP and FP lie between their values at its edges, so a policy's objective is at most what it is at the TP of the upper
edge with the FP of the lower one (:meth:`Policy.bound`). Bins whose bound is below the best value at any edge cannot hold the best
threshold. The others are counted again, by finer keys and at last by whole ones, and the policy compares exact counts, in
whole numbers, at every distance that occurs there. This is a radix selection: memory does not grow with the number of pairs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from siamese.distances import DISTANCES, Distance, is_match
from siamese.errors import CalibrationError
from siamese.pairs import AllPairs, pair_counts
from siamese.verification.curves import Confusion, ThresholdCurve
from siamese.verification.policies import NEAR, Policy

TILE = 768  # rows and columns: what a tile holds stays in the processor's cache
SHIFT = 13  # lower bits of a key that the first pass leaves out: 2^(23 - 13) bins per octave
FINER = 6  # and the second one, where the bins left hold more pairs than
LIMIT = 4_000_000  # these
OCTAVES = 16  # below the largest possible distance; what is closer is one bin, until it is refined
SURE = 2  # a key from a squared distance in float32 is right to so many units
UNIT = 2.0**-53


@dataclass(frozen=True)
class Tile:
    """Pairs of consecutive rows; ``squares`` are their squared distances to within ``error``, or None where ``keys`` are exact.

    Attributes:
        first, second: first row and first column.
        width: columns.
        squares: (rows * width,) float64.
        keys: (rows * width,) int32.
        flat: (n,) which of them are pairs i < j; None for all.
    """

    first: int
    second: int
    width: int
    squares: Tensor | None
    keys: Tensor
    error: float
    flat: np.ndarray | None


class PairStream:
    """Every pair i < j of N embeddings, in tiles; see the module's description.

    Args:
        embeddings: (N, D) floating point, finite, N >= 2; computed on the CPU.
        labels: (N,) integers, one number per person.
        distance: between them; by matrix products where it is :attr:`Distance.squared`, pair by pair otherwise (slow).
        tile: rows of a tile; the results do not depend on it.
    """

    def __init__(self, embeddings: Tensor, labels: np.ndarray, distance: Distance, tile: int = TILE) -> None:
        order = np.argsort(labels, kind="stable")  # so that genuine pairs are in few tiles
        self._order, self.labels = order, np.asarray(labels)[order]
        self.distance_module, self.tile = distance, max(1, tile)
        self.distance, self.protocol = DISTANCES.name(distance), AllPairs().describe()
        picked = embeddings.detach().cpu()[torch.from_numpy(order)]
        self._rows = distance.rows(picked) if distance.squared else picked
        self._squares = self._rows.square().sum(dim=1) if distance.squared else None
        self.genuine, self.impostor = pair_counts(AllPairs(), self.labels)
        self._low, self._bins = self._range()
        self._counts: tuple[np.ndarray, np.ndarray] | None = None

    # --- what is asked of it ---

    def curve(self) -> ThresholdCurve:
        """Exact counts at the edges of all bins that hold a pair: thresholds 0.1 % apart or less."""
        genuine, impostor = self._histogram()
        filled = np.flatnonzero(genuine + impostor)
        edges = self._low + ((filled + 1) << SHIFT) - 1
        tp, fp = np.cumsum(genuine), np.cumsum(impostor)
        return ThresholdCurve(_from_keys(edges), tp[filled], fp[filled], resolution=2.0 ** (SHIFT - 23))

    def choose(self, policy: Policy) -> tuple[float, Confusion]:
        """The policy's threshold among all distances that occur, and the exact counts there.

        Raises:
            CalibrationError: the pairs cannot support the policy.
        """
        policy.check(self.genuine, self.impostor)
        genuine, impostor = self._histogram()
        starts = self._low + (np.arange(len(genuine) + 1, dtype=np.int64) << SHIFT)
        starts[0] = 0  # the first bin holds all that is closer
        cells = Cells(starts[:-1], starts[1:], genuine, impostor, np.zeros(len(genuine), int), np.zeros(len(genuine), int))
        cells = cells.cumulated()
        for shift in (FINER, 0):
            cells = cells.hopeful(policy, self.genuine, self.impostor)
            if shift and cells.pairs <= LIMIT:
                continue
            cells = self._refine(cells, shift)
        tp, fp = cells.tp + cells.genuine, cells.fp + cells.impostor
        chosen = policy.choose(tp, fp, self.genuine, self.impostor)
        if chosen < 0:
            return self._below_all(), Confusion(0, 0, self.genuine, self.impostor)
        t, f = int(tp[chosen]), int(fp[chosen])
        return float(_from_keys(cells.start[chosen])), Confusion(t, f, self.genuine - t, self.impostor - f)

    def confusion(self, threshold: float) -> Confusion:
        """Exact counts at any threshold."""
        below = np.float32(threshold) + np.float32(0)  # of minus zero: zero
        if not is_match(float(below), threshold):  # rounded up: the next smaller float32 accepts the same distances
            below = np.nextafter(below, np.float32(-np.inf))
        if below < 0:
            return Confusion(0, 0, self.genuine, self.impostor)
        key = int(min(below, np.finfo(np.float32).max).view(np.int32))
        tp = fp = 0
        genuine, impostor = self._histogram()
        inside = np.clip((key - self._low) >> SHIFT, 0, len(genuine) - 1) if key >= self._low else 0
        tp, fp = int(genuine[:inside].sum()), int(impostor[:inside].sum())
        start = 0 if inside == 0 else self._low + (int(inside) << SHIFT)
        end = self._low + ((int(inside) + 1) << SHIFT)
        if genuine[inside] + impostor[inside]:
            cell = Cells(*(np.array([v]) for v in (start, end, genuine[inside], impostor[inside], tp, fp)))
            fine = self._refine(cell, 0)
            upto = fine.start <= key
            tp, fp = tp + int(fine.genuine[upto].sum()), fp + int(fine.impostor[upto].sum())
        return Confusion(tp, fp, self.genuine - tp, self.impostor - fp)

    def by_person(self, thresholds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """How many pairs of each person lie at or below each threshold, give or take a bin: for resampling people.

        Args:
            thresholds: (k,) ascending.

        Returns:
            (people, k) float64: genuine pairs of each person; impostor pairs that each person takes part in.
        """
        people, person = np.unique(self.labels, return_inverse=True)
        columns = len(thresholds) + 1
        edges = self._low + (np.arange(self._bins, dtype=np.int64) << SHIFT)
        column = torch.from_numpy(np.searchsorted(thresholds, _from_keys(edges), side="left"))
        own, others = (np.zeros((len(people), columns)) for _ in range(2))
        for tile in self._tiles():
            height = len(tile.keys) // tile.width
            where = column[self._bin(tile.keys)].view(height, tile.width)
            a = torch.from_numpy(person[tile.first : tile.first + height])
            b = torch.from_numpy(person[tile.second : tile.second + tile.width])
            away = a[:, None] != b[None]
            if tile.flat is not None:
                away &= torch.ones_like(away).triu(1)
            mine = (a - a[0])[:, None] * columns + where
            theirs = (b - b[0])[None] * columns + where
            if away.all():
                hits = [(mine.flatten(), a), (theirs.flatten(), b)]
            else:
                hits = [(mine[away], a), (theirs[away], b)]
                near = (a[:, None] == b[None]) & (
                    torch.ones_like(away).triu(1) if tile.flat is not None else torch.ones_like(away)
                )
                _add(own, mine[near], a)
            for key, who in hits:
                _add(others, key, who)
        return np.cumsum(own, axis=1)[:, :-1], np.cumsum(others, axis=1)[:, :-1]

    @property
    def original_labels(self) -> np.ndarray:
        """(N,) labels in the order in which they were given."""
        labels = np.empty_like(self.labels)
        labels[self._order] = self.labels
        return labels

    def between(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        """(n,) float32 distances of pairs of rows, numbered as they were given."""
        place = np.empty_like(self._order)
        place[self._order] = np.arange(len(place))
        return self._measured(place[left], place[right])

    def extremes(self, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The ``count`` closest impostor pairs and the ``count`` farthest genuine ones; among equals, any.

        Returns:
            rows (n,) and (n,), the smaller one left, numbered as they were given; (n,) float32 distances.
        """
        genuine, impostor = self._histogram()
        close = int(np.searchsorted(np.cumsum(impostor), min(count, self.impostor)))
        far = len(genuine) - 1 - int(np.searchsorted(np.cumsum(genuine[::-1]), min(count, self.genuine)))
        none = (np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.float32))
        kept: dict[int, tuple[np.ndarray, ...]] = {0: none, 1: none}
        for tile in self._tiles():
            bins = self._bin(tile.keys)
            # One bin more than needed: an inexact key may lie in the neighbour of its own, a blind one in any of those.
            near = max(close + 1, self._blind(tile))
            flat = np.flatnonzero(((bins <= near) | (bins >= far - 1)).numpy())
            if tile.flat is not None:
                flat = flat[np.isin(flat, tile.flat, assume_unique=True)]
            same, at = self._same(tile, flat), bins.numpy()[flat]
            for kind, inside in ((0, ~same & (at <= near)), (1, same & (at >= far - 1))):
                i, j = self._pair(tile, flat[inside])
                distances = _from_keys(self._exact_keys(tile, flat[inside]).numpy())
                joined = [np.concatenate(both) for both in zip(kept[kind], (i, j, distances), strict=True)]
                best = np.argsort(-joined[2] if kind else joined[2], kind="stable")[:count]
                kept[kind] = tuple(part[best] for part in joined)
        i, j, found = (np.concatenate(parts) for parts in zip(kept[0], kept[1], strict=True))
        i, j = self._order[i], self._order[j]
        return np.minimum(i, j), np.maximum(i, j), found

    # --- passes over the pairs ---

    def _histogram(self) -> tuple[np.ndarray, np.ndarray]:
        """(bins,) int64 genuine and impostor pairs of each bin; one pass, once."""
        if self._counts is None:
            every, same = (np.zeros(self._bins, dtype=np.int64) for _ in range(2))
            for tile in self._tiles():
                bins = self._bin(tile.keys)
                if tile.flat is not None:
                    bins = bins[torch.from_numpy(tile.flat)]
                counted = torch.bincount(bins, minlength=self._bins).numpy()
                every += counted
                genuine = self._genuine(tile)
                if genuine is not None:
                    same += np.bincount(self._bin(tile.keys).numpy()[genuine], minlength=self._bins)
                doubtful = self._doubtful(tile, bool(counted[: self._blind(tile)].any()))
                if len(doubtful):
                    before = self._bin(tile.keys[torch.from_numpy(doubtful)]).numpy()
                    after = self._bin(self._exact_keys(tile, doubtful)).numpy()
                    moved = before != after
                    kin = self._same(tile, doubtful)
                    for counts, these in ((every, moved), (same, moved & kin)):
                        np.subtract.at(counts, before[these], 1)
                        np.add.at(counts, after[these], 1)
            self._counts = same, every - same
        return self._counts

    def _refine(self, cells: Cells, shift: int) -> Cells:
        """The same pairs in cells of 2^shift keys each, without the empty ones."""
        wanted = np.zeros(self._bins + 2, dtype=bool)
        for start, end in zip(cells.start.tolist(), cells.end.tolist(), strict=True):
            first, last = ((max(k, self._low) - self._low) >> SHIFT for k in (start, end - 1))
            wanted[first : last + 3] = True  # and the neighbours: an inexact key may lie in one
        table = torch.from_numpy(wanted[1:-1].copy())
        found = Counter(cells, shift)
        for tile in self._tiles():
            near = np.flatnonzero(table[self._bin(tile.keys)].numpy())
            if tile.flat is not None:
                near = near[np.isin(near, tile.flat, assume_unique=True)]
            if len(near):
                found.add(self._exact_keys(tile, near).numpy(), self._same(tile, near))
        return found.cells()

    def _tiles(self) -> Iterator[Tile]:
        """Tiles of the upper triangle; their tensors are used again by the next one."""
        if self._squares is None:
            yield from self._tiles_pair_by_pair()
            return
        n, t, of = len(self.labels), self.tile, self.distance_module.of_squares
        d = self._rows.shape[1]
        wide, narrow = (torch.empty(t * t, dtype=kind) for kind in (torch.float64, torch.float32))
        length = self._squares.sqrt()
        with torch.no_grad():
            for i in range(0, n, t):
                a, sa = self._rows[i : i + t], self._squares[i : i + t]
                for j in range(i, n, t):
                    b, sb = self._rows[j : j + t], self._squares[j : j + t]
                    shape, size = (len(a), len(b)), len(a) * len(b)
                    squares = wide[:size].view(shape)
                    torch.add(sa[:, None], sb[None], out=squares)
                    squares.addmm_(a, b.T, alpha=-2)
                    rounded = narrow[:size]
                    rounded.copy_(squares.view(-1)).clamp_(min=0)
                    keys = of(rounded).view(torch.int32).clamp_(min=self._low)
                    error = 4 * (d + 4) * UNIT * float(length[i : i + t].max() + length[j : j + t].max()) ** 2
                    flat = np.flatnonzero(np.triu(np.ones(shape, dtype=bool), 1)) if i == j else None
                    yield Tile(i, j, len(b), squares.view(-1), keys, error, flat)

    def _tiles_pair_by_pair(self) -> Iterator[Tile]:
        n, t = len(self.labels), self.tile
        for i in range(0, n, t):
            for j in range(i, n, t):
                a, b = self._rows[i : i + t], self._rows[j : j + t]
                keys = self.distance_module.matrix(a, b).contiguous().view(-1)
                if not bool(keys.isfinite().all()):
                    raise CalibrationError("the learned distance gives NaN or infinite values; train again, at a lower rate")
                flat = np.flatnonzero(np.triu(np.ones((len(a), len(b)), dtype=bool), 1)) if i == j else None
                yield Tile(i, j, len(b), None, keys.view(torch.int32), 0.0, flat)

    # --- keys ---

    def _range(self) -> tuple[int, int]:
        """First key of the bins and their number."""
        if self._squares is None:
            top = int(np.float32(np.finfo(np.float32).max).view(np.int32))
            return 0, (top >> SHIFT) + 1
        reach = 4 * float(self._squares.max())
        of = self.distance_module.of_squares
        largest = float(of(torch.tensor([reach * (1 + 1e-6)], dtype=torch.float64)))
        if not largest < float(np.finfo(np.float32).max):
            raise CalibrationError(
                "the embeddings are too large: their distances overflow float32; divide them by their largest norm"
            )
        top = int(np.float32(max(largest, 1e-30)).view(np.int32)) + 2 * SURE
        low = max(0, ((top >> SHIFT) - OCTAVES * 2 ** (23 - SHIFT)) << SHIFT)
        return low, ((top - low) >> SHIFT) + 1

    def _bin(self, keys: Tensor) -> Tensor:
        """int64 bins of keys; what lies below the first bin is in it."""
        return ((keys - self._low) >> SHIFT).clamp_(min=0).long()

    def _blind(self, tile: Tile) -> int:
        """So many of the first bins hold pairs whose keys say nothing: the error is as large as they are."""
        if tile.squares is None:
            return 0
        cut = torch.tensor([tile.error * 2.0**26], dtype=torch.float64)
        key = int(self.distance_module.of_squares(cut).float().view(torch.int32))
        return int(np.clip(((key - self._low) >> SHIFT) + 2, 0, self._bins))

    def _doubtful(self, tile: Tile, blind: bool) -> np.ndarray:
        """Flat positions of the pairs whose bin is not certain."""
        if tile.squares is None:
            return np.zeros(0, dtype=np.int64)
        mask = ((tile.keys + SURE) & ((1 << SHIFT) - 1)) < 2 * SURE
        if blind:
            mask |= tile.keys < self._low + (self._blind(tile) << SHIFT)
        found = np.flatnonzero(mask.numpy())
        return found if tile.flat is None else found[np.isin(found, tile.flat, assume_unique=True)]

    def _exact_keys(self, tile: Tile, flat: np.ndarray) -> Tensor:
        """int32 keys of the distances that ``measure`` gives."""
        where = torch.from_numpy(flat)
        if tile.squares is None:
            return tile.keys[where]
        of = self.distance_module.of_squares
        squares = tile.squares[where]
        error = tile.error
        low, high = of((squares - error).clamp_(min=0)).float(), of((squares + error).clamp_(min=0)).float()
        keys = low.view(torch.int32)
        open_ = np.flatnonzero((low != high).numpy())
        if len(open_):
            exact = self._measured(*self._pair(tile, flat[open_]))
            keys[torch.from_numpy(open_)] = torch.from_numpy(exact).view(torch.int32)
        return keys

    def _measured(self, i: np.ndarray, j: np.ndarray) -> np.ndarray:
        """(n,) float32 distances of pairs of rows, as ``measure`` gives them; in blocks."""
        of = self.distance_module.of_rows if self.distance_module.squared else self.distance_module.measure
        found, step = np.empty(len(i), dtype=np.float32), max(1, (1 << 20) // self._rows.shape[1])
        for start in range(0, len(i), step):
            a, b = (torch.from_numpy(v[start : start + step]) for v in (i, j))
            found[start : start + step] = of(self._rows[a], self._rows[b]).numpy()
        return found

    def _pair(self, tile: Tile, flat: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return tile.first + flat // tile.width, tile.second + flat % tile.width

    def _same(self, tile: Tile, flat: np.ndarray) -> np.ndarray:
        i, j = self._pair(tile, flat)
        same: np.ndarray = self.labels[i] == self.labels[j]
        return same

    def _genuine(self, tile: Tile) -> np.ndarray | None:
        """Flat positions of the genuine pairs; None where there can be none."""
        height = len(tile.keys) // tile.width
        if tile.first != tile.second and self.labels[tile.first + height - 1] != self.labels[tile.second]:
            return None
        a, b = self.labels[tile.first : tile.first + height], self.labels[tile.second : tile.second + tile.width]
        same = a[:, None] == b[None]
        return np.flatnonzero(np.triu(same, 1) if tile.flat is not None else same)

    def _below_all(self) -> float:
        """The largest float32 number below every distance."""
        genuine, impostor = self._histogram()
        first = int(np.flatnonzero(genuine + impostor)[0])
        start = 0 if first == 0 else self._low + (first << SHIFT)
        zero = np.zeros(1, dtype=np.int64)
        cell = Cells(zero + start, zero + self._low + ((first + 1) << SHIFT), genuine[[first]], impostor[[first]], zero, zero)
        smallest = _from_keys(self._refine(cell, 0).start[:1])[0]
        return float(np.nextafter(smallest, np.float32(-np.inf)))


@dataclass(frozen=True)
class Cells:
    """Disjoint ascending intervals of keys [start, end) with the pairs inside (genuine, impostor) and below (tp, fp), int64."""

    start: np.ndarray
    end: np.ndarray
    genuine: np.ndarray
    impostor: np.ndarray
    tp: np.ndarray
    fp: np.ndarray

    @property
    def pairs(self) -> int:
        return int(self.genuine.sum() + self.impostor.sum())

    def cumulated(self) -> Cells:
        """With ``tp`` and ``fp`` from the cells before: for cells that cover everything."""
        tp, fp = np.cumsum(self.genuine) - self.genuine, np.cumsum(self.impostor) - self.impostor
        return Cells(self.start, self.end, self.genuine, self.impostor, tp, fp)

    def hopeful(self, policy: Policy, genuine: int, impostor: int) -> Cells:
        """Those that can hold the policy's threshold."""
        filled = self.genuine + self.impostor > 0
        low = (self.tp.astype(np.float64), self.fp.astype(np.float64))
        high = ((self.tp + self.genuine).astype(np.float64), (self.fp + self.impostor).astype(np.float64))
        g, i, share = float(genuine), float(impostor), float(policy.share(genuine, impostor))
        reached = policy.objective(*high, g, i, share)[filled].max()
        kept = filled & (policy.bound(low, high, g, i, share) >= reached - NEAR)
        return Cells(*(getattr(self, name)[kept] for name in ("start", "end", "genuine", "impostor", "tp", "fp")))


class Counter:
    """Counts keys that lie in some cells, by cells of 2^shift keys, in memory bounded by the number of these that occur."""

    def __init__(self, cells: Cells, shift: int) -> None:
        self._within, self._shift = cells, shift
        self._keys, self._same = [np.zeros(0, dtype=np.int64)], [np.zeros(0, dtype=bool)]
        self._waiting = 0
        self._cell = np.zeros(0, dtype=np.int64)
        self._counts = np.zeros((2, 0), dtype=np.int64)

    def add(self, keys: np.ndarray, same: np.ndarray) -> None:
        """Count those of (n,) keys that lie in the cells."""
        place = np.searchsorted(self._within.start, keys, side="right") - 1
        inside = (place >= 0) & (keys < self._within.end[place])
        self._keys.append(keys[inside].astype(np.int64))
        self._same.append(same[inside])
        self._waiting += int(np.count_nonzero(inside))
        if self._waiting > LIMIT // 2:
            self._settle()

    def cells(self) -> Cells:
        """What was counted, cell by cell, and below each: the pairs below its coarse cell and those before it inside."""
        self._settle()
        outer, (impostor, genuine) = self._within, self._counts
        start, size = self._cell << self._shift, 1 << self._shift
        place = np.searchsorted(outer.start, np.maximum(start, outer.start[0]), side="right") - 1
        new = np.append(True, place[1:] != place[:-1]) if len(place) else np.zeros(0, dtype=bool)
        group = np.cumsum(new) - 1

        def below(counts: np.ndarray, base: np.ndarray) -> np.ndarray:
            before = np.cumsum(counts) - counts
            inside: np.ndarray = before - before[new][group] + base[place]
            return inside

        return Cells(start, start + size, genuine, impostor, below(genuine, outer.tp), below(impostor, outer.fp))

    def _settle(self) -> None:
        cell, inverse = np.unique(np.concatenate([self._cell, *(k >> self._shift for k in self._keys)]), return_inverse=True)
        counts = np.zeros((2, len(cell)), dtype=np.int64)
        known, fresh = inverse[: len(self._cell)], inverse[len(self._cell) :]
        counts[:, known] = self._counts
        same = np.concatenate(self._same)
        for row, these in ((0, ~same), (1, same)):
            counts[row] += np.bincount(fresh[these], minlength=len(cell))
        self._cell, self._counts = cell, counts
        self._keys, self._same, self._waiting = [], [], 0
        if not self._keys:
            self._keys, self._same = [np.zeros(0, dtype=np.int64)], [np.zeros(0, dtype=bool)]


def _from_keys(keys: np.ndarray) -> np.ndarray:
    """float32 numbers of these bit patterns."""
    return np.asarray(keys, dtype=np.int32).view(np.float32)


def _add(table: np.ndarray, keys: Tensor, who: Tensor) -> None:
    """Count keys (local person * columns + column) into the rows of the consecutive people ``who``."""
    people, columns = int(who[-1] - who[0]) + 1, table.shape[1]
    counted = torch.bincount(keys, minlength=people * columns).view(people, columns).numpy()
    table[int(who[0]) : int(who[0]) + people] += counted
