"""OrderedPairs: every ordered genuine pair, each with a random impostor pair."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from siamese.bounds import check_whole
from siamese.pairs.base import MAX_PAIRS, MOST_ROWS, PAIR_RULES, PairRule, Pairs, labels_of
from siamese.pairs.groups import IdentityGroups


@PAIR_RULES.register("ordered_pairs")
@dataclass(frozen=True)
class OrderedPairs(PairRule):
    """Every ordered genuine pair (a, b), and for each a random impostor pair (a, c).

    Prevalence is one half. Both (a, b) and (b, a) occur, each with an impostor pair of its own
    first image. An identity with n images is in n (n - 1) genuine pairs, so identities with many
    images dominate. Impostors are drawn from all other images with equal probability and may
    repeat. It is the rule of face-similarity-pytorch (2019).

    Args:
        limit: largest number of genuine pairs, >= 1; if there are more, a random part of them.
        seed: the same seed and labels give the same pairs.
    """

    limit: int = 6_000
    seed: int = 0

    def __post_init__(self) -> None:
        check_whole("limit of ordered_pairs", self.limit, 1, MOST_ROWS)
        check_whole("seed of ordered_pairs", self.seed, 0, MOST_ROWS)

    def __call__(self, labels: np.ndarray) -> Pairs:
        rng = np.random.default_rng([self.seed, 5])
        groups = IdentityGroups(labels_of(labels))
        total = groups.ordered_genuine
        # No impostor pair or no genuine pair: the caller says what is missing.
        if len(groups.sizes) < 2 or not total:
            none = np.zeros(0, dtype=np.int64)
            return Pairs(none, none, none.astype(bool))
        if total <= self.limit:
            chosen = np.arange(total)
        elif total <= MAX_PAIRS:
            chosen = np.sort(rng.permutation(total)[: self.limit])
        else:
            chosen = np.sort(rng.choice(total, self.limit, replace=False, shuffle=False))
        first, second = groups.genuine(chosen)
        impostor = groups.impostors(first, rng)
        left, right = np.concatenate([first, first]), np.concatenate([second, impostor])
        return Pairs(left, right, np.arange(len(left)) < len(first))
