"""OrderedPairSampler: every ordered genuine pair, each with a random impostor pair."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from siamese.data.samplers.base import BatchPlan, IdentityRows, Sampler, pair_plan


@dataclass(frozen=True)
class OrderedPairSampler(Sampler):
    """Every ordered genuine pair (a, b) once, and for each a random impostor pair (a, c).

    The impostor pairs are new in every epoch. It is the rule of face-similarity-pytorch (2019):
    identities with many images are seen most.

    Args:
        pairs: pairs in a batch, half of them genuine, even, >= 2.
        steps: batches in an epoch; by default as many as show each genuine pair once. With fewer,
            the next epochs continue with the rest: LFW has 484,514 ordered genuine pairs, more than
            half of them of one identity.
    """

    pairs: int = 64
    steps: int | None = None

    def __post_init__(self) -> None:
        if self.pairs < 2 or self.pairs % 2:
            raise ValueError(f"pairs must be even and at least 2, not {self.pairs}")

    def default_steps(self, identities: IdentityRows) -> int:
        return -(-identities.groups.ordered_genuine // (self.pairs // 2))

    def plan(
        self,
        identities: IdentityRows,
        seed: tuple[int, ...],
        epoch: int,
        step: int,
        rank: int,
        world: int,
    ) -> BatchPlan:
        half, n = self.pairs // 2, identities.groups.ordered_genuine
        whole = -(-n // half)
        turn = (epoch * self.steps * world if self.steps else epoch * whole) + step * world + rank
        lap, place = divmod(turn, whole)
        first, second = identities.groups.genuine(
            identities.shuffled(n, (*seed, lap, 7))[place * half : (place + 1) * half]
        )
        impostor = identities.groups.impostors(first, np.random.default_rng([*seed, turn, 8]))
        both = np.stack([np.concatenate([first, first]), np.concatenate([second, impostor])])
        return pair_plan(both, (*seed, epoch, step, rank))
