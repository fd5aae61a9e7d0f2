"""The folders that a sweep will give its runs, as far as that is known before the first begins."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, QuotedString
from hydra.errors import HydraException

_NUMBER = ("hydra.job.num", "hydra:job.num")
_VALUE = re.compile(r"\$\{([^{}]*)\}")
# How deep below the sweep a folder is looked for whose name may hold slashes, as choices of a group
# inside a group do.
_DEEP = 4


def occupied(sweep: Path, subdir: str, words: Sequence[str]) -> list[Path]:
    """The runs that lie where this sweep may put one of its own.

    Args:
        sweep: the sweep's folder.
        subdir: of a run, as it is written: ``"${hydra.job.num}"``, ``"seed=${seed}"``.
        words: the settings of the sweep, ``"seed=0,1"``.
    """
    names = _names(subdir, words)
    depth = subdir.count("/") + (1 if names.pattern == r"\d+" else _DEEP)
    found = _runs(sweep, depth) if sweep.is_dir() else ()
    return [path for path in found if names.fullmatch(path.relative_to(sweep).as_posix())]


def _runs(folder: Path, depth: int) -> Iterator[Path]:
    from siamese.training.folder import holds_run

    for path in sorted(folder.iterdir()):
        if path.is_symlink() or not path.is_dir():
            continue
        if holds_run(path):
            yield path
        elif depth > 1:
            yield from _runs(path, depth - 1)


def _names(subdir: str, words: Sequence[str]) -> re.Pattern[str]:
    """What names can come of ``subdir``; where its values are not known, any."""
    known = _values(words)
    pattern, end = "", 0
    for found in _VALUE.finditer(subdir):
        key = found[1]
        values = "|".join(re.escape(value) for value in known.get(key, ()))
        value = r"\d+" if key in _NUMBER else f"(?:{values})" if values else ".+"
        pattern += re.escape(subdir[end : found.start()]) + value
        end = found.end()
    pattern += re.escape(subdir[end:])
    return re.compile(".+" if "${" in _VALUE.sub("", subdir) else pattern)  # one within another


def _values(words: Sequence[str]) -> dict[str, list[str]]:
    """Setting -> the values that it takes, as they stand in a name; only where all are known."""
    try:
        overrides = OverridesParser.create().parse_overrides(list(words))
    except HydraException:  # which Hydra reports itself
        return {}
    found: dict[str, list[str]] = {}
    for override in overrides:
        values = _of(override)
        plain = all(isinstance(value, (str, int, float)) for value in values)
        found[override.key_or_group] = [str(value) for value in values] if plain else []
    return found


def _of(override: Override) -> list[Any]:
    if not override.is_sweep_override():
        return [override.value()]
    if not (override.is_choice_sweep() or override.is_range_sweep()):
        return [None]
    every = override.sweep_iterator()
    return [value.text if isinstance(value, QuotedString) else value for value in every]
