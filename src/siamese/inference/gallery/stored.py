"""A gallery's folder: an index, and two files for each segment; whatever stops it, old or new.

``gallery.json`` names the segments. A segment is ``ID.safetensors`` (the embeddings) and
``ID.json`` (whose they are), under a name that is never used again. To change a gallery, new
segments are written, then the index is replaced by a new one in one step, then files that it does
not name are removed. A process that is killed leaves the old index or the new one, each with all of
its files. What is left over then is removed by whatever writes next.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import secrets
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import msgspec
import numpy as np
from msgspec import Meta, Struct

from siamese.errors import GalleryError, MissingDependencyError, first_line
from siamese.inference.gallery.segment import Segment, plain
from siamese.reading import Unreadable, open_regular, read_bytes
from siamese.storage import flush_to_disk

INDEX, LOCK = "gallery.json", ".lock"
VERSION = 1
_LARGEST_INDEX, _LARGEST_NAMES, _LARGEST_EMBEDDINGS = 1 << 26, 1 << 32, 1 << 42
LONGEST_NAME, LONGEST_PLACE = 1000, 10_000  # characters
_LARGEST_HEAD = 4096
# Bytes of embeddings up to which they are held against their digest whenever they are loaded.
_CHECKED = 1 << 26
_OURS = re.compile(r"[0-9a-f]{16}\.(json|safetensors)(\..*\.tmp)?|gallery\.json\..*\.tmp")
_TENSOR = "embeddings"

Digest = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
Code = Annotated[int, Meta(ge=0, le=1 << 40)]
Name = Annotated[str, Meta(min_length=1, max_length=LONGEST_NAME)]


class StoredSegment(Struct, forbid_unknown_fields=True):
    """A segment in the index."""

    id: Annotated[str, Meta(pattern="^[0-9a-f]{16}$")]
    rows: Annotated[int, Meta(ge=1, le=1 << 40)]
    names_sha256: Digest
    embeddings_sha256: Digest


class Index(Struct, forbid_unknown_fields=True):
    """What ``gallery.json`` holds.

    ``bundle`` says where the network was found, to find it again; only ``fingerprint`` decides.
    """

    version: Annotated[int, Meta(ge=1)]
    fingerprint: Digest
    distance: Name
    size: Annotated[int, Meta(ge=1, le=1 << 20)]
    bundle: Annotated[str, Meta(max_length=4096)]
    generation: Code
    segments: Annotated[list[StoredSegment], Meta(max_length=100_000)]


class StoredNames(Struct, forbid_unknown_fields=True):
    """What a segment's JSON file holds."""

    people: list[Name]
    codes: list[Code]
    photographs: list[Annotated[str, Meta(max_length=LONGEST_PLACE)]]
    hashes: list[Annotated[str, Meta(pattern="^[0-9a-f]{16}$")]]


@dataclass(frozen=True)
class Stored:
    """A gallery as it was read.

    Attributes:
        index: what its index says.
        segments: with embeddings mapped from their files.
    """

    index: Index
    segments: tuple[Segment, ...]


def read_index(folder: Path) -> Index:
    """What the index says.

    Raises:
        GalleryError: no gallery, a damaged one, or one of a newer version.
    """
    try:
        content = read_bytes(folder / INDEX, _LARGEST_INDEX)
        found = msgspec.json.decode(content)
        version = found.get("version") if isinstance(found, dict) else None
        if type(version) is int and version > VERSION:
            raise GalleryError(
                f"{folder}: written by a newer siamese (gallery version {version}); upgrade siamese"
            )
        return msgspec.convert(found, Index)
    except (FileNotFoundError, NotADirectoryError) as error:
        what = "no such folder" if not folder.exists() else f"no gallery ({INDEX} is missing)"
        raise GalleryError(
            f"{folder}: {what}; make one: siamese enrol GALLERY PEOPLE, or Gallery.save(folder)"
        ) from error
    except (OSError, ValueError, RecursionError) as error:
        raise _damaged(folder, error) from error


def read_gallery(folder: Path) -> Stored:
    """All of a gallery; embeddings are mapped, not read.

    Raises:
        GalleryError: see :func:`read_index`; files that are missing or damaged.
    """
    for attempt in range(3):  # another process may replace it meanwhile
        index = read_index(folder)
        try:
            return Stored(
                index, tuple(_read_segment(folder, s, index.size) for s in index.segments)
            )
        except (OSError, ValueError, RecursionError) as error:
            if attempt == 2 or read_index(folder).generation == index.generation:
                raise _damaged(folder, error) from error
    raise AssertionError


def _read_segment(folder: Path, stored: StoredSegment, size: int) -> Segment:
    names = read_bytes(folder / f"{stored.id}.json", _LARGEST_NAMES)
    if hashlib.sha256(names).hexdigest() != stored.names_sha256:
        raise Unreadable(f"{stored.id}.json is not as it was written (checksum)")
    found = msgspec.json.decode(names, type=StoredNames)
    codes = np.array(found.codes, dtype=np.int64)
    counts = {len(codes), len(found.photographs), len(found.hashes), stored.rows}
    if len(counts) != 1 or len(set(found.people)) != len(found.people):
        raise Unreadable(f"{stored.id}.json does not name its rows")
    if (np.diff(codes) < 0).any() or not np.array_equal(
        np.unique(codes), np.arange(len(found.people))
    ):
        raise Unreadable(f"{stored.id}.json does not name its rows in order")
    embeddings = _mapped(folder / f"{stored.id}.safetensors", stored, size)
    return Segment(
        embeddings, tuple(found.people), codes, found.photographs, found.hashes, stored.id
    )


