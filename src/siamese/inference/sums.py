"""Sums: the digest of a whole bundle, as ``sha256sum -c SHA256SUMS`` checks it, too.

It shows that nothing was damaged, or edited without thought. Whoever edits on purpose can write it
anew; only a signature (:mod:`siamese.inference.signature`) shows whose bundle it is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

SUMS = "SHA256SUMS"
# Of the file itself: a line for each of two others.
LARGEST_SUMS = 4096


def sums_of(files: Mapping[str, bytes]) -> bytes:
    """What stands in ``SHA256SUMS``: a line ``digest  name`` for each file, in order of the names.

    Args:
        files: name -> content.
    """
    lines = [f"{hashlib.sha256(files[name]).hexdigest()}  {name}\n" for name in sorted(files)]
    return "".join(lines).encode("ascii")


def altered(files: Mapping[str, bytes], sums: bytes) -> list[str]:
    """The files that are not those that ``sums`` was made of; it itself, where only its form is.

    Args:
        files: name -> content.
        sums: the content of ``SHA256SUMS``.
    """
    expected = sums_of(files)
    if sums == expected:
        return []
    stated = set(sums.splitlines())
    lines = zip(sorted(files), expected.splitlines(), strict=True)
    return [name for name, line in lines if line not in stated] or [SUMS]
