"""A Parquet file of images: which identity each one shows, in columns; and columns as Parquet."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from siamese.datasets.columns import CodedColumn, TextColumn
from siamese.datasets.csv_file import NEEDED, is_group_column
from siamese.errors import DataError, MissingDependencyError, did_you_mean, first_line

MOST_ROWS = 200_000_000
LONGEST_TEXT = 4_096  # bytes of one: Linux opens no longer path
# Bytes of all texts of a column, written out: as many, or so many times as many as the file has.
# Paths are compressed to a tenth, or to a thirtieth where they hardly differ.
MOST_TEXT, MOST_TIMES = 256 << 20, 100
_BATCH = 65_536  # rows that are read at a time
# Paths that are not yet as the library writes them: with //, /./, /../, or white space around.
# White space is that of str.strip; RE2's \s has that of ASCII alone.
_WHITE = r"[\p{Z}\x{9}-\x{d}\x{1c}-\x{1f}\x{85}]"
_UNUSUAL = rf"//|(^|/)\.\.?(/|$)|/$|\\|^{_WHITE}|{_WHITE}$|^/"


class BadParquet(ValueError):
    """Why the content of a Parquet file is refused, in one line without its path."""


def arrow(what: str) -> Any:
    """The module ``pyarrow``, with those of Parquet and of functions.

    Raises:
        MissingDependencyError: it is not installed.
    """
    try:
        import pyarrow
        import pyarrow.compute
        import pyarrow.parquet
    except ImportError as error:
        raise MissingDependencyError(
            f"{what} needs pyarrow: pip install 'siamese-lightning[parquet]'"
        ) from error
    return pyarrow


def read_parquet(path: Path, root: Path) -> tuple[TextColumn, CodedColumn, dict[str, CodedColumn]]:
    """Files, identities and groups, sorted by file; by the rules of a CSV file.

    Args:
        path: the Parquet file.
        root: the folder that its paths are relative to.

    Returns:
        files, N relative paths with ``/`` between folders; identities, as they are written, N; and
        column of groups -> N values, "" where one is missing.

    Raises:
        DataError, MissingDependencyError: see :meth:`siamese.IdentityTable.from_parquet`.
    """
    arrow(f"{path}: reading Parquet")
    if not path.is_file():
        raise DataError(f"{path}: no such file; give a Parquet file with the columns path,identity")
    try:
        columns = read_columns(path, texts=("path",), coded=None)
    except BadParquet as error:
        raise DataError(
            f"{path}: not a table of images ({error}); give a Parquet file with the columns path "
            f"and identity, both text without empty cells"
        ) from error
    files: TextColumn = columns.pop("path")
    identities: CodedColumn = columns.pop("identity")
    if not len(files):
        raise DataError(f"{path}: no rows; list one image per row")
    usual = _usual(files, root) if files.lengths.all() else None
    if usual is None or not all(map(str.strip, identities.values)):
        raise DataError(f"{path}: empty path or identity; fill in both")
    files = usual
    order = _order(files)
    return files.take(order), identities.take(order), {k: v.take(order) for k, v in columns.items()}


def read_columns(
    path: Path, texts: Sequence[str], coded: Sequence[str] | None, binary: Mapping[str, int] = {}
) -> dict[str, Any]:
    """Some columns of a Parquet file, in bounded memory, whatever it says of itself.

    Args:
        path: of the file.
        texts: columns of different texts; they become :class:`TextColumn`.
        coded: columns of which many texts are equal, or whole numbers; they become
            :class:`CodedColumn`. By default ``identity`` and the columns of groups, of whose texts
            outer white space is stripped.
        binary: column -> bytes of each value; they become (N, bytes) uint8 and a mask of those that
            are there.

    Raises:
        BadParquet: not Parquet, a column is missing, stands twice or is of another type, an empty
            cell in a column of different texts or of identities, or too large.
    """
    pa = arrow(f"{path}: reading Parquet")
    try:
        with pa.OSFile(os.fspath(path)) as stream:
            file = pa.parquet.ParquetFile(stream)
            names = file.schema_arrow.names
            given = [n for n in names if is_group_column(n)] if coded is None else list(coded)
            wanted = dict.fromkeys([*texts, *([NEEDED[1]] if coded is None else []), *given])
            for name in [*wanted, *binary]:
                if names.count(name) != 1:
                    raise BadParquet(
                        f"{names.count(name)} columns are named {name!r:.80}"
                        f"{did_you_mean(name, names)}"
                    )
            if not 0 <= file.metadata.num_rows <= MOST_ROWS:
                raise BadParquet(f"more than {MOST_ROWS:,} rows")
            most = max(MOST_TEXT, MOST_TIMES * path.stat().st_size)
            for name in wanted:
                if (size := _unpacked(file.metadata, name)) > most:
                    raise BadParquet(
                        f"{name!r:.80} unpacks to {size:,} bytes, too many for so small a file"
                    )
            # As a dictionary, equal texts take no more memory than they take in the file.
            file = pa.parquet.ParquetFile(stream, read_dictionary=list(wanted))
            parts: dict[str, list[Any]] = {name: [] for name in [*wanted, *binary]}
            makers = {
                name: _Texts(most)
                if name in texts
                else _Codes(empty=name != NEEDED[1], strip=coded is None and name != NEEDED[1])
                for name in wanted
            } | {name: _Binary(size) for name, size in binary.items()}
            rows = 0
            for batch in file.iter_batches(_BATCH, columns=[*wanted, *binary]):
                if (rows := rows + len(batch)) > MOST_ROWS:
                    raise BadParquet(f"more than {MOST_ROWS:,} rows")
                for name in parts:
                    makers[name].add(name, batch.column(name), pa)
    except BadParquet:
        raise
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError, MemoryError) as error:
        raise BadParquet(first_line(error)) from error
    return {name: makers[name].made() for name in parts}


def _unpacked(metadata: Any, name: str) -> int:
    """Bytes of a column's pages when they are unpacked, as the file says; nothing checks that."""
    size = 0
    for group in map(metadata.row_group, range(metadata.num_row_groups)):
        for column in map(group.column, range(group.num_columns)):
            if f"{column.path_in_schema}.".startswith(f"{name}."):
                size += column.total_uncompressed_size
    return size


