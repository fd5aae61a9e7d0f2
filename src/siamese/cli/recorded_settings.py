"""The settings of an earlier run, for `siamese train resume=RUN`: read as data, so that a run's folder can execute nothing."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from siamese.errors import ConfigError

# Where our own configurations take settings; Hydra's own node is not among them.
_ROOTS = {"data", "module", "distance", "pairs", "trainer", "monitor", "seed", "max_epochs", "keep", "experiment"}
_KEY = re.compile(r"\+{0,2}[A-Za-z][\w./]*")


def with_earlier_settings(argv: Sequence[str], groups: Mapping[str, Sequence[str]]) -> list[str]:
    """With ``resume=RUN``, that run's settings before those of this command, which hold where both name one.

    Args:
        argv: words of the command.
        groups: config group -> its choices: only these may be chosen.

    Raises:
        ConfigError: the recorded settings hold something that ``siamese train`` did not write there.
    """
    named = [word.partition("=")[2] for word in argv if word.startswith("resume=")]
    if not named:
        return list(argv)
    run = Path(named[-1]).expanduser()
    folder = run if run.is_dir() else run.parent.parent  # a checkpoint lies in RUN/checkpoints
    recorded = folder / ".hydra" / "overrides.yaml"
    if not recorded.is_file():
        return list(argv)
    given = {_key(word) for word in argv}
    return [w for w in _read(recorded, groups) if _key(w) not in given and _key(w) != "resume"] + list(argv)


def _read(path: Path, groups: Mapping[str, Sequence[str]]) -> list[str]:
    from omegaconf import OmegaConf

    try:
        words = OmegaConf.to_container(OmegaConf.load(path), resolve=False)
    except Exception as error:  # whatever YAML can be wrong in
        raise ConfigError(
            f"{path}: not a list of settings; give the settings on the command line and remove this file"
        ) from error
    if not isinstance(words, list):
        raise ConfigError(f"{path}: not a list of settings; give the settings on the command line and remove this file")
    for word in words:
        if not isinstance(word, str) or not _harmless(word, groups):
            raise ConfigError(
                f"{path}: {str(word)!r:.80} is not a setting that a resumed run may bring with it: the file was altered, or the run "
                f"had configurations of your own; give the settings on the command line and remove this file"
            )
    return words


def _harmless(word: str, groups: Mapping[str, Sequence[str]]) -> bool:
    """Whether a recorded word can do no more than choose among our classes and set their arguments."""
    key, equals, value = word.partition("=")
    if not equals or not _KEY.fullmatch(key):
        return False
    bare = _key(word)
    if bare in groups:
        return value in groups[bare] or value == "null"
    # A name with an underscore in front is Hydra's (_target_, _partial_); braces hold dictionaries and interpolations.
    parts = bare.split(".")
    return parts[0] in _ROOTS and not any(p.startswith("_") for p in parts) and not set(value) & set("{}$\\")


def _key(word: str) -> str:
    return word.partition("=")[0].lstrip("+~")
