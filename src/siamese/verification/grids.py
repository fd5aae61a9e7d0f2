"""The thresholds at which draws of identities are counted: between two, neither rate changes much.

They are taken from the curve of all pairs. Where all pairs are to be counted in one pass,
thresholds that will do are guessed before, from a sample of the pairs.
"""

from __future__ import annotations

import numpy as np

from siamese.verification.curves import ThresholdCurve

CELLS = 20_000_000  # identities times thresholds: bounds the memory
_STEPS = 128  # so many steps of either rate,
_PER_DECADE = 12  # and so many of a small false match rate, per factor of ten
# A guess has more: so many steps of the recall, of the false match rate, and per factor of ten.
_GUESSED = (192, 160, 16)
_TAIL = (30, 100)  # the closest impostor pairs: from which one on rates are guessed, and by which
_SPARE = 2.0  # factors of ten below the smallest rate that all pairs can have
_BELOW = 2 ** (-np.arange(1, 33) / 8)  # of all that: images that are nearly the same
_LOST = 2  # neighbouring thresholds that a guess may lack


def draw_grid(curve: ThresholdCurve) -> np.ndarray:
    """(k,) float64 thresholds of a curve, ascending, its first and last one among them."""
    steps = np.stack(
        [
            np.floor(_STEPS * curve.tp / curve.genuine),
            np.floor(_STEPS * curve.fp / curve.impostor),
            np.floor(_PER_DECADE * np.log10(1 + curve.fp)),
        ]
    )
    entered = np.append(True, (steps[:, 1:] != steps[:, :-1]).any(axis=0))
    entered[-1] = True
    grid: np.ndarray = curve.thresholds[entered].astype(np.float64)
    return grid


def is_fine_enough(some: ThresholdCurve, curve: ThresholdCurve) -> bool:
    """Whether a grid from some of a curve's thresholds is nearly as fine as from all of them."""
    wanted, found = draw_grid(curve), draw_grid(some)
    return int(np.diff(np.searchsorted(wanted, found)).max(initial=0)) <= _LOST + 1


def guess_thresholds(genuine: np.ndarray, impostor: np.ndarray, pairs: int) -> np.ndarray:
    """Distances that will do as thresholds, from those of a sample.

    Below the sample's closest impostor pairs the false match rate is taken to fall as a power of
    the distance (B. M. Hill, *A simple general approach to inference about the tail of a
    distribution*, Annals of Statistics 1975).

    Args:
        genuine, impostor: (g,) and (i,) floating point, >= 0, ascending; at least 100 each.
        pairs: number of all impostor pairs.

    Returns:
        (n,) float64 ascending distances, > 0.
    """
    first, last = _TAIL
    recall, fmr, decade = _GUESSED
    ratio = 10 ** (1 / decade)
    tiny = float(np.finfo(np.float32).tiny)
    ranks = first * ratio ** np.arange(np.log(len(impostor) / first) / np.log(ratio))
    logs = np.log(np.maximum(impostor[:last].astype(np.float64), tiny))
    slope = 1 / max(float((logs[-1] - logs).mean()), 1e-6)
    down = np.arange(decade * (np.log10(first * max(1.0, pairs / len(impostor))) + _SPARE))
    tail = np.exp(logs[first - 1] - down * np.log(ratio) / slope)
    return np.unique(
        np.concatenate(
            [
                genuine[np.arange(1, recall + 1) * len(genuine) // recall - 1],
                impostor[np.arange(1, fmr + 1) * len(impostor) // fmr - 1],
                impostor[ranks.astype(int) - 1],
                tail,
                tail[-1] * _BELOW,
            ]
        ).astype(np.float64)
    )
