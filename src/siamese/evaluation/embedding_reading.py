"""Embeddings in files read, whoever wrote them: within bounds, or refused in one line."""

from __future__ import annotations

import csv
import errno
import io
import os
import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from siamese.datasets.parquet_file import MOST_ROWS, BadParquet, arrow, read_columns
from siamese.errors import DataError, first_line
from siamese.evaluation.array_files import check_ratio, npy_array, npz_array
from siamese.evaluation.embedding_files import check_suffix, labels_file, width_of
from siamese.reading import Unreadable, open_regular

T = TypeVar("T")

_NUMBERS, _NAMES = "fiub", "USiubf"  # kinds of what an array may hold
_BLOCK = 1 << 22  # numbers of Parquet that are read at once
# What damaged files make zipfile, csv and numpy say.
_BROKEN = (ValueError, EOFError, OverflowError, struct.error, csv.Error)


def read_embeddings(
    path: str | Path, identities: str | Path | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings and identities of a file that :func:`write_embeddings` or others wrote.

    Of ``.npy`` and of ``.npz`` that is not compressed the embeddings are mapped, not read: memory
    is taken for what is looked at. Nothing is executed: arrays of Python objects are refused. So is
    what unpacks to more than 128 MiB and a hundred times what it takes.

    Args:
        path: ``.npz`` with the arrays embeddings and identities; ``.npy``, whose identities lie in
            a ``.csv`` of the same name; or ``.parquet`` with the columns embedding (lists of one
            length) and identity.
        identities: where the identities lie instead: ``.npy``, ``.csv`` with a column identity, or
            text with one identity a line.

    Returns:
        (N, D) numbers as they are stored, and (N,) identities, text or numbers.

    Raises:
        DataError: no such file, one that is damaged, or without what is needed; an identity that is
            empty.
        MissingDependencyError: see :func:`check_suffix`.
    """
    path = check_suffix(path)
    kind = path.suffix.lower()
    given = None if identities is None else Path(identities).expanduser()
    if kind == ".npy":
        rows = _read(path, lambda: npy_array(path, _NUMBERS, mapped=True))
        given = given or labels_file(path)
    elif kind == ".npz":
        rows = _read(path, lambda: npz_array(path, "embeddings", _NUMBERS, mapped=True))
    else:
        rows = _read(path, lambda: _parquet_rows(path))
    if given is not None:
        who = _read(given, lambda: _listed(given), beside=identities is None)
    elif kind == ".npz":
        who = _read(path, lambda: npz_array(path, "identities", _NAMES))
    else:
        who = _read(path, lambda: _parquet_names(path))
    if rows.ndim != 2 or who.shape != (len(rows),):
        raise DataError(
            f"{path}: embeddings of shape {rows.shape} and identities of shape {who.shape} do not "
            f"fit; give (N, D) embeddings and one identity for each"
        )
    if who.dtype.kind in "US" and (empty := np.flatnonzero(who == who.dtype.type())).size:
        raise DataError(
            f"{given or path}: the identity of embedding {empty[0] + 1:,} is empty, as are "
            f"{len(empty) - 1:,} more; say who each is of"
        )
    return rows, who


def _read(path: Path, read: Callable[[], T], beside: bool = False) -> T:
    """What a function reads of a file, or an error that names the file.

    Args:
        path: of the file.
        read: the function.
        beside: whether it is the one beside a ``.npy`` file.
    """
    try:
        return read()
    except FileNotFoundError as error:
        remedy = (
            "the identities of a .npy file lie in a .csv of the same name (columns path, "
            "identity), or in the file that --identities names"
            if beside
            else "name a file that is there"
        )
        raise DataError(f"{path}: no such file; {remedy}") from error
    except KeyError as error:
        raise DataError(
            f"{path}: it has no {error.args[0]}; it needs embeddings (Parquet: embedding) and "
            f"identities (Parquet: identity), or give the latter by --identities FILE"
        ) from error
    except OSError as error:
        why = error.strerror or first_line(error)
        # Of a damaged archive zipfile jumps to before its beginning.
        damaged = error.errno in (errno.EINVAL, None)
        raise DataError(
            f"{path}: cannot be read ({why}); "
            f"{'write it anew' if damaged else 'name a file that can be read'}"
        ) from error
    except MemoryError as error:
        raise DataError(f"{path}: it does not fit into the memory") from error
    except _BROKEN as error:
        raise DataError(f"{path}: cannot be read ({first_line(error)}); write it anew") from error


# --- identities in a file of their own ---


def _names(names: Sequence[str]) -> np.ndarray:
    try:
        width = width_of(names, "identity")
    except DataError as error:
        raise Unreadable(str(error)) from error
    if any("\0" in name for name in names):
        raise Unreadable("an identity has a NUL character")
    return np.array([*names], dtype=f"<U{width}")


def _listed(path: Path) -> np.ndarray:
    """Identities in a .npy or .csv file, or one a line."""
    if path.suffix.lower() == ".npy":
        return npy_array(path, _NAMES)
    # Bytes that are not UTF-8 may be those of a folder's name.
    with io.TextIOWrapper(
        open_regular(path), encoding="utf-8-sig", errors="surrogateescape", newline=""
    ) as stream:
        if path.suffix.lower() != ".csv":
            return _names(stream.read().splitlines())
        lines = csv.reader(stream)
        columns = next(lines, [])
        if columns.count("identity") != 1:
            raise Unreadable(f"{columns.count('identity')} of its columns are named identity")
        place = columns.index("identity")
        return _names([line[place] if place < len(line) else "" for line in lines if line])


# --- Parquet ---


def _parquet_rows(path: Path) -> np.ndarray:
    """(N, D) the column of embeddings."""
    open_regular(path).close()
    pa = arrow(f"{path}: reading Parquet")
    try:
        with pa.OSFile(os.fspath(path)) as stream:
            return _lists(pa.parquet.ParquetFile(stream), stream.size(), pa)
    except pa.ArrowException as error:
        raise Unreadable(first_line(error)) from error


def _lists(file: Any, size: int, pa: Any) -> np.ndarray:
    """(N, D) of a column of lists; ``size`` is that of the file."""
    if (times := file.schema_arrow.names.count("embedding")) != 1:
        if not times:
            raise KeyError("column embedding")
        raise Unreadable(f"{times} of its columns are named embedding")
    kind = file.schema_arrow.field("embedding").type
    lists = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    value = kind.value_type if any(test(kind) for test in lists) else None
    if value is None or not (pa.types.is_floating(value) or pa.types.is_integer(value)):
        raise Unreadable(f"its embeddings are {kind!s:.80}, not lists of numbers")
    count = file.metadata.num_rows
    numbers = sum(
        chunk.num_values
        for group in map(file.metadata.row_group, range(file.metadata.num_row_groups))
        for chunk in map(group.column, range(group.num_columns))
        if chunk.path_in_schema.split(".")[0] == "embedding"
    )
    if not 0 <= count <= MOST_ROWS or numbers < 0:
        raise Unreadable(f"it says that it has {count:,} rows")
    check_ratio(numbers * value.bit_width // 8, size)
    if not count:
        return np.zeros((0, 0), dtype=np.float32)
    width, start = numbers // count, 0
    rows = np.empty((count, width), dtype=value.to_pandas_dtype())
    step = max(1, min(1 << 16, _BLOCK // max(1, width)))
    for batch in file.iter_batches(step, columns=["embedding"]):
        block = _vectors(batch.column(0))
        if block.shape[1] != width or start + len(block) > count:
            raise Unreadable("embeddings of several lengths, or without numbers")
        rows[start : start + len(block)] = block
        start += len(block)
    if start != count:
        raise Unreadable("it is cut short")
    return rows


def _vectors(column: Any) -> np.ndarray:
    """(n, D) of a column of n lists."""
    values = column.flatten()
    if column.null_count or values.null_count:
        raise Unreadable("an embedding, or a number of one, is missing")
    flat: np.ndarray = values.to_numpy(zero_copy_only=False)
    lengths = column.value_lengths().to_numpy(zero_copy_only=False)
    if (lengths != lengths[0]).any():
        raise Unreadable("embeddings of several lengths")
    return flat.reshape(len(column), -1)


def _parquet_names(path: Path) -> np.ndarray:
    """(N,) the column of identities, text or whole numbers."""
    pa = arrow(f"{path}: reading Parquet")
    try:
        schema = pa.parquet.read_schema(path)
        if "identity" not in schema.names:
            raise KeyError("column identity")
        kind = schema.field("identity").type
        text = kind.value_type if pa.types.is_dictionary(kind) else kind
        kinds = (pa.types.is_string, pa.types.is_large_string, pa.types.is_integer)
        if not any(test(text) for test in kinds):
            raise Unreadable(f"its identities are {kind!s:.80}, not text or whole numbers")
        names = read_columns(path, texts=(), coded=("identity",))["identity"]
    except (pa.ArrowException, BadParquet) as error:
        raise Unreadable(first_line(error)) from error
    if pa.types.is_integer(text):
        numbers: np.ndarray = np.array([int(name) for name in names.values])[names.codes]
        return numbers
    return _names(names)
