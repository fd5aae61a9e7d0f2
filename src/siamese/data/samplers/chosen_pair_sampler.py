"""ChosenPairSampler: the pairs that the split protocol chose."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from siamese.data.samplers.base import BatchPlan, IdentityRows, Sampler, pair_plan
from siamese.errors import DataError


@dataclass(frozen=True)
class ChosenPairSampler(Sampler):
    """The pairs that the split protocol chose for training, each once in an epoch.

    They come in random order. ``image_disjoint`` is such a protocol. An image that is in several
    pairs of a batch is loaded, and encoded, once.

    Args:
        pairs: pairs in a batch, >= 2.
        steps: batches in an epoch; by default as many as show each pair once. With fewer, the next
            epochs continue with the rest.
    """

    pairs: int = 128
    steps: int | None = None

    def __post_init__(self) -> None:
        if self.pairs < 2:
            raise ValueError(f"pairs must be at least 2, not {self.pairs}")

    def default_steps(self, identities: IdentityRows) -> int:
        return -(-int(_chosen(identities).shape[1]) // self.pairs)

    def plan(
        self,
        identities: IdentityRows,
        seed: tuple[int, ...],
        epoch: int,
        step: int,
        rank: int,
        world: int,
    ) -> BatchPlan:
        chosen = _chosen(identities)
        n = chosen.shape[1]
        whole = -(-n // self.pairs)  # batches that show every pair once
        turn = (epoch * self.steps * world if self.steps else epoch * whole) + step * world + rank
        lap, place = divmod(turn, whole)
        shuffled = identities.shuffled(n, (*seed, lap, 6))
        return pair_plan(
            chosen[:, shuffled[place * self.pairs : (place + 1) * self.pairs]],
            (*seed, epoch, step, rank),
        )


def _chosen(identities: IdentityRows) -> np.ndarray:
    if identities.pairs is None or not identities.pairs.shape[1]:
        raise DataError(
            "chosen_pair_sampler trains on the pairs that the split protocol chose, and this one "
            "chose none: set data/split=image_disjoint, or another data/sampler"
        )
    return identities.pairs
