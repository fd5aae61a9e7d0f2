"""SHA-256 of many files: read in threads, or over a backend of processes."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from siamese.errors import ImageError
from siamese.faces.files import hash_file
from siamese.faces.tasks import over_processes, refuse_what_is_here

_CHUNK = 256  # files per task over a backend


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
    if backend is None:
        with ThreadPoolExecutor(max_workers=4) as pool:
            return list(pool.map(_hash, paths, chunksize=64))
    parts = ((i, [p.absolute() for p in paths[i : i + _CHUNK]]) for i in _starts(paths))
    found: dict[int, list[str | ImageError]] = {}
    for start, hashes in over_processes(_hash_chunk, parts, backend=backend):
        for path, known in zip(paths[start : start + _CHUNK], hashes, strict=True):
            if isinstance(known, ImageError):
                refuse_what_is_here(path, known.reason, backend)
        found[start] = hashes
    return [known for start in _starts(paths) for known in found[start]]


def _starts(paths: Sequence[Path]) -> range:
    return range(0, len(paths), _CHUNK)


def _hash_chunk(start: int, paths: Sequence[Path]) -> tuple[int, list[str | ImageError]]:
    return start, [_hash(path) for path in paths]


def _hash(path: Path) -> str | ImageError:
    try:
        return hash_file(path)
    except ImageError as error:
        return error
