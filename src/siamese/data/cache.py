"""What the cache of crops and descriptors holds, and how it is wiped."""

from __future__ import annotations

import contextlib
import os
import re
import stat
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from siamese.errors import CacheError
from siamese.faces.cache_folder import default_cache
from siamese.faces.packing import pack_crops
from siamese.faces.packs import FOLDER, LOCK, PACK_NAME, forget_packs

# The folders that the cache consists of.
PARTS = {"crops": "faces cut out of images, PNG", "descriptors": "numbers computed from crops"}
# Of one cropper's settings, or of one descriptor's: the folders in a part.
_KEYS = {"crops": re.compile(r".+-[0-9a-f]{12}"), "descriptors": re.compile(r"[0-9a-f]{12}")}
# What is written in those (by faces/crops.py and backbones/descriptor_cache.py), and what a killed
# writer left (storage.py). A file of any other name or place is not ours: another folder may have
# been named as the cache by mistake.
_TEMPORARY = r"\.[0-9]+\.[0-9a-f]{8}\.tmp"


def _written(name: str, beside: str = "") -> re.Pattern[str]:
    """Paths in such a folder: of files in the shard that begins their names, or beside shards."""
    file = rf"([0-9a-f]{{2}})/(?:\1{name}|\.\1{name}{_TEMPORARY})"
    if beside:
        file = (
            rf"(?:{file}|{beside}|\.settings\.json{_TEMPORARY}|{FOLDER}/\.{PACK_NAME}{_TEMPORARY})"
        )
    return re.compile(file)


_WRITTEN = {
    "crops": _written(
        r"[0-9a-f]{62}-(?:x|[0-9]+)\.png",
        rf"(?:settings\.json|{FOLDER}/(?:{PACK_NAME}|{re.escape(LOCK)}))",
    ),
    "descriptors": _written(r"[0-9a-f]{62}\.f16"),
}


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


def cache_parts(
    cache: str | Path | None = None, older_than: float | None = None
) -> list[CachePart]:
    """What the cache holds; files that are not of the cache do not count.

    Args:
        cache: its folder; by default ``$SIAMESE_CACHE``, or ``siamese`` in the user's cache folder,
            where nothing may lie yet.
        older_than: days; only what was written before. All by default.

    Raises:
        CacheError: there is no such folder, it cannot be read, or a negative number of days.
    """
    latest, folder = _latest(older_than), _folder(cache)
    found = []
    for name in PARTS:
        sizes = [status.st_size for _, status in _files(folder, name, latest)]
        found.append(CachePart(name, len(sizes), sum(sizes)))
    return found


def clear_cache(cache: str | Path | None = None, older_than: float | None = None) -> int:
    """Remove crops and descriptors; they are made again where they are needed.

    Run nothing that uses the cache at the same time. Files are unlinked, not overwritten: see
    docs/privacy.md. What the cache did not write is left alone, wherever it lies.

    Args:
        cache: its folder; by default as for :func:`cache_parts`.
        older_than: days; only what was written before, archives of crops and their indices
            together. All by default.

    Returns:
        how many files were removed.

    Raises:
        CacheError: there is no such folder, a file cannot be removed, or a negative number of days.
    """
    latest, folder = _latest(older_than), _folder(cache)
    removed = 0
    forget_packs()  # what is open takes room on the disk, and would still be read
    for name in PARTS:
        folders = {folder / name}
        for path, _ in _files(folder, name, latest):
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                raise _unusable(path, error) from error
            removed += 1
            folders |= {path.parent, path.parent.parent}
        _remove_empty(folders)
    return removed


