"""Plug-ins: components that installed packages announce as entry points, imported when named.

A package announces a component in its ``pyproject.toml``::

    [project.entry-points."siamese.plugins"]
    "backbone.my_net" = "my_package.nets:MyNet"

``backbone`` is the kind (backbone, loss, distance, cropper, policy, pair_rule, split_protocol) and
``my_net`` the name that configurations and bundles use. Only the component that is named is
imported, never the others.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from siamese.errors import ConfigError, MissingDependencyError, first_line

GROUP = "siamese.plugins"


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


def import_plugin(place: str) -> None:
    """Import a file of components, or a module, so that its classes enter their registries.

    Args:
        place: a file (``mine.py``) or the name of a module (``my_package.nets``).

    Raises:
        ConfigError: there is no such file or module, or importing it fails.
    """
    path = Path(place).expanduser()
    remedy = "give a Python file, or a module that can be imported"
    try:
        if path.suffix != ".py":
            importlib.import_module(place)
            return
        if not path.is_file():
            raise ConfigError(f"{place}: no such file; {remedy}")
        name = path.stem
        known = sys.modules.get(name)
        if known is not None and Path(known.__file__ or "").resolve() == path.resolve():
            return
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    except ConfigError:
        raise
    except ModuleNotFoundError as error:
        raise ConfigError(f"{place}: {first_line(error)}; {remedy}") from error
    except Exception as error:  # whatever a user's own file raises
        raise ConfigError(
            f"{place}: importing it fails ({type(error).__name__}: {first_line(error)}); correct "
            f"that file"
        ) from error


def _kind(kind: str) -> str:
    return kind.replace(" ", "_")
