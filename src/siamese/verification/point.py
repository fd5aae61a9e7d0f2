"""OperatingPoint: a threshold with its origin."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import msgspec
import numpy as np

from siamese.errors import CalibrationError, SiameseError, first_line
from siamese.registry import as_plain
from siamese.verification.confusion import Confusion
from siamese.verification.policies.base import OBSERVED, POLICIES
from siamese.verification.policy_words import policy_in_words, settings_in_words
from siamese.verification.stored_point import StoredPoint, StoredPromise, check_settings

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

    Examples:
        >>> import siamese
        >>> import numpy as np
        >>> people, rows = np.repeat(np.arange(5), 2), np.arange(10.0)[:, None]
        >>> point = siamese.calibrate(rows, people, siamese.MaxAccuracy("balanced")).point
        >>> point.genuine, point.impostor, point.policy
        (5, 40, 'max_accuracy')
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
            CalibrationError: a value is missing, unknown, of another kind or out of range, or the
                counts do not fit each other, or the policy its settings.
        """
        try:
            if not isinstance(values, Mapping):
                raise TypeError(f"a {type(values).__name__} instead of names and values")
            named = as_plain(_today(values))
            stored = msgspec.convert(named, StoredPoint)
            for part in ("pair_rule", "settings"):
                check_settings(getattr(stored, part), part)
            point = cls(**msgspec.structs.asdict(stored))
            point = replace(point, promise=_promise(stored.promise))
            point._check_counts()
            point._check_policy()
        except (TypeError, ValueError, AttributeError, OverflowError, SiameseError) as error:
            raise CalibrationError(
                f"incomplete operating point ({first_line(error)}); calibrate again"
            ) from error
        return point

    def _check_counts(self) -> None:
        """Whether the numbers can belong to one threshold on one set of pairs."""
        if self.gap is not None and not self.gap[0] <= self.threshold <= self.gap[1]:
            raise ValueError("its threshold lies outside its gap")
        for name, (low, high) in self.ci95.items():
            if not low <= high:
                raise ValueError(f"its interval of {name!r:.40} ends before it begins")
        known = (*_COUNTS, "prevalence", "f1")
        if len({getattr(self, name) is None for name in known}) > 1:
            raise ValueError("some counts are missing")
        counts = self.confusion
        if counts is None:
            if self.policy != GIVEN:
                raise ValueError("its counts are missing")
            return
        if (counts.tp + counts.fn, counts.fp + counts.tn) != (self.genuine, self.impostor):
            raise ValueError("its verdicts are not as many as its pairs")
        if not counts.total:
            raise ValueError("its counts are of no pairs")
        for name, made in (
            ("prevalence", (counts.tp + counts.fn) / counts.total),
            ("f1", counts.f1),
        ):
            if not math.isclose(getattr(self, name), made, abs_tol=1e-9) and not math.isnan(made):
                raise ValueError(f"its {name} is not that of its counts")

    def _check_policy(self) -> None:
        """Whether a policy of that name has such settings; one that is not installed may."""
        if self.policy != GIVEN and self.policy in POLICIES:
            POLICIES.build(self.policy_settings)

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
        return settings_in_words(dict(self.settings))

    def choice_in_words(self, one: str = "identity") -> str:
        """How the threshold was chosen, to follow "the threshold is"; its settings in plain words.

        Args:
            one: what a pair shows, ``"person"`` or ``"identity"``.
        """
        if self.policy == GIVEN:
            return "a number that was given"
        if self.policy not in POLICIES:  # of a package that is not installed here
            return f"chosen by the policy {self.policy}{self.settings_in_words}"
        policy = POLICIES.build(self.policy_settings)
        return policy_in_words(policy, one=one, observed=self.target_prevalence)

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
            f"OperatingPoint({self.distance} <= {self.threshold:.4f} by {self.policy}"
            f"{self.settings_in_words} on {pairs} of {self.split!r}{figures})"
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


def _promise(values: Mapping[str, Any]) -> dict[str, Any]:
    """A promise as :class:`OperatingPoint` describes it."""
    if not values:
        return {}
    kept = msgspec.convert(values, StoredPromise)
    if kept.figure not in _FIGURES or kept.direction not in ("at most", "at least"):
        raise ValueError(f"a promise of {kept.figure!r:.80}")
    return msgspec.structs.asdict(kept)
