"""Whether two distances were measured on the same pairs, so that they can be compared."""

from __future__ import annotations

import numpy as np

from siamese.errors import CalibrationError
from siamese.verification.held import HeldDistances
from siamese.verification.pair_distances import PairDistances


def check_same_pairs(a: PairDistances, b: PairDistances) -> None:
    """Refuse distances of other images, or of other pairs of them.

    Raises:
        CalibrationError: what differs.
    """
    if a.images != b.images or not np.array_equal(a.original_labels, b.original_labels):
        what = f"these are of {a.images:,} and {b.images:,} images"
        if a.images == b.images:
            what = "these are of other identities, or of images in another order"
        raise _other(what)
    counts = [(d.genuine, d.impostor) for d in (a, b)]
    if counts[0] != counts[1]:
        (g, i), (h, j) = counts
        raise _other(f"these are {g:,} and {h:,} genuine, {i:,} and {j:,} impostor pairs")
    if isinstance(a, HeldDistances) and isinstance(b, HeldDistances):
        sides = ((a.pairs.left, b.pairs.left), (a.pairs.right, b.pairs.right))
        if not all(np.array_equal(one, other) for one, other in sides):
            raise _other("these are as many pairs, but others, or in another order")


def same_distances(a: PairDistances, b: PairDistances) -> bool:
    """Whether two distances of the same pairs are the very same numbers."""
    if isinstance(a, HeldDistances) and isinstance(b, HeldDistances):
        return np.array_equal(a.distances, b.distances)
    one, other = a.curve(), b.curve()
    parts = ((one.thresholds, other.thresholds), (one.tp, other.tp), (one.fp, other.fp))
    return all(np.array_equal(p, q) for p, q in parts)


def _other(what: str) -> CalibrationError:
    return CalibrationError(
        f"two distances can only be compared on the same pairs of the same images, and {what}; "
        f"measure both on one list of images, with one pair rule"
    )
