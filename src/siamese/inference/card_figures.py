"""The figures of a bundle as its model card shows them, each beside its baselines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from siamese.verification.point import OperatingPoint

if TYPE_CHECKING:
    from siamese.inference.bundle import Bundle

T = TypeVar("T")
# What a run is compared with: name -> what it is called in tables and sentences.
BASELINES = {
    "untrained": "before training",
    "descriptors": "fixed descriptors",
    "pretrained": "dlib's network",
}
NOT_MEASURED = "not measured"
ONE_VERDICT = "one verdict for all pairs"
TITLES = {
    "auc": "ROC AUC",
    "eer": "equal error rate",
    "f1": "F1",
    "accuracy": "accuracy",
    "precision": "precision",
    "recall": "recall",
    "fmr": "false match rate",
}
# Of accepting every pair; one verdict for all orders no pairs.
_ACCEPTING = {"auc": 0.5, "eer": 0.5, "recall": 1.0, "fmr": 1.0}


class Split(msgspec.Struct):
    """Who is in a split of the data."""

    identities: int
    images: int


class Cell(msgspec.Struct):
    """The pairs within a group, or between two, as :class:`siamese.GroupFigures` has them."""

    groups: tuple[str, str]
    identities: int
    genuine: int
    impostor: int
    fmr: float | None
    fnmr: float | None
    ci95: dict[str, tuple[float, float]] = {}


class Column(msgspec.Struct):
    """The figures by one column of groups."""

    cells: list[Cell]


class Figures(msgspec.Struct):
    """What the card needs of :meth:`siamese.SplitEvaluation.to_dict`."""

    identities: int
    images: int
    genuine: int
    impostor: int
    threshold: float
    auc: float
    eer: float
    f1: float
    accuracy: float
    recall: float
    fmr: float
    one_verdict: dict[str, float] = {}
    at_prevalence: dict[str, float] = {}
    ci95: dict[str, tuple[float, float]] = {}
    caution: str = ""
    baselines: dict[str, Any] = {}
    groups: dict[str, Any] = {}
    gain_in_auc: tuple[float, float | None, float | None] | None = None  # of a baseline

    def shown(self, name: str) -> str:
        """A figure at the prevalence that the policy states, with its 95 % interval."""
        stated = name in self.at_prevalence
        value = self.at_prevalence[name] if stated else getattr(self, name)
        return with_interval(value, self.ci95.get(f"{name}@prevalence" if stated else name))


class Benchmark(msgspec.Struct):
    """A figure on pairs that others chose, with what it is compared with."""

    name: str
    figure: str
    value: float
    standard_error: float
    baselines: dict[str, float]
    command: str


@dataclass(frozen=True)
class CardFigures:
    """All figures of a bundle that are known.

    Attributes:
        splits: split -> who is in it.
        test: figures on the test identities; None where they are not known.
        same_threshold: whether those are of the bundle's own threshold: it may have been chosen
            anew since.
        benchmarks: figures on pairs that others chose.
        anew: what is told of the threshold's choice on other data than those that the bundle came
            with (:func:`siamese.recalibrate`); None where there was none.
    """

    splits: Mapping[str, Split]
    test: Figures | None
    same_threshold: bool
    benchmarks: tuple[Benchmark, ...]
    anew: Mapping[str, Any] | None = None

    @property
    def chosen_on(self) -> str | None:
        """The folder or table that the threshold was chosen anew on; None where not known."""
        name = None if self.anew is None else self.anew.get("data")
        return name if isinstance(name, str) and name.strip() else None

    @classmethod
    def of(cls, bundle: Bundle) -> CardFigures:
        """What the bundle's provenance tells; what is not understood is not known.

        Provenance is for people to read and may hold anything, also of strangers.
        """
        facts = bundle.provenance
        test = _read(facts.get("test"), Figures)
        anew = facts.get("recalibrated")
        return cls(
            _read(facts.get("splits"), dict[str, Split]) or {},
            test,
            test is not None and test.threshold == bundle.operating_point.threshold,
            tuple(_read(facts.get("benchmarks"), list[Benchmark]) or ()),
            anew if isinstance(anew, Mapping) else None,
        )


def test_rows(test: Figures) -> list[list[str]]:
    """A table of the test figures, its header first: a column for each baseline."""
    measured = {name: _read(test.baselines.get(name), Figures) for name in BASELINES}
    header = ["", "this bundle (95 %)", ONE_VERDICT, *BASELINES.values()]
    alone = _ACCEPTING | test.one_verdict
    rows = [header]
    for name in ("auc", "eer", "f1", "accuracy", "recall", "fmr"):
        others = [found.shown(name) if found else NOT_MEASURED for found in measured.values()]
        single = number(alone[name]) if name in alone else "not known"
        rows.append([TITLES[name], test.shown(name), single, *others])
        if name == "auc":
            gains = [_gain(found) for found in measured.values()]
            rows.append(["gain in ROC AUC over it", "", number(test.auc - 0.5), *gains])
    return rows


def _gain(baseline: Figures | None) -> str:
    """By how much the bundle's area is larger, on the same draws of people."""
    if baseline is None or baseline.gain_in_auc is None:
        return NOT_MEASURED
    observed, low, high = baseline.gain_in_auc
    if low is None or high is None:
        return f"{observed:+.3f} (interval not known)"
    return f"{observed:+.3f} ({low:+.3f} to {high:+.3f})"


