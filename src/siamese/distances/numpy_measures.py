"""Euclidean and cosine distance in numpy, for verdicts where torch is not installed."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from siamese.errors import CalibrationError


def euclidean(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """As :class:`siamese.EuclideanDistance` measures."""
    squares: np.ndarray = np.square(a - b).sum(axis=1)
    lengths: np.ndarray = np.sqrt(squares)
    return lengths


def cosine(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """As :class:`siamese.CosineDistance` measures."""
    squares: np.ndarray = np.square(_directions(a) - _directions(b)).sum(axis=1)
    return squares / 2


# What can be measured so, and what that is in words.
MEASURES: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "euclidean": euclidean,
    "cosine": cosine,
}
FORMULAS = {
    "euclidean": "the square root of the sum of the squares of a - b",
    "cosine": "half of the sum of the squares of a / |a| - b / |b|, which is 1 - cos(a, b)",
}
# What no distance exceeds where embeddings have length 1.
LARGEST = {"euclidean": 2.0, "cosine": 2.0}


def measure(name: str, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Distances of matching rows, as verdicts compare them.

    In float64, rounded once: the same float32 numbers as :meth:`siamese.Distance.measure` gives,
    except for about one in a hundred million, where the order of adding decides.

    Args:
        name: of :data:`MEASURES`.
        a, b: (n, D) floating point.

    Returns:
        (n,) float32, >= 0.

    Raises:
        CalibrationError: arrays of other or different shapes.
    """
    if a.ndim != 2 or a.shape != b.shape:
        raise CalibrationError(
            f"embeddings {a.shape} and {b.shape} do not match row by row; give (n, D) of both, of "
            f"one network"
        )
    with np.errstate(over="ignore", invalid="ignore"):
        found = MEASURES[name](a.astype(np.float64), b.astype(np.float64))
        rounded: np.ndarray = found.astype(np.float32)
        return rounded


def _directions(x: np.ndarray) -> np.ndarray:
    """Rows of length 1, zero where a row is zero; by their largest component first."""
    largest = np.abs(x).max(axis=1, keepdims=True)
    scaled = x / np.where(largest > 0, largest, 1)
    lengths: np.ndarray = np.sqrt(np.square(scaled).sum(axis=1, keepdims=True))
    directions: np.ndarray = scaled / np.maximum(lengths, 1e-12)
    return directions
