"""Entries: the files of a split in columns, where there are hundreds of thousands of them."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any, overload

import numpy as np

from siamese.datasets.columns import CodedColumn, TextColumn
from siamese.datasets.identities import IdentityTable
from siamese.datasets.parquet_file import BadParquet, read_columns, write_columns
from siamese.errors import SplitError

# Images of which a manifest is written as JSON without pyarrow; more would not be read again
# (siamese.reading).
MOST_IN_JSON = 1_000_000
SHA256 = 32  # bytes
_ROWS_FILE = re.compile(r"[\w.-]{1,200}-[0-9a-f]{16}\.parquet")
_BLOCK = 65_536
_SPLIT = "split"
_GROUP = "groups."  # before the name of a column of groups, which may be called as another column


class Entries(Sequence[dict[str, Any]]):
    """N entries of a manifest; each dictionary is made when it is asked for.

    Args:
        files: N, relative to the manifest's root.
        identities: N.
        digests: (N, 32) uint8, SHA-256 of each file.
        known: (N,) bool: whether the file could be read and hashed.
        groups: column -> N values.
    """

    def __init__(
        self,
        files: TextColumn,
        identities: CodedColumn,
        digests: np.ndarray,
        known: np.ndarray,
        groups: Mapping[str, CodedColumn] | None = None,
    ) -> None:
        self.files, self.identities = files, identities
        self.digests, self.known, self.groups = digests, known, dict(groups or {})

    @classmethod
    def of(cls, entries: Sequence[dict[str, Any]]) -> Entries:
        """The same entries in columns; a group that one lacks is unknown, ""."""
        if isinstance(entries, cls):
            return entries
        known = np.array([e["sha256"] is not None for e in entries], dtype=bool)
        content = b"".join(bytes.fromhex(e["sha256"] or "0" * 64) for e in entries)
        columns = dict.fromkeys(column for e in entries for column in e.get("groups", ()))
        return cls(
            TextColumn.of(e["file"] for e in entries),
            CodedColumn.of(e["identity"] for e in entries),
            np.frombuffer(content, dtype=np.uint8).reshape(-1, SHA256),
            known,
            {c: CodedColumn.of(e.get("groups", {}).get(c, "") for e in entries) for c in columns},
        )

    @classmethod
    def of_table(cls, table: IdentityTable, digests: np.ndarray, known: np.ndarray) -> Entries:
        """The rows of a table that is in columns, with their hashes."""
        assert isinstance(table.files, TextColumn)
        assert isinstance(table.identities, CodedColumn)
        groups = {
            c: v if isinstance(v, CodedColumn) else CodedColumn.of(v)
            for c, v in table.groups.items()
        }
        return cls(table.files, table.identities, digests, known, groups)

    def __len__(self) -> int:
        return len(self.files)

    @overload
    def __getitem__(self, row: int) -> dict[str, Any]: ...

    @overload
    def __getitem__(self, row: slice) -> list[dict[str, Any]]: ...

    def __getitem__(self, row: int | slice) -> Any:
        if not isinstance(row, slice):
            return self[slice(row, row + 1 or None)][0]
        hashes = self.hashes(row)
        groups = {column: values[row] for column, values in self.groups.items()}
        return [
            {"file": file, "identity": identity, "sha256": known}
            | ({"groups": {column: v[i] for column, v in groups.items()}} if groups else {})
            for i, (file, identity, known) in enumerate(
                zip(self.files[row], self.identities[row], hashes, strict=True)
            )
        ]

    def __iter__(self) -> Any:
        for start in range(0, len(self), _BLOCK):
            yield from self[start : start + _BLOCK]

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Entries):
            return self.same_images(other) and self.groups == other.groups
        if not isinstance(other, Sequence) or isinstance(other, str):
            return NotImplemented
        return len(self) == len(other) and all(a == b for a, b in zip(self, other, strict=True))

    def same_images(self, other: Entries) -> bool:
        """Whether the same files of the same identities, and with the same content, are in both."""
        return (
            len(self) == len(other)
            and np.array_equal(self.files.offsets, other.files.offsets)
            and np.array_equal(self.files.content, other.files.content)
            and np.array_equal(self.identities.codes, other.identities.codes)
            and self.identities.values == other.identities.values
            and np.array_equal(self.digests, other.digests)
            and np.array_equal(self.known, other.known)
        )

    def hashes(self, rows: slice = slice(None)) -> list[str | None]:
        """SHA-256 of each file in hexadecimal; None of one that could not be read."""
        whole = self.digests[rows].tobytes().hex()
        return [
            whole[64 * i : 64 * i + 64] if known else None
            for i, known in enumerate(self.known[rows].tolist())
        ]

    def take(self, rows: np.ndarray) -> Entries:
        """The entries of the given row numbers, (n,) int64, or mask, (N,) bool."""
        return Entries(
            self.files.take(rows),
            self.identities.take(rows),
            self.digests[rows],
            self.known[rows],
            {column: values.take(rows) for column, values in self.groups.items()},
        )

    def check(self, split: str) -> None:
        """Check that each file may stand in a manifest: it is relative, and named.

        Raises:
            SplitError: one is not.
        """
        starts, lengths = self.files.offsets[:-1], self.files.lengths
        first = self.files.content[starts[lengths > 0]]
        # Not below the root: /x, \x, C:\x. Where it may be, Python's rule decides.
        second = self.files.content[starts[lengths > 1] + 1]
        odd = bool((lengths == 0).any() or np.isin(first, (47, 92)).any() or (second == 58).any())
        if (self.files.content == 0).any() or (odd and not all(map(can_be_named, self.files))):
            raise SplitError(
                f"the manifest's split {split!r} has an entry of a wrong type: it was altered; "
                f"make a new split"
            )

    def __repr__(self) -> str:
        return f"Entries({len(self):,} images)"


class Hashes(Sequence[Any]):
    """SHA-256 of N entries in hexadecimal, each made when it is asked for.

    Args:
        entries: of these.
        others: row -> what stands for it instead.
    """

    def __init__(self, entries: Entries, others: Mapping[int, Any] | None = None) -> None:
        self._entries, self._others = entries, others or {}

    def __len__(self) -> int:
        return len(self._entries)

    def __getitem__(self, row: Any) -> Any:
        if not isinstance(row, slice):
            return self[slice(row, row + 1 or None)][0]
        found: list[Any] = list(self._entries.hashes(row))
        if self._others:
            for place, one in enumerate(range(*row.indices(len(self)))):
                found[place] = self._others.get(one, found[place])
        return found

    def __iter__(self) -> Iterator[Any]:
        for start in range(0, len(self), _BLOCK):
            yield from self[start : start + _BLOCK]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and self[:] == other[:]


def can_be_named(file: str) -> bool:
    """Whether a file may stand in a manifest: relative to the root, and no NUL in it."""
    return bool(file) and "\0" not in file and not PurePath(file).is_absolute()


def joined(parts: Sequence[Entries]) -> Entries:
    """The entries of all parts, one after the other; their groups are left out."""
    return Entries(
        _joined_text([part.files for part in parts]),
        _joined_codes([part.identities for part in parts]),
        np.concatenate([part.digests for part in parts]),
        np.concatenate([part.known for part in parts]),
    )


def same_images(one: Sequence[dict[str, Any]], other: Sequence[dict[str, Any]]) -> bool:
    """Whether two splits hold the same entries, whatever their groups."""
    if isinstance(one, Entries) and isinstance(other, Entries):
        return one.same_images(other)
    keys = ("file", "identity", "sha256")
    return len(one) == len(other) and all(
        a[key] == b[key] for a, b in zip(one, other, strict=True) for key in keys
    )


def files_of(entries: Sequence[dict[str, Any]]) -> Sequence[str]:
    """The file of each entry."""
    return entries.files if isinstance(entries, Entries) else [e["file"] for e in entries]


def files_in_two(splits: Mapping[str, Entries]) -> dict[str, set[str]]:
    """Of each split the files that may be in another one, too: all that are, and hardly more."""
    keys = {name: entries.files.keys() for name, entries in splits.items()}
    twice = _repeated(np.concatenate([np.unique(of) for of in keys.values()]))
    return {name: set(e.files.take(np.isin(keys[name], twice))) for name, e in splits.items()}


def rows_of_equal_content(splits: Mapping[str, Entries]) -> dict[str, Entries]:
    """The entries whose content may occur twice in all splits together."""
    heads = {
        name: np.ascontiguousarray(e.digests[:, :8]).view(np.uint64)[:, 0]
        for name, e in splits.items()
    }
    twice = _repeated(np.concatenate(list(heads.values())))
    return {name: e.take(np.isin(heads[name], twice)) for name, e in splits.items()}


def _repeated(numbers: np.ndarray) -> np.ndarray:
    """The distinct ones of those that stand twice or more; sorts them in place."""
    numbers.sort()
    return np.unique(numbers[1:][numbers[1:] == numbers[:-1]])


def write_rows(folder: Path, stem: str, splits: Mapping[str, Entries]) -> dict[str, str]:
    """Write the entries of all splits beside a manifest, as Parquet.

    The file's name has the beginning of its SHA-256: it replaces no other rows, and a manifest that
    names it finds what it was written with.

    Returns:
        ``file``, its name, and ``sha256``.

    Raises:
        MissingDependencyError: pyarrow is not installed.
        SplitError: a file name that is not UTF-8.
        OSError: as from writing.
    """
    temporary = folder / f".{stem}.{os.getpid()}.{secrets.token_hex(4)}.tmp"
    parts = list(splits.values())
    number = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
    columns: dict[str, Any] = {
        _SPLIT: CodedColumn.merged(number, list(splits)),
        "path": _joined_text([part.files for part in parts]),
        "identity": _joined_codes([part.identities for part in parts]),
        "sha256": (
            np.concatenate([part.digests for part in parts]),
            np.concatenate([part.known for part in parts]),
        ),
    }
    for column in dict.fromkeys(c for part in parts for c in part.groups):
        none = [CodedColumn(np.zeros(len(part), np.int32), ("",)) for part in parts]
        columns[_GROUP + column] = _joined_codes(
            [part.groups.get(column, none[i]) for i, part in enumerate(parts)]
        )
    try:
        write_columns(temporary, columns)
        digest = _digest(temporary)
        name = f"{stem}-{digest[:16]}.parquet"
        os.replace(temporary, folder / name)
    except ValueError as error:  # of Arrow: text that is not UTF-8
        raise SplitError(
            f"a manifest of so many files is written as Parquet, and a file name is not UTF-8 "
            f"({error}); rename it"
        ) from error
    finally:
        temporary.unlink(missing_ok=True)
    return {"file": name, "sha256": digest}


def read_rows(folder: Path, named: Any, sizes: Any) -> dict[str, Entries]:
    """The entries that :func:`write_rows` wrote.

    Args:
        folder: of the manifest.
        named: what that function returned, out of the manifest.
        sizes: split -> number of entries, out of the manifest.

    Raises:
        ValueError: something else, or a file with another content.
        OSError: as from reading.
    """
    if not (
        isinstance(named, dict)
        and set(named) == {"file", "sha256"}
        and all(isinstance(value, str) for value in named.values())
        and _ROWS_FILE.fullmatch(named["file"])
        and isinstance(sizes, dict)
        and all(type(n) is int and n >= 0 for n in sizes.values())
    ):
        raise ValueError("its rows are no file and SHA-256, or its splits no numbers")
    path = folder / named["file"]
    if not path.is_file():
        raise ValueError(f"its rows lie in {named['file']}, which must be beside it, and is not")
    if _digest(path) != named["sha256"]:
        raise ValueError(f"{named['file']} has another content than when it was written")
    groups = _group_columns(path)
    columns = read_columns(path, ("path",), (_SPLIT, "identity", *groups), {"sha256": SHA256})
    (digests, known), of = columns.pop("sha256"), columns.pop(_SPLIT)
    files, identities = columns.pop("path"), columns.pop("identity")
    found_groups = {name.removeprefix(_GROUP): values for name, values in columns.items()}
    whole = Entries(files, identities, digests, known, found_groups)
    found = dict(zip(of.values, of.sizes.tolist(), strict=True))
    if found != {name: n for name, n in sizes.items() if n}:
        raise ValueError(f"{named['file']} has {found} entries in its splits, not {sizes}")
    place = {name: i for i, name in enumerate(of.values)}
    return {name: whole.take(of.codes == place.get(name, -1)) for name in sizes}


def _group_columns(path: Path) -> list[str]:
    from siamese.datasets.parquet_file import arrow

    pa = arrow(f"{path}: reading Parquet")
    try:
        names: list[str] = pa.parquet.read_schema(path).names
    except (pa.ArrowException, OSError, ValueError) as error:
        raise BadParquet(f"{path.name} is no Parquet file") from error
    return [name for name in names if name.startswith(_GROUP)]


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _joined_text(columns: Sequence[TextColumn]) -> TextColumn:
    lengths = np.concatenate([column.lengths for column in columns])
    offsets = np.zeros(len(lengths) + 1, dtype=np.int64)
    np.cumsum(lengths, out=offsets[1:])
    parts = [column.content[column.offsets[0] : column.offsets[-1]] for column in columns]
    return TextColumn(np.concatenate(parts), offsets)


def _joined_codes(columns: Sequence[CodedColumn]) -> CodedColumn:
    shifts = np.cumsum([0, *(len(column.values) for column in columns)])
    codes = [
        column.codes + shift for column, shift in zip(columns, shifts[:-1].tolist(), strict=True)
    ]
    return CodedColumn.merged(
        np.concatenate(codes), [text for column in columns for text in column.values]
    )
