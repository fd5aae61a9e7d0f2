"""F1 of smoothed distances: its best threshold varies less with who was there to calibrate with.

The counts of a few dozen identities are ragged, and the highest F1 often stands on a single pair.
Here each distance counts as a normal distribution around it, as in a kernel estimate of a
distribution function, so that pairs near the threshold are weighed by how near they are. The
threshold is that of the highest F1 of the smoothed counts; the counts that are reported at it are
those of the pairs as they are.

The bandwidth, unless it is given, is 1.3 s n^(-1/3) with s the standard deviation of the n genuine
distances (Azzalini, *A note on the estimation of a distribution function and quantiles by a kernel
method*, Biometrika 1981). What that is worth on other people: ``benchmarks/promises.py``.
"""

from __future__ import annotations

import math

import numpy as np

from siamese.verification.policies.base import Policy

AUTO = "auto"
FACTOR = 1.3
_STEPS = 16  # points in a bandwidth at which F1 is computed
_POINTS = 1 << 16  # of them at most
_REACH = 6  # bandwidths beyond which a distance has no weight


def bandwidth(policy: Policy, thresholds: np.ndarray, tp: np.ndarray) -> float:
    """The bandwidth that a policy smooths with, in the unit of the distance.

    Args:
        policy: with ``smooth``.
        thresholds: (m,) ascending.
        tp: (m,) genuine pairs at or below each.
    """
    if policy.smooth != AUTO:
        return float(policy.smooth)  # type: ignore[arg-type]
    weights, total = np.diff(tp, prepend=0).astype(np.float64), float(tp[-1])
    at = thresholds.astype(np.float64)
    centre = float((weights * at).sum()) / total
    spread = math.sqrt(float((weights * (at - centre) ** 2).sum()) / total)
    return float(FACTOR * spread * total ** (-1 / 3))


def choose_smoothed(
    policy: Policy, thresholds: np.ndarray, hits: np.ndarray, fp: np.ndarray, genuine: int
) -> float | None:
    """The threshold with the highest objective of the smoothed counts, of the thresholds' kind.

    Of equal ones the smallest. None where all genuine distances are equal: nothing is smoothed.

    Args:
        policy: with ``smooth``.
        thresholds: (m,) ascending; pairs between two of them count at the larger one.
        hits, fp: (m,) genuine pairs, weighted where they are, and impostor pairs at or below each.
        genuine: number of genuine pairs, > 0.
    """
    at, kind = thresholds.astype(np.float64), thresholds.dtype.type
    # Of n genuine pairs, whatever their weights.
    width = bandwidth(policy, thresholds, hits * (genuine / int(hits[-1])))
    if width <= 0:
        return None
    low, high = at[0] - _REACH * width, at[-1] + _REACH * width
    step = max(width / _STEPS, (high - low) / _POINTS)
    place = np.rint((at - low) / step).astype(np.int64)
    reach = math.ceil(_REACH * width / step)
    edges = (np.arange(-reach, reach + 2) - 0.5) * (step / width)
    kernel = np.diff(normal_cdf(edges))
    tp, false = (
        np.cumsum(
            np.convolve(
                np.bincount(place, np.diff(counts, prepend=0), minlength=int(place[-1]) + 1), kernel
            )
        )
        for counts in (hits, fp)
    )
    impostor = int(fp[-1])
    share = float(policy.prevalence_of(genuine, impostor))
    values = policy.objective(tp, false, float(hits[-1]), float(impostor), share)
    best = int(np.argmax(values))
    found = kind(low + (best - reach + 0.5) * step)
    below = np.nextafter(thresholds[0], kind(-np.inf))
    return float(min(max(found, below), thresholds[-1]))


def smoothed_draws(counts: np.ndarray, thresholds: np.ndarray, width: float) -> np.ndarray:
    """Counts of each draw of identities, smoothed.

    Args:
        counts: (r, k) at ascending thresholds.
        thresholds: (k,).
        width: the bandwidth, > 0.
    """
    at = thresholds.astype(np.float64)
    weights = np.diff(counts, axis=1, prepend=0)
    found: np.ndarray = weights @ normal_cdf((at[None] - at[:, None]) / width)
    return found


def normal_cdf(values: np.ndarray) -> np.ndarray:
    """The distribution function of the standard normal distribution."""
    from scipy.special import ndtr

    found: np.ndarray = ndtr(values)
    return found
