"""HeldOutIdentities: test identities are held out; train and validation share the others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from siamese.data.split_protocols.base import (
    ALL_SPLITS,
    SPLIT_PROTOCOLS,
    Split,
    SplitProtocol,
    has_both_kinds,
)
from siamese.datasets.identities import IdentityTable
from siamese.errors import SplitError


@SPLIT_PROTOCOLS.register("held_out_identities")
@dataclass(frozen=True)
class HeldOutIdentities(SplitProtocol):
    """Some identities are held out for test; train and validation share the others' images.

    So validation shows identities that are trained on, in other images: its figures say nothing
    about unknown identities. It is the protocol of face-similarity-pytorch (2019), which chose its
    threshold there. With ``calibration`` > 0 some identities are taken out of train completely, and
    the threshold is chosen on them; test and validation stay the same.

    Args:
        test: share of the identities held out, in (0, 1).
        validation: share of the other identities' images, in (0, 1).
        calibration: share of the other identities whose remaining images go to calibration instead
            of train, in [0, 1).
    """

    may_share: ClassVar[frozenset[frozenset[str]]] = frozenset(
        {frozenset({"train", "validation"}), frozenset({"calibration", "validation"})}
    )

    test: float = 0.1
    validation: float = 0.2
    calibration: float = 0.0

    def __post_init__(self) -> None:
        if not (0 < self.test < 1 and 0 < self.validation < 1 and 0 <= self.calibration < 1):
            raise SplitError(
                f"held_out_identities needs shares test and validation in (0, 1) and calibration "
                f"in [0, 1), not {self.test}, {self.validation} and {self.calibration}: change "
                f"data.split"
            )

    @classmethod
    def caution(cls, calibrating: str) -> str:
        if calibrating == "validation":
            return (
                "held_out_identities: validation shows identities of train, and the threshold was "
                "chosen there; test shows strangers"
            )
        return (
            "held_out_identities: validation shows identities of train and calibration in other "
            "images; test shows strangers"
        )

    def __call__(self, table: IdentityTable, seed: int = 0) -> Split:
        rng = np.random.default_rng([seed, 11])
        identities, labels = len(table.distinct_identities), table.labels
        # Where few identities have several images, a split may get no genuine pair: then it is
        # drawn again.
        for _ in range(1000):
            order = rng.permutation(identities)
            n_test = max(1, round(self.test * identities))
            tested = np.isin(labels, order[:n_test])
            others = rng.permutation(np.flatnonzero(~tested))
            validated = np.zeros(len(labels), dtype=bool)
            validated[others[: round(self.validation * len(others))]] = True
            masks = {"train": ~tested & ~validated, "validation": validated, "test": tested}
            poor = _poor(table, masks)
            if not poor:
                masks = self._add_calibration(table, masks, order[n_test:], seed)
                return Split(
                    {name: np.flatnonzero(masks[name]) for name in ALL_SPLITS if name in masks}
                )
        raise _refusal(table, poor[0])

    def _add_calibration(
        self, table: IdentityTable, masks: dict[str, np.ndarray], others: np.ndarray, seed: int
    ) -> dict[str, np.ndarray]:
        """The splits, with some identities' images moved from train to calibration.

        Validation and test stay the same.
        """
        if not self.calibration:
            return masks
        rng, number = np.random.default_rng([seed, 13]), round(self.calibration * len(others))
        for _ in range(1000):
            moved = np.isin(table.labels, others[:number]) & masks["train"]
            drawn = masks | {"train": masks["train"] & ~moved, "calibration": moved}
            poor = _poor(table, drawn)
            if not poor:
                return drawn
            others = rng.permutation(others)
        raise _refusal(table, poor[0])


def _poor(table: IdentityTable, masks: dict[str, np.ndarray]) -> list[str]:
    """The splits without a genuine or without an impostor pair."""
    return [name for name, mask in masks.items() if not has_both_kinds(table, np.flatnonzero(mask))]


def _refusal(table: IdentityTable, poor: str) -> SplitError:
    return SplitError(
        f"the {poor} split of {table.name} ({len(table.distinct_identities)} identities, "
        f"{len(table)} images) has no two identities and no pair of the same identity: add data, "
        f"or change data.split.{'test' if poor == 'train' else poor}"
    )
