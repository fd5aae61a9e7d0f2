"""SHA-256 of many files: read in threads, or over a backend of processes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from siamese.errors import ImageError
from siamese.faces.files import hash_file
from siamese.faces.tasks import over_processes, refuse_what_is_here

_CHUNK = 256  # files per task over a backend
_BLOCK = 16_384  # files that are handed to the threads at a time


def content_hash(content: bytes) -> str:
    """SHA-256 of a file's bytes, hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def hash_files(paths: Sequence[Path], backend: str | None = None) -> list[str | ImageError]:
    """SHA-256 of each file, or the error that reading it gave.

    Args:
        paths: N files.
        backend: None reads in a few threads; others as for :func:`siamese.crop_files`. Its workers
            must see the files under the same paths.

    Raises:
        DataError: a worker does not see a file that is here.
        ConfigError, MissingDependencyError, CacheError: from the backend.
    """
    found = dict(each_hash(paths, backend))
    return [known for start in sorted(found) for known in found[start]]


def hash_columns(
    paths: Sequence[Path], backend: str | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """As :func:`hash_files`, in 33 bytes per file: for millions of them.

    Returns:
        (N, 32) uint8, the hashes; zeros of a file that cannot be read. (N,) bool: whether it can.
    """
    digests = np.zeros((len(paths), 32), dtype=np.uint8)
    known = np.zeros(len(paths), dtype=bool)
    for start, hashes in each_hash(paths, backend):
        for row, one in enumerate(hashes, start):
            if isinstance(one, str):
                digests[row] = np.frombuffer(bytes.fromhex(one), dtype=np.uint8)
                known[row] = True
    return digests, known


def each_hash(
    paths: Sequence[Path], backend: str | None = None
) -> Iterator[tuple[int, list[str | ImageError]]]:
    """The hashes of a part of the files after the other, in any order, in bounded memory.

    Yields:
        where the part begins, and what :func:`hash_files` gives of it.
    """
    if backend is None:
        with ThreadPoolExecutor(max_workers=4) as pool:
            for start in range(0, len(paths), _BLOCK):
                part = paths[start : start + _BLOCK]
                yield start, list(pool.map(_hash, part, chunksize=64))
        return
    starts = range(0, len(paths), _CHUNK)
    parts = ((i, [path.absolute() for path in paths[i : i + _CHUNK]]) for i in starts)
    for start, hashes in over_processes(_hash_chunk, parts, backend=backend):
        for path, known in zip(paths[start : start + _CHUNK], hashes, strict=True):
            if isinstance(known, ImageError):
                refuse_what_is_here(path, known.reason, backend)
        yield start, hashes


def _hash_chunk(start: int, paths: Sequence[Path]) -> tuple[int, list[str | ImageError]]:
    return start, [_hash(path) for path in paths]


def _hash(path: Path) -> str | ImageError:
    try:
        return hash_file(path)
    except ImageError as error:
        return error
