"""BalancedPairSampler: explicit pairs, half of them genuine."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from siamese.data.samplers.base import BatchPlan, IdentityRows, Sampler, pair_plan


@dataclass(frozen=True)
class BalancedPairSampler(Sampler):
    """Explicit pairs, half genuine and half impostor; identities are drawn first, then images.

    So an identity with 500 images is drawn no more often than one with two. No pair occurs twice in
    a batch, order ignored, and an image that is in several pairs is loaded, and encoded, once.

    Args:
        pairs: pairs in a batch, even, >= 2.
        steps: batches in an epoch; by default as many as show each image about once.
    """

    pairs: int = 64
    steps: int | None = None

    def __post_init__(self) -> None:
        if self.pairs < 2 or self.pairs % 2:
            raise ValueError(f"pairs must be even and at least 2, not {self.pairs}")

    def default_steps(self, identities: IdentityRows) -> int:
        return -(-len(identities.labels) // (2 * self.pairs))

    def plan(
        self,
        identities: IdentityRows,
        seed: tuple[int, ...],
        epoch: int,
        step: int,
        rank: int,
        world: int,
    ) -> BatchPlan:
        rng = np.random.default_rng([*seed, epoch, 2, step * world + rank])
        pairs: dict[tuple[int, int], None] = {}
        genuine = _turns(identities.several, rng)
        every = _turns(np.arange(len(identities.rows)), rng)
        for same in (True, False):
            target = len(pairs) + self.pairs // 2
            # Not forever: a small data set may not have so many different pairs.
            for _ in range(20 * self.pairs):
                if len(pairs) == target:
                    break
                if same:
                    a, b = rng.choice(identities.rows[next(genuine)], 2, replace=False)
                else:
                    one, other = next(every), next(every)
                    if one == other:  # the last of one list and the first of the next
                        continue
                    a, b = rng.choice(identities.rows[one]), rng.choice(identities.rows[other])
                pairs[(min(a, b), max(a, b))] = None
        return pair_plan(np.array(list(pairs), dtype=np.int64).T, (*seed, epoch, step, rank))


def _turns(identities: np.ndarray, rng: np.random.Generator) -> Iterator[int]:
    """Each identity once in random order, again and again.

    So the numbers of times that two identities were drawn differ by one at most.
    """
    while True:
        yield from rng.permutation(identities).tolist()
