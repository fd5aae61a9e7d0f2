"""The figures of a split at a threshold, with intervals over identities."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from siamese.distances.base import is_match
from siamese.errors import CalibrationError
from siamese.verification.pair_distances import PairDistances
from siamese.verification.pair_distances import HeldDistances
from siamese.verification.confusion import Confusion
from siamese.verification.curves import auc
from siamese.verification.curves import crossing
from siamese.verification.point import figures
from siamese.verification.point import weighed
from siamese.verification.policies.base import RULE_OF
from siamese.verification.policies.fmr import Fmr
from siamese.verification.probability import ProbabilityMap
from siamese.verification.probability import Reliability
from siamese.verification.probability import reliability
from siamese.verification.bootstrap import MIN_IDENTITIES
from siamese.verification.bootstrap import SMALL
from siamese.verification.bootstrap import IdentityBootstrap
from siamese.verification.bootstrap import interval_around
from siamese.verification.bootstrap import independent
from siamese.verification.bootstrap import interval
from siamese.verification.bootstrap import bootstrap_identities
from siamese.verification.bootstrap import unseen_error_rates
from siamese.verification.bootstrap import with_unseen_errors

METRICS = ("accuracy", "error", "precision", "recall", "fmr", "f1", "auc", "eer")
RATES = (0.1, 0.01, 1e-3, 1e-4, 1e-5, 1e-6)  # false match rates at which the recall is stated, where the pairs support it
WEIGHED = ("precision", "f1", "accuracy")  # the figures that depend on the prevalence
_BLOCK = 4_000_000  # numbers held at once while resampling


@dataclass(frozen=True)
class SplitEvaluation:
    """Figures of one split at one threshold.

    Attributes:
        people, images: whose pictures, and how many of them, the pairs were chosen from.
        genuine, impostor, prevalence: numbers of pairs, and the share of genuine ones.
        threshold: in the unit of the distance.
        confusion: counts at the threshold.
        accuracy, error, precision, recall, fmr, f1: at the threshold, 0..1; fmr is the false match rate.
        auc, eer: of the distances, whatever the threshold, 0..1. Of streamed pairs (more than 500,000) the area takes distances less than
            0.1 % apart as equal; all other figures are exact.
        recall_at_fmr: TAR@FAR, whatever the threshold: "0.001" -> the recall where at most that part of the impostor pairs is accepted;
            for each rate that at least 30 / rate impostor pairs support (rule of 30).
        at_prevalence: precision, f1 and accuracy where ``prevalence`` of the pairs are genuine, as the policy states it; empty where it takes
            the prevalence as it is.
        ci95: metric -> (low, high), from a bootstrap over identities; "recall@fmr=0.001" for those of ``recall_at_fmr``,
            "f1@prevalence" for those of ``at_prevalence``.
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
    fmr: float
    f1: float
    auc: float
    eer: float
    ci95: dict[str, tuple[float, float]]
    protocol: Mapping[str, Any]
    caution: str = ""
    reliability: Reliability | None = None
    recall_at_fmr: Mapping[str, float] = field(default_factory=dict)
    at_prevalence: Mapping[str, float] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, without the split's name."""
        values = asdict(self)
        del values["split"]
        return values | {"ci95": {name: list(interval) for name, interval in self.ci95.items()}}


