"""Some identities are held out for test; the others are on both sides of train and validation."""

from __future__ import annotations
import itertools
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
import numpy as np
from siamese.errors import SplitError
from siamese.datasets.identities import IdentityTable
from siamese.pairs.balanced_pairs import BalancedPairs
from siamese.registry import Registry
from siamese.data.split_protocols.base import ALL_SPLITS
from siamese.data.split_protocols.base import SPLIT_PROTOCOLS
from siamese.data.split_protocols.base import Split
from siamese.data.split_protocols.base import SplitProtocol
from siamese.data.split_protocols.base import has_both_kinds


@SPLIT_PROTOCOLS.register("held_out_identities")
@dataclass(frozen=True)
class HeldOutIdentities(SplitProtocol):
    """Some people are held out for test; the pictures of the others are divided into train and validation.

    So validation shows people who are trained on, in other pictures: its figures say nothing about strangers. The protocol of
    face-similarity-pytorch (2019), which chose its threshold there. With ``calibration`` > 0 some people are taken out of train
    altogether, and the threshold is chosen on them; test and validation stay as they were.

    Args:
        test: share of the people held out, in (0, 1).
        validation: share of the other people's pictures, in (0, 1).
        calibration: share of the other people whose remaining pictures go to calibration instead of train, in [0, 1).
    """

    test: float = 0.1
    validation: float = 0.2
    calibration: float = 0.0

    def __post_init__(self) -> None:
        if not (0 < self.test < 1 and 0 < self.validation < 1 and 0 <= self.calibration < 1):
            raise SplitError(
                f"held_out_identities needs shares test and validation in (0, 1) and calibration in [0, 1), not {self.test}, "
                f"{self.validation} and {self.calibration}: change data.split"
            )

    def __call__(self, table: IdentityTable, seed: int = 0) -> Split:
        rng = np.random.default_rng([seed, 11])
        people, labels = len(table.people), table.labels
        # As with cards: where few people have several pictures, a deal may leave a split without a genuine pair.
        for _ in range(1000):
            order = rng.permutation(people)
            n_test = max(1, round(self.test * people))
            tested = np.isin(labels, order[:n_test])
            others = rng.permutation(np.flatnonzero(~tested))
            validated = np.zeros(len(labels), dtype=bool)
            validated[others[: round(self.validation * len(others))]] = True
            masks = {"train": ~tested & ~validated, "validation": validated, "test": tested}
            poor = _poor(table, masks)
            if not poor:
                masks = self._calibrated(table, masks, order[n_test:], seed)
                return Split({name: np.flatnonzero(masks[name]) for name in ALL_SPLITS if name in masks})
        raise _refusal(table, poor[0])

    def _calibrated(
        self, table: IdentityTable, masks: dict[str, np.ndarray], others: np.ndarray, seed: int
    ) -> dict[str, np.ndarray]:
        """Some people's pictures moved from train to calibration; whoever they are, validation and test stay."""
        if not self.calibration:
            return masks
        rng, number = np.random.default_rng([seed, 13]), round(self.calibration * len(others))
        for _ in range(1000):
            moved = np.isin(table.labels, others[:number]) & masks["train"]
            dealt = masks | {"train": masks["train"] & ~moved, "calibration": moved}
            poor = _poor(table, dealt)
            if not poor:
                return dealt
            others = rng.permutation(others)
        raise _refusal(table, poor[0])


def _poor(table: IdentityTable, masks: dict[str, np.ndarray]) -> list[str]:
    """The splits without a genuine or without an impostor pair."""
    return [name for name, mask in masks.items() if not _has_both_kinds([table.identities[i] for i in np.flatnonzero(mask)])]


def _refusal(table: IdentityTable, poor: str) -> SplitError:
    return SplitError(
        f"the {poor} split of {table.name} ({len(table.people)} people, {len(table)} pictures) has no two people and no pair of "
        f"the same person: add data, or change data.split.{'test' if poor == 'train' else poor}"
    )
