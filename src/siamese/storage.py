"""Write a file so that it appears complete or not at all, also beside other processes."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def write_whole(path: Path, content: bytes) -> None:
    """Write under a temporary name beside ``path``, then rename.

    If that fails, no file remains.

    Raises:
        OSError: as from writing.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.tmp")
    try:
        temporary.write_bytes(content)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def flush_to_disk(path: Path) -> None:
    """Wait until a file or a folder is on the disk; of a folder where the system can do that.

    A new name survives a loss of power when its folder is on the disk.

    Raises:
        OSError: as from opening it, or from a disk that fails.
    """
    if os.name == "nt" and path.is_dir():
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_json(path: str | Path, content: Mapping[str, Any]) -> Path:
    """Write JSON, making the folder; NaN is refused, since it is not JSON."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False).encode()
    except UnicodeEncodeError:  # a file name that is not UTF-8: escaped, it can be read back
        text = json.dumps(content, indent=1, allow_nan=False).encode()
    write_whole(path, text)
    return path
