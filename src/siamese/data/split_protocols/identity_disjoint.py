"""IdentityDisjoint: identities, not images, are divided, so that none is in two splits."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from siamese.data.split_protocols.base import (
    SPLIT_PROTOCOLS,
    SPLITS,
    Split,
    SplitProtocol,
    has_both_kinds,
)
from siamese.datasets.identities import IdentityTable
from siamese.errors import SplitError


@SPLIT_PROTOCOLS.register("identity_disjoint")
@dataclass(frozen=True)
class IdentityDisjoint(SplitProtocol):
    """No identity is in two splits, see :func:`split_identities`.

    Args:
        shares: of the identities, for train, calibration and test: three numbers > 0 in proportion.
    """

    shares: Sequence[float] = (0.6, 0.2, 0.2)

    def __call__(self, table: IdentityTable, seed: int = 0) -> Split:
        return Split(split_identities(table, self.shares, seed))


def split_identities(
    table: IdentityTable, shares: Sequence[float] = (0.6, 0.2, 0.2), seed: int = 0
) -> dict[str, np.ndarray]:
    """Divide identities, not images, into train, calibration and test.

    Identities are sorted by their number of images, equal ones in random order. Along that list the
    three splits take turns in proportion to their shares, in random order within each turn. So the
    splits are similar in the numbers of images per identity: each gets its part of the identities
    with many, few and single images.

    Args:
        table: which identity each image shows.
        shares: of the identities, for train, calibration and test: three numbers > 0 in proportion,
            (0.6, 0.2, 0.2) or (24, 8, 8).
        seed: the same seed and identities give the same split, whatever the names of the files.

    Returns:
        split name -> (n,) int64 ascending row numbers of ``table``.

    Raises:
        SplitError: too few identities, or a split without two images of one identity or without a
            second identity.
    """
    if len(shares) != len(SPLITS) or any(not 0 < s < math.inf for s in shares):
        raise SplitError(
            f"shares must be three numbers above 0 (train, calibration, test), not {tuple(shares)}"
        )
    several = int((table.sizes > 1).sum())
    if len(table.distinct_identities) < 2 * len(SPLITS):
        raise SplitError(
            f"{table.name} has {len(table.distinct_identities)} "
            f"{'identity' if len(table.distinct_identities) == 1 else 'identities'}; a split into "
            f"train, calibration and test needs at least 6 identities, two in each: add identities"
        )
    if several < len(SPLITS):
        raise SplitError(
            f"{table.name} has {several} identities with two images or more; a split needs at "
            f"least 3, one in each of train, calibration and test, to form pairs of the same "
            f"identity: add images"
        )
    rng = np.random.default_rng(seed)
    numbers = _numbers(len(table.distinct_identities), shares)
    # Where few identities have several images, a split may get none of them: then all are drawn
    # again.
    for _ in range(1000):
        rows = _deal(table, numbers, rng)
        poor = [split for split in SPLITS if not has_both_kinds(table, rows[split])]
        if not poor:
            return rows
    got = np.bincount(table.labels[rows[poor[0]]])
    raise SplitError(
        f"the {poor[0]} split of {table.name} got {(got > 0).sum()} identities, "
        f"{(got > 1).sum()} of them with two images or more; it needs two "
        f"identities and a pair of the same identity: add data or change data.split.shares"
    )


def _numbers(identities: int, shares: Sequence[float]) -> list[int]:
    """Identities per split: the shares by largest remainder, but two where it would be one.

    One identity alone forms no impostor pair.
    """
    exact = [identities * s / sum(shares) for s in shares]
    numbers = [int(x) for x in exact]
    for i in sorted(range(len(exact)), key=lambda i: numbers[i] - exact[i])[
        : identities - sum(numbers)
    ]:
        numbers[i] += 1
    for i, number in enumerate(exact):
        if number >= 1 and numbers[i] < 2 and max(numbers) > 2:
            numbers[numbers.index(max(numbers))] -= 1
            numbers[i] += 1
    return numbers


def _deal(
    table: IdentityTable, numbers: Sequence[int], rng: np.random.Generator
) -> dict[str, np.ndarray]:
    identities = rng.permutation(len(table.distinct_identities))
    # Most images first, so that the identities that can form genuine pairs are divided evenly.
    identities = identities[np.argsort(-table.sizes[identities], kind="stable")]
    owner = np.empty(len(identities), dtype=np.int64)
    owner[identities] = _turns(len(identities), numbers, rng)
    turn = owner[table.labels]
    return {split: np.flatnonzero(turn == i) for i, split in enumerate(SPLITS)}


def _turns(n: int, shares: Sequence[float], rng: np.random.Generator) -> list[int]:
    """Which of the splits each of n identities belongs to, in order.

    Whole turns keep the exact shares; the order within a turn is random.
    """
    share = np.array(shares, dtype=float) / sum(shares)
    given = np.zeros(len(SPLITS))
    order = []
    for i in range(n):
        behind = share * (i + 1) - given
        turn = int(np.argmax(behind.round(9)))
        given[turn] += 1
        order.append(turn)
    period = max(1, round(1 / share[share > 0].min()))
    for start in range(0, n, period):
        rng.shuffle(view := np.array(order[start : start + period]))
        order[start : start + period] = view.tolist()
    return order
