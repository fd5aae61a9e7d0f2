"""Accounts: what became of every file, used or left out for a reason; the sum is checked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Accounts:
    """What became of files.

    Attributes:
        files: number of all.
        used: number of those in use.
        left_out: reason -> number of the others.

    Raises:
        AssertionError: the numbers do not add up, which is a fault of the library.
    """

    files: int
    used: int
    left_out: Mapping[str, int]

    def __post_init__(self) -> None:
        if self.used + sum(self.left_out.values()) != self.files:
            raise AssertionError(
                f"{self.files} files, but {self.used} used and {dict(self.left_out)} left out: a "
                f"file was lost from the accounts"
            )

    @classmethod
    def of(cls, files: int, used: int, reasons: Iterable[str]) -> Accounts:
        """From one reason for each file that is left out, commonest first."""
        return cls(files, used, dict(Counter(reasons).most_common()))

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {"files": self.files, "used": self.used, "left_out": dict(self.left_out)}

    def __str__(self) -> str:
        reasons = "; ".join(f"{n:,} {reason}" for reason, n in self.left_out.items())
        left_out = self.files - self.used
        return (
            f"{self.files:,} files: {self.used:,} used, {left_out:,} left out"
            f"{f' ({reasons})' if reasons else ''}"
        )
