"""Packs: many crops in one file, read at random; millions of small files are slow to handle.

A pack is a tar archive, so that other tools read it, and an index beside it: which crop begins
where. Batches are planned as row numbers, in any order, so that a run that stops can go on exactly:
what reads archives from their beginning to their end does not serve.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import re
import secrets
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from siamese.errors import CacheError
from siamese.progress import progress_bar
from siamese.storage import write_whole

FOLDER = "packs"
CROP_NAME = re.compile(r"([0-9a-f]{64})-(x|[0-9]{1,9})\.png")
PACK_NAME = r"[0-9a-f]{16}\.(?:tar|npy)"  # the archive, and its index
MOST_CROPS, MOST_BYTES = 100_000, 4 << 30  # in one pack: each stays open in each process
_BLOCK, _RECORD = tarfile.BLOCKSIZE, tarfile.RECORDSIZE
# Of a crop: SHA-256 of its image, faces found (-1: none were looked for), where its bytes begin in
# the archive, and how many they are.
_ENTRY = np.dtype([("content", "V32"), ("faces", "<i4"), ("start", "<i8"), ("size", "<i4")])


class Place(NamedTuple):
    """Where a crop lies: in which archive, from which byte on, how many."""

    archive: Path
    start: int
    size: int


class Packs:
    """The packs of one folder of crops.

    Args:
        folder: of one cropper's settings.

    Raises:
        CacheError: an index or an archive is damaged.
    """

    def __init__(self, folder: Path) -> None:
        self._home = folder / FOLDER
        self._archives: list[Path] = []
        self._indices: list[np.ndarray] = []
        self._open: dict[tuple[int, Path], int] = {}
        for index in sorted(self._home.glob("*.npy")):
            if re.fullmatch(PACK_NAME, index.name):
                self._archives.append(index.with_suffix(".tar"))
                self._indices.append(_read_index(index))
        # The beginnings of all contents, sorted: 16 bytes for a crop in each process.
        heads = [_heads(index) for index in self._indices]
        whole = np.concatenate([np.zeros(0, np.uint64), *heads])
        order = np.argsort(whole, kind="stable")
        self._heads, self._order = whole[order], order
        self._starts = np.cumsum([0, *map(len, heads)])

    def __len__(self) -> int:
        return len(self._heads)

    def contents(self) -> Iterator[tuple[str, int | None]]:
        """SHA-256 of each image whose crop is here, and the number of faces."""
        for index in self._indices:
            for content, faces in zip(index["content"], index["faces"].tolist(), strict=True):
                yield bytes(content).hex(), None if faces < 0 else faces

    def find(self, content: str, faces: int | None) -> Place | None:
        """Where the crop of an image lies; None where it is not here."""
        wanted = bytes.fromhex(content)
        head = np.uint64(int.from_bytes(wanted[:8], "big"))
        first = int(self._heads.searchsorted(head))
        for place in range(first, len(self._heads)):
            if self._heads[place] != head:
                break
            number = int(self._order[place])
            pack = int(self._starts.searchsorted(number, "right")) - 1
            entry = self._indices[pack][number - self._starts[pack]]
            if bytes(entry["content"]) == wanted and entry["faces"] == _code(faces):
                return Place(self._archives[pack], int(entry["start"]), int(entry["size"]))
        return None

    def read(self, place: Place) -> bytes:
        """The bytes of a crop, from any thread; each process opens the archive for itself.

        Raises:
            CacheError: they are not all there.
        """
        key = (os.getpid(), place.archive)
        try:
            if key not in self._open:
                flags = os.O_RDONLY | getattr(os, "O_BINARY", 0)
                self._open[key] = os.open(place.archive, flags)
            found = os.pread(self._open[key], place.size, place.start)
        except OSError as error:
            raise damaged_pack(
                place.archive, f"cannot be read ({error.strerror or error})"
            ) from error
        if len(found) != place.size:
            raise damaged_pack(place.archive, "is cut off")
        return found

    def close(self) -> None:
        """Close the archives that this process has opened."""
        for pid, archive in list(self._open):
            if pid == os.getpid():
                with contextlib.suppress(OSError):
                    os.close(self._open.pop((pid, archive)))


_known: dict[Path, Packs | None] = {}


def packs_of(folder: Path, fresh: bool = False) -> Packs | None:
    """The packs of one folder of crops, opened once in a process; None where there are none.

    Args:
        folder: of one cropper's settings.
        fresh: look which there are now.

    Raises:
        CacheError: one is damaged.
    """
    if folder not in _known or fresh:
        # Another thread may still read from those of before: they are closed with the process.
        _known[folder] = Packs(folder) or None if (folder / FOLDER).is_dir() else None
    return _known[folder]


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


def pack_crops(folder: Path, progress: bool = True) -> int:
    """Put all crops of one folder that are files into packs, and remove the files.

    A file is removed when its bytes were read again from a pack that is complete on the disk: at
    whatever moment this is killed, each crop is in a file or in a pack. Others may read meanwhile.

    Args:
        folder: of one cropper's settings.
        progress: show a progress bar on standard error.

    Returns:
        how many crops were packed.

    Raises:
        CacheError: a pack cannot be written, or one is damaged.
    """
    files = sorted(
        file
        for shard in folder.glob("[0-9a-f][0-9a-f]")
        for file in shard.iterdir()
        if CROP_NAME.fullmatch(file.name) and file.name[:2] == shard.name and file.stat().st_size
    )
    home = folder / FOLDER
    try:
        with progress_bar("packing", len(files), progress) as advance:
            for part in _parts(files):
                home.mkdir(exist_ok=True)
                _write_pack(home, part)
                packs = packs_of(folder, fresh=True)
                for file in part:
                    _remove_if_packed(file, packs)
                advance(len(part))
    except OSError as error:
        raise CacheError(
            f"{home}: cannot write packs ({error.strerror or error}); free some space; each crop "
            f"is still there, as a file or in a pack"
        ) from error
    for shard in folder.glob("[0-9a-f][0-9a-f]"):
        with contextlib.suppress(OSError):  # not empty
            shard.rmdir()
    return len(files)


def _parts(files: Sequence[Path]) -> Iterator[list[Path]]:
    part: list[Path] = []
    size = 0
    for file in files:
        if part and (len(part) == MOST_CROPS or size > MOST_BYTES):
            yield part
            part, size = [], 0
        part.append(file)
        size += file.stat().st_size
    if part:
        yield part


def _write_pack(home: Path, files: Sequence[Path]) -> None:
    """Write an archive of these crops, and then, when it is on the disk, its index."""
    name = hashlib.sha256("\n".join(file.name for file in files).encode()).hexdigest()[:16]
    entries = np.zeros(len(files), dtype=_ENTRY)
    temporary = home / f".{name}.tar.{os.getpid()}.{secrets.token_hex(4)}.tmp"
    try:
        with (
            temporary.open("wb") as stream,
            tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as archive,
        ):
            for row, file in enumerate(files):
                content = file.read_bytes()
                member = tarfile.TarInfo(file.name)  # no owner, no time: the same crops, same bytes
                member.size = len(content)
                parts = CROP_NAME.fullmatch(file.name)
                assert parts is not None  # pack_crops chose them
                faces = _code(None if parts[2] == "x" else int(parts[2]))
                place = archive.offset + _BLOCK
                entries[row] = (bytes.fromhex(parts[1]), faces, place, len(content))
                archive.addfile(member, io.BytesIO(content))
        _to_disk(temporary)
        os.replace(temporary, home / f"{name}.tar")
        _to_disk(home)
    finally:
        temporary.unlink(missing_ok=True)
    buffer = io.BytesIO()
    np.save(buffer, entries, allow_pickle=False)
    write_whole(home / f"{name}.npy", buffer.getvalue())
    _to_disk(home / f"{name}.npy")
    _to_disk(home)


def _remove_if_packed(file: Path, packs: Packs | None) -> None:
    name = CROP_NAME.fullmatch(file.name)
    assert name is not None
    place = packs and packs.find(name[1], None if name[2] == "x" else int(name[2]))
    if packs and place and packs.read(place) == file.read_bytes():
        file.unlink(missing_ok=True)


def _to_disk(path: Path) -> None:
    """Wait until a file or a folder is on the disk; of a folder where the system can do that."""
    if os.name == "nt" and path.is_dir():
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _read_index(path: Path) -> np.ndarray:
    """(n,) ``_ENTRY``, mapped into memory; its archive is as long as it must be.

    Raises:
        CacheError: it is not so.
    """
    archive = path.with_suffix(".tar")
    try:
        index: Any = np.load(path, mmap_mode="r", allow_pickle=False)
        size = archive.stat().st_size
    except FileNotFoundError as error:
        raise damaged_pack(archive, "is missing") from error
    except (OSError, ValueError, EOFError, SyntaxError) as error:
        raise damaged_pack(path, "is no index") from error
    if index.dtype != _ENTRY or index.ndim != 1 or not len(index):
        raise damaged_pack(path, "is no index")
    starts, sizes = index["start"].astype(np.int64), index["size"].astype(np.int64)
    end = int((starts + (sizes + _BLOCK - 1) // _BLOCK * _BLOCK).max())
    whole = -(-(end + 2 * _BLOCK) // _RECORD) * _RECORD  # tar ends with two empty blocks
    if (starts < _BLOCK).any() or (sizes < 1).any() or size != whole:
        raise damaged_pack(archive, f"has {size:,} bytes instead of {whole:,}")
    return np.asarray(index)  # single entries of a mapped array are slow to take


def _heads(index: np.ndarray) -> np.ndarray:
    content = np.frombuffer(index["content"].tobytes(), dtype=np.uint8).reshape(-1, 32)
    return np.ascontiguousarray(content[:, :8]).view(">u8")[:, 0].astype(np.uint64)


def _code(faces: int | None) -> int:
    return -1 if faces is None else faces


def damaged_pack(path: Path, what: str) -> CacheError:
    """That a pack is damaged, and how its crops are made anew."""
    both = f"{path.with_suffix('.tar')} and {path.with_suffix('.npy').name}"
    return CacheError(
        f"{path}: this pack of crops {what}; remove {both} and run again: its crops are made anew"
    )
