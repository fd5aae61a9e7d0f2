"""What a run that lies in a folder already was trained with, for the scripts that keep runs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

# Settings of the scripts themselves, and those that change no weight.
_OWN = re.compile(
    r"(experiment|data\.(root|seed|split\.\w+)|plots|baselines|resume|overwrite|hydra\..*)="
)


def refuse_other_settings(folder: Path, settings: Sequence[str]) -> None:
    """End the script where a run was trained with other settings than are asked for now."""
    listed = folder / ".hydra" / "overrides.yaml"
    if not listed.exists():
        return
    words = [line.removeprefix("- ").strip("'\"") for line in listed.read_text().splitlines()]
    recorded, asked = (
        {word.lstrip("+") for word in some if not _OWN.match(word.lstrip("+"))}
        for some in (words, settings)
    )
    if recorded != asked:
        raise SystemExit(
            f"{folder} was trained with the settings {sorted(recorded) or 'of the experiment'}, "
            f"not with {sorted(asked) or 'these alone'}: give another folder (--out)"
        )
