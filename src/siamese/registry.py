"""Registry: names to classes, so that JSON can name a component and execute nothing else."""

from __future__ import annotations

import importlib
import inspect
import numbers
import pkgutil
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Generic, TypeVar

from siamese.errors import ConfigError, UnknownNameError, did_you_mean
from siamese.plugins import announced, load, package_of, place_of

T = TypeVar("T")


class Registry(Generic[T]):
    """A table from a short name to a class.

    A registered class keeps each constructor argument in an attribute of the same name
    (scikit-learn's convention), all of them plain JSON values; so an object can be written as
    ``{"name": ..., **arguments}`` and built again from it. An argument that is added later stands
    in a class attribute ``added``, with what the class did without it: files that were written
    before go on to mean the same.

    The files of one package fill the table: they are imported when a name is looked up for the
    first time. So a new class needs its own file there and no entry anywhere else. Names that it
    lacks are looked up among plug-ins (:mod:`siamese.plugins`): of these only the one that is named
    is imported, and none can take a name of ours.

    Args:
        kind: what the table holds, for error messages ("cropper", "backbone").
        variable: what the table is called in code ("CROPPERS").
        package: whose files register classes ("siamese.faces.croppers").
        renamed: old name -> new name, for files that were written before the change.
    """

    def __init__(
        self, kind: str, variable: str, package: str, renamed: Mapping[str, str] | None = None
    ) -> None:
        self.kind, self.variable, self.package = kind, variable, package
        self.renamed = dict(renamed or {})
        self._classes: dict[str, type[T]] = {}
        self._discovered = False
        # Re-entrant: a file that is imported may look up a name itself.
        self._lock = threading.RLock()
        self._discovering = False

    def register(self, name: str) -> Callable[[type[T]], type[T]]:
        """Class decorator that enters the class under ``name``.

        Raises:
            ConfigError: another class has that name. A class of the same file and name replaces
                its earlier self, as when a cell of a notebook runs again.
        """

        def enter(cls: type[T]) -> type[T]:
            if not cls.__module__.startswith(f"{self.package}."):
                self._discover()  # our own names are taken
            known = self._classes.get(name, cls)
            if (known.__module__, known.__qualname__) != (cls.__module__, cls.__qualname__):
                raise ConfigError(
                    f"{self.kind} {name!r} is {place_of(known)}: register "
                    f"{cls.__qualname__} under another name"
                )
            self._classes[name] = cls
            return cls

        return enter

    def __repr__(self) -> str:
        return f"{self.variable}({', '.join(self)})"

    def __iter__(self) -> Iterator[str]:
        self._discover()
        return iter(sorted(self._classes.keys() | announced(self.kind)))

    def __contains__(self, name: object) -> bool:
        self._discover()
        return name in self._classes or name in announced(self.kind)

    def __getitem__(self, name: str) -> type[T]:
        if name not in self._classes:
            self._discover()
        if name not in self._classes:
            if name in self.renamed:
                raise ConfigError(f"{self.kind} {name!r} is now called {self.renamed[name]!r}")
            self._load_plugin(name)
        if name not in self._classes:
            raise UnknownNameError(f"unknown {self.kind} {name!r}{did_you_mean(name, self)}")
        return self._classes[name]

    def _load_plugin(self, name: str) -> None:
        """Enter the plug-in of that name, if an installed package announces one."""
        found = load(self.kind, name)
        if found is None or name in self._classes:  # its own decorator entered it
            return
        if not isinstance(found, type):
            raise ConfigError(
                f"{self.kind} {name!r}: the plug-in gives a {type(found).__name__}, not a class; "
                f"its entry point must name the class itself (package.module:Class)"
            )
        self._classes[name] = found

    def _discover(self) -> None:
        """Import every file of the package; each enters its classes."""
        if self._discovered:
            return
        with self._lock:
            if self._discovering or self._discovered:
                return
            self._discovering = True
            try:
                path = importlib.import_module(self.package).__path__
                for module in pkgutil.iter_modules(path, f"{self.package}."):
                    if not module.ispkg:
                        importlib.import_module(module.name)
                self._discovered = True
            finally:
                self._discovering = False

    def name(self, component: T) -> str:
        """The name under which ``component``'s class is registered.

        Raises:
            ConfigError: under none.
        """
        for name, cls in self._classes.items():
            if type(component) is cls:
                return name
        raise ConfigError(
            f"{type(component).__name__} is not a registered {self.kind}: put "
            f"@siamese.{self.variable}.register('a_name') above its class, or use one of: "
            f"{', '.join(self)}"
        )

    def origin(self, component: T) -> str | None:
        """Where the class of a component comes from; None for one of ours.

        A bundle records it, so that whoever opens it elsewhere learns what to install.
        """
        cls = type(component)
        if cls.__module__.partition(".")[0] == "siamese":
            return None
        point = announced(self.kind).get(self.name(component))
        brought = f" of {package_of(point)}" if point else ""
        return f"{place_of(cls)}{brought}"

    def settings(self, component: T) -> dict[str, Any]:
        """``component`` as a plain dictionary: its name and every constructor argument.

        Raises:
            ConfigError: its class is not registered, or does not keep an argument in an attribute
                of the same name, or keeps a value there that JSON cannot hold.
        """
        found: dict[str, Any] = {"name": self.name(component)}
        cls = type(component).__name__
        for argument in _parameters(type(component)):
            if not hasattr(component, argument):
                raise ConfigError(
                    f"{cls} does not keep its argument {argument!r}, so that it cannot be built "
                    f"again: write self.{argument} = {argument} in its constructor"
                )
            value = self._described(getattr(component, argument))
            if not is_plain(value):
                raise ConfigError(
                    f"{cls}.{argument} is a {type(value).__name__}: a bundle can only hold "
                    f"numbers, strings, booleans, None, and lists and dictionaries of them"
                )
            found[argument] = value
        return found

    def _described(self, value: Any) -> Any:
        """An argument as JSON has it; for registries whose components hold other components."""
        return as_plain(value)

    def _restored(self, value: Any) -> Any:
        """The reverse of :meth:`_described`."""
        return value

    def arguments(self, name: str) -> list[str]:
        """What :meth:`settings` writes of a class, but for arguments that came later.

        Raises:
            UnknownNameError: no class of that name.
        """
        cls = self[name]
        return [argument for argument in _parameters(cls) if argument not in _added(cls)]

    def build(self, settings: str | Mapping[str, Any]) -> T:
        """Build the component that a name, or a dictionary from :meth:`settings`, describes.

        Raises:
            ConfigError: unknown name, unknown argument, or a value that the constructor refuses.
        """
        if not isinstance(settings, (str, Mapping)):
            if isinstance(settings, type) and settings in self._classes.values():
                raise ConfigError(
                    f"{settings.__name__} is a class; give an object of it: {settings.__name__}()"
                )
            raise ConfigError(
                f"a {self.kind} is an object, a name or a dictionary with a 'name', not "
                f"{settings!r} (choose one of: {', '.join(self)})"
            )
        arguments = {"name": settings} if isinstance(settings, str) else dict(settings)
        name = arguments.pop("name", None)
        if not isinstance(name, str):
            raise ConfigError(f"a {self.kind} needs a 'name' (choose one of: {', '.join(self)})")
        cls = self[name]
        known = _parameters(cls)
        # What :meth:`settings` wrote names every argument, unless some came later: these then mean
        # what the class did without them.
        added, missing = _added(cls), set(known) - set(arguments)
        if arguments and missing <= set(added):
            arguments = {argument: added[argument] for argument in missing} | arguments
        for argument in arguments:
            if argument not in known:
                raise ConfigError(
                    f"{self.kind} {name!r} has no setting "
                    f"{argument!r}{did_you_mean(argument, known)}"
                )
        try:
            return cls(**{k: self._restored(value) for k, value in arguments.items()})
        except (TypeError, ValueError, OverflowError) as error:
            raise ConfigError(f"{self.kind} {name!r}: {error}; correct its settings") from error


