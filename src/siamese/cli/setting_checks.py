"""Settings against the classes that get them: misspelt names, and words where numbers belong."""

from __future__ import annotations

import importlib
import inspect
import types
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from siamese.errors import ConfigError, did_you_mean

_WANTED = {int: "a whole number", float: "a number", bool: "true, false", type(None): "null"}


@dataclass
class Arguments:
    """What the class or function that a ``_target_`` names can be given.

    Attributes:
        types: name -> annotated type; ``Any`` where there is none that is understood.
        defaults: name -> default, of those that have one.
        open: whether it takes names beyond these.
    """

    types: dict[str, Any] = field(default_factory=dict)
    defaults: dict[str, Any] = field(default_factory=dict)
    open: bool = True

    @property
    def nothing(self) -> bool:
        """Whether nothing is known, as of a class that cannot be imported."""
        return self.open and not self.types


def arguments_of(target: object) -> Arguments:
    """The arguments of what a dotted name names, through ``**settings`` also its parents'.

    Nothing is known of what cannot be imported.
    """
    module, _, name = str(target or "").rpartition(".")
    try:
        called = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError):
        return Arguments()
    found = Arguments(open=False)
    for function in _functions(called):
        try:
            parameters = inspect.signature(function).parameters.values()
        except (TypeError, ValueError):  # written in C
            return Arguments()
        for p in parameters:
            if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY) and p.name != "self":
                found.types.setdefault(p.name, _annotated(function, p.annotation))
                if p.default is not p.empty:
                    found.defaults.setdefault(p.name, p.default)
        if not any(p.kind is p.VAR_KEYWORD for p in parameters):
            return found
    found.open = True
    return found


def trainer_arguments() -> Arguments:
    """Those of Lightning's Trainer, which settings below ``trainer`` are."""
    return arguments_of("pytorch_lightning.Trainer")


def check_settings(settings: Mapping[str, Any], given: Iterable[str] = ()) -> None:
    """Hold all settings against the classes that get them.

    Args:
        settings: of a run, resolved, as plain dictionaries, lists and values.
        given: dotted names of those that were given on the command line; all others stand in
            configurations, which another choice of a group does not take back.

    Raises:
        ConfigError: a name that the class does not have, with the nearest right one, and how to
            take it out where a configuration sets it; or a value that is of another type than the
            int, float or bool that the class annotates.
    """
    words = tuple(given)
    # The distance stands in several places; its own is the one in which it was set.
    for name in sorted(settings, key=lambda name: name != "distance"):
        if name == "trainer" and isinstance(settings[name], Mapping):
            _check_values(name, settings[name], trainer_arguments())
        _check(name, settings[name], words)


def _check(path: str, value: Any, given: Sequence[str]) -> None:
    if isinstance(value, list):
        for row, each in enumerate(value):
            _check(f"{path}.{row}", each, given)
    if not isinstance(value, Mapping):
        return
    if "_target_" in value:
        known = arguments_of(value["_target_"])
        unknown = [
            str(name)
            for name in value
            if not (str(name).startswith("_") or name in known.types or known.open)
        ]
        if unknown:
            first, owner = unknown[0], str(value["_target_"]).rpartition(".")[2]
            raise ConfigError(
                f"{path}.{first}: {owner} has no argument "
                f"{first!r}{did_you_mean(first, known.types)}{_way_out(path, unknown, given)}"
            )
        _check_values(path, value, known)
    for name, each in value.items():
        _check(f"{path}.{name}", each, given)


def _way_out(path: str, unknown: Sequence[str], given: Sequence[str]) -> str:
    """How to take out what a configuration sets; empty where the first was given with the command.

    Nothing is known of how to take something out of a list.
    """
    paths = [f"{path}.{name}" for name in unknown]
    kept = [p for p in paths if not any(p == w or p.startswith(f"{w}.") for w in given)]
    if paths[0] not in kept or any(part.isdigit() for part in path.split(".")):
        return ""
    words = " ".join(f"'~{each}'" for each in kept)
    return f"; the configuration sets it: take it out with {words}"


def _check_values(path: str, values: Mapping[str, Any], known: Arguments) -> None:
    for name, value in values.items():
        wanted = known.types.get(name, Any)
        default = known.defaults.get(name)
        if _fits(value, wanted) or (value is None and name in known.defaults and default is None):
            continue
        usual = "" if default is None else f"; by default it is {_yaml(default)}"
        raise ConfigError(f"{path}.{name} must be {_words(wanted)}, not {_yaml(value)}{usual}")


def _fits(value: Any, wanted: Any) -> bool:
    """Whether a value is of a type that is made of int, float and bool alone; any other fits."""
    members = _members(wanted)
    if not members or isinstance(value, Mapping):
        return True
    return any(_is(value, member) for member in members)


def _is(value: Any, member: Any) -> bool:
    if isinstance(member, _ListOf):
        return isinstance(value, (list, tuple)) and all(
            isinstance(each, Mapping) or any(_is(each, m) for m in member.members) for each in value
        )
    if member is bool:
        return isinstance(value, int) and value in (0, 1)  # False and True among them
    if member is int:
        return _is(value, float) and value == value // 1
    if member is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    return value is None


@dataclass(frozen=True)
class _ListOf:
    members: tuple[Any, ...]


def _members(wanted: Any) -> tuple[Any, ...]:
    """The types that a union is made of; none if one of them is not understood.

    A class such as ``torch.Tensor`` beside a number cannot be written as a setting: left out.
    """
    if typing.get_origin(wanted) in (typing.Union, types.UnionType):
        parts = [_members(part) for part in typing.get_args(wanted) if not _is_tensor(part)]
        return sum(parts, ()) if all(parts) else ()
    if wanted in _WANTED:
        return (wanted,)
    if typing.get_origin(wanted) in (list, tuple, Sequence) or (
        getattr(typing.get_origin(wanted), "__name__", "") == "Sequence"
    ):
        inner = [_members(part) for part in typing.get_args(wanted) if part is not Ellipsis]
        return (_ListOf(tuple(dict.fromkeys(sum(inner, ())))),) if inner and all(inner) else ()
    return ()


def _is_tensor(part: Any) -> bool:
    return getattr(part, "__module__", "") == "torch" and part.__name__ == "Tensor"


def _words(wanted: Any) -> str:
    """What is wanted, in words."""
    members = dict.fromkeys(_members(wanted))
    if float in members:
        members.pop(int, None)
    *first, last = ", ".join(_word(member) for member in members).split(", ")
    return f"{', '.join(first)} or {last}" if first else last


def _word(member: Any) -> str:
    if isinstance(member, _ListOf):
        inner = " or ".join(_word(m) for m in member.members)
        return "a list of " + inner.replace("a whole number", "whole numbers").replace(
            "a number", "numbers"
        )
    return _WANTED[member]


def _yaml(value: Any) -> str:
    """A value much as it is written on the command line."""
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    return repr(list(value) if isinstance(value, tuple) else value)


def _functions(called: Any) -> Iterator[Any]:
    if not inspect.isclass(called):
        yield called
        return
    for cls in inspect.getmro(called):
        if cls is not object:
            yield inspect.getattr_static(cls, "__init__")


def _annotated(function: Any, annotation: Any) -> Any:
    """An annotation as a type, also where it is a string; Any where it cannot be told."""
    if annotation is inspect.Parameter.empty:
        return Any
    holder = types.SimpleNamespace(__annotations__={"it": annotation})
    scope = getattr(inspect.unwrap(function), "__globals__", {})
    try:
        return typing.get_type_hints(holder, scope)["it"]
    except Exception:  # a name that only type checkers import
        return Any
