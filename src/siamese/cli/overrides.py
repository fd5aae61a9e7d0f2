"""Settings on the command line: every constructor argument can be set, misspelt ones are named."""

from __future__ import annotations

import difflib
import importlib
import inspect
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from siamese.cli.recorded_settings import today
from siamese.errors import ConfigError, did_you_mean


def groups(folder: Path) -> dict[str, list[str]]:
    """Config group -> its choices, read from the folder of YAML files."""
    found: dict[str, list[str]] = {}
    for path in sorted(folder.rglob("*.yaml")):
        group = path.parent.relative_to(folder).as_posix()
        if group != ".":
            found.setdefault(group, []).append(path.stem)
    return found


# Hydra's command line flags, as it documents them.
FLAGS = (
    "--help", "-h", "--hydra-help", "--version", "--cfg", "-c", "--resolve", "--package", "-p",
    "--run", "-r", "--multirun", "-m", "--shell-completion", "-sc", "--config-path", "-cp",
    "--config-name", "-cn", "--config-dir", "-cd", "--experimental-rerun", "--info", "-i",
)  # fmt: skip


def check_flags(argv: Sequence[str]) -> None:
    """Refuse an option that Hydra does not have.

    Raises:
        ConfigError: names the nearest one.
    """
    for word in argv:
        if word.startswith("-") and word.split("=")[0] not in FLAGS:
            raise ConfigError(
                f"unknown option {word}{did_you_mean(word.split('=')[0], FLAGS)}; see siamese "
                f"train --help"
            )


def complete_overrides(argv: Sequence[str], folder: Path) -> list[str]:
    """Check settings before the run, and allow those that a configuration leaves out.

    Hydra accepts ``path.to.setting=value`` only if the YAML files name the setting. Ours name what
    differs from the class's defaults; so, where the class that ``_target_`` names has such an
    argument, the setting becomes ``+path.to.setting=value``.

    Raises:
        ConfigError: an unknown group, choice or setting, with the nearest right one.
    """
    from hydra import compose, initialize_config_dir
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    if any(
        word in argv
        for word in ("--config-dir", "-cd", "--config-path", "-cp", "--config-name", "-cn")
    ):
        return list(argv)  # configurations of the user's own: Hydra judges them
    known = groups(folder)
    words = _overrides(argv)
    parser = OverridesParser.create()
    choices, settings = [], []
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
        if (
            key.startswith("hydra")
            or override.is_delete()
            or override.is_add()
            or override.is_force_add()
        ):
            continue
        if key in known:
            picked = _choices(override)
            for choice in picked:
                if choice not in known[key]:
                    shown = "null" if choice is None else choice
                    raise ConfigError(
                        f"{key} has no choice {shown!r}{did_you_mean(shown, known[key])}"
                    )
            choices.append(f"{key}={picked[0]}")
        elif "." not in key and "/" in key:
            raise ConfigError(f"unknown group {key!r}{did_you_mean(key, known)}")
        else:
            settings.append((word, key))
    with initialize_config_dir(str(folder), version_base="1.3"):
        config = compose("train", overrides=choices)
        replaced = {word: _settle(word, key, config, known) for word, key in settings}
    return [replaced.get(word, word) for word in argv]


