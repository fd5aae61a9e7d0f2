"""Cells: disjoint intervals of distances with the pairs counted in them.

A :class:`Counter` fills finer ones.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from siamese.processes import Processes
from siamese.verification.policies.base import NEAR, Policy, scale

# Keys that wait to be counted: bounds the memory of a Counter, together with the number of
# different keys.
WAITING = 2_000_000


def to_keys(distances: np.ndarray) -> np.ndarray:
    """int64 keys of float32 distances >= 0: their bit patterns, which have the same order."""
    # Adding 0 turns minus zero into zero.
    plain = np.asarray(distances, dtype=np.float32) + np.float32(0)
    return plain.view(np.int32).astype(np.int64)


def from_keys(keys: np.ndarray) -> np.ndarray:
    """float32 distances of these keys."""
    return np.asarray(keys, dtype=np.int32).view(np.float32)


@dataclass(frozen=True)
class Cells:
    """Disjoint ascending intervals of keys [start, end), with the pairs inside and below.

    Attributes:
        start, end: (m,) int64 keys.
        genuine, impostor: (m,) int64 pairs inside.
        tp, fp: (m,) int64 genuine and impostor pairs below.
    """

    start: np.ndarray
    end: np.ndarray
    genuine: np.ndarray
    impostor: np.ndarray
    tp: np.ndarray
    fp: np.ndarray

    @classmethod
    def of_bins(cls, edges: np.ndarray, genuine: np.ndarray, impostor: np.ndarray) -> Cells:
        """All bins as cells, the first from 0 on.

        Args:
            edges: (bins,) float32, ascending: the largest distance of each bin.
            genuine, impostor: (bins,) int64 pairs in each.
        """
        end = to_keys(edges) + 1
        start = np.concatenate([[0], end[:-1]])
        return cls(
            start,
            end,
            genuine,
            impostor,
            np.cumsum(genuine) - genuine,
            np.cumsum(impostor) - impostor,
        )

    @property
    def pairs(self) -> int:
        """Number of pairs inside."""
        return int(self.genuine.sum() + self.impostor.sum())

    def select_cells(self, which: np.ndarray) -> Cells:
        """The cells that an index or a mask selects, ascending."""
        return Cells(*(getattr(self, f.name)[which] for f in fields(self)))

    def candidates_for(self, policy: Policy, genuine: int, impostor: int) -> Cells:
        """The cells that can hold the policy's threshold.

        Args:
            policy: see :meth:`Policy.bound`.
            genuine, impostor: all pairs, also those outside the cells.
        """
        filled = self.genuine > 0 if policy.at_genuine else self.genuine + self.impostor > 0
        low = (self.tp.astype(np.float64), self.fp.astype(np.float64))
        high = (
            (self.tp + self.genuine).astype(np.float64),
            (self.fp + self.impostor).astype(np.float64),
        )
        g, i = float(genuine), float(impostor)
        prevalence = float(policy.prevalence_of(genuine, impostor))
        values = policy.objective(*high, g, i, prevalence)[filled]
        if policy.may_refuse_all:
            values = np.append(values, policy.objective(np.zeros(1), np.zeros(1), g, i, prevalence))
        bound, near = policy.bound(low, high, g, i, prevalence), NEAR * scale(values)
        return self.select_cells(
            filled & (bound > -np.inf) & (bound >= values.max(initial=-np.inf) - near)
        )


class Counter:
    """Counts keys that lie in some intervals, in groups of 2^shift neighbouring keys.

    Its memory is bounded by the number of groups that occur.

    Args:
        start, end: (m,) int64 disjoint ascending intervals of keys [start, end), m >= 1.
        shift: lower bits of a key that are ignored.
    """

    def __init__(self, start: np.ndarray, end: np.ndarray, shift: int) -> None:
        self.start, self.end, self.shift = start, end, shift
        self._waiting: list[tuple[np.ndarray, np.ndarray]] = []
        self._count = 0
        # The groups of keys that occurred, as interval << 32 | key >> shift, and the impostor and
        # genuine pairs of each.
        self._group = np.zeros(0, dtype=np.int64)
        self._pairs = np.zeros((2, 0), dtype=np.int64)

    def add(self, keys: np.ndarray, same: np.ndarray) -> None:
        """Count those of (n,) int64 keys that lie in the intervals.

        Args:
            keys: (n,) int64.
            same: (n,) bool, True for a genuine pair.
        """
        place = np.searchsorted(self.start, keys, side="right") - 1
        inside = (place >= 0) & (keys < self.end[place])
        self._waiting.append((place[inside] << 32 | keys[inside] >> self.shift, same[inside]))
        self._count += int(np.count_nonzero(inside))
        if self._count > WAITING:
            self._settle()

    def join(self, processes: Processes) -> None:
        """Add what the counters of all processes have counted, which count in the same cells."""
        if processes.count == 1:
            return
        self._settle()
        groups, pairs = processes.join(self._group), processes.join(self._pairs.T)
        self._group, place = np.unique(groups, return_inverse=True)
        self._pairs = np.zeros((2, len(self._group)), dtype=np.int64)
        np.add.at(self._pairs.T, place, pairs)

    def covers(self, cells: Cells) -> bool:
        """Whether all keys in these cells were counted, each by itself."""
        return not self.shift and bool(
            np.isin(cells.start, self.start).all() and np.isin(cells.end, self.end).all()
        )

    def cells(self, outer: Cells) -> Cells:
        """The counts inside coarser cells, as one cell for each group of keys that occurs.

        Args:
            outer: the coarser cells, each inside one of the intervals.
        """
        self._settle()
        inner = self._group >> 32
        first = (self._group & (1 << 32) - 1) << self.shift
        start = np.maximum(first, self.start[inner])
        end = np.minimum(first + (1 << self.shift), self.end[inner])
        place = np.searchsorted(outer.start, start, side="right") - 1
        within = (place >= 0) & (start < outer.end[place])
        start, end, place, (impostor, genuine) = (
            start[within],
            end[within],
            place[within],
            self._pairs[:, within],
        )
        opens = np.searchsorted(place, place, side="left")  # the first group of the same outer cell

        def below(counts: np.ndarray, base: np.ndarray) -> np.ndarray:
            before = np.cumsum(counts) - counts
            found: np.ndarray = before - before[opens] + base[place]
            return found

        return Cells(
            start, end, genuine, impostor, below(genuine, outer.tp), below(impostor, outer.fp)
        )

    def _settle(self) -> None:
        groups, same = (
            (np.concatenate(parts) for parts in zip(*self._waiting, strict=True))
            if self._waiting
            else _NOTHING
        )
        self._waiting, self._count = [], 0
        group, place = np.unique(np.concatenate([self._group, groups]), return_inverse=True)
        pairs = np.zeros((2, len(group)), dtype=np.int64)
        known, fresh = place[: len(self._group)], place[len(self._group) :]
        pairs[:, known] = self._pairs
        for row, these in ((0, ~same), (1, same)):
            pairs[row] += np.bincount(fresh[these], minlength=len(group))
        self._group, self._pairs = group, pairs


_NOTHING = (np.zeros(0, dtype=np.int64), np.zeros(0, dtype=bool))
