"""Markdown of values that may be a stranger's: in it neither markdown nor HTML means anything."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from siamese.errors import printable

_LONGEST = 600  # characters of one value


def table(rows: Iterable[list[str]]) -> list[str]:
    """A table of markdown; the first row is its header."""
    header, *rest = [[plain(cell) for cell in row] for row in rows]
    lines = [header, ["---"] * len(header), *rest]
    return ["| " + " | ".join(line) + " |" for line in lines]


def word(value: Any) -> str:
    """A value out of the provenance as inline code, in which markdown and HTML mean nothing."""
    text = printable(" ".join(str(value).split()))[:_LONGEST].replace("`", "'")
    return f"`{text or 'nothing'}`"


def plain(text: str) -> str:
    """A text in which markdown and HTML mean nothing, in one line."""
    line = printable(" ".join(text.split()))[:_LONGEST]
    escaped = re.sub(r"([\\`*_\[\]<>|#!~$&@])", r"\\\1", line)
    # Addresses become links of themselves, where markdown is GitHub's.
    return re.sub(r":(?=//)|(?<=www)\.", r"\\\g<0>", escaped, flags=re.IGNORECASE)
