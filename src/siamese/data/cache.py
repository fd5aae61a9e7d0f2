"""What the cache of crops and descriptors holds, and how it is wiped."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from siamese.errors import CacheError
from siamese.faces.crops import default_cache

# The folders that the cache consists of; nothing else in its folder is ever touched.
PARTS = {"crops": "faces cut out of images, PNG", "descriptors": "numbers computed from crops"}


@dataclass(frozen=True)
class CachePart:
    """One part of the cache.

    Attributes:
        name: of its folder.
        files, bytes: how many, and how large all of them are.
    """

    name: str
    files: int
    bytes: int


def cache_parts(cache: str | Path | None = None) -> list[CachePart]:
    """What the cache holds.

    Args:
        cache: its folder; by default ``$SIAMESE_CACHE``, or ``siamese`` in the user's cache folder.

    Raises:
        CacheError: it cannot be read.
    """
    found = []
    for name in PARTS:
        sizes = [status.st_size for _, status in _files(_folder(cache) / name)]
        found.append(CachePart(name, len(sizes), sum(sizes)))
    return found


def clear_cache(cache: str | Path | None = None, older_than: float | None = None) -> int:
    """Remove crops and descriptors; they are made again where they are needed.

    Run nothing that uses the cache at the same time. Files are unlinked, not overwritten: see
    docs/privacy.md.

    Args:
        cache: its folder; by default as for :func:`cache_parts`.
        older_than: days; only what was written before. All by default.

    Returns:
        how many files were removed.

    Raises:
        CacheError: a file cannot be removed, or a negative number of days.
    """
    if older_than is not None and not older_than >= 0:
        raise CacheError(f"older_than must be a number of days of at least 0, not {older_than}")
    latest = time.time() - older_than * 86_400 if older_than is not None else None
    removed = 0
    for name in PARTS:
        folder = _folder(cache) / name
        for path, status in _files(folder):
            if latest is None or status.st_mtime < latest:
                try:
                    path.unlink(missing_ok=True)
                except OSError as error:
                    raise _unusable(path, error) from error
                removed += 1
        _remove_empty(folder)
    return removed


def _folder(cache: str | Path | None) -> Path:
    return Path(cache).expanduser() if cache is not None else default_cache()


def _files(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """All files below a folder; links are not followed."""

    def fail(error: OSError) -> None:
        raise _unusable(folder, error) from error

    if folder.is_symlink() or not folder.is_dir():
        return
    for home, _, names in os.walk(folder, onerror=fail):
        for name in names:
            path = Path(home) / name
            with contextlib.suppress(FileNotFoundError):  # of another process
                yield path, path.lstat()


def _remove_empty(folder: Path) -> None:
    """The folders that hold nothing any more."""
    if folder.is_symlink():
        return
    for home, _, _ in os.walk(folder, topdown=False):
        with contextlib.suppress(OSError):
            Path(home).rmdir()


def _unusable(path: Path, error: OSError) -> CacheError:
    return CacheError(
        f"{path}: {error.strerror or error}; change its permissions, or name another cache "
        f"(SIAMESE_CACHE, --cache)"
    )
