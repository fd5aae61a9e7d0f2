"""SplitProtocol: the base of the rules that divide a data set into training and test splits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np

from siamese.datasets.identities import IdentityTable
from siamese.registry import Registry

SPLITS = ("train", "calibration", "test")
ALL_SPLITS = ("train", "calibration", "validation", "test")


@dataclass(frozen=True)
class Split:
    """What a split protocol decided.

    Attributes:
        rows: split name -> (n,) int64 ascending row numbers of the table.
        pairs: split name -> (2, m) int64 positions in ``rows[name]``, left above right, where the
            protocol itself chooses pairs.
    """

    rows: dict[str, np.ndarray]
    pairs: dict[str, np.ndarray] = field(default_factory=dict)


class SplitProtocol:
    """Base of the rules that split a table.

    They are value objects: a pure function of the table and the seed. The splits are called train,
    calibration, validation and test. The threshold is chosen on calibration, or, where a protocol
    makes none, on validation.

    Attributes:
        may_share: which two splits may show the same identity; any other two never do.
        is_given: whether others chose who is in which split, for all who state figures on it: then
            images that are in two splits as different files stay.
    """

    is_given: ClassVar[bool] = False

    may_share: ClassVar[frozenset[frozenset[str]]] = frozenset()

    def __call__(self, table: IdentityTable, seed: int = 0) -> Split:
        """Split a table.

        Raises:
            SplitError: the table cannot be split like this.
        """
        raise NotImplementedError

    def look_for_files(self, root: Path) -> None:
        """Look for what a split needs beside the images; so that it is missed at once.

        Args:
            root: the folder of the images.

        Raises:
            SplitError: a file is missing.
        """

    @classmethod
    def caution(cls, calibrating: str) -> str:
        """What must stand beside the figures where splits share identities; empty otherwise.

        Args:
            calibrating: the split that the threshold is chosen on.
        """
        return ""


SPLIT_PROTOCOLS: Registry[SplitProtocol] = Registry(
    "split protocol",
    "SPLIT_PROTOCOLS",
    "siamese.data.split_protocols",
    renamed={"held_out_people": "held_out_identities"},
)


def has_both_kinds(table: IdentityTable, rows: Sequence[int] | np.ndarray) -> bool:
    """Whether the images of these rows form a genuine and an impostor pair."""
    counts = np.bincount(table.labels[np.asarray(rows, dtype=np.int64)])
    return int((counts > 0).sum()) > 1 and int(counts.max()) > 1
