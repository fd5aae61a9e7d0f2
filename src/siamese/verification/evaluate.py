"""The figures of a split at a threshold, with intervals over identities."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from siamese.distances import is_match
from siamese.errors import CalibrationError
from siamese.verification.compared import AnyCompared, Compared
from siamese.verification.confusion import Confusion
from siamese.verification.curves import auc, crossing, eer
from siamese.verification.policies import RULE_OF
from siamese.verification.probability import ProbabilityMap, Reliability, reliability
from siamese.verification.resampling import MIN_PEOPLE, QUANTILES, resample

METRICS = ("accuracy", "error", "precision", "recall", "far", "f1", "auc", "eer")
RATES = (0.1, 0.01, 1e-3, 1e-4, 1e-5, 1e-6)  # false match rates at which the recall is stated, where the pairs support it
_BLOCK = 4_000_000  # numbers held at once while resampling
_WORK = 400_000_000  # pairs times replicates: some tens of seconds


@dataclass(frozen=True)
class SplitEvaluation:
    """Figures of one split at one threshold.

    Attributes:
        people, images: whose pictures, and how many of them, the pairs were chosen from.
        genuine, impostor, prevalence: numbers of pairs, and the share of genuine ones.
        threshold: in the unit of the distance.
        confusion: counts at the threshold.
        accuracy, error, precision, recall, far, f1: at the threshold, 0..1; far is the false match rate.
        auc, eer: of the distances, whatever the threshold, 0..1.
        recall_at_far: TAR@FAR, whatever the threshold: "0.001" -> the recall where at most that part of the impostor pairs is accepted;
            for each rate that at least 30 / rate impostor pairs support (rule of 30).
        ci95: metric -> (low, high), from a bootstrap over identities; "recall@far=0.001" for those of ``recall_at_far``.
        protocol: how the pairs were chosen.
        caution: what must be known beside the figures, such as that people are in several splits; empty if nothing.
        reliability: stated probabilities against what was observed here; None where none were stated.
    """

    split: str
    people: int
    images: int
    genuine: int
    impostor: int
    prevalence: float
    threshold: float
    confusion: Confusion
    accuracy: float
    error: float
    precision: float
    recall: float
    far: float
    f1: float
    auc: float
    eer: float
    ci95: dict[str, tuple[float, float]]
    protocol: Mapping[str, Any]
    caution: str = ""
    reliability: Reliability | None = None
    recall_at_far: Mapping[str, float] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, without the split's name."""
        values = asdict(self)
        del values["split"]
        return values | {"ci95": {name: list(interval) for name, interval in self.ci95.items()}}


def evaluate(
    compared: AnyCompared,
    threshold: float,
    split: str = "test",
    replicates: int = 1000,
    seed: int = 0,
    caution: str = "",
    probability: ProbabilityMap | None = None,
) -> SplitEvaluation:
    """Apply a threshold to compared pairs.

    Args:
        compared: from :func:`compare`.
        threshold: accept where distance <= threshold.
        split: what to call the result.
        replicates: of the bootstrap, >= 100.
        seed: of the bootstrap.
        caution: carried along with the figures.
        probability: a map that was fitted to other people, to be judged on these.

    Raises:
        CalibrationError: no genuine or no impostor pair, a distance or a threshold that is not finite, or too few replicates.
    """
    if not math.isfinite(threshold):
        raise CalibrationError(f"the threshold must be a finite number, not {threshold}; calibrate first, or give a number")
    if replicates < 100:
        raise CalibrationError(f"a 95 % interval needs at least 100 replicates, not {replicates}")
    counts, curve = compared.confusion(threshold), compared.curve()
    return SplitEvaluation(
        split=split,
        people=len(np.unique(compared.labels)),
        images=len(compared.labels),
        genuine=compared.genuine,
        impostor=compared.impostor,
        prevalence=compared.genuine / (compared.genuine + compared.impostor),
        threshold=threshold,
        confusion=counts,
        accuracy=counts.accuracy,
        error=counts.error,
        precision=counts.precision,
        recall=counts.recall,
        far=counts.far,
        f1=counts.f1,
        auc=auc(curve),
        eer=eer(curve),
        ci95=_intervals(compared, threshold, replicates, seed),
        protocol=compared.protocol,
        caution=caution,
        reliability=reliability(probability, curve) if probability else None,
        recall_at_far={f"{rate:g}": curve.recall_at_far(rate) for rate in _supported(compared.impostor)},
    )


def _intervals(compared: AnyCompared, threshold: float, replicates: int, seed: int) -> dict[str, tuple[float, float]]:
    """The intervals; of streamed pairs from a few hundred thresholds of each draw of people."""
    if isinstance(compared, Compared):
        return bootstrap(compared, threshold, replicates, seed)
    rates = _supported(compared.impostor)
    curve = compared.curve()
    drawn = resample(compared, curve, replicates, seed)
    if drawn is None:
        return _unknown(rates)
    values = _weighted(drawn.tp, drawn.fp, np.arange(len(drawn.thresholds)), 0, rates)
    at = drawn.figures(threshold, None, curve.knowing(threshold, compared.confusion(threshold)))
    return _quantiles(values) | at | {"error": (1 - at["accuracy"][1], 1 - at["accuracy"][0])}


