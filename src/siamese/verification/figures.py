"""The figures of a split at a threshold, with intervals over identities."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from siamese.distances.arrays import as_threshold
from siamese.errors import CalibrationError
from siamese.verification.confusion import Confusion
from siamese.verification.draw_order import common_keys
from siamese.verification.drawn import WEIGHED, draw_area, draw_figures, recalls_at_rates
from siamese.verification.group_figures import GroupEvaluation
from siamese.verification.groups import evaluate_columns
from siamese.verification.pair_distances import PairDistances
from siamese.verification.point import Interval
from siamese.verification.policies.base import check_prevalence
from siamese.verification.probability import ProbabilityMap, Reliability, reliability
from siamese.verification.same_pairs import check_same_pairs, same_distances

METRICS = ("accuracy", "error", "precision", "recall", "fmr", "f1", "auc", "eer")


@dataclass(frozen=True)
class SplitEvaluation:
    """Figures of one split at one threshold.

    Attributes:
        identities, images: how many the pairs were chosen from.
        genuine, impostor, prevalence: numbers of pairs, and the share of genuine ones.
        threshold: in the unit of the distance.
        confusion: counts at the threshold.
        accuracy, error, precision, recall, fmr, f1: at the threshold, 0..1; fmr is the false match
            rate.
        auc, eer: of the distances, independent of the threshold, 0..1. Of streamed pairs (more than
            500,000) the area takes distances less than 0.1 % apart as equal; all other figures are
            exact.
        recall_at_fmr: false match rate -> recall, independent of the threshold: "0.001" -> the
            recall where at most that part of the impostor pairs is accepted; for each rate that at
            least 30 / rate impostor pairs support (rule of 30).
        at_prevalence: precision, f1 and accuracy where ``prevalence`` of the pairs are genuine, as
            the policy states it; empty where it takes the prevalence as it is.
        ci95: metric -> (low, high), 95 % intervals from a bootstrap over identities;
            "recall@fmr=0.001" for those of ``recall_at_fmr``, "f1@prevalence" for those of
            ``at_prevalence``. Empty with fewer than 5 identities: then nothing is known.
        pair_rule: how the pairs were chosen.
        caution: what must be known beside the figures, such as that identities are in several
            splits; empty if nothing.
        reliability: stated probabilities against what was observed here; None where none were
            stated.
        groups: column -> the figures within each of its groups and between them, f1 at the
            prevalence that the policy states; empty where the images have no groups.
    """

    split: str
    identities: int
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
    fmr: float
    f1: float
    auc: float
    eer: float
    ci95: dict[str, Interval]
    pair_rule: Mapping[str, Any]
    caution: str = ""
    reliability: Reliability | None = None
    recall_at_fmr: Mapping[str, float] = field(default_factory=dict)
    at_prevalence: Mapping[str, float] = field(default_factory=dict)
    groups: Mapping[str, GroupEvaluation] = field(default_factory=dict)

    @property
    def one_verdict(self) -> dict[str, float]:
        """The f1 and accuracy of one verdict for all: a figure near them says nothing.

        F1 is that of accepting every pair, accuracy that of the better of accepting and refusing
        every pair, at the ``prevalence`` that the policy states, or else at that of the pairs: to
        be compared with ``at_prevalence`` where that is not empty.
        """
        share = self.at_prevalence.get("prevalence", self.prevalence)
        return {
            "prevalence": share,
            "f1": 2 * share / (1 + share),
            "accuracy": max(share, 1 - share),
        }

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, without the split's name; ``groups`` only where there are some."""
        values = asdict(replace(self, groups={})) | {"one_verdict": self.one_verdict}
        del values["split"], values["groups"]
        if self.groups:
            values["groups"] = {column: found.to_dict() for column, found in self.groups.items()}
        return values | {"ci95": {name: list(interval) for name, interval in self.ci95.items()}}

    def __repr__(self) -> str:
        low, high = self.ci95.get("f1", (math.nan, math.nan))
        interval = "" if math.isnan(low) else f" ({low:.3f}-{high:.3f})"
        return (
            f"SplitEvaluation({self.split!r}: F1 {self.f1:.3f}{interval}, accuracy "
            f"{self.accuracy:.3f}, AUC {self.auc:.3f}, EER {self.eer:.3f}; {self.genuine:,} "
            f"genuine and {self.impostor:,} impostor pairs of {self.identities:,} identities)"
        )


