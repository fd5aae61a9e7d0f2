"""OperatingPoint: a threshold with its origin."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

import numpy as np

from siamese.errors import CalibrationError
from siamese.verification.confusion import Confusion
from siamese.verification.policies.base import OBSERVED, POLICIES

Interval = tuple[float, float]

GIVEN = "given"  # the policy's name where a user gave the number
# What earlier versions called things, in files that are still read.
_RENAMED = {"people": "identities", "assumed": "target_prevalence", "protocol": "pair_rule"}
_RENAMED_FIGURES = {"far": "fmr"}
# What can be promised, and what it is called.
_FIGURES = {
    "fmr": "false match rate",
    "recall": "recall",
    "precision": "precision",
    "cost": "expected cost of a verdict",
}
_COUNTS = ("genuine", "impostor", "tp", "fp", "fn", "tn")


@dataclass(frozen=True)
class OperatingPoint:
    """A threshold with its origin: how, where and on which pairs it was chosen.

    F1 depends on prevalence, so a threshold means nothing without the pairs it was chosen from.

    Attributes:
        threshold: accept as the same identity where distance <= threshold.
        policy: how it was chosen ("max_f1"); "given" for a number that the user gave.
        distance: name of the distance it belongs to ("euclidean").
        split: which images it was chosen on ("calibration").
        pair_rule: which pairs of them, :meth:`PairRule.describe`.
        genuine, impostor: numbers of pairs. These and the counts and figures below are None where
            the threshold was given without any pairs: nothing is known of it.
        prevalence: genuine / (genuine + impostor).
        f1: reached on those pairs.
        tp, fp, fn, tn: counts on those pairs.
        identities, images: how many the pairs were chosen from; None where unknown.
        epoch, step: of the training run, when it was chosen; None outside one.
        settings: the policy's settings.
        target_prevalence: at which ``figures`` are meant, as the policy states it; None where
            there are none.
        figures: recall, fmr (false match rate), precision, f1 and accuracy on those pairs, weighted
            to ``target_prevalence``, and identities alike where the policy's weights say so.
        gap: (low, high), the thresholds with the same counts, from the farthest accepted pair to
            just below the closest refused one (:class:`siamese.verification.curves.Choice`).
            ``threshold`` lies in its middle, unless the policy smooths distances. None where there
            is no gap, and for a threshold that was given.
        promise: of a policy that promises a figure: its name ("figure"), "at most" or "at least"
            ("direction"), the promised value of a pair ("limit"), and for whom it holds
            ("confidence"): None for the calibration pairs alone, a number for other identities,
            with that confidence; the figure's bound for them is then "bound". Empty otherwise.
        ci95: "threshold" and each of ``figures`` -> (low, high), from a bootstrap over identities;
            empty where it was not made.
    """

    threshold: float
    policy: str
    distance: str
    split: str
    pair_rule: Mapping[str, Any]
    genuine: int | None = None
    impostor: int | None = None
    prevalence: float | None = None
    f1: float | None = None
    tp: int | None = None
    fp: int | None = None
    fn: int | None = None
    tn: int | None = None
    identities: int | None = None
    images: int | None = None
    epoch: int | None = None
    step: int | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    target_prevalence: float | None = None
    figures: Mapping[str, float] = field(default_factory=dict)
    ci95: Mapping[str, Interval] = field(default_factory=dict)
    gap: Interval | None = None
    promise: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self) | {
            "ci95": {name: list(interval) for name, interval in self.ci95.items()},
            "gap": self.gap and list(self.gap),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> OperatingPoint:
        """The reverse of :meth:`to_dict`; reads what earlier versions wrote, too.

        Raises:
            CalibrationError: a value is missing or of another kind, or the threshold is not a
                number.
        """
        try:
            named = _today(values)
            point = cls(**{f.name: named[f.name] for f in fields(cls) if f.name in named})
            checked: dict[str, Any] = {n: _whole(getattr(point, n)) for n in _COUNTS}
            reals = ("prevalence", "f1", "target_prevalence")
            checked |= {n: _real(getattr(point, n)) for n in reals}
            intervals = {
                str(name): (_number(low), _number(high)) for name, (low, high) in point.ci95.items()
            }
            figures = {str(name): _number(value) for name, value in point.figures.items()}
            gap = None if point.gap is None else (_number(point.gap[0]), _number(point.gap[1]))
            promise = _promise(point.promise)
            point = replace(
                point, ci95=intervals, figures=figures, gap=gap, promise=promise, **checked
            )
            if gap is not None and not gap[0] <= point.threshold <= gap[1]:
                raise ValueError("its threshold lies outside its gap")
            if len({getattr(point, name) is None for name in (*_COUNTS, "prevalence", "f1")}) > 1:
                raise ValueError("some counts are missing")
            if point.genuine is None and point.policy != GIVEN:
                raise ValueError("its counts are missing")
            if point.target_prevalence is not None and not 0 < point.target_prevalence < 1:
                raise ValueError(f"a prevalence of {point.target_prevalence}")
            if not isinstance(point.settings, Mapping) or not isinstance(point.pair_rule, Mapping):
                raise TypeError("settings or pair rule without names")
            _number(point.threshold)
        except (TypeError, ValueError, AttributeError) as error:
            raise CalibrationError(
                f"incomplete operating point ({error}); calibrate again"
            ) from error
        return point

    def with_threshold(self, threshold: float, split: str = "nothing") -> OperatingPoint:
        """A number that the user gave, for the same distance and pair rule, without pairs."""
        return OperatingPoint(float(threshold), GIVEN, self.distance, split, self.pair_rule)

    @property
    def stated_prevalence(self) -> float | None:
        """The prevalence that the policy states; None where it takes that of the pairs."""
        observed = self.settings.get("prevalence", OBSERVED) == OBSERVED
        return None if observed else self.target_prevalence

    @property
    def policy_settings(self) -> dict[str, Any]:
        """Name and settings of the policy, from which it can be built again."""
        return {"name": self.policy} | dict(self.settings)

    @property
    def settings_in_words(self) -> str:
        """The policy's settings that are set, to follow its name; empty where there are none."""
        return "".join(
            f", {name} {value:g}" if isinstance(value, float) else f", {name} {value}"
            for name, value in self.settings.items()
            if value is not None
        )

    @property
    def promise_in_words(self) -> str | None:
        """What the policy promises, and for whom, in a sentence; None where it promises nothing."""
        if not self.promise:
            return None
        kept, name = self.promise, _FIGURES[self.promise["figure"]]
        what = f"{name} {kept['direction']} {kept['limit']:.3g}"
        gallery = self.settings.get("gallery")
        if gallery:
            rate = float(self.settings["rate"])
            what = (
                f"in a search among {gallery:,} a false match at most {rate:.3g} of the time, that "
                f"is {what} for a pair (1 - (1 - {rate:.3g})^(1/{gallery:,}), if comparisons are "
                f"independent)"
            )
        if kept["confidence"] is None:
            return (
                f"{what}: kept on the pairs that it was chosen on; of other sets of identities, "
                f"half or more break it (confidence=0.95 promises it for them)"
            )
        return f"{what}: for other identities, with a confidence of {kept['confidence']:g}"

    @property
    def confusion(self) -> Confusion | None:
        """The counts as one object; None where they are not known."""
        if self.tp is None or self.fp is None or self.fn is None or self.tn is None:
            return None
        return Confusion(self.tp, self.fp, self.fn, self.tn)

    def __repr__(self) -> str:
        pairs = "no pairs"
        if self.genuine is not None:
            pairs = f"{self.genuine:,} genuine and {self.impostor:,} impostor pairs"
        figures = "".join(f", {name} {value:.4f}" for name, value in self.figures.items())
        return (
            f"OperatingPoint({self.distance} <= {self.threshold:.4f} by {self.policy} on {pairs} "
            f"of {self.split!r}{figures})"
        )


