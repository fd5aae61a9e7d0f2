"""Names of identities that look like one name: what the library takes for one, and what not."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

from siamese.datasets.identities import normalise_identity

# Signs that only programs tell apart. Of dashes Unicode has a category; these are beside it.
_MINUS = frozenset("\u2212\u2043\u02d7")
_APOSTROPHES = frozenset("'`\u2019\u2018\u02bc\u02b9\u2032\u00b4\uff07\u201b\uff40")
_SPACES = re.compile(r"[\s_]+")
# Not seen at all: soft hyphens, joiners, directions, the byte-order mark.
_UNSEEN = frozenset("\u00ad\u200b\u200c\u200d\u2060\ufeff\u200e\u200f")


def look_of(name: str) -> str:
    """What is left of a name without what readers overlook.

    That is case, accents' encoding and compatible forms (Unicode NFKC), kinds of dashes and of
    apostrophes, signs that are not seen, and how much white space there is, or underscores.

    >>> look_of("Zoe\\u0308  O\\u2019Neil") == look_of("ZO\\u00cb_O'NEIL")
    True
    >>> look_of("Anna") == look_of("Hanna")
    False
    """
    # Signs first: NFKC makes of some of them a space and an accent.
    plain = unicodedata.normalize("NFKC", "".join(map(_plain, name))).casefold()
    plain = "".join(map(_plain, unicodedata.normalize("NFKC", plain)))
    return _SPACES.sub(" ", plain).strip()


def _plain(sign: str) -> str:
    if sign in _UNSEEN:
        return ""
    if sign in _MINUS or unicodedata.category(sign) == "Pd":
        return "-"
    return "'" if sign in _APOSTROPHES else sign


def look_alikes(names: Iterable[str]) -> list[tuple[str, ...]]:
    """Groups of names that differ but look alike; of those taken for one identity, one each.

    Args:
        names: of identities, as they are written or as the library writes them.
    """
    groups: dict[str, set[str]] = {}
    for name in names:
        groups.setdefault(look_of(name), set()).add(normalise_identity(name))
    return sorted(tuple(sorted(group)) for group in groups.values() if len(group) > 1)


def merged(names: Iterable[str]) -> list[tuple[str, ...]]:
    """Groups of spellings that the library takes for one identity."""
    groups: dict[str, set[str]] = {}
    for name in names:
        groups.setdefault(normalise_identity(name), set()).add(name)
    return sorted(tuple(sorted(group)) for group in groups.values() if len(group) > 1)