def _parameters(cls: type) -> list[str]:
    kinds = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [name for name, p in inspect.signature(cls).parameters.items() if p.kind not in kinds]


def _added(cls: type) -> Mapping[str, Any]:
    """What the class that defines the constructor says of arguments that came later."""
    owner = next(c for c in cls.__mro__ if "__init__" in vars(c))
    found: Mapping[str, Any] = vars(owner).get("added", {})
    return found


def as_plain(value: Any) -> Any:
    """A value as JSON has it, of Python's own types exactly: numbers of numpy become Python's.

    Anything else than numbers, strings, booleans, None, lists and dictionaries of them stays as it
    is.
    """
    if value is None or type(value) in (bool, int, float, str):
        return value
    if isinstance(value, (tuple, list)):
        return [as_plain(v) for v in value]
    if isinstance(value, dict):
        return {k: as_plain(v) for k, v in value.items()}
    if isinstance(value, numbers.Integral):
        return int(value)
    if isinstance(value, numbers.Real):
        return float(value)
    # Not str(value): that of a string enumeration is its name.
    return str.__str__(value) if isinstance(value, str) else value


def is_plain(value: Any) -> bool:
    """Whether JSON can hold a value from :func:`as_plain`."""
    if isinstance(value, list):
        return all(map(is_plain, value))
    if isinstance(value, dict):
        return all(isinstance(k, str) and is_plain(v) for k, v in value.items())
    return value is None or type(value) in (bool, int, float, str)
