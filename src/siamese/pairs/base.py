"""PairRule: the base of the rules that choose which pairs are compared.

A pair is two row numbers of one embedding matrix and whether they show the same identity.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from siamese.errors import CalibrationError
from siamese.registry import Registry

# What an operating point calls pairs that no rule can draw again.
FIXED = "fixed_pairs"
# Beyond this number, all pairs take gigabytes and their intervals minutes.
MAX_PAIRS = 5_000_000


@dataclass(frozen=True)
class Pairs:
    """n pairs of rows.

    Attributes:
        left, right: (n,) int64 row numbers.
        same: (n,) bool, True for a genuine pair (same identity).

    Raises:
        CalibrationError: arrays of different lengths or not one-dimensional.
    """

    left: np.ndarray
    right: np.ndarray
    same: np.ndarray

    def __post_init__(self) -> None:
        shapes = {np.shape(self.left), np.shape(self.right), np.shape(self.same)}
        if len(shapes) != 1 or len(shapes.pop()) != 1:
            raise CalibrationError(
                "left, right and same must be one-dimensional and equally long; give one entry "
                "per pair"
            )

    def __len__(self) -> int:
        return len(self.left)

    @property
    def genuine(self) -> int:
        """Number of pairs of the same identity."""
        return int(np.count_nonzero(self.same))

    @property
    def impostor(self) -> int:
        """Number of pairs of different identities."""
        return len(self) - self.genuine

    def __repr__(self) -> str:
        return f"Pairs({self.genuine:,} genuine, {self.impostor:,} impostor)"


class PairRule:
    """Base of the rules that choose pairs: a pure function of the labels, repeatable anywhere.

    Attributes:
        exhaustive: whether the rule takes every pair; very many of them are then counted without
            being held in memory.
    """

    exhaustive: ClassVar[bool] = False

    def __call__(self, labels: np.ndarray) -> Pairs:
        """Choose pairs.

        Args:
            labels: (N,) integers, one number per identity.
        """
        raise NotImplementedError

    def counts(self, labels: np.ndarray) -> tuple[int, int]:
        """Numbers of genuine and impostor pairs that the rule chooses."""
        pairs = self(labels)
        return pairs.genuine, pairs.impostor

    def describe(self) -> dict[str, Any]:
        """Name and settings, as an operating point records them."""
        return PAIR_RULES.settings(self)


PAIR_RULES: Registry[PairRule] = Registry("pair rule", "PAIR_RULES", "siamese.pairs")


def as_pair_rule(pairs: str | PairRule) -> PairRule:
    """A pair rule from itself or its name.

    Raises:
        ConfigError: an unknown name.
    """
    return pairs if isinstance(pairs, PairRule) else PAIR_RULES.build(pairs)
