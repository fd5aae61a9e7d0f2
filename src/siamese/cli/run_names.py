"""The name of a run or of a sweep, as a part of its folder's name."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from siamese.errors import ConfigError

_NAME = re.compile(r"\w(?:[\w.-]{0,98}\w)?")


def name_folders(name: Any, argv: Sequence[str], folder: Path) -> list[str]:
    """Hydra's settings by which the folder of a run, or of a sweep, ends with its name.

    Args:
        name: of the run; None for none.
        argv: words of the command; where they say which folder, it stays that one.
        folder: of the configurations: where folders are otherwise stands in its ``train.yaml``.

    Raises:
        ConfigError: a name that is no good as a part of a folder's name.
    """
    if name is None:
        return []
    if not isinstance(name, (str, int, float)):
        raise ConfigError("name must be one name, of the run or of the whole sweep; give one")
    if not _NAME.fullmatch(str(name)):
        raise ConfigError(
            f"name={str(name)!r} cannot be a part of a folder's name; write up to 100 letters and "
            f"digits, with _ - . between them"
        )
    folders: Any = OmegaConf.to_container(OmegaConf.load(folder / "train.yaml"), resolve=False)
    given = {word.lstrip("+").split("=")[0] for word in argv}
    return [
        f"{key}='{folders['hydra'][mode]['dir']}_{name}'"
        for mode in ("run", "sweep")
        if (key := f"hydra.{mode}.dir") not in given
    ]
