"""Columns of text for tables of millions of rows: bytes and numbers instead of Python objects."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, overload

import numpy as np

# Rows from which a table is kept in columns: below, tuples take less than 50 MB.
MANY = 200_000
_BLOCK = 65_536  # rows that are turned into Python objects at a time
# File names that are not UTF-8 hold their bytes as half surrogates (PEP 383).
_ERRORS = "surrogateescape"


def row_numbers(rows: Sequence[int] | np.ndarray, number: int) -> np.ndarray:
    """(n,) int64 rows from 0 on, of row numbers (of which -1 is the last), or of a mask, (N,) bool.

    Args:
        rows: as for a list: the rows that are taken.
        number: N, how many there are.

    Raises:
        IndexError: beyond them, a mask of another length, or numbers that are not whole.
    """
    rows = np.asarray(rows)
    if rows.dtype == bool:
        if rows.shape != (number,):
            raise IndexError(f"a mask of {rows.size} values for {number} rows")
        return np.flatnonzero(rows)
    if not rows.size:
        return np.zeros(0, dtype=np.int64)
    if rows.dtype.kind not in "iu":
        raise IndexError(f"row numbers must be whole numbers, not {rows.dtype}")
    if rows.min() < -number or rows.max() >= number:
        raise IndexError(f"row numbers must be from {-number} to {number - 1}")
    rows = rows.astype(np.int64, copy=False)
    return np.where(rows < 0, rows + number, rows) if rows.min() < 0 else rows


class _Column(Sequence[Any]):
    """N values that are made when they are asked for; equal to any sequence of the same values."""

    def _block(self, start: int, stop: int) -> list[Any]:
        raise NotImplementedError

    def take(self, rows: np.ndarray) -> Any:
        """The column of the given rows, as :func:`row_numbers` takes them."""
        raise NotImplementedError

    @overload
    def __getitem__(self, row: int) -> Any: ...

    @overload
    def __getitem__(self, row: slice) -> list[Any]: ...

    def __getitem__(self, row: int | slice) -> Any:
        if isinstance(row, slice):
            start, stop, step = row.indices(len(self))
            if step == 1:
                return self._block(start, max(start, stop))
            return [self[i] for i in range(start, stop, step)]
        if not -len(self) <= row < len(self):
            raise IndexError(row)
        return self._block(row % len(self), row % len(self) + 1)[0]

    def __iter__(self) -> Iterator[Any]:
        for start in range(0, len(self), _BLOCK):
            yield from self._block(start, min(start + _BLOCK, len(self)))

    def __eq__(self, other: object) -> bool:
        if isinstance(other, str) or not isinstance(other, Sequence):
            return NotImplemented
        return len(self) == len(other) and all(a == b for a, b in zip(self, other, strict=True))

    def __hash__(self) -> int:
        return hash(tuple(self))  # that of the tuple which it is equal to

    def __repr__(self) -> str:
        shown = ", ".join(map(repr, self[:3]))
        return f"{type(self).__name__}({len(self):,}: {shown}{', ...' if len(self) > 3 else ''})"


class TextColumn(_Column):
    """N texts, mostly different: their UTF-8 in one array, as Arrow has them.

    Args:
        content: (M,) uint8, the texts one after the other.
        offsets: (N + 1,) int64: text i is ``content[offsets[i] : offsets[i + 1]]``.
    """

    def __init__(self, content: np.ndarray, offsets: np.ndarray) -> None:
        self.content, self.offsets = content, offsets

    @classmethod
    def of(cls, texts: Iterable[str]) -> TextColumn:
        """The column of some texts."""
        written = [text.encode("utf-8", _ERRORS) for text in texts]
        offsets = np.zeros(len(written) + 1, dtype=np.int64)
        np.cumsum([len(text) for text in written], out=offsets[1:])
        return cls(np.frombuffer(b"".join(written), dtype=np.uint8), offsets)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def _block(self, start: int, stop: int) -> list[str]:
        return [text.decode("utf-8", _ERRORS) for text in self._bytes(start, stop)]

    def _bytes(self, start: int, stop: int) -> list[bytes]:
        places = self.offsets[start : stop + 1].tolist()
        if not places:
            return []
        first = places[0]
        content = self.content[first : places[-1]].tobytes()
        return [content[a - first : b - first] for a, b in pairwise(places)]

    @property
    def lengths(self) -> np.ndarray:
        """(N,) int64, bytes of each text."""
        return np.diff(self.offsets)

    def take(self, rows: np.ndarray) -> TextColumn:
        rows = row_numbers(rows, len(self))
        offsets = np.zeros(len(rows) + 1, dtype=np.int64)
        np.cumsum(self.lengths[rows], out=offsets[1:])
        content = np.empty(offsets[-1], dtype=np.uint8)
        for start in range(0, len(rows), _BLOCK):  # places of each byte take eight bytes
            part = rows[start : start + _BLOCK]
            to = offsets[start : start + len(part) + 1]
            shift = np.repeat(self.offsets[part] - to[:-1], np.diff(to))
            content[to[0] : to[-1]] = self.content[np.arange(to[0], to[-1]) + shift]
        return TextColumn(content, offsets)

    def order(self) -> np.ndarray:
        """(N,) int64: the rows in the order of their bytes; equal texts as they stand."""
        texts = self._bytes(0, len(self))
        return np.array(sorted(range(len(self)), key=texts.__getitem__), dtype=np.int64)

    def keys(self) -> np.ndarray:
        """(N,) int64 that are equal where texts are; different texts hardly ever share one.

        They differ from process to process.
        """
        keys = np.empty(len(self), dtype=np.int64)
        for start in range(0, len(self), _BLOCK):
            stop = min(start + _BLOCK, len(self))
            keys[start:stop] = [hash(text) for text in self._bytes(start, stop)]
        return keys

    def repeated(self) -> str | None:
        """A text that stands twice; None where there is none."""
        keys = self.keys()
        order = np.argsort(keys, kind="stable")
        same = keys[order]
        twice = np.flatnonzero(same[1:] == same[:-1])
        suspects = self.take(np.union1d(order[twice], order[twice + 1]))
        seen: set[str] = set()
        for text in suspects:
            if text in seen:
                return str(text)
            seen.add(text)
        return None


class CodedColumn(_Column):
    """N texts of which many are equal: the number of each among the distinct ones.

    Args:
        codes: (N,) int32.
        values: the distinct texts, sorted; all of them occur.
    """

    def __init__(self, codes: np.ndarray, values: tuple[str, ...]) -> None:
        self.codes, self.values = codes, values

    @classmethod
    def of(cls, texts: Iterable[str]) -> CodedColumn:
        """The column of some texts."""
        number: dict[str, int] = {}
        codes = np.fromiter((number.setdefault(text, len(number)) for text in texts), np.int32)
        return cls.merged(codes, list(number))

    @classmethod
    def merged(cls, codes: np.ndarray, texts: Sequence[str]) -> CodedColumn:
        """The same of numbers of texts that are in any order, may be equal, and may not occur.

        Args:
            codes: (N,) integers.
            texts: what they stand for.
        """
        occurs = np.zeros(len(texts), dtype=bool)
        occurs[codes] = True
        values = sorted({text for text, met in zip(texts, occurs.tolist(), strict=True) if met})
        place = {text: i for i, text in enumerate(values)}
        new = np.array([place.get(text, 0) for text in texts], dtype=np.int32)
        return cls(new[codes], tuple(values))

    def __len__(self) -> int:
        return len(self.codes)

    def _block(self, start: int, stop: int) -> list[str]:
        return [self.values[code] for code in self.codes[start:stop].tolist()]

    def take(self, rows: np.ndarray) -> CodedColumn:
        codes = self.codes[row_numbers(rows, len(self))]
        occurs = np.zeros(len(self.values), dtype=bool)
        occurs[codes] = True
        place = (np.cumsum(occurs) - 1).astype(np.int32)
        kept = tuple(self.values[i] for i in np.flatnonzero(occurs).tolist())
        return CodedColumn(place[codes], kept)

    @property
    def sizes(self) -> np.ndarray:
        """(distinct,) int64: how often each of ``values`` occurs."""
        return np.bincount(self.codes, minlength=len(self.values))


class Paths(Sequence[Path]):
    """The paths of N files below a folder, each made when it is asked for."""

    def __init__(self, root: Path, files: Sequence[str]) -> None:
        self.root, self.files = root, files

    def __len__(self) -> int:
        return len(self.files)

    @overload
    def __getitem__(self, row: int) -> Path: ...

    @overload
    def __getitem__(self, row: slice) -> list[Path]: ...

    def __getitem__(self, row: int | slice) -> Path | list[Path]:
        if isinstance(row, slice):
            return [self.root / file for file in self.files[row]]
        return self.root / self.files[row]
