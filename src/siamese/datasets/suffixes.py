"""Which files are images, told by their suffix; the others are counted by kind."""

from __future__ import annotations

import functools
import importlib.util
from collections import Counter
from pathlib import Path

# Read by every Pillow that is allowed.
IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jfif", ".png", ".bmp", ".webp", ".tif", ".tiff", ".pgm", ".ppm", ".gif"}
)
_HEIC = frozenset({".heic", ".heif", ".hif"})
_AVIF = frozenset({".avif"})
# What file managers leave behind.
_LITTER = frozenset({"thumbs.db", "desktop.ini"})
_SHOWN = 8  # kinds: a folder of anything may hold hundreds


@functools.cache
def image_suffixes() -> frozenset[str]:
    """The suffixes of images that can be read here, in lower case.

    HEIC needs the extra ``heic``, AVIF a Pillow that was built with it (its wheels are, from 11.3
    on).
    """
    heic = _HEIC if importlib.util.find_spec("pillow_heif") else frozenset()
    return IMAGE_SUFFIXES | heic | (_AVIF if _reads_avif() else frozenset())


def is_image(name: str) -> bool:
    """Whether a file's name is one of an image that can be read here."""
    return Path(name).suffix.lower() in image_suffixes()


def is_litter(name: str) -> bool:
    """Whether a file is what a file manager leaves behind."""
    return name.lower() in _LITTER


class LeftOut:
    """Files that are no images, counted by kind; its text is a warning of them."""

    def __init__(self) -> None:
        self._kinds: Counter[str] = Counter()

    def __bool__(self) -> bool:
        return bool(self._kinds)

    def __str__(self) -> str:
        """All of them, commonest kind first."""
        n = self._kinds.total()
        what = (
            "1 file is no image that can be read and is"
            if n == 1
            else f"{n:,} files are no images that can be read and are"
        )
        return f"{what} left out: {self._by_kind()}"

    def add(self, name: str, photographs_only: bool = False) -> None:
        """Count a file that is no image here; by choice only those that are images elsewhere."""
        suffix = Path(name).suffix.lower()
        if suffix in image_suffixes() or is_litter(name):
            return
        if suffix in _HEIC | _AVIF or not photographs_only:
            self._kinds[suffix] += 1

    def hint(self) -> str:
        """For the end of an error: what there is instead of images; empty if there is nothing."""
        return f"; files of other kinds: {self._by_kind()}" if self else ""

    def _by_kind(self) -> str:
        kinds = sorted(self._kinds.items(), key=lambda kind: (-kind[1], kind[0]))
        rest = sum(n for _, n in kinds[_SHOWN:])
        shown = [
            f"{n:,} {suffix or 'without a suffix'}{_remedy(suffix)}" for suffix, n in kinds[:_SHOWN]
        ]
        return ", ".join(shown + ([f"{rest:,} of other kinds"] if rest else []))


def _remedy(suffix: str) -> str:
    if suffix in _HEIC:
        return " (pip install 'siamese-lightning[heic]' reads them)"
    return " (pip install 'pillow>=11.3' reads them)" if suffix in _AVIF else ""


def _reads_avif() -> bool:
    from PIL import features

    return bool(features.check("avif"))