def bootstrap(compared: Compared, threshold: float, replicates: int = 1000, seed: int = 0) -> dict[str, tuple[float, float]]:
    """95 % percentile intervals of all metrics from a bootstrap over identities.

    Pairs that share a person are not independent, so people are drawn with replacement, not pairs. Where person p was drawn
    m_p times, a genuine pair of p counts m_p times and an impostor pair of p and q counts m_p m_q times (the subset bootstrap
    of Bolle, Ratha and Pankanti, *Error analysis of pattern recognition systems*, CVIU 2004, carried to both sides of an
    impostor pair). The threshold stays as it is: the intervals tell how sure its figures are on other people of this kind.

    With fewer than 5 people resampling says nothing, and every interval is (0, 1). Replicates without a genuine or an impostor
    pair are passed over. Beyond 400,000 pairs fewer replicates are drawn, so that
    pairs times replicates stay below 4e8, but never fewer than 100.

    Returns:
        metric -> (2.5 %, 97.5 %) quantiles.
    """
    replicates = min(replicates, max(100, _WORK // len(compared.distances)))
    order = np.argsort(compared.distances, kind="stable")
    ascending = compared.distances[order]
    ends = np.flatnonzero(np.append(ascending[1:] != ascending[:-1], True))
    accepted = int(np.count_nonzero(is_match(ascending, threshold)))
    same = compared.pairs.same[order]
    people, person = np.unique(compared.labels, return_inverse=True)
    left, right = person[compared.pairs.left[order]], person[compared.pairs.right[order]]
    rates = _supported(compared.impostor)
    if len(people) < MIN_PEOPLE:
        return _unknown(rates)
    rng = np.random.default_rng([seed, 4])
    draws: list[dict[str, np.ndarray]] = []
    block = max(1, _BLOCK // len(order))
    for start in range(0, replicates, block):
        rows = min(block, replicates - start)
        times = rng.multinomial(len(people), np.full(len(people), 1 / len(people)), size=rows).astype(np.float64)
        weight = times[:, left] * np.where(same, 1.0, times[:, right])
        # Whole numbers below 2^53, so these sums of floats are exact.
        genuine = np.cumsum(weight * same, axis=1)
        impostor = np.cumsum(weight, axis=1) - genuine
        usable = (genuine[:, -1] > 0) & (impostor[:, -1] > 0)
        draws.append(_weighted(genuine[usable], impostor[usable], ends, accepted, rates))
    joined = {name: np.concatenate([values[name] for values in draws]) for name in draws[0]}
    return _quantiles(joined) if len(joined["f1"]) else _unknown(rates)


def _supported(impostor: int) -> tuple[float, ...]:
    """Those of RATES that so many impostor pairs can tell something about."""
    return tuple(rate for rate in RATES if rate * impostor >= RULE_OF * (1 - 1e-9))


def _unknown(rates: tuple[float, ...]) -> dict[str, tuple[float, float]]:
    return dict.fromkeys((*METRICS, *(f"recall@far={rate:g}" for rate in rates)), (0.0, 1.0))


def _quantiles(values: Mapping[str, np.ndarray]) -> dict[str, tuple[float, float]]:
    low, high = np.quantile(np.stack(list(values.values())), QUANTILES, axis=1)
    return {name: (float(low[i]), float(high[i])) for i, name in enumerate(values)}


def _weighted(
    genuine: np.ndarray, impostor: np.ndarray, ends: np.ndarray, accepted: int, rates: tuple[float, ...] = ()
) -> dict[str, np.ndarray]:
    """All metrics of each row of cumulated weights (r, n), ordered by distance; ``ends`` closes each group of ties."""
    total_g, total_i = genuine[:, -1], impostor[:, -1]
    zero = np.zeros(len(genuine))
    tp, fp = (genuine[:, accepted - 1], impostor[:, accepted - 1]) if accepted else (zero, zero)
    g = np.concatenate([zero[:, None], genuine[:, ends]], axis=1)
    i = np.concatenate([zero[:, None], impostor[:, ends]], axis=1)
    closer = np.diff(g, axis=1) * (total_i[:, None] - (i[:, 1:] + i[:, :-1]) / 2)
    accuracy = (tp + total_i - fp) / (total_g + total_i)
    row = np.arange(len(g))
    last = {rate: np.count_nonzero(i <= rate * total_i[:, None] + 1e-9, axis=1) - 1 for rate in rates}
    at_rates = {f"recall@far={rate:g}": g[row, column] / total_g for rate, column in last.items()}
    return at_rates | {
        "accuracy": accuracy,
        "error": 1 - accuracy,
        "precision": tp / np.maximum(tp + fp, 1),
        "recall": tp / total_g,
        "far": fp / total_i,
        "f1": 2 * tp / (tp + fp + total_g),
        "auc": closer.sum(axis=1) / (total_g * total_i),
        "eer": crossing(i / total_i[:, None], 1 - g / total_g[:, None]),
    }
