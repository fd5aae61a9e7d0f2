"""Pairs counted by the groups of their two images, and counted again in draws of identities.

What is counted per image group is counted per *unit*: the images of one identity in one group. An
identity is mostly in one group (sex), but may be in several (age, with or without glasses).
Memory grows with units times groups, never with the number of pairs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np

from siamese.verification.bootstrap import DRAWS

# Pairs of units with an impostor pair, of which the exact weights are computed in every draw.
# Where there are more, those of the cells with most of them take the first-order part.
SINGLY = 200_000
_WAITING = 1_000_000  # keys that are merged at once
_BLOCK = 64  # draws that are counted at once: bounds the memory


@dataclass(frozen=True, eq=False)
class Units:
    """The images of each identity in each group.

    Units are ordered by group, so that of a pair of units the smaller number is of the first group.

    Attributes:
        of_image: (N,) int64 unit of each image; -1 where its group is unknown.
        identity, group: (U,) int64 of each unit.
        size: (U,) int64 images of each unit.
        identities, groups: numbers of identities, with those of unknown groups, and of groups.
        order: (identities,) in which they are drawn; None for the order of their numbers.
    """

    of_image: np.ndarray
    identity: np.ndarray
    group: np.ndarray
    size: np.ndarray
    identities: int
    groups: int
    order: np.ndarray | None = None

    @classmethod
    def of(
        cls,
        labels: np.ndarray,
        codes: np.ndarray,
        groups: int,
        order: np.ndarray | None = None,
    ) -> Units:
        """From (N,) labels of identities and (N,) numbers of groups, -1 where unknown."""
        identities, number = np.unique(labels, return_inverse=True)
        known = codes >= 0
        keys, unit, size = np.unique(
            codes[known] * len(identities) + number[known], return_inverse=True, return_counts=True
        )
        of_image = np.full(len(codes), -1, dtype=np.int64)
        of_image[known] = unit
        group, identity = np.divmod(keys, len(identities))
        return cls(of_image, identity, group, size, len(identities), groups, order)

    @cached_property
    def starts(self) -> np.ndarray:
        """(G,) int64 the first unit of each group."""
        return np.searchsorted(self.group, np.arange(self.groups))

    @cached_property
    def of_identity(self) -> np.ndarray:
        """(identities, G) int64 images of each identity in each group."""
        found = np.zeros((self.identities, self.groups), dtype=np.int64)
        found[self.identity, self.group] = self.size
        return found

    @cached_property
    def shared(self) -> np.ndarray:
        """(G, G) int64 identities in both groups; on the diagonal those of each group."""
        there = (self.of_identity > 0).astype(np.int64)
        found: np.ndarray = there.T @ there
        return found

    def summed(self, values: np.ndarray) -> np.ndarray:
        """(G, ...) sums of (U, ...) values over the units of each group."""
        sums: np.ndarray = np.add.reduceat(values, self.starts, axis=0)
        return sums


class Counts(Protocol):
    """Pairs of images by the groups of both, and how they weigh in draws of identities.

    Attributes:
        units: that the pairs are of.
        genuine: (U, G) int64 genuine pairs of each unit with images of a group that is not before
            its own.
        impostor: (U, G) int64 impostor pairs of each unit with images of each group.
        coarse: (G, G) bool cells a <= b whose impostor pairs have no exact weights.
    """

    units: Units
    genuine: np.ndarray
    impostor: np.ndarray

    @property
    def coarse(self) -> np.ndarray:
        """See the class."""

    def weigh(self, of_units: np.ndarray) -> np.ndarray:
        """(r, G, G) impostor pairs of cells a <= b that are not coarse, weighted exactly.

        Args:
            of_units: (r, U) float64, how often the identity of each unit was drawn.
        """


class Tally:
    """Pairs that are given one by one; see :class:`Counts`."""

    def __init__(self, units: Units) -> None:
        self.units = units
        shape = (len(units.size), units.groups)
        self.genuine, self.impostor = (np.zeros(shape, dtype=np.int64) for _ in range(2))
        self._coarse = np.zeros((units.groups, units.groups), dtype=bool)
        self._keys, self._times = np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
        self._waiting: list[np.ndarray] = []

    def add(self, left: np.ndarray, right: np.ndarray) -> None:
        """Count pairs of (n,) and (n,) images; those with an unknown group are left out."""
        units, number = self.units, len(self.units.size)
        one, two = units.of_image[left], units.of_image[right]
        known = (one >= 0) & (two >= 0)
        first = np.minimum(one, two)[known]
        second = np.maximum(one, two)[known]
        same = units.identity[first] == units.identity[second]
        self._count(self.genuine, first[same], units.group[second[same]])
        first, second = first[~same], second[~same]
        a, b = units.group[first], units.group[second]
        self._count(self.impostor, first, b)
        self._count(self.impostor, second, a)
        fine = ~self._coarse[a, b]
        self._waiting.append(first[fine] * number + second[fine])
        if sum(map(len, self._waiting)) > _WAITING:
            self._merge()

    def weigh(self, of_units: np.ndarray) -> np.ndarray:
        """See :meth:`Counts.weigh`."""
        self._merge()
        groups, number = self.units.groups, len(self.units.size)
        found = np.zeros((len(of_units), groups * groups))
        first, second = np.divmod(self._keys, number)
        cell = self.units.group[first] * groups + self.units.group[second]
        order = np.argsort(cell, kind="stable")
        first, second, times = first[order], second[order], self._times[order].astype(np.float64)
        present, starts = np.unique(cell[order], return_index=True)
        if len(present):
            for row, m in zip(found, of_units, strict=True):
                row[present] = np.add.reduceat(m[first] * m[second] * times, starts)
        return found.reshape(-1, groups, groups)

    @property
    def coarse(self) -> np.ndarray:
        """See :class:`Counts`."""
        self._merge()
        return self._coarse

    def _count(self, table: np.ndarray, unit: np.ndarray, group: np.ndarray) -> None:
        np.add.at(table.reshape(-1), unit * self.units.groups + group, 1)

    def _merge(self) -> None:
        """Add what waits to the pairs of units, and give up those of the largest cells."""
        if not self._waiting:
            return
        keys = np.concatenate([self._keys, *self._waiting])
        times = np.ones(len(keys), dtype=np.int64)
        times[: len(self._keys)] = self._times
        self._waiting = []
        self._keys, place = np.unique(keys, return_inverse=True)
        self._times = np.bincount(place, times, minlength=len(self._keys)).astype(np.int64)
        number, groups = len(self.units.size), self.units.groups
        while len(self._keys) > SINGLY:
            a, b = (self.units.group[part] for part in np.divmod(self._keys, number))
            largest = np.bincount(a * groups + b).argmax()
            self._coarse[divmod(int(largest), groups)] = True
            kept = a * groups + b != largest
            self._keys, self._times = self._keys[kept], self._times[kept]


class AllPairsCounted:
    """All pairs of the images, by arithmetic alone; see :class:`Counts`."""

    def __init__(self, units: Units) -> None:
        self.units = units
        self.coarse = np.zeros((units.groups, units.groups), dtype=bool)
        of_groups = units.summed(units.size)
        own = units.of_identity[units.identity]  # (U, G)
        self._together = units.size[:, None] * own
        self.impostor = units.size[:, None] * (of_groups - own)
        later = np.arange(units.groups) > units.group[:, None]
        self.genuine = np.where(later, self._together, 0)
        everyone = np.arange(len(units.size))
        self.genuine[everyone, units.group] = units.size * (units.size - 1) // 2

    def weigh(self, of_units: np.ndarray) -> np.ndarray:
        """See :meth:`Counts.weigh`: all pairs of images less those of one identity."""
        units = self.units
        images = units.summed((of_units * units.size).T).T  # (r, G)
        found: np.ndarray = images[:, :, None] * images[:, None] - cell_sums(
            units, of_units**2, self._together
        )
        diagonal = np.arange(units.groups)
        found[:, diagonal, diagonal] /= 2
        return found


def cell_sums(units: Units, of_units: np.ndarray, table: np.ndarray) -> np.ndarray:
    """(r, G, G) sums over the units of the first group of weights (r, U) times a table (U, G)."""
    ends = np.append(units.starts[1:], len(units.size))
    found = np.empty((len(of_units), units.groups, units.groups))
    for group, (start, end) in enumerate(zip(units.starts, ends, strict=True)):
        found[:, group] = of_units[:, start:end] @ table[start:end].astype(np.float64)
    return found


def totals(counts: Counts) -> tuple[np.ndarray, np.ndarray]:
    """(G, G) and (G, G) int64 genuine and impostor pairs of the cells a <= b; 0 in the others."""
    genuine, impostor = (
        np.triu(counts.units.summed(table)) for table in (counts.genuine, counts.impostor)
    )
    diagonal = np.arange(counts.units.groups)
    impostor[diagonal, diagonal] //= 2  # each pair was counted at both its units
    return genuine, impostor


def draw_identities(identities: int, seed: int) -> Iterator[np.ndarray]:
    """How often each identity is drawn, (r, identities) float64 in blocks of all draws.

    As :func:`siamese.verification.bootstrap.bootstrap_identities` draws them.
    """
    rng = np.random.default_rng([seed, 6])
    even = np.full(identities, 1 / identities)
    for start in range(0, DRAWS, _BLOCK):
        rows = range(start, min(start + _BLOCK, DRAWS))
        yield np.stack([rng.multinomial(identities, even) for _ in rows]).astype(np.float64)


def count_again(
    accepted: Tally, every: Counts, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Weighted pairs of the cells a <= b in draws of identities.

    An impostor pair of p and q weighs m_p m_q, or, in cells with very many of them, the
    first-order part m_p + m_q - 1; accepted pairs and all pairs of a cell weigh alike.

    Args:
        accepted: pairs at the threshold.
        every: all pairs.
        seed: of the draws.

    Returns:
        (draws, G, G) float64 each: accepted genuine pairs, genuine pairs, accepted impostor pairs,
            impostor pairs.
    """
    units, coarse = every.units, accepted.coarse | every.coarse
    found: list[list[np.ndarray]] = []
    for times in draw_identities(units.identities, seed):
        times = times if units.order is None else times[:, units.order]
        of_units = times[:, units.identity]
        block = []
        for counts in (accepted, every):
            block.append(cell_sums(units, of_units, counts.genuine))
            impostor = counts.weigh(of_units)
            if coarse.any():
                impostor = np.where(coarse, _first_order(counts, of_units), impostor)
            block.append(impostor)
        found.append(block)
    tp, fp, genuine, impostor = (np.concatenate(part) for part in zip(*found, strict=True))
    return tp, genuine, fp, impostor


def _first_order(counts: Counts, of_units: np.ndarray) -> np.ndarray:
    """(r, G, G) impostor pairs of the cells a <= b, weighted m_p + m_q - 1."""
    hits = cell_sums(counts.units, of_units, counts.impostor)
    both = hits + hits.swapaxes(1, 2)
    diagonal = np.arange(counts.units.groups)
    both[:, diagonal, diagonal] /= 2
    weighted: np.ndarray = np.maximum(both - totals(counts)[1], 0)
    return weighted
