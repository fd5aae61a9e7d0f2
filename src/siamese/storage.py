"""Write a file so that it appears whole or not at all, whoever else writes or dies meanwhile."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def write_whole(path: Path, content: bytes) -> None:
    """Write under a temporary name beside ``path``, then rename; nothing is left behind if that
    fails.

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


def write_json(path: str | Path, content: Mapping[str, Any]) -> Path:
    """Write JSON, making the folder; NaN is refused, since it is not JSON."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False).encode()
    except (
        UnicodeEncodeError
    ):  # a file name whose bytes are no UTF-8: escaped, it is read back as it was
        text = json.dumps(content, indent=1, allow_nan=False).encode()
    write_whole(path, text)
    return path
