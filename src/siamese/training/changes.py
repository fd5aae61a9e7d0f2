"""What a resumed run would do otherwise than the run that it goes on with."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from siamese.errors import ConfigError

# Settings of the command that change nothing of what is trained: how long, how fast, from where
# (the split is compared by itself) and what is shown. A name stands for all below it, too.
_FREE = (
    "max_epochs",
    "name",
    "resume",
    "overwrite",
    "allow_changes",
    "plots",
    "faces",
    "details",
    "baselines",
    "plugins",
    "data.root",
    "data.csv",
    "data.manifest",
    "data.cache",
    "data.workers",
    "data.crop_workers",
    "data.crop_backend",
    "data.in_memory",
    "data.progress",
    "trainer.logger",
    "trainer.max_steps",
    "trainer.max_time",
    "trainer.accelerator",
    "trainer.devices",
    "trainer.num_nodes",
    "trainer.strategy",
    "trainer.profiler",
    "trainer.default_root_dir",
    "trainer.log_every_n_steps",
    "trainer.enable_progress_bar",
)
_SHOWN = 6  # more are counted


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Lines such as ``module.optimizer.lr: 0.002 -> 0.001``.

    Args:
        before, now: settings, nested dictionaries of plain values. Only what both describe is
            compared: an earlier version may not have known a part.
    """
    found = []
    for part in sorted(before.keys() & now.keys()):
        old, new = dict(_flat(part, before[part])), dict(_flat(part, now[part]))
        found += [
            f"{name}: {_shown(old, name)} -> {_shown(new, name)}"
            for name in sorted(old.keys() | new.keys())
            if old.get(name) != new.get(name) and not _free(name)
        ]
    return found


def note_of_length(before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Say that a run is made longer or shorter, which is allowed."""
    old, new = before.get("max_epochs"), now.get("max_epochs")
    if old is not None and old != new:
        print(f"note: max_epochs: {old} -> {new}; a schedule that depends on it is another one now")


def check_changes(found: list[str], allowed: bool) -> None:
    """Refuse changes, or show them where they are allowed.

    Raises:
        ConfigError: there are some, and they are not allowed.
    """
    if not found:
        return
    text = ", ".join(found[:_SHOWN])
    if len(found) > _SHOWN:
        text += f" and {len(found) - _SHOWN} more"
    if not allowed:
        raise ConfigError(
            f"the run to resume has other settings: {text}; leave them as they were, or go on with "
            f"the new ones (allow_changes=True; on the command line allow_changes=true)"
        )
    print(f"note: goes on with other settings than the run had: {text}")


def _flat(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from _flat(f"{name}.{key}", inner)
    else:
        yield name, value


def _shown(values: Mapping[str, Any], name: str) -> str:
    return json.dumps(values[name], default=str)[:60] if name in values else "not given"


def _free(name: str) -> bool:
    return any(name == free or name.startswith(f"{free}.") for free in _FREE)
