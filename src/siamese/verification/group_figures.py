"""GroupEvaluation: what the figures by group consist of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from siamese.errors import CalibrationError
from siamese.verification.point import Interval

RATES = {"fmr": "false match rate", "fnmr": "false non-match rate"}
# Of so many groups, all alike, the 95 % intervals of some two do not overlap in about one case of
# 20 (the studentized range of 6 is 4.03, 2 x 1.96 is 3.92). Of more groups wider ones are compared.
COMPARED = 5


def comparing_level(groups: int) -> float:
    """The level of the intervals that are compared between so many groups."""
    return 1 - 0.05 * min(1.0, COMPARED / groups)


@dataclass(frozen=True)
class GroupFigures:
    """The pairs of images of one group, or of an image of one group and an image of another.

    Attributes:
        groups: both groups, twice the same within a group.
        identities, images: in either group.
        genuine, impostor: numbers of pairs; genuine ones between groups are those of an identity
            that has images in both.
        tp, fp: accepted ones of them.
        fnmr, fmr: false non-match rate and false match rate, 0..1; None without such pairs.
        f1: within a group, over its own pairs; None between groups, or without pairs of a kind.
        ci95: "fnmr", "fmr", "f1" -> (low, high), 95 % intervals from a bootstrap over identities.
            Absent where a group has fewer than 5 identities, or, of fnmr and f1, fewer than 5
            identities have genuine pairs: then nothing is known.
    """

    groups: tuple[str, str]
    identities: int
    images: int
    genuine: int
    impostor: int
    tp: int
    fp: int
    fnmr: float | None
    fmr: float | None
    f1: float | None
    ci95: Mapping[str, Interval]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self) | {
            "groups": list(self.groups),
            "ci95": {name: list(interval) for name, interval in self.ci95.items()},
        }

    def __repr__(self) -> str:
        rates = ", ".join(
            f"{name} {value:.2g}" for name in RATES if (value := getattr(self, name)) is not None
        )
        return f"GroupFigures({' - '.join(dict.fromkeys(self.groups))}: {rates or 'no pairs'})"


@dataclass(frozen=True)
class GroupDisparity:
    """How unequal a rate is within the groups.

    Attributes:
        rate: ``"fmr"`` or ``"fnmr"``.
        group: in which it is highest.
        highest: the rate there, 0..1.
        ratio: that over the geometric mean of the rates within all groups, >= 1; None where a rate
            is 0, or only one group has one.
        note: why there is no ratio, or which groups are not in it; empty where nothing is to be
            said.
        differs: (group with the higher rate, group with the lower rate) of which the intervals do
            not overlap; None where no difference is shown. In more than 5 groups some intervals lie
            far apart by chance, so intervals are made wider for the comparison: of n groups at a
            level of 1 - 0.25 / n. In simulations of 2 to 30 groups that were alike, at most 4 % of
            the data sets showed one.
    """

    rate: str
    group: str
    highest: float
    ratio: float | None
    note: str
    differs: tuple[str, str] | None


@dataclass(frozen=True)
class GroupEvaluation:
    """Figures by the groups of one column, at one threshold.

    Attributes:
        column: what the groups are of (``"group_age"``).
        threshold: in the unit of the distance.
        prevalence: share of genuine pairs at which f1 is meant; None for that of each group's own
            pairs.
        groups: their names, in order; numbers in them count as numbers.
        unknown: images without a group, which are in no figure here.
        cells: every group with itself and with every later one: (a, a), (a, b), ..., (b, b), ...
        disparities: "fmr" and "fnmr" -> how unequal it is; absent where no group has pairs of that
            kind.
    """

    column: str
    threshold: float
    prevalence: float | None
    groups: tuple[str, ...]
    unknown: int
    cells: tuple[GroupFigures, ...]
    disparities: Mapping[str, GroupDisparity]

    @property
    def level(self) -> float:
        """Of the intervals that are compared between groups: 0.95 for up to 5 groups."""
        return comparing_level(len(self.groups))

    @property
    def within(self) -> tuple[GroupFigures, ...]:
        """The figures within each group, in order."""
        return tuple(cell for cell in self.cells if cell.groups[0] == cell.groups[1])

    @property
    def between(self) -> tuple[GroupFigures, ...]:
        """The figures between every two groups, in order."""
        return tuple(cell for cell in self.cells if cell.groups[0] != cell.groups[1])

    def cell(self, one: str, other: str) -> GroupFigures:
        """The figures within a group, or between two, in either order.

        Raises:
            CalibrationError: a group that is not there.
        """
        for cell in self.cells:
            if sorted(cell.groups) == sorted((one, other)):
                return cell
        raise CalibrationError(f"no groups {one!r} and {other!r}; there are {list(self.groups)}")

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "column": self.column,
            "threshold": self.threshold,
            "prevalence": self.prevalence,
            "groups": list(self.groups),
            "unknown": self.unknown,
            "cells": [cell.to_dict() for cell in self.cells],
            "disparities": {
                rate: asdict(found) | {"differs": found.differs and list(found.differs)}
                for rate, found in self.disparities.items()
            },
        }

    def __repr__(self) -> str:
        return f"GroupEvaluation({self.column!r}: {len(self.groups)} groups)"