class _Distinct:
    """The dictionary of a column's batches: within a row group it stays, or more is added to it.

    What is done for each distinct text is done once, not once for each batch.
    """

    def __init__(self) -> None:
        self._last: Any = None

    def new(self, name: str, distinct: Any, pa: Any) -> tuple[int, Any]:
        """How many of the texts were met in the batch before, and the others; they are checked."""
        met = 0 if self._last is None else len(self._last)
        if not (met and distinct.slice(0, met).equals(self._last)):
            met = 0
        self._last = distinct
        new = distinct.slice(met)
        if not pa.types.is_integer(new.type):
            _check_text(name, new, pa)
        return met, new


class _Texts:
    """Gathers a :class:`TextColumn`.

    Args:
        most: bytes of all of them.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._contents: list[np.ndarray] = []
        self._lengths: list[np.ndarray] = []
        self._distinct = _Distinct()
        self._size = 0

    def add(self, name: str, values: Any, pa: Any) -> None:
        if values.null_count:
            raise BadParquet(f"{name!r:.80} has an empty cell")
        if pa.types.is_dictionary(values.type):
            if pa.types.is_integer(values.dictionary.type):
                raise BadParquet(f"{name!r:.80} is {values.dictionary.type}, not text")
            self._distinct.new(name, values.dictionary, pa)
            sizes = pa.compute.binary_length(values.dictionary).to_numpy(zero_copy_only=False)
            codes = values.indices.to_numpy(zero_copy_only=False)
            size = int(sizes[codes].sum(dtype=np.int64)) if len(codes) else 0
        else:
            _check_text(name, values, pa)
            size = int(pa.compute.sum(pa.compute.binary_length(values)).as_py() or 0)
        self._size += size
        if self._size > self._most:
            raise BadParquet(
                f"{name!r:.80} has too much text for so small a file: more than {self._most:,} "
                f"bytes"
            )
        # Cast only now: written out, a dictionary of long texts takes as much as it says.
        whole = values.cast(pa.large_string())
        offsets = np.frombuffer(whole.buffers()[1], dtype=np.int64)
        offsets = offsets[whole.offset : whole.offset + len(whole) + 1]
        content = whole.buffers()[2]
        text = np.zeros(0, np.uint8) if content is None else np.frombuffer(content, np.uint8)
        self._contents.append(text[offsets[0] : offsets[-1]].copy())
        self._lengths.append(np.diff(offsets))

    def made(self) -> TextColumn:
        lengths = np.concatenate(self._lengths) if self._lengths else np.zeros(0, np.int64)
        offsets = np.zeros(len(lengths) + 1, dtype=np.int64)
        np.cumsum(lengths, out=offsets[1:])
        whole = np.concatenate(self._contents) if self._contents else np.zeros(0, np.uint8)
        return TextColumn(whole, offsets)


class _Codes:
    """Gathers a :class:`CodedColumn`.

    Args:
        empty: whether a cell may be empty: then it is "".
        strip: take outer white space away.
    """

    def __init__(self, empty: bool, strip: bool) -> None:
        self._empty, self._strip, self._number = empty, strip, dict[str, int]()
        self._codes: list[np.ndarray] = []
        self._distinct, self._places = _Distinct(), np.zeros(0, dtype=np.int32)

    def add(self, name: str, values: Any, pa: Any) -> None:
        if values.null_count and not self._empty:
            raise BadParquet(f"{name!r:.80} has an empty cell")
        if not pa.types.is_dictionary(values.type):
            values = values.dictionary_encode()
        met, new = self._distinct.new(name, values.dictionary, pa)
        texts = [str(text).strip() if self._strip else str(text) for text in new.to_pylist()]
        added = [self._number.setdefault(text, len(self._number)) for text in texts]
        self._places = np.append(self._places[:met], np.array(added, dtype=np.int32))
        place = self._places
        if values.null_count:
            place = np.append(place, np.int32(self._number.setdefault("", len(self._number))))
        codes = values.indices.fill_null(len(self._places)).to_numpy(zero_copy_only=False)
        self._codes.append(place[codes])

    def made(self) -> CodedColumn:
        codes = np.concatenate(self._codes) if self._codes else np.zeros(0, dtype=np.int32)
        return CodedColumn.merged(codes, list(self._number))


class _Binary:
    """Gathers numbers of bytes, all of one size.

    Args:
        size: bytes of each.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._parts: list[np.ndarray] = []
        self._known: list[np.ndarray] = []

    def add(self, name: str, values: Any, pa: Any) -> None:
        if values.type != pa.binary(self._size):
            raise BadParquet(f"{name!r:.80} is {values.type}, not {self._size} bytes")
        known = values.is_valid().to_numpy(zero_copy_only=False)
        start = values.offset * self._size
        content = np.frombuffer(values.buffers()[1], dtype=np.uint8)
        part = content[start : start + len(values) * self._size].reshape(-1, self._size).copy()
        part[~known] = 0
        self._parts.append(part)
        self._known.append(known)

    def made(self) -> tuple[np.ndarray, np.ndarray]:
        none = np.zeros((0, self._size), np.uint8), np.zeros(0, bool)
        return np.concatenate([none[0], *self._parts]), np.concatenate([none[1], *self._known])


