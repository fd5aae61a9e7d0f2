"""OperatingPoint: a threshold with its birth certificate."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

import numpy as np

from siamese.errors import CalibrationError
from siamese.verification.confusion import Confusion
from siamese.verification.policies.base import OBSERVED

Interval = tuple[float, float]


@dataclass(frozen=True)
class OperatingPoint:
    """A threshold with its birth certificate: F1 depends on prevalence, so a threshold means nothing without its pairs.

    Attributes:
        threshold: accept as the same person where distance <= threshold.
        policy: how it was chosen ("max_f1"); "given" for a number of the user's.
        distance: name of the distance it belongs to ("euclidean").
        split: which pictures it was chosen on ("calibration").
        protocol: which pairs of them, :meth:`PairRule.describe`.
        genuine, impostor: numbers of pairs.
        prevalence: genuine / (genuine + impostor).
        f1: reached on those pairs.
        tp, fp, fn, tn: counts on those pairs.
        people, images: whose pairs they are; None where unknown.
        epoch, step: of the training run, when it was chosen; None outside one.
        settings: the policy's settings.
        target_prevalence: at which ``figures`` are meant, as the policy states it.
        figures: recall, fmr (false match rate), precision, f1 and accuracy on those pairs, weighed to ``target_prevalence``.
        ci95: "threshold" and each of ``figures`` -> (low, high), from a bootstrap over identities; empty where it was not made.
    """

    threshold: float
    policy: str
    distance: str
    split: str
    protocol: Mapping[str, Any]
    genuine: int
    impostor: int
    prevalence: float
    f1: float
    tp: int
    fp: int
    fn: int
    tn: int
    people: int | None = None
    images: int | None = None
    epoch: int | None = None
    step: int | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    target_prevalence: float | None = None
    figures: Mapping[str, float] = field(default_factory=dict)
    ci95: Mapping[str, Interval] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self) | {"ci95": {name: list(interval) for name, interval in self.ci95.items()}}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> OperatingPoint:
        """The reverse of :meth:`to_dict`.

        Raises:
            CalibrationError: a value is missing or of another kind, or the threshold is not a number.
        """
        known = {f.name for f in fields(cls)}
        try:
            point = cls(**{k: v for k, v in values.items() if k in known})
            checked: dict[str, Any] = {name: _real(getattr(point, name)) for name in ("prevalence", "f1")}
            checked |= {name: _whole(getattr(point, name)) for name in ("genuine", "impostor", "tp", "fp", "fn", "tn")}
            point = replace(
                point,
                ci95={str(name): (_real(low), _real(high)) for name, (low, high) in point.ci95.items()},
                figures={str(name): _real(value) for name, value in point.figures.items()},
                target_prevalence=None if point.target_prevalence is None else _real(point.target_prevalence),
                **checked,
            )
            if point.target_prevalence is not None and not 0 < point.target_prevalence < 1:
                raise ValueError(f"a prevalence of {point.target_prevalence}")
            if not isinstance(point.settings, Mapping) or not isinstance(point.protocol, Mapping):
                raise TypeError("settings or protocol without names")
        except (TypeError, ValueError, AttributeError) as error:
            raise CalibrationError(f"incomplete operating point ({error}); calibrate again") from error
        if (
            isinstance(point.threshold, bool)
            or not isinstance(point.threshold, (int, float))
            or not math.isfinite(point.threshold)
        ):
            raise CalibrationError(f"the operating point's threshold is {point.threshold!r}; calibrate again")
        return point

    def given(self, threshold: float, split: str = "nothing") -> OperatingPoint:
        """A number of the user's for the same distance and kind of pairs, of which nothing else is known: every count is 0."""
        origin = {"distance": self.distance, "split": split, "protocol": self.protocol}
        none = dict.fromkeys(("genuine", "impostor", "tp", "fp", "fn", "tn"), 0)
        return OperatingPoint(float(threshold), "given", prevalence=0.0, f1=0.0, **origin, **none)  # type: ignore[arg-type]

    @property
    def stated_prevalence(self) -> float | None:
        """The prevalence that the policy states; None where it takes that of the pairs."""
        return None if self.settings.get("prevalence", OBSERVED) == OBSERVED else self.target_prevalence

    @property
    def confusion(self) -> Confusion:
        """The counts as one object."""
        return Confusion(self.tp, self.fp, self.fn, self.tn)


def _real(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise TypeError(f"{value!r} is not a number")
    return value


def _whole(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise TypeError(f"{value!r} is not a count")
    return value


def figures(counts: Confusion, prevalence: float) -> dict[str, float]:
    """recall, fmr, precision, f1 and accuracy, each pair weighed so that a share of them is genuine; both kinds must be there."""
    recall, fmr = counts.tp / (counts.tp + counts.fn), counts.fp / (counts.fp + counts.tn)
    return {name: float(value) for name, value in weighed(np.float64(recall), np.float64(fmr), prevalence).items()}


def weighed(recall: Any, fmr: Any, prevalence: Any) -> dict[str, Any]:
    """recall, fmr, precision, f1 and accuracy where a share of the pairs is genuine; float64 numbers, or arrays of one shape."""
    hit, false = prevalence * recall, (1 - prevalence) * fmr
    return {
        "recall": recall,
        "fmr": fmr,
        "precision": np.divide(hit, hit + false, out=np.zeros_like(hit), where=hit + false > 0),
        "f1": 2 * hit / (hit + false + prevalence),
        "accuracy": hit + (1 - prevalence) - false,
    }