def evaluate_pairs(
    distances: PairDistances,
    threshold: float,
    split: str = "test",
    *,
    caution: str = "",
    probability: ProbabilityMap | None = None,
    prevalence: float | None = None,
    groups: Mapping[str, Sequence[Any] | np.ndarray] | None = None,
    seed: int = 0,
) -> SplitEvaluation:
    """Apply a threshold to the distances of pairs.

    Args:
        distances: from :func:`siamese.measure_pairs`.
        threshold: accept where distance <= threshold.
        split: what to call the result.
        caution: kept with the figures.
        probability: a map that was fitted to other identities, to be evaluated on these.
        prevalence: share of genuine pairs where the threshold will be used, 0..1, at which the
            figures that depend on it are stated too.
        groups: column -> (N,) the group of each image, "" where it is unknown, in the order in
            which the images were given; see :func:`siamese.evaluate_groups`.
        seed: of the bootstrap.

    Raises:
        CalibrationError: no genuine or no impostor pair, a distance, a threshold or a prevalence
            that is out of range, or groups that do not fit.
    """
    threshold = as_threshold(threshold, finite=True)
    if prevalence is not None:
        prevalence = check_prevalence(prevalence, CalibrationError)
    found = draw_figures(distances, threshold, prevalence, seed)
    observed, counts = found.observed, found.counts
    assert counts is not None
    intervals = found.intervals()
    first = {name: intervals.pop(name) for name in METRICS if name in intervals}
    at_stated = {}
    if prevalence is not None:
        weighed = {name: observed[f"{name}@prevalence"] for name in WEIGHED}
        at_stated = {"prevalence": prevalence} | weighed
    curve = distances.curve().with_counts_at([threshold], counts)
    return SplitEvaluation(
        split=split,
        identities=distances.identities,
        images=distances.images,
        genuine=distances.genuine,
        impostor=distances.impostor,
        prevalence=distances.prevalence,
        threshold=threshold,
        confusion=counts,
        accuracy=counts.accuracy,
        error=counts.error,
        precision=counts.precision,
        recall=counts.recall,
        fmr=counts.fmr,
        f1=counts.f1,
        auc=observed["auc"],
        eer=observed["eer"],
        ci95=first | intervals,
        pair_rule=distances.pair_rule,
        caution=caution,
        reliability=reliability(probability, curve) if probability else None,
        recall_at_fmr=recalls_at_rates(observed),
        at_prevalence=at_stated,
        groups=evaluate_columns(distances, groups or {}, threshold, prevalence, seed),
    )


def gain_in_auc(new: PairDistances, old: PairDistances, seed: int = 0) -> Interval | None:
    """95 % interval of how much larger the area under one ROC curve is, on the same pairs.

    Both areas come from the same draws of identities: most of what varies in one varies in the
    other, too, so the interval of the difference is narrower than those of the areas. An area of 1
    varies as :mod:`siamese.verification.bootstrap` says, so that few identities are not enough to
    be sure.

    Args:
        new, old: distances of the same pairs of the same images.
        seed: of the bootstrap.

    Returns:
        None with fewer than 5 identities.

    Raises:
        CalibrationError: other images, or other pairs.
    """
    check_same_pairs(new, old)
    alike = same_distances(new, old)
    keys = common_keys(old.draw_keys, new.draw_keys, old.identities)
    drawn = [draw_area(distances, seed, keys) for distances in (new, old)]
    return drawn[0].less(drawn[1], "auc", alike)[1]
