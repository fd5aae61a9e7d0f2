"""In which order identities are drawn: by their embeddings, not by their names."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

# Odd, so that no bit is lost: the golden ratio, and a constant of MurmurHash3's finaliser.
_STEP, _MIX = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xFF51AFD7ED558CCD)
_HALF = np.uint64(33)
_BLOCK = 4096  # rows at a time: memory does not grow with their number


def draw_keys(embeddings: Tensor, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A hash of each identity's embeddings, and one of each row.

    Identities are drawn in the order of their keys. So the draws of a bootstrap, and with them all
    intervals, stay what they are when people are renamed or images given in another order.

    Args:
        embeddings: (N, D) floating point.
        labels: (N,) the identity of each row; identities are numbered as ``np.unique`` does it.

    Returns:
        (identities,) and (N,) uint64.
    """
    weights = _mixed(np.arange(1, embeddings.shape[1] + 1, dtype=np.uint64) * _STEP)
    rows = np.empty(len(embeddings), dtype=np.uint64)
    for start in range(0, len(rows), _BLOCK):
        block = embeddings[start : start + _BLOCK].detach().cpu().double().contiguous().numpy()
        # Adding 0 turns minus zero into zero: equal embeddings have equal keys.
        mixed = _mixed((block + 0.0).view(np.uint64)) * weights
        rows[start : start + _BLOCK] = _mixed(mixed.sum(axis=1, dtype=np.uint64))
    identities, identity = np.unique(labels, return_inverse=True)
    keys = np.zeros(len(identities), dtype=np.uint64)
    np.add.at(keys, identity, rows)  # a sum does not depend on the order
    return keys, rows


def places(keys: np.ndarray) -> np.ndarray:
    """(identities,) int64 the place of each identity in the order of the keys."""
    found = np.empty(len(keys), dtype=np.int64)
    found[np.argsort(keys, kind="stable")] = np.arange(len(keys))
    return found


def common_keys(one: np.ndarray | None, other: np.ndarray | None, identities: int) -> np.ndarray:
    """Keys for two networks' embeddings of the same images, the same either way round.

    Where those of one are not known, they are the identities' numbers.
    """
    if one is None or other is None:
        return np.arange(identities, dtype=np.uint64)
    both: np.ndarray = one + other
    return both


def _mixed(values: np.ndarray) -> np.ndarray:
    """Bits spread over the whole of each 64-bit number."""
    values = (values ^ (values >> _HALF)) * _MIX
    mixed: np.ndarray = values ^ (values >> _HALF)
    return mixed
