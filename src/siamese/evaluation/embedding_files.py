"""Embeddings in files (.npz, .npy with a .csv, .parquet), written and read in bounded memory."""

from __future__ import annotations

import csv
import os
import secrets
import struct
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np

from siamese.errors import DataError, MissingDependencyError, first_line

SUFFIXES = (".npz", ".npy", ".parquet")
_BLOCK = 1 << 16  # rows of Parquet that are read at once
_BROKEN = (ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile, struct.error)


def check_suffix(path: str | Path) -> Path:
    """The path of a file of embeddings.

    Raises:
        DataError: it does not end in .npz, .npy or .parquet.
        MissingDependencyError: it is Parquet, and pyarrow is not installed.
    """
    path = Path(path).expanduser()
    if path.suffix.lower() not in SUFFIXES:
        raise DataError(
            f"{path}: embeddings are kept in files that end in .npz, .npy (with a .csv beside it) "
            f"or .parquet; name it so"
        )
    if path.suffix.lower() == ".parquet":
        _parquet()
    return path


def labels_file(path: Path) -> Path:
    """The CSV file that lies beside a .npy file: columns path and identity, a line for each row."""
    return path.with_suffix(".csv")


def write_embeddings(
    path: str | Path,
    blocks: Iterable[np.ndarray],
    shape: tuple[int, int],
    files: Sequence[str],
    identities: Sequence[str],
) -> Path:
    """Write embeddings so that the file appears whole or not at all.

    The same content gives the same bytes. Of two files the ``.csv`` appears last: one that was
    there before is removed first, so that it never lies beside embeddings of other rows.

    Args:
        path: what it ends in says how: ``.npz`` holds the arrays embeddings (N, D) float32, files
            and identities (N,); ``.npy`` the embeddings, with a ``.csv`` of the same name (columns
            path and identity); ``.parquet`` the columns embedding, file and identity.
        blocks: the rows in order, (n, D) float32 each.
        shape: (N, D) of all of them.
        files, identities: N of each.

    Raises:
        DataError, MissingDependencyError: see :func:`check_suffix`.
        OSError: as from writing.
    """
    path = check_suffix(path)
    kind = path.suffix.lower()
    if kind == ".npy":
        _write_with_labels(path, blocks, shape, files, identities)
        return path
    with _whole(path) as stream:
        if kind == ".npz":
            with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
                with archive.open(zipfile.ZipInfo("embeddings.npy"), "w", force_zip64=True) as to:
                    _write_array(to, blocks, shape)
                for name, values in (("files", files), ("identities", identities)):
                    with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as to:
                        np.lib.format.write_array(to, np.array(values), allow_pickle=False)
        else:
            _write_parquet(stream, blocks, shape[1], files, identities)
    return path


