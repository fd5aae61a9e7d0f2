"""What a visitor of the page reads of the library's messages: nothing that needs a terminal."""

from __future__ import annotations

import re

from siamese.errors import CalibrationError, ConfigError, SiameseError, printable

# An option, a command, a name of the library, or a setting with its value.
_COMMAND = re.compile(r"--[a-z]|\bsiamese[ .][A-Za-z]|\b[a-z][a-z_]*=[\w'\"]")
_ASIDE = re.compile(r" ?\(([^()]*)\)")


def for_visitor(text: str, remedy: str | None = None) -> str:
    """A message without the commands in it.

    Args:
        text: what is wrong, then what to do, divided by semicolons.
        remedy: what can be done on the page, said instead of what names commands; None for nothing.
    """
    first, *others = printable(text).split("; ")
    kept = [_ASIDE.sub(lambda found: "" if _COMMAND.search(found[1]) else found[0], first)]
    for part in others:
        if _COMMAND.search(part):
            return "; ".join([*kept, remedy] if remedy else kept)
        kept.append(part)
    return "; ".join(kept)


def error_for_visitor(error: SiameseError) -> str:
    """What is wrong with what was asked, and what can be done on the page."""
    slid = isinstance(error, (CalibrationError, ConfigError))
    return for_visitor(str(error), "choose another setting on this page" if slid else None)
