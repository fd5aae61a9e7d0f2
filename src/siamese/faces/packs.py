"""Packs: many crops in one file, read at random; millions of small files are slow to handle.

They are written by :mod:`siamese.faces.packing`.

A pack is a tar archive, so that other tools read it, and an index beside it: which crop begins
where. Batches are planned as row numbers, in any order, so that a run that stops can go on exactly:
what reads archives from their beginning to their end does not serve.
"""

from __future__ import annotations

import errno
import io
import os
import re
import stat
import tarfile
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from tokenize import TokenError
from typing import NamedTuple

import numpy as np

from siamese.errors import CacheError

FOLDER = "packs"
LOCK = ".lock"  # beside the packs, held by who is packing
CROP_NAME = re.compile(r"([0-9a-f]{64})-(x|[0-9]{1,9})\.png")
PACK_NAME = r"[0-9a-f]{16}\.(?:tar|npy)"  # the archive, and its index
MOST_OPEN = 128  # archives and indices in a process; systems allow 256 to 1024 files
_LARGEST_INDEX = 1 << 26  # bytes; one of 100,000 crops has 4.8 million
_LONGEST_HEADER = 1_024  # bytes that numpy writes before the entries of an index: 192
BLOCK, _RECORD = tarfile.BLOCKSIZE, tarfile.RECORDSIZE
# Of a crop: SHA-256 of its image, faces found (-1: none were looked for), where its bytes begin in
# the archive, and how many they are.
ENTRY = np.dtype([("content", "V32"), ("faces", "<i4"), ("start", "<i8"), ("size", "<i4")])


class Place(NamedTuple):
    """Where a crop lies: in which archive, from which byte on, how many."""

    archive: Path
    start: int
    size: int


class _OpenFile:
    """A file that is closed when nobody reads from it any more."""

    def __init__(self, path: Path) -> None:
        if not stat.S_ISREG(path.stat().st_mode):  # a named pipe would be waited for
            raise damaged_pack(path, "is no regular file")
        flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
        self._number = os.open(path, flags)

    def read(self, size: int, start: int) -> bytes:
        return os.pread(self._number, size, start)

    def __del__(self) -> None:
        if hasattr(self, "_number"):
            os.close(self._number)


@lru_cache(maxsize=MOST_OPEN)
def _opened(path: Path, mark: tuple[int, ...]) -> _OpenFile:
    """A file of a pack; the ones that were not read for longest are closed.

    Args:
        path: of the file.
        mark: tells it from another one of that name.
    """
    return _OpenFile(path)


if hasattr(os, "register_at_fork"):  # each process opens the files for itself
    os.register_at_fork(after_in_child=_opened.cache_clear)


