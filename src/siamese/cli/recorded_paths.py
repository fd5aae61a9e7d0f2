"""Where a recorded setting would read or write: a run from elsewhere may not choose that."""

from __future__ import annotations

import re
from pathlib import Path

# Read as images, as a list of them, or as weights, and never executed.
_READ = re.compile(r"data\.(root|csv|parquet|manifest)|module\.([\w.]+\.)?weights")
# The last words of settings that name a place to write to.
_WRITTEN = frozenset(
    {"cache", "default_root_dir", "save_dir", "root_dir", "dirpath", "log_dir", "dir", "filename"}
)
_ELSEWHERE = re.compile(r"[/~\\]|[A-Za-z]:[\\/]|\w+://")


def leads_outside(key: str, value: str, run: Path) -> bool:
    """Whether a recorded setting names a path outside its run, but for what is only read.

    Args:
        key: its name, ``data.cache``.
        value: as it was written, a list perhaps.
        run: the folder of the run.
    """
    if _READ.fullmatch(key):
        return False
    words = [word for word in re.split(r"[\[\],'\"\s]+", value) if word]
    written = key.rpartition(".")[2] in _WRITTEN and value not in ("null", "true", "false")
    return any(
        not _inside(word, run)
        for word in words
        if written or _ELSEWHERE.match(word) or ".." in Path(word).parts
    )


def _inside(word: str, run: Path) -> bool:
    return "://" not in word and Path(word).expanduser().resolve().is_relative_to(run.resolve())