def read_embeddings(
    path: str | Path, identities: str | Path | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings and identities of a file that :func:`write_embeddings` or others wrote.

    Of ``.npy`` and of ``.npz`` that is not compressed the embeddings are mapped, not read: memory
    is taken for what is looked at. Nothing is executed: arrays of Python objects are refused.

    Args:
        path: ``.npz`` with the arrays embeddings and identities; ``.npy``, whose identities lie in
            a ``.csv`` of the same name; or ``.parquet`` with the columns embedding (lists of one
            length) and identity.
        identities: where the identities lie instead: ``.npy``, ``.csv`` with a column identity, or
            text with one identity a line.

    Returns:
        (N, D) floating point, and (N,) identities.

    Raises:
        DataError: no such file, one that is damaged, or without what is needed.
        MissingDependencyError: see :func:`check_suffix`.
    """
    path = check_suffix(path)
    kind = path.suffix.lower()
    rows: np.ndarray
    who: np.ndarray | None = None
    try:
        if kind == ".npy":
            rows = np.load(path, mmap_mode="r", allow_pickle=False)
            who = _read_identities(labels_file(path) if identities is None else Path(identities))
        elif kind == ".npz":
            rows = _member(path, "embeddings")
            if identities is None:
                who = _member(path, "identities")
        else:
            rows, who = _read_parquet(path, identities is None)
        if who is None:
            assert identities is not None
            who = _read_identities(Path(identities))
    except FileNotFoundError as error:
        missing = error.filename or path
        raise DataError(
            f"{missing}: no such file; "
            + (
                "the identities of a .npy file lie in a .csv of the same name (columns path, "
                "identity), or in the file that --identities names"
                if str(missing) != str(path)
                else "give a file of embeddings"
            )
        ) from error
    except KeyError as error:
        raise DataError(
            f"{path}: it has no {error.args[0]}; it needs embeddings (Parquet: embedding) and "
            f"identities (Parquet: identity), or give the latter by --identities FILE"
        ) from error
    except _BROKEN as error:
        raise DataError(f"{path}: cannot be read ({first_line(error)}); write it anew") from error
    if rows.ndim != 2 or who.shape != (len(rows),):
        raise DataError(
            f"{path}: embeddings of shape {rows.shape} and identities of shape {who.shape} do not "
            f"fit; give (N, D) embeddings and one identity for each"
        )
    return rows, who


# --- .npy and .npz ---


def _write_array(stream: IO[bytes], blocks: Iterable[np.ndarray], shape: tuple[int, int]) -> None:
    header = {"descr": "<f4", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_2_0(stream, header)
    for block in blocks:
        stream.write(np.ascontiguousarray(block, dtype="<f4").tobytes())


def _write_with_labels(
    path: Path,
    blocks: Iterable[np.ndarray],
    shape: tuple[int, int],
    files: Sequence[str],
    identities: Sequence[str],
) -> None:
    """A .npy file, and the .csv file beside it; neither ever lies beside an earlier other one."""
    labels = labels_file(path)
    with _whole(labels) as text:
        lines = [["path", "identity"], *zip(files, identities, strict=True)]
        csv.writer(_Text(text)).writerows(lines)
        with _whole(path) as stream:
            _write_array(stream, blocks, shape)
            stream.flush()  # what fails, fails before anything is removed
            labels.unlink(missing_ok=True)


def _member(path: Path, name: str) -> np.ndarray:
    """An array of an archive: mapped where it lies there as it is, else read."""
    with zipfile.ZipFile(path) as archive:
        info = archive.getinfo(f"{name}.npy")
        if info.compress_type != zipfile.ZIP_STORED or name != "embeddings":
            with archive.open(info) as stream:
                found: np.ndarray = np.lib.format.read_array(stream, allow_pickle=False)
            return found
    with path.open("rb") as stream:
        stream.seek(info.header_offset)
        # The local header: 30 bytes, the last four of which tell how long name and extra field are.
        before = sum(struct.unpack("<HH", stream.read(30)[26:30]))
        stream.seek(info.header_offset + 30 + before)
        version = np.lib.format.read_magic(stream)
        headers = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }
        shape, fortran, kind = headers[version](stream)
        if kind.hasobject:
            raise ValueError("it holds Python objects")
        order: Any = "F" if fortran else "C"
        return np.memmap(path, kind, "r", stream.tell(), shape, order)


def _read_identities(path: Path) -> np.ndarray:
    path = path.expanduser()
    if path.suffix.lower() == ".npy":
        found: np.ndarray = np.load(path, allow_pickle=False)
        return found
    with path.open(newline="", encoding="utf-8-sig") as stream:
        if path.suffix.lower() == ".csv":
            table = csv.DictReader(stream)
            if "identity" not in (table.fieldnames or ()):
                raise ValueError(f"{path} has no column identity")
            return np.array([row["identity"] or "" for row in table])
        return np.array(stream.read().splitlines())


# --- Parquet ---


def _parquet() -> Any:
    try:
        from pyarrow import parquet
    except ImportError as error:
        raise MissingDependencyError(
            "Parquet needs pyarrow: pip install 'siamese-lightning[parquet]'; or take .npz"
        ) from error
    return parquet


def _write_parquet(
    stream: IO[bytes],
    blocks: Iterable[np.ndarray],
    size: int,
    files: Sequence[str],
    identities: Sequence[str],
) -> None:
    import pyarrow as pa

    lists = pa.list_(pa.float32(), size)
    schema = pa.schema([("file", pa.string()), ("identity", pa.string()), ("embedding", lists)])
    start = 0
    with _parquet().ParquetWriter(stream, schema) as writer:
        for block in blocks:
            stop = start + len(block)
            flat = pa.array(np.ascontiguousarray(block, dtype=np.float32).reshape(-1))
            vectors = pa.FixedSizeListArray.from_arrays(flat, size)
            names = (pa.array(of[start:stop], pa.string()) for of in (files, identities))
            writer.write_table(pa.table([*names, vectors], schema=schema))
            start = stop


def _read_parquet(path: Path, with_identities: bool) -> tuple[np.ndarray, np.ndarray | None]:
    with _parquet().ParquetFile(path) as table:
        for name in ("embedding", *(["identity"] if with_identities else [])):
            if name not in table.schema_arrow.names:
                raise KeyError(f"column {name}")
        blocks: Iterator[np.ndarray] = (
            _vectors(batch.column(0)) for batch in table.iter_batches(_BLOCK, columns=["embedding"])
        )
        count, start = table.metadata.num_rows, 0
        rows = np.zeros((0, 0), dtype=np.float32)
        for block in blocks:
            if not start:
                rows = np.empty((count, block.shape[1]), dtype=block.dtype)
            if block.shape[1] != rows.shape[1]:
                raise ValueError("embeddings of several lengths")
            rows[start : start + len(block)] = block
            start += len(block)
        if not with_identities:
            return rows, None
        names = [n for b in table.iter_batches(_BLOCK, columns=["identity"]) for n in b.column(0)]
        return rows, np.array([name.as_py() for name in names])


def _vectors(column: Any) -> np.ndarray:
    """(n, D) of a column of n lists."""
    if column.null_count:
        raise ValueError("an embedding is missing")
    flat: np.ndarray = column.flatten().to_numpy(zero_copy_only=False)
    if len(column) and len(flat) % len(column):
        raise ValueError("embeddings of several lengths")
    if hasattr(column, "value_lengths"):  # of lists, which may differ
        lengths = column.value_lengths().to_numpy(zero_copy_only=False)
        if len(lengths) and (lengths != lengths[0]).any():
            raise ValueError("embeddings of several lengths")
    return flat.reshape(len(column), -1)


# --- files that appear whole ---


class _Text:
    """What csv writes to a stream of bytes."""

    def __init__(self, stream: IO[bytes]) -> None:
        self.write: Callable[[str], int] = lambda text: stream.write(
            text.encode("utf-8", "surrogateescape")
        )


@contextmanager
def _whole(path: Path) -> Iterator[IO[bytes]]:
    """A stream to a file that appears when all has been written."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.tmp")
    try:
        with temporary.open("wb") as stream:
            yield stream
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
