"""The figures of a split at a threshold, with intervals over identities."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from siamese.errors import CalibrationError
from siamese.verification.bootstrap import (
    IdentityBootstrap,
    bootstrap_identities,
    interval_around,
    unseen_error_rates,
)
from siamese.verification.confusion import Confusion
from siamese.verification.curves import ThresholdCurve, auc, crossing
from siamese.verification.group_figures import GroupEvaluation
from siamese.verification.groups import evaluate_columns
from siamese.verification.pair_distances import PairDistances
from siamese.verification.point import Interval, figures_at, rates_at
from siamese.verification.policies.base import RULE_OF
from siamese.verification.policies.fmr import Fmr
from siamese.verification.probability import ProbabilityMap, Reliability, reliability

METRICS = ("accuracy", "error", "precision", "recall", "fmr", "f1", "auc", "eer")
# False match rates at which the recall is stated, where the pairs support it.
RATES = (0.1, 0.01, 1e-3, 1e-4, 1e-5, 1e-6)
# An area under the ROC curve that is no better than guessing, for all practical purposes.
CHANCE = 0.55
WEIGHED = ("precision", "f1", "accuracy")  # the figures that depend on the prevalence


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
    if not math.isfinite(threshold):
        raise CalibrationError(
            f"the threshold must be a finite number, not {threshold}; calibrate first, or give one"
        )
    if prevalence is not None and not 0 < prevalence < 1:
        raise CalibrationError(
            f"prevalence must be between 0 and 1 (both excluded), not {prevalence!r}"
        )
    counts, curve = distances.count_verdicts(threshold), distances.curve()
    area = auc(curve)  # raises where one kind of pairs is missing
    curve = curve.with_counts_at(threshold, counts)
    eer, rates = distances.eer(), _supported_rates(distances.impostor)
    draws = bootstrap_identities(distances, seed)
    at_rates = {f"{rate:g}": distances.choose(Fmr(rate))[1].recall for rate in rates}
    at_stated = {} if prevalence is None else _at(counts, prevalence)
    known = {"error": counts.error, "auc": area, "eer": eer}
    known |= {f"recall@fmr={rate}": recall for rate, recall in at_rates.items()}
    known |= {f"{name}@prevalence": value for name, value in at_stated.items()}
    found = {} if draws is None else _intervals(draws, threshold, curve, counts, known, prevalence)
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
        auc=area,
        eer=eer,
        ci95=found,
        pair_rule=distances.pair_rule,
        caution=caution,
        reliability=reliability(probability, curve) if probability else None,
        recall_at_fmr=at_rates,
        at_prevalence={} if prevalence is None else {"prevalence": prevalence} | at_stated,
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
        CalibrationError: other images, or other numbers of pairs.
    """
    kinds = [(d.genuine, d.impostor, d.labels.tolist()) for d in (new, old)]
    if kinds[0] != kinds[1]:
        raise CalibrationError("areas can only be compared on the same pairs of the same images")
    known = [auc(distances.curve()) for distances in (new, old)]
    areas = [
        _whole_curve(drawn, {"auc": area})["auc"]
        for area, distances in zip(known, (new, old), strict=True)
        if (drawn := bootstrap_identities(distances, seed)) is not None
    ]
    return interval_around(known[0] - known[1], areas[0] - areas[1]) if len(areas) == 2 else None


def _at(counts: Confusion, prevalence: float) -> dict[str, float]:
    """The figures that depend on the prevalence, at another one than that of the pairs."""
    found = figures_at(counts, prevalence)
    return {name: found[name] for name in WEIGHED}


def _supported_rates(impostor: int) -> tuple[float, ...]:
    """Those of RATES that are supported by so many impostor pairs."""
    return tuple(rate for rate in RATES if rate * impostor >= RULE_OF * (1 - 1e-9))


def _intervals(
    draws: IdentityBootstrap,
    threshold: float,
    curve: ThresholdCurve,
    counts: Confusion,
    known: Mapping[str, float],
    prevalence: float | None,
) -> dict[str, Interval]:
    """The intervals of all figures, in the order of METRICS.

    Args:
        draws: of identities.
        threshold: at which the figures are.
        curve: of all pairs, with exact counts at the threshold.
        counts: of all pairs at the threshold.
        known: the figures that were observed, except those of :meth:`IdentityBootstrap.figures`.
        prevalence: that is stated, or None.
    """
    found = draws.figures(threshold, None, curve)
    rates = draws.rates_at(threshold, curve, counts)
    own = draws.genuine / (draws.genuine + draws.impostor)
    values = {"error": 1 - rates_at(*rates, own)["accuracy"]} | _whole_curve(draws, known)
    if prevalence is not None:
        at_stated = rates_at(*rates, prevalence)
        values |= {f"{name}@prevalence": at_stated[name] for name in WEIGHED}
    found |= {name: interval_around(known[name], v) for name, v in values.items()}
    first = {name: found.pop(name) for name in METRICS}
    return first | found


def _whole_curve(draws: IdentityBootstrap, known: Mapping[str, float]) -> dict[str, np.ndarray]:
    """The values of each draw, (r,) each, that need no threshold: auc, eer, recall at rates."""
    recalls = [name for name in known if name.startswith("recall@fmr=")]
    if known["auc"] == 1:  # all identities are told apart: at some threshold no error was seen
        trials = [int(n) for n in draws.independent]
        missed, false = (unseen_error_rates(n, len(draws.genuine), k) for k, n in enumerate(trials))
        values = {"auc": (1 - missed) * (1 - false), "eer": np.maximum(missed, false)}
        return values | dict.fromkeys(recalls, 1 - missed)
    genuine, impostor = draws.genuine, draws.impostor
    zero = np.zeros((len(genuine), 1))
    tp, fp = np.concatenate([zero, draws.tp], axis=1), np.concatenate([zero, draws.fp], axis=1)
    closer = np.diff(tp, axis=1) * (impostor[:, None] - (fp[:, 1:] + fp[:, :-1]) / 2)
    values = {
        "auc": closer.sum(axis=1) / (genuine * impostor),
        "eer": crossing(fp / impostor[:, None], 1 - tp / genuine[:, None]),
    }
    row = np.arange(len(tp))
    for name in recalls:
        rate = float(name.partition("=")[2])
        last = np.count_nonzero(fp <= rate * impostor[:, None] + 1e-9, axis=1) - 1
        values[name] = tp[row, last] / genuine
    return values
