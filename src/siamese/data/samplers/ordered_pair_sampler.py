"""Every ordered genuine pair, each with a random impostor pair."""

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

    def default_steps(self, people: IdentityRows) -> int:
        return -(-people.grouped.ordered_genuine // (self.pairs // 2))

    def plan(self, people: IdentityRows, seed: tuple[int, ...], epoch: int, step: int, rank: int, world: int) -> BatchPlan:
        half, n = self.pairs // 2, people.grouped.ordered_genuine
        whole = -(-n // half)
        turn = (epoch * self.steps * world if self.steps else epoch * whole) + step * world + rank
        lap, place = divmod(turn, whole)
        first, second = people.grouped.genuine(people.shuffled(n, (*seed, lap, 7))[place * half : (place + 1) * half])
        impostor = people.grouped.impostors(first, np.random.default_rng([*seed, turn, 8]))
        both = np.stack([np.concatenate([first, first]), np.concatenate([second, impostor])])
        return _plan(both, (*seed, epoch, step, rank))
