"""Read files that others made: regular ones only, of a bounded size, and never waiting."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from siamese.errors import ImageError

# 16-bit RGB of as many pixels as are decoded (siamese.faces.images.MAX_PIXELS), not compressed,
# with room for what else stands in such a file.
MAX_BYTES = 600_000_000
_STEP = 1 << 20
# Not waiting for somebody to write into a FIFO. Windows has no FIFOs among its files.
_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
_KINDS = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def read_bytes(path: str | Path) -> bytes:
    """The file's content.

    It never waits: what is no regular file is refused, whatever its name, links followed.

    Raises:
        ImageError: missing, a folder, a named pipe, a socket or a device, not readable, of 0 bytes
            or of more than ``MAX_BYTES``.
    """
    return b"".join(_parts(path))


def hash_file(path: str | Path) -> str:
    """SHA-256 of the file's content, hexadecimal; a megabyte at a time.

    Raises:
        ImageError: as :func:`read_bytes`.
    """
    found = hashlib.sha256()
    for part in _parts(path):
        found.update(part)
    return found.hexdigest()


def _parts(path: str | Path) -> Iterator[bytes]:
    """The content, in parts; errors as :func:`read_bytes`."""
    try:
        # Before it is opened, which alone does things to some devices.
        _check(path, Path(path).stat())
        descriptor = os.open(path, _FLAGS)
        try:
            _check(path, os.fstat(descriptor))  # it may have been replaced since
            size = 0
            # Up to its end, not to its size: files of /proc have none.
            while part := os.read(descriptor, _STEP):
                if (size := size + len(part)) > MAX_BYTES:
                    raise _too_large(path)
                yield part
        finally:
            os.close(descriptor)
    except FileNotFoundError as error:
        raise ImageError(path, "no such file", "check the path") from error
    except ValueError as error:  # a name with a character that no file has
        raise ImageError(path, f"no such file ({error})", "check the path") from error
    except OSError as error:
        if error.errno in (errno.ENXIO, errno.ENODEV):
            raise _no_file(path, _KINDS[stat.S_IFSOCK]) from error
        raise ImageError(
            path, f"cannot be read ({error.strerror})", "check its permissions and the disk"
        ) from error
    if not size:
        raise ImageError(path, "empty file (0 bytes)")


def _check(path: str | Path, status: os.stat_result) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise ImageError(path, "a folder, not an image", "give the path of one image")
    if not stat.S_ISREG(status.st_mode):
        raise _no_file(path, _KINDS.get(stat.S_IFMT(status.st_mode), "something else"))
    if status.st_size > MAX_BYTES:
        raise _too_large(path)


def _no_file(path: str | Path, what: str) -> ImageError:
    return ImageError(path, f"{what}, not a regular file", "replace or remove it")


def _too_large(path: str | Path) -> ImageError:
    return ImageError(path, f"a file of more than {MAX_BYTES:,} bytes", "scale the image down")