class Packs:
    """The packs of one folder of crops.

    Nothing stays open or mapped but a few files, :data:`MOST_OPEN` in a process.

    Args:
        folder: of one cropper's settings.

    Raises:
        CacheError: an index or an archive is damaged, or cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        self.marks = _marks(folder / FOLDER)
        self._indices = [path for path in self.marks if path.suffix == ".npy"]
        self._begin: list[int] = []  # of the entries in each index
        heads = [np.zeros(0, np.uint64)]
        for index in self._indices:
            entries, begin = _read_index(index)
            self._begin.append(begin)
            heads.append(_heads(entries))
        # The beginnings of all contents, sorted: 16 bytes for a crop in each process.
        whole = np.concatenate(heads)
        order = np.argsort(whole, kind="stable")
        self._heads, self._order = whole[order], order
        self._starts = np.cumsum([0, *map(len, heads[1:])])

    def __len__(self) -> int:
        return len(self._heads)

    def contents(self) -> Iterator[tuple[str, int | None]]:
        """SHA-256 of each image whose crop is here, and the number of faces.

        Raises:
            CacheError: an index is damaged, or cannot be read.
        """
        for index in self._indices:
            entries, _ = _read_index(index)
            for content, faces in zip(entries["content"], entries["faces"].tolist(), strict=True):
                yield bytes(content).hex(), None if faces < 0 else faces

    def faces(self, content: str) -> list[int | None]:
        """The number of faces with which the crop of an image is here; empty where it is not.

        Raises:
            CacheError: an index cannot be read.
        """
        return [
            None if entry["faces"] < 0 else int(entry["faces"]) for _, entry in self._of(content)
        ]

    def find(self, content: str, faces: int | None) -> Place | None:
        """Where the crop of an image lies; None where it is not here.

        Raises:
            CacheError: an index cannot be read.
        """
        for index, entry in self._of(content):
            if entry["faces"] == code_of(faces):
                return Place(index.with_suffix(".tar"), int(entry["start"]), int(entry["size"]))
        return None

    def _of(self, content: str) -> Iterator[tuple[Path, np.ndarray]]:
        """The entries of an image, and in which index."""
        wanted = bytes.fromhex(content)
        head = np.uint64(int.from_bytes(wanted[:8], "big"))
        for place in range(int(self._heads.searchsorted(head)), len(self._heads)):
            if self._heads[place] != head:
                break
            number = int(self._order[place])
            pack = int(self._starts.searchsorted(number, "right")) - 1
            row = number - int(self._starts[pack])
            begin = self._begin[pack] + row * ENTRY.itemsize
            entry = np.frombuffer(self._read(self._indices[pack], ENTRY.itemsize, begin), ENTRY)[0]
            if bytes(entry["content"]) == wanted:
                yield self._indices[pack], entry

    def read(self, place: Place) -> bytes:
        """The bytes of a crop, from any thread.

        Raises:
            CacheError: they are not all there, or cannot be read.
        """
        return self._read(place.archive, place.size, place.start)

    def _read(self, path: Path, size: int, start: int) -> bytes:
        try:
            found = _opened(path, self.marks[path]).read(size, start)
        except OSError as error:
            raise _unreadable(path, error) from error
        if len(found) != size:
            raise damaged_pack(path, "is cut off")
        return found


_known: dict[Path, Packs | None] = {}


def packs_of(folder: Path, fresh: bool = False) -> Packs | None:
    """The packs of one folder of crops, looked for once in a process; None where there are none.

    Args:
        folder: of one cropper's settings.
        fresh: look which there are now; those that are known are kept where nothing has changed.

    Raises:
        CacheError: one is damaged, or cannot be read.
    """
    known = _known.get(folder)
    if known is not None and fresh and known.marks != _marks(folder / FOLDER):
        known = None
    if known is None and (fresh or folder not in _known):
        known = Packs(folder) or None if (folder / FOLDER).is_dir() else None
        _known[folder] = known
    return known


def forget_packs() -> None:
    """Close all packs, so that removed ones take no room on the disk; look for them anew."""
    _known.clear()
    _opened.cache_clear()


def _marks(home: Path) -> dict[Path, tuple[int, ...]]:
    """The indices in a folder, and their archives, with what tells each from another file."""
    found: dict[Path, tuple[int, ...]] = {}
    for index in sorted(home.glob("*.npy")):
        if re.fullmatch(PACK_NAME, index.name):
            for path in (index, index.with_suffix(".tar")):
                try:
                    status = path.stat()
                except OSError as error:
                    if path == index and isinstance(error, FileNotFoundError):
                        break  # cleared meanwhile, the index first
                    raise _unreadable(path, error) from error
                found[path] = (status.st_ino, status.st_size, status.st_mtime_ns)
    return found


def packed_crop(path: Path) -> tuple[bytes, Path] | None:
    """The bytes of a crop that lies in a pack, by the path it would have as a file; and the pack.

    None where no pack has it.

    Raises:
        CacheError: the pack is damaged.
    """
    name = CROP_NAME.fullmatch(path.name)
    packs = packs_of(path.parents[1]) if name and len(path.parents) > 1 else None
    if packs is None or name is None:
        return None
    place = packs.find(name[1], None if name[2] == "x" else int(name[2]))
    return None if place is None else (packs.read(place), place.archive)


def _read_index(path: Path) -> tuple[np.ndarray, int]:
    """(n,) ``ENTRY``, and where they begin in the file; its archive is as long as it must be.

    Raises:
        CacheError: it is not so, or cannot be read.
    """
    archive = path.with_suffix(".tar")
    try:
        file = _OpenFile(path)
        written = path.stat().st_size
        begin = _begin(file.read(_LONGEST_HEADER, 0))
        number = (written - begin) // ENTRY.itemsize
        size = archive.stat().st_size
        fits = begin and written <= _LARGEST_INDEX
        content = file.read(written - begin, begin) if fits else b""
    except FileNotFoundError as error:
        raise damaged_pack(archive, "is missing") from error
    except OSError as error:
        raise _unreadable(path, error) from error
    if not content or len(content) != number * ENTRY.itemsize or begin + len(content) != written:
        raise damaged_pack(path, "is no index")
    index = np.frombuffer(content, ENTRY)
    starts, sizes = index["start"].astype(np.int64), index["size"].astype(np.int64)
    if (starts < BLOCK).any() or (starts > size).any() or (sizes < 1).any():
        raise damaged_pack(path, "names crops that are not in its archive")
    end = int((starts + (sizes + BLOCK - 1) // BLOCK * BLOCK).max())
    whole = -(-(end + 2 * BLOCK) // _RECORD) * _RECORD  # tar ends with two empty blocks
    if size != whole:
        raise damaged_pack(archive, f"has {size:,} bytes instead of {whole:,}")
    return index, begin


def _begin(head: bytes) -> int:
    """Where the entries of an index begin; 0 where this is none. The header is not executed."""
    stream = io.BytesIO(head)
    try:
        if np.lib.format.read_magic(stream) != (1, 0):
            return 0
        shape, _, kind = np.lib.format.read_array_header_1_0(stream, _LONGEST_HEADER)
    # Whatever a parser of Python's literals raises over hostile text.
    except (ValueError, EOFError, SyntaxError, TokenError, MemoryError, RecursionError, TypeError):
        return 0
    return stream.tell() if kind == ENTRY and len(shape) == 1 else 0


def _heads(index: np.ndarray) -> np.ndarray:
    content = np.frombuffer(index["content"].tobytes(), dtype=np.uint8).reshape(-1, 32)
    return np.ascontiguousarray(content[:, :8]).view(">u8")[:, 0].astype(np.uint64)


def code_of(faces: int | None) -> int:
    """How an index writes a number of faces."""
    return -1 if faces is None else faces


def _unreadable(path: Path, error: OSError) -> CacheError:
    """That the system does not give a pack, which may well be whole."""
    if isinstance(error, FileNotFoundError):
        return damaged_pack(path, "is missing")
    limit = "; raise ulimit -n" if error.errno in (errno.EMFILE, errno.ENFILE) else ""
    return CacheError(
        f"{path}: this pack of crops cannot be read now ({error.strerror or error}){limit}; mend "
        f"that and run again, it need not be damaged"
    )


def damaged_pack(path: Path, what: str) -> CacheError:
    """That a pack is damaged, and how its crops are made anew."""
    both = f"{path.with_suffix('.tar')} and {path.with_suffix('.npy').name}"
    return CacheError(
        f"{path}: this pack of crops {what}; remove {both} and run again: its crops are made anew"
    )
