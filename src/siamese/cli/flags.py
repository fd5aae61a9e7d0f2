"""Options on the command line of `siamese train`: Hydra's, and what to write instead of others."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from siamese.cli.overrides import groups, nearest, settings_of
from siamese.cli.setting_checks import trainer_arguments
from siamese.errors import ConfigError, did_you_mean

# Hydra's command line flags, as it documents them.
FLAGS = (
    "--help", "-h", "--hydra-help", "--version", "--cfg", "-c", "--resolve", "--package", "-p",
    "--run", "-r", "--multirun", "-m", "--shell-completion", "-sc", "--config-path", "-cp",
    "--config-name", "-cn", "--config-dir", "-cd", "--experimental-rerun", "--info", "-i",
)  # fmt: skip
_GRAMMAR = "siamese train takes name=value"
# Of those that say what is to be done Hydra takes one.
_MODES = {
    "-r": "--run", "-m": "--multirun", "-c": "--cfg", "-i": "--info", "-sc": "--shell-completion",
}  # fmt: skip


def check_flags(argv: Sequence[str], folder: Path) -> None:
    """Refuse an option that Hydra does not have, and options that it does not take together.

    Raises:
        ConfigError: names the setting that was meant, or the nearest option; or the options.
    """
    for word, following in pairwise([*argv, ""]):
        flag, _, value = word.partition("=")
        if not word.startswith("-") or flag in FLAGS:
            continue
        value = value or ("" if following.startswith("-") or "=" in following else following)
        raise ConfigError(f"{_instead(flag, value, folder)}; see siamese train --help")
    flags = [word.partition("=")[0] for word in argv if word.startswith("-")]
    given = [_MODES.get(flag, flag) for flag in flags]
    if len(modes := [mode for mode in _MODES.values() if mode in given]) > 1:
        raise ConfigError(f"{' and '.join(modes)} exclude one another: give one of them")
    if "--resolve" in given and "--cfg" not in given:
        raise ConfigError("--resolve is for what --cfg shows: add --cfg job")


def _instead(flag: str, value: str, folder: Path) -> str:
    """What to write instead of an option that there is not."""
    name = flag.lstrip("-").replace("-", "_")
    if name in ("plugin", "plugins"):
        return f"unknown option {flag}: write plugins=[{value or 'FILE'}]: {_GRAMMAR}"
    known = groups(folder)
    if name == "data" and value and value not in known["data"]:
        return f"unknown option {flag}: write data=folder data.root={value}: {_GRAMMAR}"
    with initialize_config_dir(str(folder), version_base="1.3"):
        config = compose("train")
        grouped = {group.replace("/", ".") for group in known if "/" in group}
        trainers = (f"trainer.{name}" for name in trainer_arguments().types)
        options = [*(o for o in settings_of(config) if o not in grouped), *trainers, *known]
        found = [option for option in options if option == name]
        found = found or [o for o in options if o.replace("/", ".").rsplit(".", 1)[-1] == name]
        if found:
            one = OmegaConf.select(config, found[0])
            value = value or ("true" if isinstance(one, bool) else "...")
            written = " or ".join(f"{option}={value}" for option in dict.fromkeys(found))
            return f"unknown option {flag}: write {written}: {_GRAMMAR}"
        if not difflib.get_close_matches(flag, FLAGS, n=1, cutoff=0.75) and (
            near := nearest(name, config, known)
        ):
            return f"unknown option {flag}{near}: {_GRAMMAR}"
    return f"unknown option {flag}{did_you_mean(flag, FLAGS)}"
