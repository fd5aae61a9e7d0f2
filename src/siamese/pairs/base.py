"""PairRule: the base of the rules that choose which pairs are compared.

A pair is two row numbers of one embedding matrix and whether they show the same identity.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from siamese.errors import CalibrationError, first_line
from siamese.registry import Registry

# What an operating point calls pairs that no rule can draw again.
FIXED = "fixed_pairs"
# Beyond this number, all pairs take gigabytes and their intervals minutes.
MAX_PAIRS = 5_000_000
MOST_ROWS = 2**62


@dataclass(frozen=True)
class Pairs:
    """n pairs of rows.

    Attributes:
        left, right: (n,) int64 row numbers.
        same: (n,) bool, True for a genuine pair (same identity).

    Raises:
        CalibrationError: arrays of different lengths or not one-dimensional, row numbers that are
            no whole numbers from 0 on, or ``same`` that is neither booleans nor 0 and 1.

    Examples:
        >>> import siamese
        >>> import numpy as np
        >>> pairs = siamese.Pairs(np.array([0, 0]), np.array([1, 2]), np.array([True, False]))
        >>> len(pairs), pairs.genuine, pairs.impostor
        (2, 1, 1)
    """

    left: np.ndarray
    right: np.ndarray
    same: np.ndarray

    def __post_init__(self) -> None:
        for name in ("left", "right", "same"):
            object.__setattr__(self, name, _checked(name, getattr(self, name)))
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


def row_numbers(name: str, values: Any) -> np.ndarray:
    """Row numbers as int64.

    Raises:
        CalibrationError: no whole numbers from 0 on.
    """
    found = as_plain_array(name, values)
    if found.size and (found.dtype.kind not in "iu" or found.min() < 0 or found.max() > MOST_ROWS):
        raise CalibrationError(
            f"{name} must hold the row numbers of images, whole numbers from 0 on; it holds others "
            f"({found.dtype})"
        )
    return found.astype(np.int64)


def labels_of(identities: Any) -> np.ndarray:
    """(N,) labels as an array: numbers or names, one per identity.

    Raises:
        CalibrationError: another shape, or labels that are missing (NaN, masked).
    """
    found = as_plain_array("labels", identities)
    if found.ndim != 1 or (found.dtype.kind == "f" and not np.isfinite(found).all()):
        raise CalibrationError(
            f"labels of shape {found.shape} ({found.dtype}) are no identities; give (N,) numbers, "
            f"one per identity, none of them NaN or infinite"
        )
    if found.dtype == object:
        try:
            found = np.unique(found, return_inverse=True)[1].reshape(-1)
        except (TypeError, ValueError, ArithmeticError) as error:
            raise CalibrationError(
                "labels of several types cannot be told apart; give all as strings or all as "
                "numbers"
            ) from error
    return found


def as_plain_array(name: str, values: Any) -> np.ndarray:
    """Values as an array of the machine's byte order.

    Raises:
        CalibrationError: they cannot be read as one, or lie behind a mask.
    """
    if np.ma.isMaskedArray(values) and np.ma.getmaskarray(values).any():
        raise CalibrationError(f"{name} is masked in some places; leave these out")
    try:
        found = np.asarray(values)
    except (TypeError, ValueError, RuntimeError) as error:
        raise CalibrationError(
            f"{name} cannot be read as an array ({first_line(error)}); give one"
        ) from error
    return found.astype(found.dtype.newbyteorder("="), copy=False)


def _checked(name: str, values: Any) -> np.ndarray:
    if name != "same":
        return row_numbers(name, values)
    found = as_plain_array(name, values)
    if found.dtype != bool:
        if found.size and (found.dtype.kind not in "iuf" or not np.isin(found, (0, 1)).all()):
            raise CalibrationError(
                "same must hold booleans, or 1 for the same identity and 0 for different ones"
            )
        found = found.astype(bool)
    return found


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
