"""Which pictures meet in which batch: a P x K identity sampler and a balanced pair sampler, both pure functions of their seed."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from siamese.errors import DataError
from siamese.pairs import Grouped


@dataclass(frozen=True)
class BatchPlan:
    """One batch before it is loaded: row numbers of the data set, each once, and the pairs among them.

    Attributes:
        indices: (B,) int64 row numbers, no two alike.
        pairs: (2, n) int64 positions in ``indices``, left above right; None means all pairs of the batch.
        seed: what the batch's augmentation is drawn from: (seed, epoch, step, rank); None for no augmentation.
    """

    indices: np.ndarray
    pairs: np.ndarray | None = None
    seed: tuple[int, ...] | None = None

    def __len__(self) -> int:
        return len(self.indices)


class People:
    """Rows grouped by person.

    Args:
        labels: (N,) int64, one number per person.
        pairs: (2, n) int64 rows, where the split protocol chose the pairs to train on.
    """

    def __init__(self, labels: np.ndarray, pairs: np.ndarray | None = None) -> None:
        self.labels, self.pairs = labels, pairs
        self._last: tuple[tuple[int, ...], np.ndarray] | None = None
        order = np.argsort(labels, kind="stable")
        starts = np.flatnonzero(np.diff(labels[order], prepend=-1))
        self.rows: list[np.ndarray] = np.split(order, starts[1:]) if len(order) else []

    @cached_property
    def several(self) -> np.ndarray:
        """The people with two pictures or more."""
        return np.array([i for i, rows in enumerate(self.rows) if len(rows) > 1], dtype=np.int64)

    @cached_property
    def grouped(self) -> Grouped:
        """The ordered genuine pairs, numbered."""
        return Grouped(self.labels)

    def shuffled(self, n: int, seed: tuple[int, ...]) -> np.ndarray:
        """A permutation of n, the same for the same seed; the last one is kept, since all steps of an epoch ask for it."""
        if self._last is None or self._last[0] != (n, *seed):
            self._last = ((n, *seed), np.random.default_rng(seed).permutation(n))
        return self._last[1]


class Sampler:
    """Base of the samplers: ``plan`` names the batch of any step of any epoch, without having drawn those before it.

    Being stateless, a sampler needs nothing in a checkpoint: to go on after an epoch, the epoch's number is all.
    """

    steps: int | None

    def plan(self, people: People, seed: tuple[int, ...], epoch: int, step: int, rank: int, world: int) -> BatchPlan:
        """The batch of one step on one of ``world`` processes."""
        raise NotImplementedError

    def default_steps(self, people: People) -> int:
        """Steps after which each picture that can be drawn has been drawn about once."""
        raise NotImplementedError

    def batches(
        self, labels: np.ndarray, seed: int = 0, rank: int = 0, world: int = 1, pairs: np.ndarray | None = None
    ) -> PlannedBatches:
        """Bind to a data set: what a DataLoader takes as its ``batch_sampler``.

        Args:
            labels: (N,) int64, one number per person.
            seed: of the batches and their augmentation.
            rank, world: of this process, and how many there are.
            pairs: (2, n) int64 rows, where the split protocol chose the pairs to train on.

        Raises:
            DataError: nobody has two pictures, or there is one person only; or the sampler needs chosen pairs and has none.
        """
        people = People(labels, pairs)
        if len(people.rows) < 2 or not len(people.several):
            raise DataError(
                f"the training split has {len(people.rows)} people, {len(people.several)} of them with two pictures or more: "
                f"training needs two people and a pair of the same person; add data"
            )
        steps = self.steps or max(1, -(-self.default_steps(people) // world))
        return PlannedBatches(self, people, seed, steps, rank, world)


class PlannedBatches:
    """An epoch of batch plans; Lightning announces each new epoch through ``sampler.set_epoch``."""

    def __init__(self, sampler: Sampler, people: People, seed: int, steps: int, rank: int, world: int) -> None:
        self._sampler, self._people, self._seed = sampler, people, seed
        self._steps, self._rank, self._world = steps, rank, world
        self.epoch = 0
        self.sampler = self  # where Lightning looks for set_epoch: dataloader.batch_sampler.sampler

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return self._steps

    def __iter__(self) -> Iterator[BatchPlan]:
        epoch = self.epoch
        for step in range(self._steps):
            yield self._sampler.plan(self._people, (self._seed,), epoch, step, self._rank, self._world)


@dataclass(frozen=True)
class IdentitySampler(Sampler):
    """P people, K pictures of each, and all pairs among them (Hermans et al., *In Defense of the Triplet Loss*, 2017).

    People with one picture form no genuine pair and are not drawn; of people with fewer than K pictures all are taken. An
    epoch goes through shuffled lists of people, so that everybody's turn comes equally often.

    Args:
        people: P >= 2, people in a batch (fewer if there are not so many).
        images: K >= 2, pictures of each.
        steps: batches in an epoch; by default as many as show each picture about once.
    """

    people: int = 16
    images: int = 4
    steps: int | None = None

    def __post_init__(self) -> None:
        if self.people < 2 or self.images < 2:
            raise ValueError(f"people and images must be at least 2, not {self.people} and {self.images}")

    def default_steps(self, people: People) -> int:
        pictures = sum(len(people.rows[i]) for i in people.several)
        return -(-pictures // (self.people * self.images))

    def plan(self, people: People, seed: tuple[int, ...], epoch: int, step: int, rank: int, world: int) -> BatchPlan:
        turn = step * world + rank
        rng = np.random.default_rng([*seed, epoch, 1, turn])
        n, size = len(people.several), min(self.people, len(people.several))
        # A shuffled list is gone through in a circle until all have had the same number of turns; then comes another list.
        number, place = divmod(turn, n // math.gcd(n, size))
        shuffled = np.random.default_rng([*seed, epoch, 0, number]).permutation(people.several)
        chosen = shuffled[(place * size + np.arange(size)) % n]
        if size < 2:  # one person alone has several pictures: the others serve as impostors
            others = np.setdiff1d(np.arange(len(people.rows)), chosen)
            chosen = np.concatenate([chosen, rng.permutation(others)[: self.people - 1]])
        drawn = [rng.choice(rows := people.rows[p], min(self.images, len(rows)), replace=False) for p in chosen]
        return BatchPlan(np.concatenate(drawn), None, (*seed, epoch, step, rank))


@dataclass(frozen=True)
class BalancedPairSampler(Sampler):
    """Explicit pairs, half genuine and half impostor; people are drawn first, then their pictures.

    So somebody with 500 pictures is met no more often than somebody with two. No pair occurs twice in a batch, order ignored,
    and a picture that is in several pairs is loaded, and encoded, once.

    Args:
        pairs: pairs in a batch, even, >= 2.
        steps: batches in an epoch; by default as many as show each picture about once.
    """

    pairs: int = 64
    steps: int | None = None

    def __post_init__(self) -> None:
        if self.pairs < 2 or self.pairs % 2:
            raise ValueError(f"pairs must be even and at least 2, not {self.pairs}")

    def default_steps(self, people: People) -> int:
        return -(-sum(len(rows) for rows in people.rows) // (2 * self.pairs))

    def plan(self, people: People, seed: tuple[int, ...], epoch: int, step: int, rank: int, world: int) -> BatchPlan:
        rng = np.random.default_rng([*seed, epoch, 2, step * world + rank])
        pairs: dict[tuple[int, int], None] = {}
        genuine, anybody = _turns(people.several, rng), _turns(np.arange(len(people.rows)), rng)
        for same in (True, False):
            target = len(pairs) + self.pairs // 2
            for _ in range(20 * self.pairs):  # a small data set may not hold so many different pairs
                if len(pairs) == target:
                    break
                if same:
                    a, b = rng.choice(people.rows[next(genuine)], 2, replace=False)
                else:
                    one, other = next(anybody), next(anybody)
                    if one == other:  # the last of one list and the first of the next
                        continue
                    a, b = rng.choice(people.rows[one]), rng.choice(people.rows[other])
                pairs[(min(a, b), max(a, b))] = None
        return _plan(np.array(list(pairs), dtype=np.int64).T, (*seed, epoch, step, rank))


@dataclass(frozen=True)
class ChosenPairSampler(Sampler):
    """The pairs that the split protocol chose for training (``image_disjoint``), each once in an epoch, in random order.

    A picture that is in several pairs of a batch is loaded, and encoded, once.

    Args:
        pairs: pairs in a batch, >= 2.
        steps: batches in an epoch; by default as many as show each pair once. With fewer, the next epochs go on with the rest.
    """

    pairs: int = 128
    steps: int | None = None

    def __post_init__(self) -> None:
        if self.pairs < 2:
            raise ValueError(f"pairs must be at least 2, not {self.pairs}")

    def default_steps(self, people: People) -> int:
        return -(-int(_chosen(people).shape[1]) // self.pairs)

    def plan(self, people: People, seed: tuple[int, ...], epoch: int, step: int, rank: int, world: int) -> BatchPlan:
        chosen = _chosen(people)
        n = chosen.shape[1]
        whole = -(-n // self.pairs)  # batches that show every pair once
        turn = (epoch * self.steps * world if self.steps else epoch * whole) + step * world + rank
        lap, place = divmod(turn, whole)
        shuffled = people.shuffled(n, (*seed, lap, 6))
        return _plan(chosen[:, shuffled[place * self.pairs : (place + 1) * self.pairs]], (*seed, epoch, step, rank))


@dataclass(frozen=True)
class OrderedPairSampler(Sampler):
    """Every ordered genuine pair (a, b) once, and for each a random impostor (a, c), new in every epoch.

    The rule of face-similarity-pytorch (2019): whoever has many pictures is met most.

    Args:
        pairs: pairs in a batch, half of them genuine, even, >= 2.
        steps: batches in an epoch; by default as many as show each genuine pair once. With fewer, the next epochs go on with the
            rest: LFW has 484,514 ordered genuine pairs, more than half of them of one person.
    """

    pairs: int = 64
    steps: int | None = None

    def __post_init__(self) -> None:
        if self.pairs < 2 or self.pairs % 2:
            raise ValueError(f"pairs must be even and at least 2, not {self.pairs}")

    def default_steps(self, people: People) -> int:
        return -(-people.grouped.ordered_genuine // (self.pairs // 2))

    def plan(self, people: People, seed: tuple[int, ...], epoch: int, step: int, rank: int, world: int) -> BatchPlan:
        half, n = self.pairs // 2, people.grouped.ordered_genuine
        whole = -(-n // half)
        turn = (epoch * self.steps * world if self.steps else epoch * whole) + step * world + rank
        lap, place = divmod(turn, whole)
        first, second = people.grouped.genuine(people.shuffled(n, (*seed, lap, 7))[place * half : (place + 1) * half])
        impostor = people.grouped.impostors(first, np.random.default_rng([*seed, turn, 8]))
        both = np.stack([np.concatenate([first, first]), np.concatenate([second, impostor])])
        return _plan(both, (*seed, epoch, step, rank))


def _chosen(people: People) -> np.ndarray:
    if people.pairs is None or not people.pairs.shape[1]:
        raise DataError(
            "chosen_pair_sampler trains on the pairs that the split protocol chose, and this one chose none: "
            "set data/split=image_disjoint, or another data/sampler"
        )
    return people.pairs


def _plan(rows: np.ndarray, seed: tuple[int, ...]) -> BatchPlan:
    """A batch of explicit pairs, (2, n) rows, in which every picture is loaded once."""
    indices, positions = np.unique(rows, return_inverse=True)
    return BatchPlan(indices, positions.reshape(2, -1), seed)


def _turns(people: np.ndarray, rng: np.random.Generator) -> Iterator[int]:
    """Everybody once in random order, again and again: nobody is met more often than another by more than once."""
    while True:
        yield from rng.permutation(people).tolist()


class SequentialBatches:
    """Every row once, in order, without augmentation: for evaluation. Process ``rank`` of ``world`` takes each world-th batch."""

    def __init__(self, n: int, size: int, rank: int = 0, world: int = 1) -> None:
        self._plans = [BatchPlan(i) for i in np.array_split(np.arange(n), range(size, n, size))][rank::world]

    def __len__(self) -> int:
        return len(self._plans)

    def __iter__(self) -> Iterator[BatchPlan]:
        return iter(self._plans)