def point_rows(point: OperatingPoint) -> list[list[str]]:
    """A table of the figures that a threshold was chosen by, its header first."""
    rows = [["", "at the threshold (95 %)", ONE_VERDICT]]
    share = point.target_prevalence
    if share is None:
        share = point.prevalence
    for name in ("f1", "accuracy", "precision", "recall", "fmr"):
        if name not in point.figures:
            continue
        single = "not known" if share is None else number(_one(share)[name])
        rows.append(
            [TITLES[name], with_interval(point.figures[name], point.ci95.get(name)), single]
        )
    return rows


def group_rows(values: Any) -> list[list[str]]:
    """A table of the pairs within each group, its header first; empty where none is known."""
    column = _read(values, Column)
    if column is None:
        return []
    rows = [["group", "identities", "genuine pairs", "impostor pairs", *_RATES.values()]]
    for cell in column.cells:
        if cell.groups[0] == cell.groups[1]:
            counts = [f"{n:,}" for n in (cell.identities, cell.genuine, cell.impostor)]
            rates = [_rate(getattr(cell, name), cell.ci95.get(name)) for name in _RATES]
            rows.append([cell.groups[0] or "(none)", *counts, *rates])
    return rows if len(rows) > 1 else []


_RATES = {
    "fmr": "false match rate (95 %; of accepting all: 1)",
    "fnmr": "false non-match rate (95 %; of refusing all: 1)",
}


def number(value: float) -> str:
    """A rate in three digits; small ones keep theirs."""
    return f"{value:.3f}" if value == 0 or abs(value) >= 0.01 else f"{value:.3g}"


def with_interval(value: float, interval: tuple[float, float] | None) -> str:
    """A figure and its 95 % interval; where none is known, it says so."""
    if interval is None:
        return f"{number(value)} (interval not known)"
    return f"{number(value)} ({number(interval[0])}-{number(interval[1])})"


def _one(share: float) -> dict[str, float]:
    """One verdict for all pairs: accuracy of the better one, the others of accepting."""
    return {
        "f1": 2 * share / (1 + share),
        "accuracy": max(share, 1 - share),
        "precision": share,
        "recall": 1.0,
        "fmr": 1.0,
    }


def _rate(value: float | None, interval: tuple[float, float] | None) -> str:
    return "no such pairs" if value is None else with_interval(value, interval)


def _read(values: Any, kind: type[T]) -> T | None:
    """Plain values as a type; None where they are none."""
    try:
        return msgspec.convert(values, kind)
    except (msgspec.ValidationError, TypeError, ValueError, OverflowError, RecursionError):
        return None
