"""Data that are no run's: all their images are one split, whose name is for files alone."""

from __future__ import annotations

from siamese.errors import printable

OTHER = "data"  # what files and results call that split
_LONGEST = 80  # characters of a name that are shown


def split_in_words(split: str, name: str | None = None, part: str = "all") -> str:
    """What a split is called where somebody reads it; those of a run by their names.

    Args:
        split: its name in files.
        name: of the data set, such as that of its folder; None where it is not known.
        part: which of the identities form that split, where they are not all.

    >>> split_in_words("test", "people"), split_in_words("data", "people")
    ('test', 'all identities of people')
    """
    if split != OTHER:
        return split
    if name is None or not name.strip():
        return f"{part} identities of other data"
    shown = name if len(name) <= _LONGEST else f"{name[:_LONGEST]}..."
    return f"{part} identities of {printable(shown)}"


def split_in_sentence(split: str, name: str | None = None) -> str:
    """As :func:`split_in_words`, to stand after "on" or "of": "the test split"."""
    return f"the {split} split" if split != OTHER else split_in_words(split, name)
