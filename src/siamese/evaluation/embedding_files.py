"""Embeddings in files (.npz, .npy with a .csv, .parquet), written in bounded memory."""

from __future__ import annotations

import csv
import itertools
import os
import re
import secrets
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np

from siamese.errors import DataError, MissingDependencyError

SUFFIXES = (".npz", ".npy", ".parquet")
# An array of names has room for the longest in each of them. More than so many bytes, and than so
# many times what the names are, is refused.
MOST_PADDED, PADDING = 1 << 28, 16
_HALF = re.compile("[\ud800-\udfff]")  # stands for bytes that are not UTF-8
_BLOCK = 1 << 16  # names that are written at once


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
        DataError, MissingDependencyError: see :func:`check_suffix`; names that are not UTF-8, in
            Parquet; one that is so long that an array of all names, which are padded to one length,
            would take more than 256 MiB and 16 times what they are.
        OSError: as from writing.
    """
    path = check_suffix(path)
    check_names(path, files, identities)
    kind = path.suffix.lower()
    if kind == ".npy":
        _write_with_labels(path, blocks, shape, files, identities)
        return path
    with _whole(path) as stream:
        if kind == ".npz":
            with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
                with archive.open(zipfile.ZipInfo("embeddings.npy"), "w", force_zip64=True) as to:
                    _write_array(to, blocks, shape)
                with archive.open(zipfile.ZipInfo("files.npy"), "w", force_zip64=True) as to:
                    _write_names(to, files, "file name")
                with archive.open(zipfile.ZipInfo("identities.npy"), "w", force_zip64=True) as to:
                    _write_names(to, identities, "identity")
        else:
            _write_parquet(stream, blocks, shape[1], files, identities)
    return path


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


def check_names(path: Path, files: Sequence[str], identities: Sequence[str]) -> None:
    """Find out whether a file of embeddings can hold these names, before they are made.

    Raises:
        DataError: it cannot; see :func:`write_embeddings`.
    """
    width_of(identities, "identity")
    kind = path.suffix.lower()
    if kind == ".npz":
        width_of(files, "file name")
    if kind == ".parquet":
        for name in itertools.chain(files, identities):
            if not name.isascii() and _HALF.search(name):
                raise DataError(
                    f"{path}: the name {name!r:.200} is not UTF-8, which Parquet wants: rename it, "
                    f"or take .npz or .npy"
                )


def width_of(names: Sequence[str], what: str) -> int:
    """Characters of an array of names, as many as the longest has.

    Raises:
        DataError: it has so many that the array would be very much larger than the names are.
    """
    longest = max(map(len, names), default=0)
    if len(names) * longest * 4 > max(MOST_PADDED, PADDING * 4 * sum(map(len, names))):
        raise DataError(
            f"one {what} has {longest:,} characters, and an array of numpy has as much room for "
            f"each of the {len(names):,}, {len(names) * longest * 4:,} bytes: shorten it"
            + ("; .npy and .parquet keep file names of any length" if what != "identity" else "")
        )
    return max(1, longest)


def _write_names(stream: IO[bytes], names: Sequence[str], what: str) -> None:
    width = width_of(names, what)
    header = {"descr": f"<U{width}", "fortran_order": False, "shape": (len(names),)}
    np.lib.format.write_array_header_2_0(stream, header)
    for start in range(0, len(names), _BLOCK):
        stream.write(np.array(names[start : start + _BLOCK], dtype=f"<U{width}").tobytes())


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
