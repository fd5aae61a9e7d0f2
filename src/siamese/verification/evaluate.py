"""From embeddings to figures: compare pairs, calibrate on them, evaluate a threshold with intervals over identities."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from torch import Tensor

from siamese.distances import DISTANCES, Distance, is_match
from siamese.errors import CalibrationError
from siamese.pairs import PairProtocol, Pairs
from siamese.verification.calibration import OperatingPoint, max_f1
from siamese.verification.curves import Confusion, ThresholdCurve, auc, confusion, crossing, eer

METRICS = ("accuracy", "error", "precision", "recall", "f1", "auc", "eer")
MIN_PEOPLE = 5  # fewer, and resampling people says nothing
_BLOCK = 4_000_000  # numbers held at once while resampling
_WORK = 400_000_000  # pairs times replicates: some tens of seconds


@dataclass(frozen=True)
class Compared:
    """Pairs of one split with their distances.

    Attributes:
        pairs: n pairs of rows.
        distances: (n,) floating point.
        labels: (N,) int64, one number per person, of the rows that the pairs refer to.
        distance: the distance's registered name.
        protocol: how the pairs were chosen.
    """

    pairs: Pairs
    distances: np.ndarray
    labels: np.ndarray
    distance: str
    protocol: Mapping[str, Any]


def compare(embeddings: Tensor, labels: Tensor | np.ndarray, protocol: PairProtocol, distance: Distance) -> Compared:
    """Choose pairs by the labels and measure their distances.

    Args:
        embeddings: (N, D) floating point, finite.
        labels: (N,) integers, one number per person.

    Raises:
        CalibrationError: shapes that do not fit, or embeddings that are NaN or infinite.
    """
    labels = np.asarray(labels.cpu() if isinstance(labels, Tensor) else labels)
    if embeddings.ndim != 2 or labels.shape != (len(embeddings),):
        raise CalibrationError(
            f"embeddings {tuple(embeddings.shape)} and labels {labels.shape} do not fit; give (N, D) embeddings and (N,) labels"
        )
    if not bool(embeddings.isfinite().all()):
        bad = int((~embeddings.isfinite().all(dim=1)).sum())
        raise CalibrationError(
            f"{bad} of {len(embeddings)} embeddings are NaN or infinite: the training diverged; lower the learning rate"
        )
    pairs = protocol(labels)
    return Compared(
        pairs, distance.between(embeddings, pairs.left, pairs.right), labels, DISTANCES.name(distance), protocol.describe()
    )


def calibrate(
    compared: Compared, split: str = "calibration", epoch: int | None = None, step: int | None = None
) -> OperatingPoint:
    """The F1-optimal threshold on these pairs, with its birth certificate.

    Raises:
        CalibrationError: no genuine or no impostor pair.
    """
    found = max_f1(compared.distances, compared.pairs.same)
    c = found.confusion
    return OperatingPoint(
        threshold=found.threshold,
        policy="max_f1",
        distance=compared.distance,
        split=split,
        protocol=compared.protocol,
        genuine=compared.pairs.genuine,
        impostor=compared.pairs.impostor,
        prevalence=compared.pairs.genuine / len(compared.pairs),
        f1=found.f1,
        tp=c.tp,
        fp=c.fp,
        fn=c.fn,
        tn=c.tn,
        people=len(np.unique(compared.labels)),
        images=len(compared.labels),
        epoch=epoch,
        step=step,
    )


@dataclass(frozen=True)
class SplitEvaluation:
    """Figures of one split at one threshold.

    Attributes:
        people, images: whose pictures, and how many of them, the pairs were chosen from.
        genuine, impostor, prevalence: numbers of pairs, and the share of genuine ones.
        threshold: in the unit of the distance.
        confusion: counts at the threshold.
        accuracy, error, precision, recall, f1: at the threshold, 0..1.
        auc, eer: of the distances, whatever the threshold, 0..1.
        ci95: metric -> (low, high), from a bootstrap over identities.
        protocol: how the pairs were chosen.
        caution: what must be known beside the figures, such as that people are in several splits; empty if nothing.
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
    f1: float
    auc: float
    eer: float
    ci95: dict[str, tuple[float, float]]
    protocol: Mapping[str, Any]
    caution: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, without the split's name."""
        values = asdict(self)
        del values["split"]
        return values | {"ci95": {name: list(interval) for name, interval in self.ci95.items()}}


