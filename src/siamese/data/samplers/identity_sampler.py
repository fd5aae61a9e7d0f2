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

    With ``most`` an identity is drawn in proportion to its number of images n, as min(n, most), and
    those with one image are drawn, too. They form impostor pairs, and a classifier of the training
    identities learns them: of most people in the wild there is only one photograph.

    Args:
        identities: P >= 2, identities in a batch (fewer if there are not so many).
        images: K >= 2, images of each.
        steps: batches in an epoch; by default as many as show each image about once.
        most: images of an identity that count for how often it is drawn, >= 1; None for equally
            often, and for identities with two images or more alone.
    """

    identities: int = 16
    images: int = 4
    steps: int | None = None
    most: int | None = None

    def __post_init__(self) -> None:
        if self.identities < 2 or self.images < 2:
            raise ValueError(
                f"identities and images must be at least 2, not {self.identities} and {self.images}"
            )
        if self.most is not None and self.most < 1:
            raise ValueError(f"most must be at least 1, or None, not {self.most}")

    def default_steps(self, identities: IdentityRows) -> int:
        drawn = identities.sizes if self.most else identities.sizes[identities.several]
        return -(-int(drawn.sum()) // (self.identities * self.images))

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
        if self.most is not None:
            chosen = self._by_size(identities, self.most, rng)
        else:
            chosen = self._in_turn(identities, seed, epoch, turn, rng)
        drawn = [
            rng.choice(rows := identities.rows[p], min(self.images, len(rows)), replace=False)
            for p in chosen
        ]
        return BatchPlan(np.concatenate(drawn), None, (*seed, epoch, step, rank))

    def _by_size(self, identities: IdentityRows, most: int, rng: np.random.Generator) -> np.ndarray:
        """P identities, each in proportion to its images; one of them at least has several."""
        weight = np.minimum(identities.sizes, most)
        size = min(self.identities, len(weight))
        chosen = rng.choice(len(weight), size, replace=False, p=weight / weight.sum())
        if not (identities.sizes[chosen] > 1).any():  # there would be no genuine pair
            chosen[0] = rng.choice(identities.several)
        return chosen

    def _in_turn(
        self,
        identities: IdentityRows,
        seed: tuple[int, ...],
        epoch: int,
        turn: int,
        rng: np.random.Generator,
    ) -> np.ndarray:
        """P identities from shuffled lists of those with several images."""
        n, size = len(identities.several), min(self.identities, len(identities.several))
        # A shuffled list is repeated until all its identities were drawn equally often; then
        # another list follows.
        number, place = divmod(turn, n // math.gcd(n, size))
        shuffled = np.random.default_rng([*seed, epoch, 0, number]).permutation(identities.several)
        chosen = shuffled[(place * size + np.arange(size)) % n]
        if size < 2:  # only one identity has several images: the others are its impostors
            others = np.setdiff1d(np.arange(len(identities.rows)), chosen)
            chosen = np.concatenate([chosen, rng.permutation(others)[: self.identities - 1]])
        return chosen
