"""Enrolled: who is in a gallery, row by row, in memory and in the parts that were read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from siamese.datasets.identities import normalise_identity
from siamese.errors import ConfigError, GalleryError, did_you_mean
from siamese.inference.gallery.nearest import Rows
from siamese.inference.gallery.segment import Segment, joined, plain


class Searchable(NamedTuple):
    """All rows as a search takes them.

    Attributes:
        names: of the people, in order.
        parts: rows, with codes into ``names``.
        ends: number of rows up to the end of each part.
    """

    names: list[str]
    parts: list[Rows]
    ends: np.ndarray


class Enrolled:
    """People and their rows; what is added is put into a segment when it is first searched.

    Args:
        segments: what is there already.

    Attributes:
        counts: name, as it was first given -> number of photographs.
        size: numbers of an embedding; None while there is none.
    """

    def __init__(self, segments: Sequence[Segment] = ()) -> None:
        self._segments = list(segments)
        self._new: list[tuple[str, np.ndarray, str, str]] = []
        self._names: dict[str, str] = {}  # as identities are compared -> as they are shown
        self._owners: dict[str, set[str]] | None = None  # a photograph's hash -> whose it is
        self._searchable: Searchable | None = None  # until something changes
        self.counts: dict[str, int] = {}
        self.size: int | None = None
        for segment in segments:
            self._count(segment)

    @property
    def segments(self) -> list[Segment]:
        """All rows, in segments."""
        self._freeze()
        return self._segments

    def replace(self, segments: Sequence[Segment]) -> None:
        """Take other segments for the same rows."""
        self._segments, self._searchable = list(segments), None

    def shown(self, name: str) -> str | None:
        """A name as it was first given; None where nobody is called so."""
        return self._names.get(normalise_identity(plain(name)))

    def of(self, name: object) -> str:
        """The same.

        Raises:
            GalleryError: nobody is called so.
        """
        shown = self.shown(name) if isinstance(name, str) else None
        if shown is None:
            raise GalleryError(
                f"nobody called {name!r:.80} is enrolled{did_you_mean(str(name), self.counts)}"
            )
        return shown

    def has(self, name: str, content: str) -> bool:
        """Whether a photograph, by its hash, is one of a person's."""
        return self.shown(name) in self._owners_of(content)

    def others(self, shown: str, content: str) -> list[str]:
        """Other people whose photograph it is, by its hash."""
        return [name for name in self._owners_of(content) if name != shown]

    def add(self, shown: str, row: np.ndarray, photograph: str, content: str) -> None:
        """Add a row.

        Args:
            shown: the person's name.
            row: (D,) float32.
            photograph: where it comes from.
            content: its hash.

        Raises:
            ConfigError: a row of another size.
        """
        if self.size not in (None, len(row)):
            raise ConfigError(
                f"the embeddings have {len(row)} numbers, those of the gallery {self.size}; embed "
                f"with its network"
            )
        self.size, self._searchable = len(row), None
        self._new.append((shown, row, photograph, content))
        self._names.setdefault(normalise_identity(shown), shown)
        self.counts[shown] = self.counts.get(shown, 0) + 1
        if self._owners is not None:
            self._owners.setdefault(content, set()).add(shown)

    def remove(self, shown: str) -> int:
        """Take a person's rows out; how many there were."""
        kept = (segment.without(shown) for segment in self.segments)
        self.replace([segment for segment in kept if segment is not None])
        del self._names[normalise_identity(shown)]
        self._owners = None
        return self.counts.pop(shown)

    def searchable(self) -> Searchable:
        """All rows as a search takes them; made once until something changes.

        Raises:
            GalleryError: embeddings that are not finite.
        """
        if self._searchable is None:
            names = sorted(self.counts)
            codes = {name: code for code, name in enumerate(names)}
            parts = [
                Rows(s.embeddings, np.array([codes[n] for n in s.people])[s.codes], s.norms)
                for s in self.segments
            ]
            if not all(np.isfinite(part.norms).all() for part in parts):
                raise GalleryError(
                    "the gallery's embeddings are damaged (some are NaN or infinite); enrol anew"
                )
            ends = np.cumsum([len(segment) for segment in self._segments])
            self._searchable = Searchable(names, parts, ends)
        return self._searchable

    def photograph(self, row: int) -> str:
        """Where a row comes from, counted through all parts."""
        ends = self.searchable().ends
        part = int(np.searchsorted(ends, row, side="right"))
        segment = self._segments[part]
        return segment.photographs[row - int(ends[part]) + len(segment)]

    def whole(self) -> Segment:
        """All rows in one segment, a copy."""
        return joined(self.segments)

    def _count(self, segment: Segment) -> None:
        self.size = segment.embeddings.shape[1]
        counts = np.bincount(segment.codes, minlength=len(segment.people)).tolist()
        for name, count in zip(segment.people, counts, strict=True):
            self._names.setdefault(normalise_identity(name), name)
            self.counts[name] = self.counts.get(name, 0) + count

    def _owners_of(self, content: str) -> set[str]:
        """Whose photograph it is; looked up among all when it is first asked, as for enrolling."""
        if self._owners is None:
            self._owners = {}
            for segment in self.segments:
                for name, each in zip(segment.names, segment.hashes, strict=True):
                    self._owners.setdefault(each, set()).add(name)
        return self._owners.get(content, set())

    def _freeze(self) -> None:
        """Put new rows into a segment."""
        if self._new:
            names, rows, photographs, contents = zip(*self._new, strict=True)
            self._segments.append(Segment.of(names, np.stack(rows), photographs, contents))
            self._new = []