def _check_text(name: str, values: Any, pa: Any) -> None:
    """Refuse values that are no text, or text that no file can be called."""
    kind = values.type
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        raise BadParquet(f"{name!r:.80} is {kind}, not text")
    values.validate(full=True)  # UTF-8, and offsets within
    if (pa.compute.max(pa.compute.binary_length(values)).as_py() or 0) > LONGEST_TEXT:
        raise BadParquet(f"{name!r:.80} has a text of more than {LONGEST_TEXT:,} bytes")
    if pa.compute.any(pa.compute.match_substring(values, "\0")).as_py():
        raise BadParquet(f"{name!r:.80} has a NUL character")


def _usual(files: TextColumn, root: Path) -> TextColumn | None:
    """Relative paths with one ``/`` between folders; None where one is white space alone."""
    pa = arrow("Parquet")
    odd = pa.compute.match_substring_regex(_as_arrow(files, pa), _UNUSUAL)
    rows = np.flatnonzero(odd.to_numpy(zero_copy_only=False))
    if not len(rows):
        return files
    new = list(files)
    for row in rows.tolist():
        if not (written := new[row].strip()):
            return None
        new[row] = Path(os.path.relpath(root / written, root)).as_posix()
    return TextColumn.of(new)


def _order(files: TextColumn) -> np.ndarray:
    """(N,) int64: the rows by file; UTF-8 is in the order of its characters."""
    pa = arrow("Parquet")
    text = _as_arrow(files, pa)
    order: np.ndarray = pa.compute.sort_indices(text).to_numpy().astype(np.int64)
    return order


def _as_arrow(column: TextColumn, pa: Any) -> Any:
    """The same memory as an array of Arrow."""
    buffers = [None, pa.py_buffer(column.offsets), pa.py_buffer(column.content)]
    return pa.LargeStringArray.from_buffers(len(column), buffers[1], buffers[2])


def write_columns(
    path: Path, columns: Mapping[str, TextColumn | CodedColumn | tuple[np.ndarray, np.ndarray]]
) -> None:
    """Write columns, such as :func:`read_columns` reads, as Parquet."""
    pa = arrow(f"{path}: writing Parquet")
    arrays = {}
    for name, column in columns.items():
        if isinstance(column, TextColumn):
            arrays[name] = _as_arrow(column, pa)
            arrays[name].validate(full=True)
        elif isinstance(column, CodedColumn):
            arrays[name] = pa.DictionaryArray.from_arrays(
                pa.array(column.codes, pa.int32()), pa.array(column.values, pa.string())
            )
        else:
            content, known = column
            absent = pa.py_buffer(np.packbits(known, bitorder="little"))
            arrays[name] = pa.Array.from_buffers(
                pa.binary(content.shape[1]), len(content), [absent, pa.py_buffer(content)]
            )
    coded = [name for name, column in columns.items() if isinstance(column, CodedColumn)]
    pa.parquet.write_table(
        pa.table(arrays), os.fspath(path), compression="zstd", use_dictionary=coded
    )