def _settle(word: str, key: str, config: Any, known: dict[str, list[str]]) -> str:
    from omegaconf import DictConfig, OmegaConf

    node, parts = config, key.split(".")
    for depth, part in enumerate(parts):
        if not isinstance(node, DictConfig):
            break
        if part in node.keys():  # noqa: SIM118 - `in` alone denies a setting that is still missing
            node = node._get_node(part)
            if isinstance(node, DictConfig) and node._is_interpolation():
                node = node._dereference_node()
            continue
        if depth == len(parts) - 1 and (
            part in _arguments(node) or OmegaConf.is_missing(config, parts[0])
        ):
            return f"+{word}"
        # Keys of an open dictionary (Lightning's own arguments) are anybody's.
        if parts[0] == "trainer" and depth == 1 and part in _trainer_arguments():
            return f"+{word}"
        if owners := _choices_with(key, known):
            raise ConfigError(f"{key} belongs to another choice: add {' or '.join(owners)}")
        raise ConfigError(
            f"unknown setting {key!r}{_nearest(key, config, known)}; see siamese train --help"
        )
    group = key.replace(".", "/")
    if group in known and isinstance(node, DictConfig):
        choice = word.partition("=")[2]
        raise ConfigError(
            f"{key} is a group of settings: write "
            f"{group}={choice}{did_you_mean(choice, known[group])}"
        )
    return word


def _choices_with(key: str, known: dict[str, list[str]]) -> list[str]:
    """The choices of the setting's group under which it exists: ``data.root`` under ``data=folder``
    and ``data=lfw``.
    """
    from hydra import compose

    *path, _ = key.split(".")
    group = "/".join(path)
    return [
        f"{group}={choice}"
        for choice in known.get(group, [])
        if key in _settings(compose("train", overrides=[f"{group}={choice}"]))
    ]


def _nearest(key: str, config: Any, known: dict[str, list[str]]) -> str:
    """The setting most like ``key``, counting its whole name and its last word alike."""

    def likeness(option: str) -> float:
        last = difflib.SequenceMatcher(
            None, key.rsplit(".", 1)[-1], option.rsplit(".", 1)[-1]
        ).ratio()
        return last + difflib.SequenceMatcher(None, key, option).ratio()

    best = max(
        [*_settings(config), *(f"trainer.{a}" for a in _trainer_arguments()), *known], key=likeness
    )
    return f" (did you mean {best!r}?)" if likeness(best) > 1.2 else ""


def _settings(node: Any, prefix: str = "") -> Iterator[str]:
    """Dotted names of everything that can be set below a node, defaults of the classes included."""
    from omegaconf import DictConfig

    names = [str(k) for k in node if not str(k).startswith("_")]
    yield from (prefix + name for name in names)
    yield from (prefix + name for name in _arguments(node) if name not in names)
    for name in names:
        child = node._get_node(name)
        if (
            isinstance(child, DictConfig)
            and not child._is_interpolation()
            and not child._is_missing()
            and not child._is_none()
        ):
            yield from _settings(child, f"{prefix}{name}.")


def _arguments(node: Any) -> list[str]:
    """Constructor arguments of the class that a node's ``_target_`` names; through ``**settings``
    also its parents'.
    """
    target = node.get("_target_") if hasattr(node, "get") else None
    if not target:
        return []
    module, _, name = str(target).rpartition(".")
    try:
        called = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError):
        return []
    found: list[str] = []
    for cls in inspect.getmro(called) if inspect.isclass(called) else [called]:
        signature = inspect.signature(cls.__init__ if inspect.isclass(cls) else cls)
        parameters = signature.parameters.values()
        found += [
            p.name
            for p in parameters
            if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY) and p.name != "self"
        ]
        if not any(p.kind is p.VAR_KEYWORD for p in parameters):
            break
    return found


def _trainer_arguments() -> list[str]:
    import pytorch_lightning as pl

    return [name for name in inspect.signature(pl.Trainer.__init__).parameters if name != "self"]


def _choices(override: Any) -> list[str | None]:
    value = override.value()
    if override.is_sweep_override():
        return [str(v) for v in override.sweep_string_iterator()]
    return [None if value is None else str(value)]


def _overrides(argv: Sequence[str]) -> list[str]:
    """The words that are overrides, not options or their values."""
    valued = {"--cfg", "-c", "--package", "-p", "--info", "-i"}
    words, skip = [], False
    for word in argv:
        if skip:
            skip = False
        elif word.startswith("-"):
            skip = word in valued
        else:
            words.append(word)
    return words
