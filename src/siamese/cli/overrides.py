"""Settings on the command line: every constructor argument can be set, misspelt ones are named."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from siamese.cli.recorded_settings import today
from siamese.cli.run_names import name_folders
from siamese.cli.setting_checks import Arguments, arguments_of, trainer_arguments
from siamese.errors import ConfigError, did_you_mean


def groups(folder: Path) -> dict[str, list[str]]:
    """Config group -> its choices, read from the folder of YAML files; without Hydra's own."""
    found: dict[str, list[str]] = {}
    for path in sorted(folder.rglob("*.yaml")):
        group = path.parent.relative_to(folder).as_posix()
        if group != "." and not group.startswith("hydra/"):
            found.setdefault(group, []).append(path.stem)
    return found


# Hydra's options that put another configuration in the place of ours.
REPLACING = ("--config-path", "-cp", "--config-name", "-cn")
_VALUED = ("--cfg", "-c", "--package", "-p", "--config-dir", "-cd", "--experimental-rerun")


def complete_overrides(argv: Sequence[str], folder: Path) -> list[str]:
    """Check settings before the run, and allow those that a configuration leaves out.

    Hydra accepts ``path.to.setting=value`` only if the YAML files name the setting. Ours name what
    differs from the class's defaults; so, where the class that ``_target_`` names has such an
    argument, the setting becomes ``+path.to.setting=value``. A run with a name gets it into the
    name of its folder. Options come first, since Hydra wants all settings in one place.

    Raises:
        ConfigError: an unknown group, choice or setting, with the nearest right one.
    """
    if any(word.split("=")[0] in REPLACING for word in argv):
        return list(argv)  # another configuration than ours: Hydra judges it
    known, search = groups(folder), []
    if own := _own_folder(argv):
        search = [f"hydra.searchpath=['{own.resolve()}']"]
        for group, more in groups(own).items():
            known[group] = [*known.get(group, []), *more]
    parser = OverridesParser.create()
    choices, settings, classes = [], [], []
    options, words = _parted(argv)
    for word in words:
        if (now := today(word)) != word:
            raise ConfigError(f"{word} is now called {now}")
        misread = ConfigError(
            f"{word!r} is not understood; write group=choice or path.to.setting=value"
        )
        try:
            override = parser.parse_override(word)
        except HydraException as error:
            raise misread from error
        key = override.key_or_group
        if not key:
            raise misread
        if key == "hydra.sweeper.direction" and str(override.value()) != "minimize":
            raise ConfigError(
                "a sweep makes the calibration people's EER small, which is the sweepers' default: "
                "leave out hydra.sweeper.direction"
            )
        if key.startswith("hydra") or override.is_delete():
            continue
        if key.endswith("._target_"):
            classes.append(override)
        if override.is_add() or override.is_force_add():
            continue
        if key in known:
            picked = _choices(override)
            for choice in picked:
                if choice not in known[key]:
                    shown = "null" if choice is None else choice
                    raise ConfigError(
                        f"{key} has no choice {shown!r}{did_you_mean(shown, known[key])}"
                    )
            several = isinstance(override.value(), list)  # logger=[tensorboard,mlflow]
            choices.append(
                f"{key}=[{','.join(map(str, picked))}]" if several else f"{key}={picked[0]}"
            )
        elif "." not in key and "/" in key:
            raise ConfigError(f"unknown group {key!r}{did_you_mean(key, known)}")
        else:
            settings.append((word, override))
    with initialize_config_dir(str(folder), version_base="1.3"):
        config = compose("train", overrides=[*search, *choices])
        # What can be set depends on the class; in a sweep, on every one of them.
        for override in classes:
            if OmegaConf.select(config, override.key_or_group) is not None:
                OmegaConf.update(config, override.key_or_group, _choices(override)[0])
            _check_swept(override, [o.key_or_group for _, o in settings])
        replaced = {
            word: _settle(word, override.key_or_group, config, known, search)
            for word, override in settings
        }
    name = config.get("name")
    for _, override in settings:
        name = override.value() if override.key_or_group == "name" else name
    words = [replaced.get(word, word) for word in words]
    return [*options, *words, *name_folders(name, words, folder)]


def _own_folder(argv: Sequence[str]) -> Path | None:
    """The folder of configurations of the user's own; None where none is given.

    Raises:
        ConfigError: there is no such folder.
    """
    for word, following in pairwise([*argv, ""]):
        flag, _, value = word.partition("=")
        if flag in ("--config-dir", "-cd"):
            folder = Path(value or following)
            if not folder.is_dir():
                raise ConfigError(f"{flag} {folder}: no such folder; give that of your own YAML")
            return folder
    return None


