"""What parts the cells of a table that a spreadsheet has saved."""

from __future__ import annotations

import re

# Of a comma, a semicolon (spreadsheets of much of Europe) and a tab.
DELIMITERS = (",", ";", "\t")
# A first line by which Excel is told what parts cells.
_SAID = re.compile(r"\s*sep=([,;\t])[ \t]*(?:[\r\n]+|$)")


def said_delimiter(text: str) -> tuple[str | None, str]:
    r"""What a line that is no row of the table says of its cells, and the text after that line.

    >>> said_delimiter("sep=;\na;b\n"), said_delimiter("a,b\n")
    ((';', 'a;b\n'), (None, 'a,b\n'))
    """
    if (said := _SAID.match(text)) is None:
        return None, text
    return said[1], text[said.end() :]
