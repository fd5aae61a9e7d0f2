"""Weights of genuine pairs by which every identity counts alike, in whole numbers."""

from __future__ import annotations

import math

import numpy as np

# Sums of weights stay below, so that floating point numbers hold them exactly.
_LARGEST = 2**53


def pair_weights(pairs: np.ndarray) -> np.ndarray:
    """(identities,) int64 the weight of each genuine pair of an identity; 0 where it has none.

    A pair of an identity with n genuine pairs has the weight 1/n, in a unit that makes all weights
    whole: the least common multiple of the numbers of pairs. Where that is too large, weights are
    rounded, to a millionth or less.

    Args:
        pairs: (identities,) numbers of genuine pairs.
    """
    some = pairs[pairs > 0].astype(np.int64)
    found = np.zeros(len(pairs), dtype=np.int64)
    if not len(some):
        return found
    unit = 1
    for number in np.unique(some).tolist():
        unit = math.lcm(unit, number)
        if unit * len(some) >= _LARGEST:
            rounded = np.rint((_LARGEST // 2 // len(some)) / some).astype(np.int64)
            found[pairs > 0] = np.maximum(rounded, 1)
            return found
    found[pairs > 0] = unit // some
    return found
