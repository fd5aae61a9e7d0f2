"""Docstrings name things by Sphinx's roles; here these become links of the reference.

An extension of Griffe, which reads the package for mkdocstrings.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import griffe

sys.path.insert(0, str(Path(__file__).parent))

from public_names import public_names

# What reStructuredText has before code; Markdown needs the indent alone.
_CODE_FOLLOWS = re.compile(r"::(?=\n\s*\n +)")
_ROLE = re.compile(r":(?:class|func|meth|attr|mod|data|exc|obj):`~?([^`<]*?)`")


class Roles(griffe.Extension):
    """Replaces roles such as ``:class:`siamese.Verifier``` in every docstring of the package."""

    def on_package(self, *, pkg: griffe.Module, **_: Any) -> None:
        """Walk through everything that was read."""
        self.public = public_names()
        self._walk(pkg, pkg)

    def _walk(self, part: Any, package: griffe.Module) -> None:
        if part.docstring:
            text = _CODE_FOLLOWS.sub(":", part.docstring.value)
            part.docstring.value = _ROLE.sub(lambda m: self._link(m[1], part, package), text)
        for member in getattr(part, "members", {}).values():
            if not member.is_alias:
                self._walk(member, package)

    def _link(self, target: str, here: Any, package: griffe.Module) -> str:
        """A link where the reference shows what is meant, else its name alone."""
        shown = target.removeprefix("siamese.")
        owner = here if here.is_class else here.parent
        tries = [target] if "." in target else []
        if owner is not None and owner.is_class:
            tries.append(f"{owner.name}.{target}")
        tries += [target, shown]
        for name in tries:
            first, *rest = name.removeprefix("siamese.").split(".")
            if first not in self.public:
                continue
            path = ".".join([self.public[first], *rest])
            if not rest or self._is_shown(path, package):
                return f"[`{shown}`][{path}]"
        return f"`{shown}`"

    def _is_shown(self, path: str, package: griffe.Module) -> bool:
        try:
            found = package[path.removeprefix("siamese.")]
        except (KeyError, griffe.AliasResolutionError):
            return False
        if found.is_alias or found.docstring is None or found.name.startswith("_"):
            return False
        return bool(found.is_public)