def evaluate(
    compared: PairDistances,
    threshold: float,
    split: str = "test",
    replicates: int = 1000,
    seed: int = 0,
    caution: str = "",
    probability: ProbabilityMap | None = None,
    prevalence: float | None = None,
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
        prevalence: share of genuine pairs where the threshold will be used, 0..1, at which the figures that depend on it are stated too.

    Raises:
        CalibrationError: no genuine or no impostor pair, a distance or a threshold that is not finite, or too few replicates.
    """
    if not math.isfinite(threshold):
        raise CalibrationError(f"the threshold must be a finite number, not {threshold}; calibrate first, or give a number")
    if replicates < 100:
        raise CalibrationError(f"a 95 % interval needs at least 100 replicates, not {replicates}")
    if prevalence is not None and not 0 < prevalence < 1:
        raise CalibrationError(f"prevalence must be between 0 and 1 (both excluded), not {prevalence!r}")
    counts, curve = compared.confusion(threshold), compared.curve()
    seen = Seen(counts, auc(curve), prevalence)  # the area says so where one kind of pairs is missing
    at_stated = {} if prevalence is None else {"prevalence": prevalence} | _at(counts, prevalence)
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
        fmr=counts.fmr,
        f1=counts.f1,
        auc=seen.auc,
        eer=compared.eer(),
        ci95=_intervals(compared, threshold, replicates, seed, seen),
        protocol=compared.protocol,
        caution=caution,
        reliability=reliability(probability, curve) if probability else None,
        recall_at_fmr={f"{rate:g}": compared.choose(Fmr(rate))[1].recall for rate in _supported(compared.impostor)},
        at_prevalence=at_stated,
    )


@dataclass(frozen=True)
class Seen:
    """What was observed of all pairs: the counts at the threshold, the area under the ROC curve; and the stated prevalence, or None."""

    counts: Confusion
    auc: float
    prevalence: float | None = None


def _at(counts: Confusion, prevalence: float) -> dict[str, float]:
    """The figures that depend on the prevalence, at another one than that of the pairs."""
    found = figures(counts, prevalence)
    return {name: found[name] for name in WEIGHED}


def _intervals(
    compared: PairDistances, threshold: float, replicates: int, seed: int, seen: Seen
) -> dict[str, tuple[float, float]]:
    """The intervals; of many pairs from a few hundred thresholds of each draw of people."""
    if isinstance(compared, HeldDistances) and len(compared.distances) <= SMALL:
        return bootstrap(compared, threshold, replicates, seed, seen)
    rates, curve = _supported(compared.impostor), compared.curve()
    drawn = bootstrap_identities(compared, curve, replicates, seed)
    if drawn is None:
        return _unknown(rates, seen.prevalence)
    tp, fp = drawn.at(threshold, curve.with_counts_at(threshold, seen.counts))
    return _quantiles(_drawn(drawn, tp, fp, rates), seen, drawn.independent)


def bootstrap(
    compared: HeldDistances, threshold: float, replicates: int = 1000, seed: int = 0, seen: Seen | None = None
) -> dict[str, tuple[float, float]]:
    """95 % percentile intervals of all metrics from a bootstrap over identities.

    Pairs that share a person are not independent, so people are drawn with replacement, not pairs. Where person p was drawn
    m_p times, a genuine pair of p counts m_p times and an impostor pair of p and q counts m_p m_q times (the subset bootstrap
    of Bolle, Ratha and Pankanti, *Error analysis of pattern recognition systems*, CVIU 2004, carried to both sides of an
    impostor pair). The threshold stays as it is: the intervals tell how sure its figures are on other people of this kind.

    Where no error of a kind was observed, its rate ends at Clopper and Pearson's limit; see :mod:`siamese.verification.resampling`.
    With fewer than 5 people resampling says nothing, and every interval is (0, 1). Replicates without a genuine or an impostor
    pair are passed over.

    Args:
        compared: pairs.
        threshold: accept where distance <= threshold.
        replicates: draws; time and memory of each grow with the number of pairs.
        seed: of the draws.
        seen: what was observed; counted again where it is None.

    Returns:
        metric -> (2.5 %, 97.5 %) quantiles.
    """
    seen = seen or Seen(compared.confusion(threshold), auc(compared.curve()))
    order = np.argsort(compared.distances, kind="stable")
    ascending = compared.distances[order]
    ends = np.flatnonzero(np.append(ascending[1:] != ascending[:-1], True))
    accepted = int(np.count_nonzero(is_match(ascending, threshold)))
    same = compared.pairs.same[order]
    people, person = np.unique(compared.labels, return_inverse=True)
    left, right = person[compared.pairs.left[order]], person[compared.pairs.right[order]]
    rates, trials = _supported(compared.impostor), independent(compared)
    if len(people) < MIN_IDENTITIES:
        return _unknown(rates, seen.prevalence)
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
        g, i = genuine[usable], impostor[usable]
        tp, fp = (g[:, accepted - 1], i[:, accepted - 1]) if accepted else (np.zeros(len(g)), np.zeros(len(g)))
        kept = IdentityBootstrap(ascending[ends], g[:, ends], i[:, ends], g[:, -1], i[:, -1], trials)
        draws.append(_drawn(kept, tp, fp, rates))
    joined = {name: np.concatenate([values[name] for values in draws]) for name in draws[0]}
    return _quantiles(joined, seen, trials) if len(joined["recall"]) else _unknown(rates, seen.prevalence)


def _supported(impostor: int) -> tuple[float, ...]:
    """Those of RATES that so many impostor pairs can tell something about."""
    return tuple(rate for rate in RATES if rate * impostor >= RULE_OF * (1 - 1e-9))


def _unknown(rates: tuple[float, ...], prevalence: float | None) -> dict[str, tuple[float, float]]:
    named = [f"{name}@prevalence" for name in WEIGHED] if prevalence is not None else []
    return dict.fromkeys((*METRICS, *(f"recall@fmr={rate:g}" for rate in rates), *named), (0.0, 1.0))


def _drawn(drawn: IdentityBootstrap, tp: np.ndarray, fp: np.ndarray, rates: tuple[float, ...] = ()) -> dict[str, np.ndarray]:
    """What each draw of people says, (r,) each: prevalence, recall and far at (r,) accepted pairs; auc, eer and recall at rates."""
    total_g, total_i = drawn.genuine, drawn.impostor
    zero = np.zeros((len(total_g), 1))
    g, i = np.concatenate([zero, drawn.tp], axis=1), np.concatenate([zero, drawn.fp], axis=1)
    closer = np.diff(g, axis=1) * (total_i[:, None] - (i[:, 1:] + i[:, :-1]) / 2)
    row = np.arange(len(g))
    last = {rate: np.count_nonzero(i <= rate * total_i[:, None] + 1e-9, axis=1) - 1 for rate in rates}
    return {f"recall@fmr={rate:g}": g[row, column] / total_g for rate, column in last.items()} | {
        "prevalence": total_g / (total_g + total_i),
        "recall": tp / total_g,
        "fmr": fp / total_i,
        "auc": closer.sum(axis=1) / (total_g * total_i),
        "eer": crossing(i / total_i[:, None], 1 - g / total_g[:, None]),
    }


def _quantiles(draws: Mapping[str, np.ndarray], seen: Seen, trials: np.ndarray) -> dict[str, tuple[float, float]]:
    """The intervals of all metrics from what :func:`_drawn` says.

    Args:
        draws: see above.
        seen: what was observed of all pairs.
        trials: see :class:`IdentityBootstrap`, ``independent``.
    """
    counts, values = seen.counts, dict(draws)
    own = values.pop("prevalence")
    recall, fmr = with_unseen_errors(values["recall"], values["fmr"], counts, trials)
    values |= weighed(recall, fmr, own)
    values["error"] = 1 - values["accuracy"]
    if seen.prevalence is not None:
        at_stated = weighed(recall, fmr, seen.prevalence)
        values |= {f"{name}@prevalence": at_stated[name] for name in WEIGHED}
    if seen.auc == 1:  # all people are told apart: at some threshold neither error was seen
        missed, false = (unseen_error_rates(int(n), len(own), k) for k, n in enumerate(trials))
        values |= {"auc": (1 - missed) * (1 - false), "eer": np.maximum(missed, false)}
        values |= {name: 1 - missed for name in values if name.startswith("recall@")}
    found = {name: interval(v) for name, v in values.items()}
    # Of people who are all told apart every threshold has one of these.
    if not (counts.fn and counts.tp and counts.fp and counts.tn):  # the rates that stand in for unseen errors are never quite 0
        known = figures(counts, (counts.tp + counts.fn) / counts.total)
        known |= {"error": 1 - known["accuracy"], "auc": seen.auc}
        if seen.prevalence is not None:
            known |= {f"{name}@prevalence": value for name, value in _at(counts, seen.prevalence).items()}
        if seen.auc == 1:
            known |= {"eer": 0.0} | {name: 1.0 for name in values if name.startswith("recall@")}
        found |= {name: interval_around(known[name], values[name]) for name in values if name in known}
    return found
