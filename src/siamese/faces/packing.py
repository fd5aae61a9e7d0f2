"""Crops that are files are put into packs: at whatever moment this stops, no crop is lost."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import secrets
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout

from siamese.errors import CacheError
from siamese.faces.packs import BLOCK, CROP_NAME, ENTRY, FOLDER, LOCK, Packs, code_of, packs_of
from siamese.progress import progress_bar
from siamese.storage import flush_to_disk, write_whole

MOST_CROPS, MOST_BYTES = 100_000, 4 << 30  # in one pack


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
        CacheError: a pack cannot be written, one is damaged, or another process is packing.
    """
    if not any(folder.glob("[0-9a-f][0-9a-f]")):
        return 0
    home = folder / FOLDER
    try:
        home.mkdir(exist_ok=True)
        with FileLock(home / LOCK, timeout=0):  # let go of when the process ends, however it does
            return _pack_files(folder, home, progress)
    except Timeout as error:
        raise CacheError(
            f"{home}: another process is packing these crops; wait until it has ended"
        ) from error
    except OSError as error:
        raise CacheError(
            f"{home}: cannot write packs ({error.strerror or error}); free some space; each crop "
            f"is still there, as a file or in a pack"
        ) from error


def _pack_files(folder: Path, home: Path, progress: bool) -> int:
    """Pack all crops that are files; how many. Whoever clears the cache may remove some."""
    files: list[tuple[Path, int]] = []
    for shard in folder.glob("[0-9a-f][0-9a-f]"):
        for file in shard.iterdir():
            if CROP_NAME.fullmatch(file.name) and file.name[:2] == shard.name:
                with contextlib.suppress(FileNotFoundError):
                    if size := file.stat().st_size:
                        files.append((file, size))
    packed = 0
    with progress_bar("packing", len(files), progress) as advance:
        for part in _parts(sorted(files)):
            packed += _write_pack(home, part)
            packs = packs_of(folder, fresh=True)
            for file in part:
                _remove_if_packed(file, packs)
            advance(len(part))
    for shard in folder.glob("[0-9a-f][0-9a-f]"):
        with contextlib.suppress(OSError):  # not empty
            shard.rmdir()
    return packed


def _parts(files: Sequence[tuple[Path, int]]) -> Iterator[list[Path]]:
    """The files of each pack, of files and their sizes."""
    part: list[Path] = []
    size = 0
    for file, more in files:
        if part and (len(part) == MOST_CROPS or size > MOST_BYTES):
            yield part
            part, size = [], 0
        part.append(file)
        size += more
    if part:
        yield part


def _write_pack(home: Path, files: Sequence[Path]) -> int:
    """Write an archive of these crops, and then, when it is on the disk, its index; how many."""
    name = hashlib.sha256("\n".join(file.name for file in files).encode()).hexdigest()[:16]
    entries, count = np.zeros(len(files), dtype=ENTRY), 0
    temporary = home / f".{name}.tar.{os.getpid()}.{secrets.token_hex(4)}.tmp"
    try:
        with (
            temporary.open("wb") as stream,
            tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as archive,
        ):
            for file in files:
                try:
                    content = file.read_bytes()
                except FileNotFoundError:  # removed meanwhile
                    continue
                member = tarfile.TarInfo(file.name)  # no owner, no time: the same crops, same bytes
                member.size = len(content)
                parts = CROP_NAME.fullmatch(file.name)
                assert parts is not None  # pack_crops chose them
                faces = code_of(None if parts[2] == "x" else int(parts[2]))
                place = archive.offset + BLOCK
                entries[count] = (bytes.fromhex(parts[1]), faces, place, len(content))
                archive.addfile(member, io.BytesIO(content))
                count += 1
        if not count:
            return 0
        flush_to_disk(temporary)
        os.replace(temporary, home / f"{name}.tar")
        flush_to_disk(home)
    finally:
        temporary.unlink(missing_ok=True)
    buffer = io.BytesIO()
    np.save(buffer, entries[:count], allow_pickle=False)
    write_whole(home / f"{name}.npy", buffer.getvalue())
    flush_to_disk(home / f"{name}.npy")
    flush_to_disk(home)
    return count


def _remove_if_packed(file: Path, packs: Packs | None) -> None:
    name = CROP_NAME.fullmatch(file.name)
    assert name is not None
    place = packs and packs.find(name[1], None if name[2] == "x" else int(name[2]))
    with contextlib.suppress(FileNotFoundError):
        if packs and place and packs.read(place) == file.read_bytes():
            file.unlink()
