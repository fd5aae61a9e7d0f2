"""Files that may come from strangers: read within bounds, or refused with a reason in one line."""

from __future__ import annotations

import errno
import json
import os
import re
import stat
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

# Of JSON: nesting, digits of a whole number, and values in all, each about 100 bytes in memory.
DEEPEST, DIGITS, MOST_VALUES = 64, 18, 20_000_000
LARGEST_JSON = 1 << 28
LARGEST_TEXT = 1 << 28
# A surrogate without its other half. Those from U+DC80 to U+DCFF stand for the bytes of a file name
# that is not UTF-8.
_HALF = re.compile("[\ud800-\udc7f\udd00-\udfff\0]")


class Unreadable(ValueError):
    """Why the content of a file is refused, in one line without its path; callers add that."""


def read_bytes(path: str | Path, most: int) -> bytes:
    """All of a regular file; a pipe or a device, which would block or never end, is refused.

    Args:
        path: of the file; a link is followed.
        most: bytes that are read at most.

    Raises:
        Unreadable: no regular file, a larger one, or a path with a NUL.
        OSError: as from opening and reading.
    """
    with open_regular(path) as stream:
        size = os.fstat(stream.fileno()).st_size
        # No more than is there: room is made for all that is asked for.
        content = stream.read(size + 1) if size <= most else b""
    if max(size, len(content)) > most:
        raise Unreadable(f"it has more than {most:,} bytes")
    return content


def open_regular(path: str | Path) -> BinaryIO:
    """A regular file, opened to be read; a pipe or a device, which would block, is refused.

    Raises:
        Unreadable: no regular file, or a path with a NUL.
        OSError: as from opening.
    """
    if "\0" in str(path):
        raise Unreadable("a path with a NUL character")
    # Without waiting for a writer, should it be a pipe.
    descriptor = os.open(
        path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    )
    return os.fdopen(_regular(descriptor, path), "rb")


def _regular(descriptor: int, path: str | Path) -> int:
    """The same, or an error where it is a folder or no file with an end."""
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode):
        return descriptor
    os.close(descriptor)
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    raise Unreadable("not a regular file")


def read_text(path: str | Path, most: int = LARGEST_TEXT) -> str:
    """A UTF-8 text file, with or without a byte order mark; arguments as for :func:`read_bytes`.

    Raises:
        Unreadable: see :func:`read_bytes`; a NUL character, which ends a file name.
        UnicodeDecodeError: it is not UTF-8.
        OSError: as from opening and reading.
    """
    text = read_bytes(path, most).decode("utf-8-sig")
    if "\0" in text:
        raise Unreadable("it has a NUL character")
    return text


def exists(path: Path) -> bool:
    """Whether there is something at a path; False where no file can be called so."""
    try:
        return path.exists()
    except (OSError, ValueError):  # longer than a name may be, or with a NUL
        return False


def parse_json(content: bytes, values: int = MOST_VALUES) -> Any:
    """What JSON (RFC 8259) in UTF-8 says, of plain Python values.

    Args:
        content: of the file.
        values: how many there may be at most, which bounds the memory.

    Raises:
        Unreadable: not JSON; a name that stands twice in one object; NaN, an infinite number, or a
            whole number of more than 18 digits; nesting deeper than 64; a NUL character or half a
            surrogate pair in a string; or too many values.
    """
    if sum(map(content.count, (b",", b"[", b"{"))) > values:
        raise Unreadable(f"it has more than {values:,} values")
    try:
        found = json.loads(
            content.decode("utf-8"),
            object_pairs_hook=_distinct,
            parse_constant=_no_number,
            parse_float=_finite,
            parse_int=_whole,
        )
        escapes = b"\\u" in content
    except Unreadable:
        raise
    except RecursionError as error:
        raise Unreadable(f"it is nested deeper than {DEEPEST} levels") from error
    except MemoryError as error:
        raise Unreadable("it does not fit into memory") from error
    except ValueError as error:
        raise Unreadable(f"not JSON in UTF-8: {error}") from error
    _check_levels(found, escapes)
    return found


def read_json(path: str | Path, most: int = LARGEST_JSON, values: int = MOST_VALUES) -> Any:
    """A JSON file; see :func:`read_bytes` and :func:`parse_json`.

    Raises:
        Unreadable, OSError: see there.
    """
    return parse_json(read_bytes(path, most), values)


def read_object(path: str | Path, most: int = LARGEST_JSON) -> dict[str, Any]:
    """A JSON file that holds an object; see :func:`read_json`.

    Raises:
        Unreadable, OSError: see there.
    """
    found = read_json(path, most)
    if not isinstance(found, dict):
        raise Unreadable(f"a JSON {type(found).__name__} instead of an object")
    return found


def check_archive(content: Any, most: int, compressed: bool = False) -> Sequence[zipfile.ZipInfo]:
    """The members of a ZIP archive that unpacks to no more than it says, and that is bounded.

    Args:
        content: a path, or a binary stream.
        most: bytes of all members together, unpacked.
        compressed: whether members may be compressed.

    Raises:
        Unreadable: no such archive, too large, with a member twice, encrypted, or compressed by
            another method than deflate.
    """
    methods = {zipfile.ZIP_STORED} | ({zipfile.ZIP_DEFLATED} if compressed else set())
    try:
        with zipfile.ZipFile(content) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError, EOFError) as error:
        raise Unreadable(f"not a whole archive ({error})") from error
    names = [member.filename for member in members]
    if len(set(names)) < len(names):
        raise Unreadable("a member of the archive stands twice")
    if sum(member.file_size for member in members) > most:
        raise Unreadable(f"it unpacks to more than {most:,} bytes")
    if any(m.compress_type not in methods or m.flag_bits & 1 for m in members):
        raise Unreadable("its members are encrypted or compressed in another way than is written")
    return members


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise Unreadable(f"{twice!r:.80} stands twice in one object")
    return found


def _no_number(word: str) -> NoReturn:
    raise Unreadable(f"{word} is no number of JSON")


def _finite(word: str) -> float:
    number = float(word)
    if number in (float("inf"), float("-inf")):
        raise Unreadable(f"{word:.40} is too large a number")
    return number


def _whole(word: str) -> int:
    if len(word) > DIGITS + 1:
        raise Unreadable(f"{word:.20}... is too large a number")
    return int(word)


def _check_levels(found: Any, escapes: bool) -> None:
    """Refuse values that are nested too deeply, and strings that no file can be called."""
    level: list[Any] = [found]
    for _ in range(DEEPEST):
        below: list[Any] = []
        for value in level:
            if isinstance(value, dict):
                below += value.values()
                if escapes:
                    below += value  # its names
            elif isinstance(value, list):
                below += value
            elif escapes and isinstance(value, str) and _HALF.search(value):
                raise Unreadable("a string with a NUL character or half a surrogate pair")
        # Numbers need no further look, and are most of what there is.
        level = [v for v in below if isinstance(v, (dict, list)) or (escapes and type(v) is str)]
        if not level:
            return
    raise Unreadable(f"it is nested deeper than {DEEPEST} levels")
