"""`siamese train plugins=[mine.py]`: files and modules of the user's own, imported first of all."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from siamese.errors import ConfigError
from siamese.plugins import import_plugin


def import_given(words: Sequence[str]) -> None:
    """Import what the words of a command name, before settings are held against classes.

    Raises:
        ConfigError: see :func:`import_all`.
    """
    given = [word for word in words if word.partition("=")[0].lstrip("+") == "plugins"]
    try:
        overrides = OverridesParser.create().parse_overrides(given)
    except HydraException:  # said together with the other settings
        return
    for override in overrides:
        if not override.is_sweep_override():  # each run of a sweep imports its own
            import_all(override.value())


def import_all(places: Any, home: Path | None = None) -> None:
    """Import files and modules.

    Args:
        places: a list of them.
        home: the folder that a file's name starts from; by default the working folder.

    Raises:
        ConfigError: it is no list, or one of them cannot be imported.
    """
    if not isinstance(places, (list, tuple)) or not all(isinstance(p, str) for p in places):
        raise ConfigError(
            f"plugins must be a list of Python files or modules, not {places!r}: write "
            f"plugins=[mine.py]"
        )
    for place in places:
        if place.endswith(".py"):
            _import_file(((home or Path.cwd()) / Path(place).expanduser()).resolve())
        else:
            import_plugin(place)


def _import_file(path: Path) -> None:
    """Import a file such that a ``_target_`` can name its classes by the file's name."""
    import_plugin(str(path))
    files = ((module, getattr(module, "__file__", None)) for module in list(sys.modules.values()))
    imported = next(module for module, file in files if file and Path(file) == path)
    if sys.modules.get(path.stem, imported) is not imported or _is_other(path):
        raise ConfigError(
            f"{path}: another module is called {path.stem!r}, too, so that no _target_ can name "
            f"the classes of this one; give the file another name"
        )
    sys.modules[path.stem] = imported


def _is_other(path: Path) -> bool:
    """Whether Python finds another module under a file's name."""
    if path.stem in sys.modules:
        return False
    spec = importlib.util.find_spec(path.stem) if path.stem.isidentifier() else None
    return spec is not None and Path(spec.origin or "").resolve() != path
