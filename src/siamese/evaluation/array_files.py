"""Arrays of .npy files and .npz archives that may come from strangers, mapped or read."""

from __future__ import annotations

import math
import struct
import zipfile
import zlib
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from siamese.reading import Unreadable, check_archive, open_regular

# What takes less is read whatever it unpacks from; more must not be a bomb: numbers and names
# shrink to a hundredth only where they say nothing.
UNBOUNDED, RATIO = 1 << 27, 100
_LOCAL_HEADER = 30  # bytes, the last four of which tell how long name and extra field are


class _Header(NamedTuple):
    """What stands before the numbers of an array."""

    kind: np.dtype[Any]
    shape: tuple[int, ...]
    order: Any
    size: int  # bytes of the numbers


def npy_array(path: Path, kinds: str, mapped: bool = False) -> np.ndarray:
    """The array of a ``.npy`` file.

    Args:
        path: of the file.
        kinds: which kinds of numbers it may hold, characters of ``numpy.dtype.kind``.
        mapped: whether the file is mapped instead of read.

    Raises:
        Unreadable: no regular file, no array, one of other kinds, or of another size than its
            header says.
        OSError: as from opening and reading.
    """
    with open_regular(path) as stream:
        end = stream.seek(0, 2)
        stream.seek(0)
        return _array(stream, end, kinds, mapped)


def npz_array(path: Path, name: str, kinds: str, mapped: bool = False) -> np.ndarray:
    """An array of a ``.npz`` archive: mapped if that is wanted and it is not compressed.

    Args:
        path, kinds, mapped: as for :func:`npy_array`.
        name: of the array.

    Raises:
        KeyError: there is none of that name.
        Unreadable: no whole archive, or encrypted; an array that unpacks to very much more than it
            takes; and as from :func:`npy_array`.
        OSError: as from opening and reading.
    """
    with open_regular(path) as stream:
        members = {info.filename: info for info in check_archive(stream, 1 << 62, compressed=True)}
        if f"{name}.npy" not in members:
            raise KeyError(name)
        info = members[f"{name}.npy"]
        if info.compress_type == zipfile.ZIP_STORED:
            stream.seek(_start(stream, info))
            return _array(stream, stream.tell() + info.file_size, kinds, mapped)
        check_ratio(info.file_size, info.compress_size)
        try:
            with zipfile.ZipFile(stream) as archive, archive.open(info) as member:
                return _array(member, info.file_size, kinds, mapped=False)
        except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
            raise Unreadable(f"{name} is damaged: {error}") from error


def check_ratio(size: int, written: int) -> None:
    """Refuse what unpacks to very much more than it takes.

    Args:
        size: bytes that it unpacks to.
        written: bytes that it takes.

    Raises:
        Unreadable: see above.
    """
    if size > max(UNBOUNDED, RATIO * written):
        raise Unreadable(f"{written:,} bytes of it say that they unpack to {size:,}")


def _start(stream: IO[bytes], info: zipfile.ZipInfo) -> int:
    """Where the content of a member that is not compressed begins."""
    end = stream.seek(0, 2)
    stream.seek(info.header_offset)
    local = stream.read(_LOCAL_HEADER)
    if len(local) < _LOCAL_HEADER or local[:4] != b"PK\x03\x04":
        raise Unreadable("not a whole archive")
    start: int = info.header_offset + _LOCAL_HEADER + sum(struct.unpack("<HH", local[26:]))
    if start + info.file_size > end or info.file_size != info.compress_size:
        raise Unreadable("not a whole archive")
    return start


def _array(stream: IO[bytes], end: int, kinds: str, mapped: bool) -> np.ndarray:
    """The array that begins where a stream stands, and ends at ``end``."""
    header = _header(stream)
    if header.kind.kind not in kinds:
        raise Unreadable(_of_what(header.kind))
    start = stream.tell()
    if header.size != end - start:
        raise Unreadable(
            f"its header says shape {header.shape}, {header.size:,} bytes, but "
            f"{max(0, end - start):,} follow"
        )
    if not header.size:
        return np.zeros(header.shape, header.kind)
    if mapped:
        return np.memmap(stream, header.kind, "r", start, header.shape, header.order)
    try:
        content = np.empty(header.size, dtype=np.uint8)
    except MemoryError as error:
        raise Unreadable(f"{header.size:,} bytes do not fit into memory") from error
    into, filled = memoryview(content.data), 0
    while count := stream.readinto(into[filled : filled + (1 << 24)]):  # type: ignore[attr-defined]
        filled += count
    if filled < header.size:
        raise Unreadable("it is cut short")
    return content.view(header.kind).reshape(header.shape, order=header.order)


def _header(stream: IO[bytes]) -> _Header:
    """The header of an array."""
    readers: dict[tuple[int, int], Any] = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    try:
        version = np.lib.format.read_magic(stream)
        shape, fortran, kind = readers[version](stream)
    except OSError:
        raise
    except Exception as error:  # numpy parses a literal of Python, of at most 10,000 characters
        raise Unreadable("it does not begin as an array of numpy does") from error
    if any(isinstance(n, bool) or not 0 <= n < 1 << 62 for n in shape):
        raise Unreadable("its header says what is no shape")
    return _Header(kind, shape, "F" if fortran else "C", math.prod(shape) * kind.itemsize)


def _of_what(kind: np.dtype[Any]) -> str:
    if kind.hasobject:
        return "it holds Python objects, which are never read"
    return f"it holds {kind!s:.40}, which is neither numbers nor text that is wanted here"
