"""Split protocols: which pictures are trained on, which the threshold is chosen on, and which both are tested on."""

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

SPLITS = ("train", "calibration", "test")
ALL_SPLITS = ("train", "calibration", "validation", "test")


@dataclass(frozen=True)
class Split:
    """What a split protocol decided.

    Attributes:
        rows: split name -> (n,) int64 ascending row numbers of the table.
        pairs: split name -> (2, m) int64 positions in ``rows[name]``, left above right, where the protocol itself chooses pairs.
    """

    rows: dict[str, np.ndarray]
    pairs: dict[str, np.ndarray] = field(default_factory=dict)


class SplitProtocol:
    """Base of the rules that split a table: value objects, a pure function of the table and the seed.

    The splits are called train, calibration, validation and test. The threshold is chosen on calibration, or, where a protocol
    makes none, on validation.
    """

    def __call__(self, table: IdentityTable, seed: int = 0) -> Split:
        """Split a table.

        Raises:
            SplitError: the table cannot be split so.
        """
        raise NotImplementedError


SPLIT_PROTOCOLS: Registry[SplitProtocol] = Registry("split protocol")

# Which two splits may show the same person, by protocol; any other pair of splits never does.
MAY_SHARE: dict[str, frozenset[frozenset[str]]] = {
    "identity_disjoint": frozenset(),
    "held_out_identities": frozenset({frozenset({"train", "validation"}), frozenset({"calibration", "validation"})}),
    "image_disjoint": frozenset(frozenset(two) for two in itertools.combinations(ALL_SPLITS, 2)),
}


















def _has_both_kinds(identities: Sequence[str]) -> bool:
    counts = Counter(identities)
    return len(counts) > 1 and max(counts.values()) > 1


