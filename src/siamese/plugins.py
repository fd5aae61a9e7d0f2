"""Plug-ins: components that installed packages announce as entry points, imported when named.

A package announces a component in its ``pyproject.toml``::

    [project.entry-points."siamese.plugins"]
    "backbone.my_net" = "my_package.nets:MyNet"

``backbone`` is the kind (backbone, loss, distance, cropper, policy, pair_rule, split_protocol) and
``my_net`` the name that configurations and bundles use. Only the component that is named is
imported, never the others.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import sys
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from siamese.errors import ConfigError, MissingDependencyError, first_line

GROUP = "siamese.plugins"
_PRIVATE = "siamese_plugin_"  # begins the names of modules that were imported by file


def announced(kind: str) -> dict[str, EntryPoint]:
    """Name -> entry point, of all components of a kind that installed packages announce."""
    prefix = _kind(kind) + "."
    found = entry_points(group=GROUP)
    return {e.name.removeprefix(prefix): e for e in found if e.name.startswith(prefix)}


def load(kind: str, name: str) -> Any:
    """Import the component that is announced under a name; None where there is none.

    Raises:
        MissingDependencyError: it is announced and cannot be imported.
    """
    point = announced(kind).get(name)
    if point is None:
        return None
    try:
        return point.load()
    except Exception as error:  # whatever a foreign file raises when it is imported
        raise MissingDependencyError(
            f"{kind} {name!r}: the plug-in {point.value} of {package_of(point)} cannot be imported "
            f"({type(error).__name__}: {first_line(error)}); install that package again, or ask "
            f"its authors"
        ) from error


def package_of(point: EntryPoint) -> str:
    """The name of the installed package that announces an entry point."""
    return f"the package {point.dist.name}" if point.dist is not None else "an unnamed package"


def place_of(cls: type) -> str:
    """Where a class is defined, as a person looks for it: ``mine.MyNet``, ``MyNet in mine.py``."""
    if (file := file_of(cls)) is None:
        return f"{cls.__module__}.{cls.__qualname__}"
    return f"{cls.__qualname__} in {Path(file).name}"


def file_of(cls: type) -> str | None:
    """The file of a class that was imported by its path, so that no other process has it.

    None for any other class.
    """
    if not cls.__module__.startswith(_PRIVATE):
        return None
    return str(sys.modules[cls.__module__].__file__)


def import_plugin(place: str) -> None:
    """Import a file of components, or a module, so that its classes enter their registries.

    Args:
        place: a file (``mine.py``) or the name of a module (``my_package.nets``).

    Raises:
        ConfigError: there is no such file or module, or importing it fails.
    """
    path = Path(place).expanduser()
    try:
        if path.suffix == ".py":
            _import_file(path)
        else:
            importlib.import_module(place)
    except ConfigError:
        raise
    except ModuleNotFoundError as error:
        if error.name is None:
            raise ConfigError(f"{place}: importing it fails ({first_line(error)})") from error
        if path.suffix != ".py" and error.name in _parents(place):
            raise ConfigError(
                f"{place}: no such module; give a Python file (NAME.py), or a module that can be "
                f"imported"
            ) from error
        raise ConfigError(
            f"{place}: it needs {error.name!r}, which is not installed; install that"
        ) from error
    except (Exception, SystemExit) as error:  # whatever a user's own file raises
        raise ConfigError(
            f"{place}: importing it fails ({type(error).__name__}: {first_line(error)}); correct "
            f"that file"
        ) from error


def _import_file(path: Path) -> None:
    """Import a file under a name of its own, so that it hides no other module; only once."""
    if not path.is_file():
        raise ConfigError(f"{path}: no such file; give a Python file, or the name of a module")
    whole = path.resolve()
    for module in list(sys.modules.values()):
        file = getattr(module, "__file__", None)
        if file and Path(file) == whole:
            return
    name = f"{_PRIVATE}{hashlib.sha256(str(whole).encode()).hexdigest()[:12]}_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, whole)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]  # half a module would pass for a whole one the next time
        raise


def _parents(module: str) -> list[str]:
    """``a.b.c`` -> ``a``, ``a.b``, ``a.b.c``."""
    parts = module.split(".")
    return [".".join(parts[: n + 1]) for n in range(len(parts))]


def _kind(kind: str) -> str:
    return kind.replace(" ", "_")
