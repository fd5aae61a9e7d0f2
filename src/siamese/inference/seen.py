"""Seen: of whom a bundle was made, so that figures on the same people are not taken for honest."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from siamese.data.manifest import SplitManifest

# Hexadecimal digits of a hash that are kept: two of a million images share them by chance once in
# 37 million cases.
DIGITS = 16
# Of more images only the identities are kept: the bundle would grow by 20 bytes for each.
MOST_IMAGES = 50_000


@dataclass(frozen=True, repr=False)
class Seen:
    """Hashes of the images, and of the names of the identities, that a bundle was made of.

    Nothing can be read back from them, but who knows a name, or has a file, can tell whether it is
    among them.

    Attributes:
        images: the first 16 hexadecimal digits of the SHA-256 of each file's content.
        partial: whether some images are not among them: of more than 50,000 none is kept.
        identities: the same of each name, as :func:`siamese.datasets.identities.normalise_identity`
            writes it.
    """

    images: frozenset[str] = frozenset()
    identities: frozenset[str] = frozenset()
    partial: bool = False

    @classmethod
    def of_manifest(cls, manifest: SplitManifest, splits: Iterable[str] | None = None) -> Seen:
        """The images of some splits; by default of those that are trained or calibrated on."""
        wanted = ("train", "calibration", "validation") if splits is None else tuple(splits)
        entries = [e for split in wanted for e in manifest.splits.get(split, [])]
        images = {e["sha256"][:DIGITS] for e in entries if e["sha256"]}
        return _capped(images, {_hashed(e["identity"]) for e in entries}, partial=False)

    def __or__(self, other: Seen | None) -> Seen:
        if other is None:
            return self
        identities = self.identities | other.identities
        return _capped(self.images | other.images, identities, self.partial or other.partial)

    def count_in(self, manifest: SplitManifest, split: str) -> tuple[int, int]:
        """How many identities, and how many images, of a split are among them."""
        entries = manifest.splits[split]
        names = {e["identity"] for e in entries}
        identities = sum(_hashed(name) in self.identities for name in names)
        images = sum(bool(e["sha256"]) and e["sha256"][:DIGITS] in self.images for e in entries)
        return identities, images

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "images": sorted(self.images),
            "identities": sorted(self.identities),
            "partial": self.partial,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Seen:
        """The reverse of :meth:`to_dict`.

        Raises:
            ValueError: something else.
        """
        found = []
        for part in ("images", "identities"):
            hashes = values.get(part)
            if not isinstance(hashes, list) or not all(isinstance(h, str) for h in hashes):
                raise ValueError(f"no list of {part} that were seen")
            found.append(frozenset(hashes))
        unknown = bool(found[1]) and not found[0]
        return cls(found[0], found[1], bool(values.get("partial", unknown)))

    def __repr__(self) -> str:
        return f"Seen({len(self.identities)} identities, {len(self.images)} images)"


def _hashed(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()[:DIGITS]


def _capped(images: Iterable[str], identities: Iterable[str], partial: bool) -> Seen:
    kept = frozenset(images)
    if len(kept) > MOST_IMAGES:
        kept, partial = frozenset(), True
    return Seen(kept, frozenset(identities), partial)