def _mapped(path: Path, stored: StoredSegment, size: int) -> np.ndarray:
    """The embeddings of a file of safetensors, mapped into memory."""
    bytes_ = stored.rows * size * 4
    with open_regular(path) as stream:
        (length,) = struct.unpack("<Q", stream.read(8).ljust(8, b"\xff"))
        if length > _LARGEST_HEAD:
            raise Unreadable(f"{path.name} has no head of its own")
        head = msgspec.json.decode(stream.read(length))
        whole = os.fstat(stream.fileno()).st_size
        wanted = {"dtype": "F32", "shape": [stored.rows, size], "data_offsets": [0, bytes_]}
        if head != {_TENSOR: wanted} or whole != 8 + length + bytes_:
            raise Unreadable(f"{path.name} does not hold {stored.rows:,} embeddings of {size}")
        if whole <= _CHECKED:
            stream.seek(0)
            if hashlib.sha256(stream.read()).hexdigest() != stored.embeddings_sha256:
                raise Unreadable(f"{path.name} is not as it was written (checksum)")
    # A plain array over the mapping: numpy's own class for it makes every slice slower.
    return np.memmap(
        path, dtype="<f4", mode="r", offset=8 + length, shape=(stored.rows, size)
    ).view(np.ndarray)


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Let one process at a time write; the system lets go of it when that one ends.

    Raises:
        GalleryError: another process writes, or the folder cannot be written.
        MissingDependencyError: filelock is not installed.
    """
    try:
        from filelock import FileLock, Timeout  # searching does without
    except ImportError as error:
        raise MissingDependencyError(
            "writing a gallery needs filelock, which is not installed; run: pip install filelock"
        ) from error

    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / LOCK, timeout=0)
        lock.acquire()
    except Timeout as error:
        raise GalleryError(
            f"{folder}: another process is writing this gallery; wait until it has ended"
        ) from error
    except OSError as error:
        raise GalleryError(
            f"{folder}: cannot be written ({error.strerror or error}); choose another folder"
        ) from error
    try:
        yield
    finally:
        lock.release()


def write_gallery(folder: Path, index: Index, segments: Sequence[Segment]) -> Stored:
    """Write a gallery in one step; called while it is :func:`locked`.

    Args:
        folder: which exists.
        index: with the names of network, bundle and generation; its segments are not looked at.
        segments: all there are; those that are stored there already are left as they are.

    Raises:
        GalleryError: the folder cannot be written; the gallery is then as it was.
    """
    kept = {s.id: s for s in read_index(folder).segments} if (folder / INDEX).exists() else {}
    remove_others(folder, kept)
    written, entries = [], []
    try:
        for segment in segments:
            entry = kept.get(segment.stored or "")
            if entry is None:
                segment, entry = _write_segment(folder, segment)
            written.append(segment)
            entries.append(entry)
        made = msgspec.structs.replace(index, segments=entries)
        _write_whole(folder / INDEX, msgspec.json.format(msgspec.json.encode(made), indent=1))
    except OSError as error:
        raise GalleryError(
            f"{folder}: cannot be written ({error.strerror or error}); free some space; the "
            f"gallery is as it was"
        ) from error
    remove_others(folder, [entry.id for entry in entries])
    return Stored(made, tuple(written))


def remove_others(folder: Path, kept: Sequence[str] | dict[str, StoredSegment]) -> None:
    """Remove files of ours that the index does not name: of writers that were killed."""
    for path in folder.iterdir():
        if _OURS.fullmatch(path.name) and path.name[:16] not in kept:
            with contextlib.suppress(OSError):  # mapped by another process, on Windows
                path.unlink()


def _write_segment(folder: Path, segment: Segment) -> tuple[Segment, StoredSegment]:
    """Write one that is in memory; what it is then, and what the index says of it."""
    name = secrets.token_hex(8)
    names = msgspec.json.encode(
        StoredNames(
            list(segment.people),
            segment.codes.tolist(),
            [plain(photograph) for photograph in segment.photographs],
            list(segment.hashes),
        )
    )
    embeddings = np.ascontiguousarray(segment.embeddings, dtype="<f4")
    head = json.dumps(
        {
            _TENSOR: {
                "dtype": "F32",
                "shape": list(embeddings.shape),
                "data_offsets": [0, embeddings.nbytes],
            }
        }
    ).encode()
    head += b" " * (-len(head) % 8)  # so that rows are aligned in memory
    parts = (struct.pack("<Q", len(head)), head, embeddings.reshape(-1).view(np.uint8).data)
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    _write_whole(folder / f"{name}.json", names)
    _write_whole(folder / f"{name}.safetensors", *parts)
    entry = StoredSegment(name, len(segment), hashlib.sha256(names).hexdigest(), digest.hexdigest())
    mapped = _mapped(folder / f"{name}.safetensors", entry, embeddings.shape[1])
    return replace(segment, embeddings=mapped, stored=name), entry


def _write_whole(path: Path, *parts: bytes | memoryview) -> None:
    """A file that is complete on the disk, also where the machine loses its power."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}.tmp")
    try:
        with temporary.open("wb") as stream:
            for part in parts:
                stream.write(part)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    with contextlib.suppress(OSError):
        flush_to_disk(path.parent)


def _damaged(folder: Path, error: BaseException) -> GalleryError:
    return GalleryError(
        f"{folder}: not a whole gallery ({first_line(error):.200}); copy it again, or enrol anew"
    )
