"""The public names of ``siamese``, in the groups in which ``__init__.pyi`` lists them."""

from __future__ import annotations

import re
from pathlib import Path

STUB = Path(__file__).parents[2] / "src" / "siamese" / "__init__.pyi"
_NAME = re.compile(r"from \.(\S+) import (\w+) as \w+")


def groups(stub: str | None = None) -> dict[str, dict[str, str]]:
    """Group (its comment in the stub) -> public name -> where it is defined.

    >>> groups("# networks\\nfrom .backbones.base import Backbone as Backbone")
    {'networks': {'Backbone': 'siamese.backbones.base.Backbone'}}
    """
    found: dict[str, dict[str, str]] = {}
    text = STUB.read_text(encoding="utf-8") if stub is None else stub
    for line in text.splitlines():
        if line.startswith("# "):
            group = found.setdefault(line[2:], {})
        elif match := _NAME.match(line):
            group[match[2]] = f"siamese.{match[1]}.{match[2]}"
    return found


def public_names() -> dict[str, str]:
    """Public name -> where it is defined, e.g. ``siamese.training.run.train``."""
    return {name: path for group in groups().values() for name, path in group.items()}


def file_name(group: str) -> str:
    """The name of a group's page.

    >>> file_name("lists of pairs")
    'lists_of_pairs.md'
    """
    return re.sub(r"\W+", "_", group).strip("_") + ".md"
