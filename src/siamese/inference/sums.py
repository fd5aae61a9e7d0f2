"""Sums: the digest of a whole bundle, as ``sha256sum -c SHA256SUMS`` checks it, too.

It shows that nothing was damaged, or edited without thought. Whoever edits on purpose can write it
anew; only a signature (:mod:`siamese.inference.signature`) shows whose bundle it is.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping

SUMS = "SHA256SUMS"
CARD = "README.md"
# Of the file itself: a line for each of three others.
LARGEST_SUMS = 4096
_LINE_OF_CARD = re.compile(rf"([0-9a-f]{{64}})  {re.escape(CARD)}\n".encode())


def sums_of(files: Mapping[str, bytes]) -> bytes:
    """What stands in ``SHA256SUMS``: a line ``digest  name`` for each file, in order of the names.

    Args:
        files: name -> content.
    """
    lines = [f"{hashlib.sha256(files[name]).hexdigest()}  {name}\n" for name in sorted(files)]
    return "".join(lines).encode("ascii")


def altered(files: Mapping[str, bytes], sums: bytes) -> list[str]:
    """The files that are not those that ``sums`` was made of; it itself, where only its form is.

    The line of the card counts for nothing here: people edit cards by hand (see
    :func:`is_own_card`), and earlier bundles have none.

    Args:
        files: name -> content, without the card.
        sums: the content of ``SHA256SUMS``.
    """
    expected, sums = sums_of(files), without_card(sums)
    if sums == expected:
        return []
    stated = set(sums.splitlines())
    lines = zip(sorted(files), expected.splitlines(), strict=True)
    return [name for name, line in lines if line not in stated] or [SUMS]


def without_card(sums: bytes) -> bytes:
    """The same without the line of the card, where it is the first one, as it is written."""
    found = _LINE_OF_CARD.match(sums)
    return sums[found.end() :] if found else sums


def with_card(sums: bytes, card: bytes | None) -> bytes:
    """The same for another card, or for none.

    Args:
        sums: the content of ``SHA256SUMS``.
        card: the content of ``README.md``; None where there is none.
    """
    return (b"" if card is None else sums_of({CARD: card})) + without_card(sums)


def is_own_card(card: bytes | None, sums: bytes) -> bool:
    """Whether a card is the one that ``sums`` was made of; with neither card nor line it is.

    Args:
        card: the content of ``README.md``; None where there is none.
        sums: the content of ``SHA256SUMS``.
    """
    return with_card(sums, card) == sums
