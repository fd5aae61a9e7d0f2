"""IdentitySampler: P identities, K images of each, in every batch."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from siamese.data.samplers.base import BatchPlan, IdentityRows, Sampler


@dataclass(frozen=True)
class IdentitySampler(Sampler):
    """P identities, K images of each, and all pairs among them.

    Source: Hermans et al., *In Defense of the Triplet Loss*, 2017. Identities with one image form
    no genuine pair and are not drawn; of identities with fewer than K images all are taken. An
    epoch goes through shuffled lists of identities, so that each is drawn equally often.

    Args:
        identities: P >= 2, identities in a batch (fewer if there are not so many).
        images: K >= 2, images of each.
        steps: batches in an epoch; by default as many as show each image about once.
    """

    identities: int = 16
    images: int = 4
    steps: int | None = None

    def __post_init__(self) -> None:
        if self.identities < 2 or self.images < 2:
            raise ValueError(
                f"identities and images must be at least 2, not {self.identities} and {self.images}"
            )

    def default_steps(self, identities: IdentityRows) -> int:
        images = sum(len(identities.rows[i]) for i in identities.several)
        return -(-images // (self.identities * self.images))

    def plan(
        self,
        identities: IdentityRows,
        seed: tuple[int, ...],
        epoch: int,
        step: int,
        rank: int,
        world: int,
    ) -> BatchPlan:
        turn = step * world + rank
        rng = np.random.default_rng([*seed, epoch, 1, turn])
        n, size = len(identities.several), min(self.identities, len(identities.several))
        # A shuffled list is repeated until all its identities were drawn equally often; then
        # another list follows.
        number, place = divmod(turn, n // math.gcd(n, size))
        shuffled = np.random.default_rng([*seed, epoch, 0, number]).permutation(identities.several)
        chosen = shuffled[(place * size + np.arange(size)) % n]
        if size < 2:  # only one identity has several images: the others are its impostors
            others = np.setdiff1d(np.arange(len(identities.rows)), chosen)
            chosen = np.concatenate([chosen, rng.permutation(others)[: self.identities - 1]])
        drawn = [
            rng.choice(rows := identities.rows[p], min(self.images, len(rows)), replace=False)
            for p in chosen
        ]
        return BatchPlan(np.concatenate(drawn), None, (*seed, epoch, step, rank))