def figures_at(counts: Confusion, prevalence: float) -> dict[str, float]:
    """recall, fmr, precision, f1 and accuracy at a prevalence.

    Args:
        counts: of both kinds of pairs.
        prevalence: of genuine pairs, 0..1, to which they are weighted.
    """
    recall, fmr = counts.tp / (counts.tp + counts.fn), counts.fp / (counts.fp + counts.tn)
    found = rates_at(np.float64(recall), np.float64(fmr), prevalence)
    return {name: float(value) for name, value in found.items()}


def rates_at(recall: Any, fmr: Any, prevalence: Any) -> dict[str, Any]:
    """As :func:`figures_at`, from the two rates: float64 numbers, or arrays of one shape."""
    hit, false = prevalence * recall, (1 - prevalence) * fmr
    return {
        "recall": recall,
        "fmr": fmr,
        "precision": np.divide(hit, hit + false, out=np.zeros_like(hit), where=hit + false > 0),
        "f1": 2 * hit / (hit + false + prevalence),
        "accuracy": hit + (1 - prevalence) - false,
    }


def _today(values: Mapping[str, Any]) -> dict[str, Any]:
    """The names of this version, for values that an earlier one may have written."""
    named = {_RENAMED.get(name, name): value for name, value in values.items()}
    for part in ("figures", "ci95"):
        if isinstance(named.get(part), Mapping):
            named[part] = {_RENAMED_FIGURES.get(k, k): v for k, v in named[part].items()}
    policy = named.get("policy")
    if isinstance(policy, str):
        named["policy"] = POLICIES.renamed.get(policy, policy)
    if policy == GIVEN and named.get("genuine") == 0 and named.get("impostor") == 0:
        named |= dict.fromkeys((*_COUNTS, "prevalence", "f1"))  # 0 meant unknown
    return named


def _promise(values: Any) -> dict[str, Any]:
    """A promise as :class:`OperatingPoint` describes it."""
    if not isinstance(values, Mapping):
        raise TypeError("a promise without names")
    if not values:
        return {}
    confidence, bound = (_real(values.get(name)) for name in ("confidence", "bound"))
    if values["figure"] not in _FIGURES or values["direction"] not in ("at most", "at least"):
        raise ValueError(f"a promise of {values['figure']!r}")
    return {
        "figure": values["figure"],
        "direction": values["direction"],
        "limit": _number(values["limit"]),
        "confidence": confidence,
        "bound": bound,
    }


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise TypeError(f"{value!r} is not a number")
    return value


def _real(value: Any) -> float | None:
    return None if value is None else _number(value)


def _whole(value: Any) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise TypeError(f"{value!r} is not a count")
    return value
