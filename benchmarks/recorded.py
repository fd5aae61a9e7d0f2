"""What a run that lies in a folder already was trained with, for the scripts that keep runs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from omegaconf import OmegaConf

# Settings that change no weight and no figure of the run itself.
_INDIFFERENT = re.compile(r"(data\.root|plots|baselines|resume|overwrite|hydra\..*)=")


def refuse_other_settings(folder: Path, words: Sequence[str]) -> None:
    """End the script where a run was trained with other settings than it would be trained with now.

    Args:
        folder: of the run; one that is not there, or keeps no settings, is not refused.
        words: all settings of the training as it would be started now.
    """
    listed = folder / ".hydra" / "overrides.yaml"
    if not listed.exists():
        return
    recorded, asked = _settings(OmegaConf.load(listed)), _settings(words)
    if recorded != asked:
        different = sorted(
            f"{key}: {recorded.get(key, 'not set')} there, {asked.get(key, 'not set')} now"
            for key in recorded.keys() | asked.keys()
            if recorded.get(key) != asked.get(key)
        )
        raise SystemExit(
            f"{folder} was trained with other settings ({'; '.join(different)}): give another "
            f"folder (--out)"
        )


def _settings(words: Sequence[str]) -> dict[str, str]:
    """Setting -> its value; the last one counts, as it does for Hydra."""
    plain = (str(word).lstrip("+") for word in words)
    parts = (word.partition("=") for word in plain if not _INDIFFERENT.match(word))
    return {key: value for key, _, value in parts}
