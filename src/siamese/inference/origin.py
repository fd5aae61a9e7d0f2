"""On which images a threshold was chosen, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from siamese.datasets.other_data import split_in_words


def chosen_on(split: str, provenance: Mapping[str, Any]) -> str:
    """The images that a bundle's threshold was chosen on.

    Args:
        split: of its operating point.
        provenance: of the bundle, which may hold anything.
    """
    facts = provenance.get("recalibrated")
    told = facts if isinstance(facts, Mapping) else {}
    name = told.get("data")
    # Where a distance was fitted, it took the other half.
    part = "half of the" if "distance" in told else "all"
    return split_in_words(split, name if isinstance(name, str) else None, part)
