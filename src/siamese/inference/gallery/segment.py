"""Segment: a part of a gallery, which is written once and then only read, or written anew."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from siamese.inference.gallery.nearest import row_norms


def plain(text: str) -> str:
    """A name as UTF-8 holds it; bytes of a file name that are none are written as escapes."""
    return text.encode("utf-8", "backslashreplace").decode()


@dataclass(frozen=True, eq=False)
class Segment:
    """Embeddings of photographs, those of one person next to each other.

    Attributes:
        embeddings: (n, D) float32, perhaps mapped from a file.
        people: names, no two equal.
        codes: (n,) int64 ascending, numbers into ``people``, each of which occurs.
        photographs: n, where each embedding comes from.
        hashes: n, 16 hexadecimal digits of the SHA-256 of each photograph's content.
        stored: the name of its files; None where it is only in memory.
    """

    embeddings: np.ndarray
    people: tuple[str, ...]
    codes: np.ndarray
    photographs: Sequence[str]
    hashes: Sequence[str]
    stored: str | None = None

    @classmethod
    def of(
        cls,
        names: Sequence[str],
        embeddings: np.ndarray,
        photographs: Sequence[str],
        hashes: Sequence[str],
    ) -> Segment:
        """From rows in any order.

        Args:
            names: n, of the person of each row.
            embeddings: (n, D) float32.
            photographs, hashes: n each.
        """
        people, codes = np.unique(np.array(names, dtype=object), return_inverse=True)
        order = np.argsort(codes, kind="stable")
        return cls(
            np.ascontiguousarray(embeddings[order], dtype=np.float32),
            tuple(people.tolist()),
            codes[order].astype(np.int64),
            [photographs[i] for i in order],
            [hashes[i] for i in order],
        )

    def __len__(self) -> int:
        return len(self.codes)

    @cached_property
    def norms(self) -> np.ndarray:
        """(n,) float64, lengths of the embeddings."""
        return row_norms(self.embeddings)

    @property
    def names(self) -> list[str]:
        """n, the person of each row."""
        return [self.people[code] for code in self.codes.tolist()]

    def without(self, name: str) -> Segment | None:
        """A segment in memory without one person; None where nobody is left."""
        if name not in self.people:
            return self
        kept = np.flatnonzero(self.codes != self.people.index(name)).tolist()
        if not kept:
            return None
        names = self.names
        return Segment.of(
            [names[i] for i in kept],
            self.embeddings[kept],
            [self.photographs[i] for i in kept],
            [self.hashes[i] for i in kept],
        )


def joined(segments: Sequence[Segment]) -> Segment:
    """One segment in memory of several."""
    return Segment.of(
        [name for segment in segments for name in segment.names],
        np.concatenate([segment.embeddings for segment in segments]),
        [photograph for segment in segments for photograph in segment.photographs],
        [each for segment in segments for each in segment.hashes],
    )
