"""BalancedPairs: as many impostor pairs as genuine ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from siamese.bounds import check_whole
from siamese.errors import CalibrationError
from siamese.pairs.base import MAX_PAIRS, MOST_ROWS, PAIR_RULES, PairRule, Pairs, labels_of


@PAIR_RULES.register("balanced_pairs")
@dataclass(frozen=True)
class BalancedPairs(PairRule):
    """As many impostor pairs as genuine ones: prevalence one half.

    All genuine pairs, if they are at most ``limit``; otherwise ``limit`` different ones, identities
    drawn first and then their images, so that an identity with 500 images does not dominate.
    Impostor pairs are drawn in the same way: two identities, then an image of each. No pair occurs
    twice, order ignored. Where there are fewer impostor pairs than genuine ones, all are taken, and
    only as many genuine ones.

    Args:
        limit: largest number of genuine pairs, >= 1.
        seed: the same seed and labels give the same pairs.
    """

    limit: int = 10_000
    seed: int = 0

    def __post_init__(self) -> None:
        check_whole("limit of balanced_pairs", self.limit, 1, MOST_ROWS)
        check_whole("seed of balanced_pairs", self.seed, 0, MOST_ROWS)

    def __call__(self, labels: np.ndarray) -> Pairs:
        labels = labels_of(labels)
        rng = np.random.default_rng([self.seed, 3])
        order = np.argsort(labels, kind="stable")
        bounds = np.flatnonzero(labels[order][1:] != labels[order][:-1]) + 1
        rows = np.split(order, bounds)
        sizes = np.array([len(r) for r in rows], dtype=np.int64)
        n_genuine = int((sizes * (sizes - 1) // 2).sum())
        n_impostor = int(len(labels) * (len(labels) - 1) // 2) - n_genuine
        target = min(self.limit, n_genuine, n_impostor)
        several = np.flatnonzero(sizes > 1)

        def genuine_draw(k: int) -> np.ndarray:
            identity = rng.choice(several, k)
            a = rng.integers(0, sizes[identity])
            b = (a + rng.integers(1, sizes[identity])) % sizes[identity]
            return np.stack([starts[identity] + a, starts[identity] + b])

        def impostor_draw(k: int) -> np.ndarray:
            one = rng.integers(0, len(rows), k)
            other = (one + rng.integers(1, len(rows), k)) % len(rows)
            return np.stack([starts[p] + rng.integers(0, sizes[p]) for p in (one, other)])

        starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
        genuine = _distinct(
            genuine_draw, target, n_genuine, lambda: _all_genuine(starts, sizes), rng
        )
        impostor = _distinct(
            impostor_draw, target, n_impostor, lambda: _all_impostor(labels[order]), rng
        )
        left, right = order[np.concatenate([genuine, impostor], axis=1)]
        same = np.arange(2 * target) < target
        return Pairs(np.minimum(left, right), np.maximum(left, right), same)


def _distinct(
    draw: Any, target: int, available: int, everything: Any, rng: np.random.Generator
) -> np.ndarray:
    """(2, target) different pairs.

    They are drawn, or, where nearly all that exist are wanted, a random part of the whole list.
    """
    if target == available or (2 * target > available and available <= MAX_PAIRS):
        whole: np.ndarray = everything()
        return (
            whole
            if target == available
            else whole[:, np.sort(rng.permutation(whole.shape[1])[:target])]
        )
    found = np.zeros((2, 0), dtype=np.int64)
    for _ in range(10_000):
        fresh = np.sort(draw(target), axis=0)
        found = np.concatenate([found, fresh], axis=1)
        _, first = np.unique(found[0] << 32 | found[1], return_index=True)
        # In the order of drawing: cutting off the surplus must not favour small row numbers.
        found = found[:, np.sort(first)]
        if found.shape[1] >= target:
            return found[:, :target]
    raise CalibrationError(
        f"could not draw {target:,} different pairs of {available:,}; lower the limit of "
        f"balanced_pairs"
    )


def _all_genuine(starts: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    parts = [
        start + np.stack(np.triu_indices(size, 1))
        for start, size in zip(starts, sizes, strict=True)
    ]
    return np.concatenate(parts, axis=1) if parts else np.zeros((2, 0), dtype=np.int64)


def _all_impostor(labels: np.ndarray) -> np.ndarray:
    pairs = np.stack(np.triu_indices(len(labels), 1))
    return pairs[:, labels[pairs[0]] != labels[pairs[1]]]
