"""Explicit pairs, half of them genuine."""

from __future__ import annotations
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
import numpy as np
from siamese.errors import DataError
from siamese.pairs.grouped import Grouped
from siamese.data.samplers.base import BatchPlan
from siamese.data.samplers.base import IdentityRows
from siamese.data.samplers.base import Sampler
from siamese.data.samplers.base import pair_plan


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

    def default_steps(self, people: IdentityRows) -> int:
        return -(-sum(len(rows) for rows in people.rows) // (2 * self.pairs))

    def plan(self, people: IdentityRows, seed: tuple[int, ...], epoch: int, step: int, rank: int, world: int) -> BatchPlan:
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


def _turns(people: np.ndarray, rng: np.random.Generator) -> Iterator[int]:
    """Everybody once in random order, again and again: nobody is met more often than another by more than once."""
    while True:
        yield from rng.permutation(people).tolist()