def pack_cache(cache: str | Path | None = None, progress: bool = True) -> int:
    """Put the crops, each of which is a small file, into archives of up to 100,000 of them.

    They are found and read as before, the same bytes. Of millions of files most file systems are
    slow to handle. A run may read the cache meanwhile; a killed call is simply made again. Crops
    that are made later are files, until this is called again.

    Args:
        cache: its folder; by default as for :func:`cache_parts`.
        progress: show a progress bar on standard error.

    Returns:
        how many crops were packed.

    Raises:
        CacheError: there is no such folder, it cannot be read or written, a pack is damaged, or
            another process is packing.
    """
    part = _folder(cache if cache is not None else default_cache()) / "crops"
    try:
        folders = sorted(part.iterdir()) if part.is_dir() and not part.is_symlink() else []
    except OSError as error:
        raise _unusable(part, error) from error
    return sum(
        pack_crops(folder, progress)
        for folder in folders
        if _KEYS["crops"].fullmatch(folder.name) and folder.is_dir() and not folder.is_symlink()
    )


def _latest(older_than: float | None) -> float:
    """Before when a file must have been written."""
    if older_than is None:
        return float("inf")
    if not older_than >= 0:
        raise CacheError(f"older_than must be a number of days of at least 0, not {older_than}")
    return time.time() - older_than * 86_400


def _folder(cache: str | Path | None) -> Path:
    """The folder of the cache; that of the default may not be there yet.

    Raises:
        CacheError: one is named, and is not there: of what lies elsewhere nothing would be removed.
    """
    folder = default_cache() if cache is None else Path(cache).expanduser()
    try:
        folder.stat()
        found = folder.is_dir()
    except (FileNotFoundError, NotADirectoryError):
        if cache is None:
            return folder
        raise CacheError(
            f"{cache}: no such folder; name that of a cache (--cache, SIAMESE_CACHE): siamese "
            f"cache says where the usual one lies, and a run makes it"
        ) from None
    except (OSError, ValueError) as error:
        raise _unusable(folder, error) from error
    if not found:
        raise CacheError(
            f"{folder}: a file, not a folder; name that of a cache (--cache, SIAMESE_CACHE)"
        )
    return folder


def _files(cache: Path, name: str, latest: float) -> Iterator[tuple[Path, os.stat_result]]:
    """What the cache wrote into one of its parts before then; links are not followed."""
    part = cache / name

    def fail(error: OSError) -> None:
        raise _unusable(part, error) from error

    if part.is_symlink() or not part.is_dir():
        return
    for home, folders, names in os.walk(part, onerror=fail):
        place = Path(home).relative_to(part).parts
        if len(place) == 0:  # hardly enter what is not ours
            folders[:] = [folder for folder in folders if _KEYS[name].fullmatch(folder)]
            continue
        if len(place) == 2:
            folders.clear()
        for file in sorted(names):  # an index before its archive, which may lie there without it
            if not _WRITTEN[name].fullmatch("/".join((*place[1:], file))):
                continue
            path = Path(home) / file
            with contextlib.suppress(FileNotFoundError):  # of another process
                status = path.lstat()
                if stat.S_ISREG(status.st_mode) and _written_at(path, status) < latest:
                    yield path, status


def _written_at(path: Path, status: os.stat_result) -> float:
    """When a file was written; an archive of crops and its index are one."""
    written = status.st_mtime
    other = {".tar": ".npy", ".npy": ".tar"}.get(path.suffix)
    if other is not None and path.parent.name == FOLDER:
        with contextlib.suppress(OSError):
            written = max(written, path.with_suffix(other).lstat().st_mtime)
    return written


def _remove_empty(folders: Iterable[Path]) -> None:
    """Those of these folders that hold nothing any more, the innermost first."""
    for folder in sorted(folders, key=lambda one: -len(one.parts)):
        if not folder.is_symlink():
            with contextlib.suppress(OSError):
                folder.rmdir()


def _unusable(path: Path, error: OSError | ValueError) -> CacheError:
    reason = getattr(error, "strerror", None) or error
    return CacheError(
        f"{path}: {reason}; change its permissions, or name another cache (SIAMESE_CACHE, --cache)"
    )
