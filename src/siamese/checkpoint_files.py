"""Checkpoints on disk: written whole or not at all, checked when they are read, never executed."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import pickletools
import re
import secrets
import stat
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from siamese.errors import CheckpointError, first_line
from siamese.reading import check_archive

_PART = ".tmp"  # ends the name of a file that is being written
_BLOCK = 1 << 20  # bytes that are compared at a time


def write_checkpoint(content: dict[str, Any], path: str | Path) -> None:
    """Write a checkpoint so that a kill or a full disk at any moment leaves the one before.

    The bytes go to a temporary file beside ``path``, whatever TMPDIR is, and are flushed to the
    disk (fsync) and read back; only then does the file take its name, in one step.

    Args:
        content: what ``torch.save`` takes.
        path: the file; its folder is made.

    Raises:
        CheckpointError: the disk is full or may not be written, or what is read back is not what
            was written. The file that was there before is untouched.
    """
    import torch

    path = Path(path)
    buffer = io.BytesIO()
    torch.save(content, buffer)
    data = buffer.getbuffer()
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}{_PART}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if not _same(temporary, data):
            raise CheckpointError(
                f"{path}: what was written reads back differently: the disk or its connection is "
                f"damaged; write to another disk{_kept(path)}"
            )
        os.replace(temporary, path)
        _sync_folder(path.parent)
    except OSError as error:
        raise CheckpointError(_why(error, path, len(data))) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def read_checkpoint(path: str | Path, map_location: Any = "cpu") -> dict[str, Any]:
    """A checkpoint's content, as data: nothing in it is executed.

    A file of ``torch.save`` is a zip archive with a checksum (CRC-32) of each part, which
    ``torch.load`` does not look at; here they are compared first. Its parts are not compressed, so
    that reading takes no more memory than the file is large; a plain pickle is refused unread.

    Args:
        path: the file.
        map_location: as for ``torch.load``.

    Raises:
        FileNotFoundError: there is none.
        CheckpointError: no checkpoint, a damaged one, or one that holds more than data.
    """
    import torch

    path = Path(path)
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise CheckpointError(
                f"{path}: not a regular file; give a checkpoint, such as last.ckpt"
            )
        check_archive(path, path.stat().st_size)  # its parts are stored as they are
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
            _check_pickles(path, archive)
        if damaged is not None:
            raise CheckpointError(f"{path}: damaged (the checksum of {damaged} is wrong)")
        content = torch.load(path, map_location=map_location, weights_only=True)
    except (FileNotFoundError, CheckpointError):
        raise
    except Exception as error:  # zipfile and torch raise many kinds for what is no checkpoint
        if strange := re.search(r"Unsupported global: GLOBAL ([\w.]+)", str(error)):
            raise CheckpointError(
                f"{path}: holds an object of {strange[1]}, and checkpoints are read as data alone; "
                f"leave it out of what is saved (save_hyperparameters, state_dict)"
            ) from error
        raise CheckpointError(f"{path}: not a checkpoint ({first_line(error):.120})") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path}: not a checkpoint (it holds a {type(content).__name__})")
    return content


def _check_pickles(path: Path, archive: zipfile.ZipFile) -> None:
    """Refuse what torch would make without room for it being in the file: ``bytearray(10**9)``."""
    for name in archive.namelist():
        if name.endswith(".pkl"):
            for operation, argument, _ in pickletools.genops(archive.read(name)):
                if operation.name == "STACK_GLOBAL" or "bytearray" in str(argument or "")[:40]:
                    raise CheckpointError(f"{path}: not a checkpoint (it holds a bytearray)")


def sizes_of(tensors: Any) -> dict[str, tuple[int, ...]]:
    """Name -> numbers that are really there, of each tensor; a tensor may show one many times.

    Raises:
        ValueError: something else than tensors by their names.
    """
    from torch import Tensor

    if not isinstance(tensors, Mapping):
        raise ValueError("its weights have no names")
    for name, tensor in tensors.items():
        if not isinstance(name, str) or not isinstance(tensor, Tensor) or tensor.is_sparse:
            raise ValueError(f"{name!r:.80} is no tensor of weights")
    return {
        name: (min(t.numel(), t.untyped_storage().nbytes() // t.element_size()),)
        for name, t in tensors.items()
    }


def remove_leftovers(folder: Path) -> None:
    """Remove what a kill left of checkpoints that were being written."""
    for path in folder.glob(f".*.ckpt.*{_PART}"):
        with contextlib.suppress(OSError):
            path.unlink()


def _same(path: Path, data: memoryview) -> bool:
    with path.open("rb") as file:
        start = 0
        while block := file.read(_BLOCK):
            if block != data[start : start + len(block)]:
                return False
            start += len(block)
    return start == len(data)


def _sync_folder(folder: Path) -> None:
    """Flush a folder's list of names, so that a new name survives a loss of power."""
    with contextlib.suppress(OSError):  # Windows cannot open a folder
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _why(error: OSError, path: Path, size: int) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        what = "the disk is full" if error.errno == errno.ENOSPC else "the quota is used up"
        return f"{path}: {what} ({size:,} bytes are needed); free some space{_kept(path)}"
    return (
        f"{path}: the checkpoint cannot be written ({error.strerror or error}); check the disk and "
        f"the folder's permissions{_kept(path)}"
    )


def _kept(path: Path) -> str:
    return f". The checkpoint before, {path.name}, is untouched" if path.exists() else ""
