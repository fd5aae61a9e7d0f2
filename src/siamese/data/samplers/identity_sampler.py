"""P identities, K images of each, in every batch."""

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

    def default_steps(self, people: IdentityRows) -> int:
        pictures = sum(len(people.rows[i]) for i in people.several)
        return -(-pictures // (self.people * self.images))

    def plan(self, people: IdentityRows, seed: tuple[int, ...], epoch: int, step: int, rank: int, world: int) -> BatchPlan:
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
