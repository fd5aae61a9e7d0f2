"""Sampler: the base of the rules for training batches; all are pure functions of their seed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from siamese.errors import ConfigError, DataError
from siamese.pairs.groups import IdentityGroups


@dataclass(frozen=True)
class BatchPlan:
    """One batch before it is loaded: distinct row numbers of the data set, and pairs among them.

    Attributes:
        indices: (B,) int64 row numbers, no two equal.
        pairs: (2, n) int64 positions in ``indices``, left above right; None means all pairs of the
            batch.
        seed: what the batch's augmentation is drawn from: (seed, epoch, step, rank); None for no
            augmentation.
        first: of a part of a batch, the position of its first image in the whole; ``pairs`` are
            positions in the whole.
        whole: images in the whole batch, of which this is a part; None if it is no part.
    """

    indices: np.ndarray
    pairs: np.ndarray | None = None
    seed: tuple[int, ...] | None = None
    first: int = 0
    whole: int | None = None

    def part(self, rank: int, world: int) -> BatchPlan:
        """The images that one of ``world`` processes embeds: consecutive ones, one at least.

        Raises:
            ConfigError: fewer images than processes.
        """
        n = len(self.indices)
        if n < world:
            raise ConfigError(
                f"a batch of {n} images cannot be divided over {world} processes: draw larger "
                f"batches (data.sampler), or use fewer processes"
            )
        begin, end = n * rank // world, n * (rank + 1) // world
        return replace(self, indices=self.indices[begin:end], first=begin, whole=n)

    def __len__(self) -> int:
        return len(self.indices)

    def __repr__(self) -> str:
        pairs = "all pairs" if self.pairs is None else f"{self.pairs.shape[1]} pairs"
        return f"BatchPlan({len(self)} images, {pairs}, seed={self.seed})"


class _Parts(Sequence[np.ndarray]):
    """Parts of one array, one after the other: of 500,000 identities a list would take 60 MB.

    Args:
        whole: (N,) int64.
        bounds: (parts + 1,) int64: where the parts begin, and the last one's end.
    """

    def __init__(self, whole: np.ndarray, bounds: np.ndarray) -> None:
        self._whole, self._bounds = whole, bounds

    def __len__(self) -> int:
        return len(self._bounds) - 1

    def __getitem__(self, part: Any) -> Any:
        if not 0 <= part < len(self):
            raise IndexError(part)
        return self._whole[self._bounds[part] : self._bounds[part + 1]]


class IdentityRows:
    """Rows grouped by identity.

    Args:
        labels: (N,) int64, one number per identity.
        pairs: (2, n) int64 rows, where the split protocol chose the pairs to train on.
    """

    def __init__(self, labels: np.ndarray, pairs: np.ndarray | None = None) -> None:
        self.labels, self.pairs = labels, pairs
        self._last: tuple[tuple[int, ...], np.ndarray] | None = None
        order = np.argsort(labels, kind="stable")
        starts = np.flatnonzero(np.diff(labels[order], prepend=-1))
        self._bounds = np.append(starts, len(order))
        self.rows: Sequence[np.ndarray] = _Parts(order, self._bounds)

    @cached_property
    def several(self) -> np.ndarray:
        """The identities with two images or more."""
        return np.flatnonzero(self.sizes > 1)

    @cached_property
    def sizes(self) -> np.ndarray:
        """(identities,) int64: how many images each has."""
        return np.diff(self._bounds)

    @cached_property
    def groups(self) -> IdentityGroups:
        """The ordered genuine pairs, numbered."""
        return IdentityGroups(self.labels)

    def shuffled(self, n: int, seed: tuple[int, ...]) -> np.ndarray:
        """A permutation of n, the same for the same seed.

        The last one is kept, since all steps of an epoch need it.
        """
        if self._last is None or self._last[0] != (n, *seed):
            self._last = ((n, *seed), np.random.default_rng(seed).permutation(n))
        return self._last[1]


class Sampler:
    """Base of the samplers: ``plan`` gives the batch of any step of any epoch by itself.

    A sampler has no state, so a checkpoint holds nothing of it: to continue after an epoch, the
    epoch's number is enough.
    """

    steps: int | None

    def plan(
        self,
        identities: IdentityRows,
        seed: tuple[int, ...],
        epoch: int,
        step: int,
        rank: int,
        world: int,
    ) -> BatchPlan:
        """The batch of one step on one of ``world`` processes."""
        raise NotImplementedError

    def default_steps(self, identities: IdentityRows) -> int:
        """Steps after which each image that can be drawn has been drawn about once."""
        raise NotImplementedError

    def batches(
        self,
        labels: np.ndarray,
        seed: int = 0,
        rank: int = 0,
        world: int = 1,
        pairs: np.ndarray | None = None,
    ) -> PlannedBatches:
        """Bind to a data set: what a DataLoader takes as its ``batch_sampler``.

        Args:
            labels: (N,) int64, one number per identity.
            seed: of the batches and their augmentation.
            rank, world: of this process, and how many there are.
            pairs: (2, n) int64 rows, where the split protocol chose the pairs to train on.

        Raises:
            DataError: no identity has two images, or there is only one identity; or the sampler
                needs chosen pairs and has none.
        """
        identities = IdentityRows(labels, pairs)
        if len(identities.rows) < 2 or not len(identities.several):
            raise DataError(
                f"the training split has {len(identities.rows)} identities, "
                f"{len(identities.several)} of them with two images or more: training needs two "
                f"identities and a pair of the same identity; add data"
            )
        steps = self.steps or max(1, -(-self.default_steps(identities) // world))
        return PlannedBatches(self, identities, seed, steps, rank, world)


class PlannedBatches:
    """An epoch of batch plans; Lightning announces each new epoch through ``sampler.set_epoch``."""

    def __init__(
        self,
        sampler: Sampler,
        identities: IdentityRows,
        seed: int,
        steps: int,
        rank: int,
        world: int,
    ) -> None:
        self._sampler, self._rows, self._seed = sampler, identities, seed
        self._steps, self._rank, self._world = steps, rank, world
        self.epoch = self.begun = 0
        self.sampler = self  # where Lightning looks for set_epoch: dataloader.batch_sampler.sampler

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return self._steps

    def begin_at(self, step: int, state: object = None) -> None:
        """Let the next epoch that is drawn begin with a later step, once; it needs no state."""
        self.begun = min(step, self._steps)

    def __iter__(self) -> Iterator[BatchPlan]:
        epoch, begun, self.begun = self.epoch, self.begun, 0
        for step in range(begun, self._steps):
            yield self._sampler.plan(
                self._rows, (self._seed,), epoch, step, self._rank, self._world
            )


def pair_plan(rows: np.ndarray, seed: tuple[int, ...]) -> BatchPlan:
    """A batch of explicit pairs, (2, n) rows, in which every image is loaded once."""
    indices, positions = np.unique(rows, return_inverse=True)
    return BatchPlan(indices, positions.reshape(2, -1), seed)


class SequentialBatches:
    """Every row once, in order, without augmentation: for evaluation.

    Process ``rank`` of ``world`` takes each world-th batch, so that every image is in the same
    batch as in one process, and its embedding is the same in all bits. All processes have equally
    many batches, since they may wait for each other in each: one that would have a batch less
    repeats the last of all. Whoever gathers the rows counts each index once.
    """

    def __init__(self, n: int, size: int, rank: int = 0, world: int = 1) -> None:
        rows = np.array_split(np.arange(n), range(size, n, size))
        rows += rows[-1:] * (-len(rows) % world)
        self._plans = [BatchPlan(batch) for batch in rows[rank::world]]

    def __len__(self) -> int:
        return len(self._plans)

    def __iter__(self) -> Iterator[BatchPlan]:
        return iter(self._plans)
