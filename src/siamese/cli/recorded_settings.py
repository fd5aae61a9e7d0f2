"""The recorded settings of a run, for `siamese train resume=RUN`: read as data, never executed."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

from siamese.cli.newest_run import unquoted
from siamese.cli.recorded_paths import leads_outside
from siamese.errors import ConfigError, first_line
from siamese.reading import exists, read_text
from siamese.report.flat_list import FlatList

_KEY = re.compile(r"(?:\+{0,2}|~)[A-Za-z][\w./]*")
# What earlier versions called settings, in runs that can still be resumed.
_RENAMED = (
    (re.compile(r"policy=far"), "policy=fmr"),
    (re.compile(r"data/split=held_out_people"), "data/split=held_out_identities"),
    (re.compile(r"(\+{0,2}data\.sampler\.)people(=.*)"), r"\1identities\2"),
    (re.compile(r"(\+{0,2}module\.loss\.(?:[\w.]+\.)?)people(=.*)"), r"\1identities\2"),
)
_LARGEST = 1 << 20  # bytes of a record; the longest command line has less
_REMEDY = "give the settings on the command line and remove this file"


def with_recorded_settings(
    argv: Sequence[str], groups: Mapping[str, Sequence[str]], folder: Path
) -> list[str]:
    """With ``resume=RUN``, that run's settings before those of this command, which win.

    Args:
        argv: words of the command.
        groups: config group -> its choices: only these may be chosen.
        folder: of the configurations: what can be set stands in its ``train.yaml``.

    Raises:
        ConfigError: the record holds something that ``siamese train`` did not write there.
    """
    named = [word.partition("=")[2] for word in argv if word.startswith("resume=")]
    if not named:
        return list(argv)
    run = Path(unquoted(named[-1])).expanduser()
    home = run if run.is_dir() else run.parent.parent  # a checkpoint lies in RUN/checkpoints
    recorded = home / ".hydra" / "overrides.yaml"
    if not exists(recorded):
        return list(argv)
    # What was said of the folder of that run holds for no other.
    given = {_key(word) for word in argv} | {"resume", "overwrite", "allow_changes"}
    # A cluster executes what it is sent and sends what is executed: no record names one.
    given |= {"data.crop_backend"}
    words = _read(recorded, groups, roots(folder), given)
    for word in words:
        key, _, value = word.partition("=")
        if leads_outside(_key(key), value, home):
            raise ConfigError(
                f"{recorded}: {word:.80} names a path outside that run, which is not taken from a "
                f"record; give it again on this command's line, if it is yours"
            )
    # Hydra wants all settings in one place, after its own options.
    first = next(i for i, word in enumerate(argv) if "=" in word and not word.startswith("-"))
    return [*argv[:first], *words, *argv[first:]]


def roots(folder: Path) -> frozenset[str]:
    """The first words of all settings that a record may bring: those of ``train.yaml``.

    But for Hydra's, and for plug-ins: a record is data, and names nothing that is executed.
    """
    from omegaconf import OmegaConf

    content = OmegaConf.to_container(OmegaConf.load(folder / "train.yaml"), resolve=False)
    assert isinstance(content, dict)
    groups = {
        str(name) for entry in content["defaults"] if isinstance(entry, dict) for name in entry
    }
    return frozenset((groups | set(map(str, content))) - {"defaults", "hydra", "plugins"})


def _read(
    path: Path, groups: Mapping[str, Sequence[str]], known: frozenset[str], given: set[str]
) -> list[str]:
    """The recorded words, but for those whose settings this command gives anew."""
    try:
        words = yaml.load(read_text(path, _LARGEST), FlatList)
    except (OSError, ValueError, yaml.YAMLError, RecursionError) as error:
        raise ConfigError(
            f"{path}: not a list of settings ({first_line(error)}); {_REMEDY}"
        ) from error
    if not isinstance(words, list):
        raise ConfigError(f"{path}: not a list of settings; {_REMEDY}")
    found = [today(word) if isinstance(word, str) else word for word in words]
    found = [word for word in found if not (isinstance(word, str) and _key(word) in given)]
    for word in found:
        if not isinstance(word, str) or not _harmless(word, groups, known):
            raise ConfigError(
                f"{path}: {str(word)!r:.80} is not a setting that a resumed run may bring with it "
                f"(a dictionary, an interpolation, a plug-in, a configuration of your own, or not "
                f"written by siamese train); give it again on this command's line, with its "
                f"--config-dir if it had one"
            )
    return found


def today(word: str) -> str:
    """A setting by the name that it has in this version."""
    for old, new in _RENAMED:
        if old.fullmatch(word):
            return old.sub(new, word)
    return word


def _harmless(word: str, groups: Mapping[str, Sequence[str]], known: frozenset[str]) -> bool:
    """Whether a recorded word can only choose among our classes and set their arguments."""
    key, equals, value = word.partition("=")
    # What is left out, with a tilde, is a part: without the whole there is nothing to run.
    left_out = re.fullmatch(r"~\w+[./].*", key)
    if not _KEY.fullmatch(key) or ((key.startswith("~") or not equals) and not left_out):
        return False
    bare = _key(word)
    if bare in groups:
        named = value[1:-1].split(",") if re.fullmatch(r"\[[\w,]*\]", value) else [value]
        return set(named) <= set(groups[bare]) or (left_out is not None and not value)
    # A name with an underscore in front is Hydra's (_target_, _partial_); braces hold dictionaries
    # and interpolations.
    parts = bare.split(".")
    hydras = any(part.startswith("_") for part in parts)
    return parts[0] in known and not hydras and not set(value) & set("{}$\\")


def _key(word: str) -> str:
    return word.partition("=")[0].lstrip("+~")
