"""The distances of a split in few numbers: points of its curve, a histogram, and its pairs."""

from __future__ import annotations

from typing import Any

import numpy as np

from siamese.verification.curves import ThresholdCurve
from siamese.verification.held import HeldDistances
from siamese.verification.pair_distances import PairDistances
from siamese.verification.probability import ProbabilityMap

BINS = 48  # of a histogram
MOST_PAIRS = 100_000  # that are kept one by one, 12 bytes each
_FINE = 60  # points of a curve for each factor of ten in a rate
_STEPS = 150  # and for its range, where rates are not small
_PROBABILITY_BINS = 10


def curve_points(curve: ThresholdCurve, threshold: float) -> dict[str, Any]:
    """Exact counts at some of a curve's thresholds: as many as a picture shows.

    The threshold in use is one of them.

    Returns:
        "thresholds", "tp", "fp": lists of one length, and "genuine" and "impostor", plain values.
    """
    rates = np.stack([curve.fp / max(1, curve.impostor), curve.tp / max(1, curve.genuine)])
    missed = 1 - rates[1]
    with np.errstate(divide="ignore"):
        cells = [np.floor(_STEPS * rate) for rate in rates]
        cells += [np.floor(_FINE * np.log10(np.maximum(r, 1e-12))) for r in (rates[0], missed)]
    found = np.stack(cells)
    changed = (found[:, 1:] != found[:, :-1]).any(axis=0)
    kept = np.append(True, changed) | np.append(changed, True)
    thresholds = curve.thresholds[kept].astype(np.float64)
    tp, fp = curve.tp[kept], curve.fp[kept]
    place = int(np.searchsorted(thresholds, threshold, side="right"))
    at = curve.at(threshold)
    thresholds = np.insert(thresholds, place, threshold)
    tp, fp = np.insert(tp, place, at.tp), np.insert(fp, place, at.fp)
    return {
        "thresholds": thresholds.tolist(),
        "tp": tp.tolist(),
        "fp": fp.tolist(),
        "genuine": curve.genuine,
        "impostor": curve.impostor,
    }


def histogram(curve: ThresholdCurve) -> dict[str, Any]:
    """How many pairs of each kind lie in 48 bins of equal width, from 0 (or the least) on.

    Returns:
        "edges": of the bins, one more than there are counts; "genuine" and "impostor": counts.
    """
    low, high = min(0.0, float(curve.thresholds[0])), float(curve.thresholds[-1])
    edges = np.linspace(low, high if high > low else low + 1.0, BINS + 1)
    counts = {}
    for kind, summed in (("genuine", curve.tp), ("impostor", curve.fp)):
        each = np.diff(summed, prepend=0)
        counts[kind] = np.histogram(curve.thresholds, edges, weights=each)[0]
    return {"edges": edges.tolist()} | {k: v.astype(np.int64).tolist() for k, v in counts.items()}


def probability_bins(probability: ProbabilityMap, curve: ThresholdCurve) -> list[dict[str, Any]]:
    """Pairs by their stated probability, in 10 bins: "stated" is the mean, with the counts."""
    stated = np.asarray(probability(curve.thresholds.astype(np.float64)))
    genuine, impostor = (np.diff(v, prepend=0).astype(np.float64) for v in (curve.tp, curve.fp))
    share = probability.prevalence
    weight = share * genuine / curve.genuine + (1 - share) * impostor / curve.impostor
    which = np.minimum((stated * _PROBABILITY_BINS).astype(int), _PROBABILITY_BINS - 1)
    found = []
    for number in range(_PROBABILITY_BINS):
        here = (which == number) & (weight > 0)
        if here.any():
            found.append(
                {
                    "stated": float(np.average(stated[here], weights=weight[here])),
                    "genuine": int(genuine[here].sum()),
                    "impostor": int(impostor[here].sum()),
                }
            )
    return found


def pair_arrays(distances: PairDistances) -> dict[str, np.ndarray] | None:
    """The pairs one by one, so that runs can be compared later; None where they are too many.

    Returns:
        left, right: (n,) int32 rows; distances: (n,) float32; labels: (N,) int32; keys, where
        there are some: (identities,) uint64, ``draw_keys`` of the distances.
    """
    if not isinstance(distances, HeldDistances) or len(distances.pairs) > MOST_PAIRS:
        return None
    if len(distances.labels) > MOST_PAIRS:
        return None
    keys = {} if distances.draw_keys is None else {"keys": distances.draw_keys}
    return keys | {
        "left": distances.pairs.left.astype(np.int32),
        "right": distances.pairs.right.astype(np.int32),
        "distances": np.asarray(distances.distances, dtype=np.float32),
        "labels": distances.labels.astype(np.int32),
    }