def evaluate(
    compared: Compared,
    threshold: float,
    split: str = "test",
    replicates: int = 1000,
    seed: int = 0,
    caution: str = "",
) -> SplitEvaluation:
    """Apply a threshold to compared pairs.

    Args:
        compared: from :func:`compare`.
        threshold: accept where distance <= threshold.
        split: what to call the result.
        replicates: of the bootstrap, >= 100.
        seed: of the bootstrap.
        caution: carried along with the figures.

    Raises:
        CalibrationError: no genuine or no impostor pair, or a distance that is not finite.
    """
    pairs, distances = compared.pairs, compared.distances
    counts = confusion(distances, pairs.same, threshold)
    curve = ThresholdCurve.of(distances, pairs.same)
    return SplitEvaluation(
        split=split,
        people=len(np.unique(compared.labels)),
        images=len(compared.labels),
        genuine=pairs.genuine,
        impostor=pairs.impostor,
        prevalence=pairs.genuine / len(pairs),
        threshold=threshold,
        confusion=counts,
        accuracy=counts.accuracy,
        error=counts.error,
        precision=counts.precision,
        recall=counts.recall,
        f1=counts.f1,
        auc=auc(curve),
        eer=eer(curve),
        ci95=bootstrap(compared, threshold, replicates, seed),
        protocol=compared.protocol,
        caution=caution,
    )


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
    if replicates < 100:
        raise CalibrationError(f"a 95 % interval needs at least 100 replicates, not {replicates}")
    replicates = min(replicates, max(100, _WORK // len(compared.distances)))
    order = np.argsort(compared.distances, kind="stable")
    ascending = compared.distances[order]
    ends = np.flatnonzero(np.append(ascending[1:] != ascending[:-1], True))
    accepted = int(np.count_nonzero(is_match(ascending, threshold)))
    same = compared.pairs.same[order]
    people, person = np.unique(compared.labels, return_inverse=True)
    left, right = person[compared.pairs.left[order]], person[compared.pairs.right[order]]
    if len(people) < MIN_PEOPLE:
        return dict.fromkeys(METRICS, (0.0, 1.0))
    rng = np.random.default_rng([seed, 4])
    draws: dict[str, list[np.ndarray]] = {name: [] for name in METRICS}
    block = max(1, _BLOCK // len(order))
    for start in range(0, replicates, block):
        rows = min(block, replicates - start)
        times = rng.multinomial(len(people), np.full(len(people), 1 / len(people)), size=rows).astype(np.float64)
        weight = times[:, left] * np.where(same, 1.0, times[:, right])
        # Whole numbers below 2^53, so these sums of floats are exact.
        genuine = np.cumsum(weight * same, axis=1)
        impostor = np.cumsum(weight, axis=1) - genuine
        usable = (genuine[:, -1] > 0) & (impostor[:, -1] > 0)
        for name, values in _weighted(genuine[usable], impostor[usable], ends, accepted).items():
            draws[name].append(values)
    joined = {name: np.concatenate(values) for name, values in draws.items()}
    if not len(joined["f1"]):
        return dict.fromkeys(METRICS, (0.0, 1.0))
    low, high = np.quantile(np.stack([joined[name] for name in METRICS]), [0.025, 0.975], axis=1)
    return {name: (float(low[i]), float(high[i])) for i, name in enumerate(METRICS)}


def _weighted(genuine: np.ndarray, impostor: np.ndarray, ends: np.ndarray, accepted: int) -> dict[str, np.ndarray]:
    """All metrics of each row of cumulated weights (r, n), ordered by distance; ``ends`` closes each group of ties."""
    total_g, total_i = genuine[:, -1], impostor[:, -1]
    zero = np.zeros(len(genuine))
    tp, fp = (genuine[:, accepted - 1], impostor[:, accepted - 1]) if accepted else (zero, zero)
    g = np.concatenate([zero[:, None], genuine[:, ends]], axis=1)
    i = np.concatenate([zero[:, None], impostor[:, ends]], axis=1)
    closer = np.diff(g, axis=1) * (total_i[:, None] - (i[:, 1:] + i[:, :-1]) / 2)
    accuracy = (tp + total_i - fp) / (total_g + total_i)
    return {
        "accuracy": accuracy,
        "error": 1 - accuracy,
        "precision": tp / np.maximum(tp + fp, 1),
        "recall": tp / total_g,
        "f1": 2 * tp / (tp + fp + total_g),
        "auc": closer.sum(axis=1) / (total_g * total_i),
        "eer": crossing(i / total_i[:, None], 1 - g / total_g[:, None]),
    }