def _check_swept(override: Any, keys: Sequence[str]) -> None:
    """Refuse settings that not every class of a sweep has, before the first run.

    Args:
        override: of a ``_target_``.
        keys: names of all settings of the command line.

    Raises:
        ConfigError: names the class without the setting.
    """
    targets = _choices(override)
    if len(targets) < 2:
        return
    path = override.key_or_group.rpartition(".")[0]
    below = [key.removeprefix(f"{path}.") for key in keys if key.startswith(f"{path}.")]
    own = [name for name in below if "." not in name and not name.startswith("_")]
    for target in targets:
        known = arguments_of(target)
        for name in own:
            if name not in known.types and not known.open:
                owner = str(target).rpartition(".")[2]
                raise ConfigError(
                    f"{path}.{name}: {owner}, one of the classes of the sweep, has no such "
                    f"argument{did_you_mean(name, known.types)}; sweep over the others alone"
                )


def _settle(
    word: str, key: str, config: Any, known: dict[str, list[str]], search: Sequence[str]
) -> str:
    """A setting as Hydra takes it; ``search`` says where configurations lie besides ours."""
    node, parts = config, key.split(".")
    for depth, part in enumerate(parts):
        if not isinstance(node, DictConfig):
            break
        if part in node.keys():  # noqa: SIM118 - `in` alone denies a setting that is still missing
            node = node._get_node(part)
            if isinstance(node, DictConfig) and node._is_interpolation():
                node = node._dereference_node()
            continue
        known_ones = _arguments(node)
        if depth == len(parts) - 1 and (
            part in known_ones.types
            or ("_target_" in node and known_ones.nothing)  # who makes it names the class
            or OmegaConf.is_missing(config, parts[0])
        ):
            return f"+{word}"
        # Keys of an open dictionary (Lightning's own arguments) are anybody's.
        if parts[0] == "trainer" and depth == 1 and part in trainer_arguments().types:
            return f"+{word}"
        if deeper := _deeper(node, parts, depth):
            raise ConfigError(f"unknown setting {key!r} (did you mean {deeper}?)")
        if owners := _choices_with(key, known, search):
            raise ConfigError(f"{key} belongs to another choice: add {' or '.join(owners)}")
        raise ConfigError(
            f"unknown setting {key!r}{nearest(key, config, known)}; see siamese train --help"
        )
    group = key.replace(".", "/")
    if group in known and isinstance(node, DictConfig):
        choice = word.partition("=")[2]
        raise ConfigError(
            f"{key} is a group of settings: write "
            f"{group}={choice}{did_you_mean(choice, known[group])}"
        )
    return word


def _deeper(node: DictConfig, parts: Sequence[str], depth: int) -> str:
    """Settings of the same last name that lie deeper below a node; empty where there are none."""
    path = ".".join(parts[:depth])
    rest = "." + ".".join(parts[depth:])
    found = [f"{path}.{name}" for name in settings_of(node) if f".{name}".endswith(rest)]
    return " or ".join(map(repr, found)) if path else ""


def _choices_with(key: str, known: dict[str, list[str]], search: Sequence[str]) -> list[str]:
    """The choices of the setting's group under which it exists: ``data.root`` under ``data=folder``
    and ``data=lfw``.
    """
    *path, _ = key.split(".")
    group = "/".join(path)
    return [
        f"{group}={choice}"
        for choice in known.get(group, [])
        if key in settings_of(compose("train", overrides=[*search, f"{group}={choice}"]))
    ]


def nearest(key: str, config: Any, known: dict[str, list[str]]) -> str:
    """The setting most like ``key``, counting its whole name and its last word alike."""

    def likeness(option: str) -> float:
        last = difflib.SequenceMatcher(
            None, key.rsplit(".", 1)[-1], option.rsplit(".", 1)[-1]
        ).ratio()
        return last + difflib.SequenceMatcher(None, key, option).ratio()

    trainers = (f"trainer.{name}" for name in trainer_arguments().types)
    best = max([*settings_of(config), *trainers, *known], key=likeness)
    return f" (did you mean {best!r}?)" if likeness(best) > 1.2 else ""


def settings_of(node: Any, prefix: str = "") -> Iterator[str]:
    """Dotted names of everything that can be set below a node, defaults of the classes included."""
    names = [str(k) for k in node if not str(k).startswith("_")]
    yield from (prefix + name for name in names)
    yield from (prefix + name for name in _arguments(node).types if name not in names)
    for name in names:
        child = node._get_node(name)
        if (
            isinstance(child, DictConfig)
            and not child._is_interpolation()
            and not child._is_missing()
            and not child._is_none()
        ):
            yield from settings_of(child, f"{prefix}{name}.")


def _arguments(node: Any) -> Arguments:
    """What the class that a node's ``_target_`` names can be given."""
    target = node.get("_target_") if hasattr(node, "get") else None
    return arguments_of(target) if target else Arguments()


def _choices(override: Any) -> list[str | None]:
    value = override.value()
    if override.is_sweep_override():
        return [str(v) for v in override.sweep_string_iterator()]
    if isinstance(value, list):
        return [str(each) for each in value]
    return [None if value is None else str(value)]


def _parted(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """The words that are options or their values, and those that are settings."""
    options: list[str] = []
    words: list[str] = []
    before = ""
    for word in argv:
        value = before in _VALUED or (before in ("--info", "-i") and "=" not in word)
        (options if value or word.startswith("-") else words).append(word)
        before = "" if value else word
    return options, words
