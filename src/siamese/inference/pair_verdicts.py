"""PairVerdicts: what is known of each pair of a list: a verdict, or why there is none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from siamese.inference.verdict import Verification

# The columns that a list of pairs gets, behind its own.
COLUMNS = (
    "distance",
    "threshold",
    "same",
    "probability",
    "uncertain",
    "faces_a",
    "faces_b",
    "quality_a",
    "quality_b",
    "error",
)


@dataclass(frozen=True)
class PairVerdict:
    """One pair of a list.

    Attributes:
        a, b: the two files, as they were named.
        verification: the verdict; None where there is none.
        error: why there is none, with the file and what to do; None where there is one.
        reason: the same in a few words that other rows share, to be counted: "no such file",
            "no face", "several faces", "low quality", ...
    """

    a: str
    b: str
    verification: Verification | None = None
    error: str | None = None
    reason: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values: a, b, and ``COLUMNS``; None where something is not known.

        ``quality_a`` and ``quality_b`` are what is poor about the photographs, in words; "" where
        nothing is.
        """
        found = self.verification
        values: dict[str, Any] = {"a": self.a, "b": self.b} | dict.fromkeys(COLUMNS)
        values["error"] = self.error
        if found is None:
            return values
        words = ["; ".join(one.warnings) if one else "" for one in found.quality]
        return values | {
            "distance": found.distance,
            "threshold": found.threshold,
            "same": found.same,
            "probability": found.probability,
            "uncertain": found.uncertain,
            "faces_a": found.faces[0],
            "faces_b": found.faces[1],
            "quality_a": words[0],
            "quality_b": words[1],
        }

    def cells(self) -> list[str]:
        """``COLUMNS`` as they stand in a CSV file: true and false, empty where not known.

        Numbers have all their digits, so that whoever compares distance and threshold there comes
        to the same verdict.
        """
        values = self.to_dict()
        return [_cell(values[name]) for name in COLUMNS]


@dataclass(frozen=True)
class PairVerdicts(Sequence[PairVerdict]):
    """n pairs in the order in which they were given.

    Attributes:
        pairs: all of them.
        photographs: how many different files they name.
        found: how many of these were there from a run that was stopped.
        notes: what must be known beside it, in sentences.
    """

    pairs: tuple[PairVerdict, ...]
    photographs: int
    found: int = 0
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, row: Any) -> Any:
        return self.pairs[row]

    @property
    def counts(self) -> dict[str, int]:
        """How many pairs are same, different, uncertain (of the former two), and failed."""
        known = [pair.verification for pair in self.pairs if pair.verification is not None]
        same = sum(found.same for found in known)
        return {
            "pairs": len(self.pairs),
            "same": same,
            "different": len(known) - same,
            "uncertain": sum(bool(found.uncertain) for found in known),
            "failed": len(self.pairs) - len(known),
        }

    @property
    def failures(self) -> dict[str, int]:
        """Reason -> number of pairs without a verdict, commonest first."""
        reasons = Counter(pair.reason for pair in self.pairs if pair.reason is not None)
        return dict(sorted(reasons.items(), key=lambda item: (-item[1], item[0])))

    def to_rows(self) -> list[dict[str, Any]]:
        """A dictionary for each pair (:meth:`PairVerdict.to_dict`), as ``pandas.DataFrame`` takes.

        ``pandas.DataFrame(verdicts.to_rows())``
        """
        return [pair.to_dict() for pair in self.pairs]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON: ``counts``, failures, photographs, found."""
        return self.counts | {
            "failures": self.failures,
            "photographs": self.photographs,
            "found": self.found,
        }

    def __repr__(self) -> str:
        c = self.counts
        return (
            f"PairVerdicts({c['pairs']:,} pairs: {c['same']:,} same, {c['different']:,} "
            f"different, {c['failed']:,} failed)"
        )


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return repr(value) if isinstance(value, float) else str(value)
