"""ImageDisjoint: pairs of images are chosen, and no image is in two splits."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from siamese.data.split_protocols.base import (
    ALL_SPLITS,
    SPLIT_PROTOCOLS,
    Split,
    SplitProtocol,
)
from siamese.datasets.identities import IdentityTable
from siamese.errors import SplitError
from siamese.pairs.balanced_pairs import BalancedPairs


@SPLIT_PROTOCOLS.register("image_disjoint")
@dataclass(frozen=True)
class ImageDisjoint(SplitProtocol):
    """Pairs are chosen, and no image is in the pairs of two splits; identities may be.

    So its figures do not hold for unknown identities. Validation is chosen first, then test, then
    calibration, then train from all that is left, each half genuine and half impostor, identities
    drawn first and then their images, no pair twice. A split that is chosen early is hardly skewed
    towards the few identities with many images. It is the protocol of face-comparer (2016), but
    that one chooses test last, has no calibration split, and judges by a fixed threshold. Train
    keeps all images that are left, whether or not they are in its pairs.

    Args:
        train, validation, test: numbers of pairs, even, >= 2.
        calibration: as these, or 0: then the threshold is chosen on validation.
    """

    may_share: ClassVar[frozenset[frozenset[str]]] = frozenset(
        frozenset(two) for two in itertools.combinations(ALL_SPLITS, 2)
    )

    train: int = 40_000
    validation: int = 256
    test: int = 256
    calibration: int = 0

    def __post_init__(self) -> None:
        for name in ALL_SPLITS:
            number = getattr(self, name)
            if (
                not isinstance(number, int)
                or number % 2
                or number < (0 if name == "calibration" else 2)
            ):
                raise SplitError(
                    f"image_disjoint needs even numbers of pairs of at least 2, not "
                    f"{name}={number}: change data.split.{name}"
                )

    @classmethod
    def caution(cls, calibrating: str) -> str:
        return (
            "image_disjoint: no image is in two splits, but identities are; "
            "not the figures of strangers"
        )

    def __call__(self, table: IdentityTable, seed: int = 0) -> Split:
        left = np.arange(len(table))
        rows: dict[str, np.ndarray] = {}
        pairs: dict[str, np.ndarray] = {}
        for turn, name in enumerate(("validation", "test", "calibration", "train")):
            wanted = getattr(self, name)
            if not wanted:
                continue
            own_seed = int(np.random.SeedSequence([seed, 12, turn]).generate_state(1)[0])
            drawn = BalancedPairs(wanted // 2, own_seed)(table.labels[left])
            if len(drawn) < wanted:
                before = ", ".join(f"data.split.{n}" for n in rows) or f"data.split.{name}"
                enough = name == "train" and len(drawn) >= 2
                remedy = f"set data.split.train={len(drawn)}" if enough else f"lower {before}"
                raise SplitError(
                    f"{table.name} has {len(drawn):,} different balanced pairs left for {name}, "
                    f"not {wanted:,}: add images or {remedy}"
                )
            both = np.stack([drawn.left, drawn.right])
            used = np.arange(len(left)) if name == "train" else np.unique(both)
            rows[name], pairs[name] = left[used], np.searchsorted(used, both)
            left = np.delete(left, used)
        return Split(
            {n: rows[n] for n in ALL_SPLITS if n in rows},
            {n: pairs[n] for n in ALL_SPLITS if n in pairs},
        )
