"""Numbers in words: percentages, intervals and counts as a report writes them."""

from __future__ import annotations

from collections.abc import Sequence

from siamese.report.stored_report import Figures, Pair

UNKNOWN = "not known"
TITLES = {
    "auc": "ROC AUC",
    "eer": "equal error rate",
    "f1": "F1",
    "accuracy": "accuracy",
    "precision": "precision",
    "recall": "recall",
    "fmr": "false match rate",
    "fnmr": "false non-match rate",
}
# What a run is compared with: name -> what a sentence calls it.
BASELINES = {
    "untrained": "the same network before training",
    "descriptors": "fixed descriptors (which learn nothing)",
    "pretrained": "dlib's pretrained network",
}


def percent(share: float) -> str:
    """A share of 0..1 in percent, small ones with the digits that they need."""
    value = 100 * share
    if 0 < value < 1:
        return f"{value:.2g} %"
    return f"{value:.1f} %".replace(".0 %", " %")


def number(value: float) -> str:
    """A figure of 0..1 in three digits."""
    return f"{value:.3f}" if value == 0 or abs(value) >= 0.01 else f"{value:.2g}"


def interval(ends: Sequence[float] | None, form: str = "number") -> str:
    """Both ends of a 95 % interval; where none is known, that."""
    if ends is None:
        return "interval not known"
    write = percent if form == "percent" else number
    low, high = (write(end) for end in ends)
    return f"{low} to {high}"


def figure_at(figures: Figures, name: str) -> tuple[float, Pair | None]:
    """A figure, at the prevalence that the policy states if it states one, and its interval."""
    if name in figures.at_prevalence:
        return figures.at_prevalence[name], figures.ci95.get(f"{name}@prevalence")
    return float(getattr(figures, name)), figures.ci95.get(name)


def overlap(a: Pair | None, b: Pair | None) -> bool | None:
    """Whether two intervals have a number in common; None where one is not known."""
    if a is None or b is None:
        return None
    return a[0] <= b[1] and b[0] <= a[1]


def listed(words: Sequence[str]) -> str:
    """Words in a sentence: "a, b and c"."""
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} and {words[-1]}"
