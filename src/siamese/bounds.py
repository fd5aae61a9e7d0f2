"""Bounds of settings: a number from a file is checked before anything is built with it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any

from siamese.errors import ConfigError

# Channels, features or numbers of one layer: more than any network that fits one machine has.
WIDEST = 1 << 16


def check_whole(name: str, value: Any, least: int, most: int) -> None:
    """Check a whole number.

    Raises:
        ConfigError: something else, or out of range.
    """
    if (
        isinstance(value, bool)
        or not isinstance(value, Integral)
        or not least <= int(value) <= most
    ):
        raise ConfigError(
            f"{name} must be a whole number from {least:,} to {most:,}, not {shown(value)}"
        )


def check_real(name: str, value: Any, least: float, most: float) -> None:
    """Check a finite number.

    Raises:
        ConfigError: something else, or out of range.
    """
    real = isinstance(value, Real) and not isinstance(value, bool)
    if not real or not least <= value <= most:
        raise ConfigError(f"{name} must be a number from {least:g} to {most:g}, not {shown(value)}")


def check_switch(name: str, value: Any) -> None:
    """Check a truth value.

    Raises:
        ConfigError: something else.
    """
    if not isinstance(value, bool):
        raise ConfigError(f"{name} must be true or false, not {shown(value)}")


def check_wholes(name: str, values: Any, least: int, most: int, longest: int) -> None:
    """Check a list of whole numbers.

    Raises:
        ConfigError: something else, a longer list, or a number out of range.
    """
    check_list(name, values, longest)
    for value in values:
        check_whole(f"each of {name}", value, least, most)


def check_list(name: str, values: Any, longest: int) -> None:
    """Check that something is a list of 1 to ``longest`` values.

    Raises:
        ConfigError: something else.
    """
    if isinstance(values, (str, bytes)) or not isinstance(values, Sequence):
        raise ConfigError(f"{name} must be a list, not {shown(values)}")
    if not 1 <= len(values) <= longest:
        raise ConfigError(f"{name} must be a list of 1 to {longest} values, not {len(values)}")


def shown(value: Any) -> str:
    """A value in a message: the start of it, in one line.

    >>> shown("x" * 100)
    "'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx..."
    """
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 10**30:
        return f"a number of more than {math.floor(math.log10(abs(value)))} digits"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:40]}..."
