"""Tables on the console: what each split contains, and the figures of the threshold on it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from siamese.verification.drawn import WEIGHED
from siamese.verification.figures import METRICS, SplitEvaluation
from siamese.verification.folds import FoldedEvaluation
from siamese.verification.paired import PairedComparison
from siamese.verification.point import OperatingPoint

SWEEP_FIGURES = ("eer", "f1", "auc")  # by which the runs of a sweep are compared
_TITLES = {"f1": "F1", "auc": "ROC AUC", "eer": "EER", "fmr": "false match rate"}


def data_table(summary: Mapping[str, Any], called: Callable[[str], str] = str) -> Table:
    """Identities and images per split, and the outcome of cropping.

    Args:
        summary: from :meth:`siamese.data.prepared.PreparedData.summary`.
        called: what each split is called.
    """
    table = Table(
        title=f"data (cropped {summary['cropped_now']:,} images now, {summary['seconds']:.1f} s)",
        title_justify="left",
    )
    columns = ("identities", "images", "kept", "no_face", "several_faces", "skipped", "bad")
    table.add_column("split")
    for column in columns:
        table.add_column(column.replace("_", " "), justify="right")
    for split, counts in summary["splits"].items():
        table.add_row(escape(called(split)), *(f"{counts[c]:,}" for c in columns))
    return table


def evaluation_table(
    evaluations: Sequence[SplitEvaluation], point: OperatingPoint, caution: str = ""
) -> Table:
    """The figures of each split, one column each, with their 95 % intervals over identities.

    ``caution`` is written below them.
    """
    alike = ""
    if point.settings.get("weights"):
        alike = (
            "\nthe threshold was chosen with every identity counting alike (weights='people'); "
            "these figures count every pair alike"
        )
    promise = f"{alike}\npromise: {point.promise_in_words}" if point.promise else alike
    table = Table(
        title=f"same identity where {point.distance} distance <= "
        f"{point.threshold:.4f}{_origin(point)}",
        caption="in brackets: 95 % interval from a bootstrap over identities; none with fewer "
        "than 5 identities" + promise + (f"\n{caution}" if caution else ""),
        title_justify="left",
        caption_justify="left",
    )
    table.add_column("")
    for e in evaluations:
        table.add_column(escape(e.split), justify="right")
    for name in ("identities", "images", "genuine", "impostor"):
        table.add_row(
            f"{name} pairs" if name in ("genuine", "impostor") else name,
            *(f"{getattr(e, name):,}" for e in evaluations),
        )
    table.add_row("prevalence", *(f"{e.prevalence:.3f}" for e in evaluations), end_section=True)
    for metric in METRICS:
        table.add_row(
            _TITLES.get(metric, metric), *(_with_interval(e, metric) for e in evaluations)
        )
    if all(e.at_prevalence for e in evaluations):
        for name in WEIGHED:
            row = (
                _figure(name, e.at_prevalence[name], e.ci95.get(f"{name}@prevalence"))
                for e in evaluations
            )
            table.add_row(
                f"{_TITLES.get(name, name)} at prevalence "
                f"{evaluations[0].at_prevalence['prevalence']:.3g}",
                *row,
            )
    for rate in dict.fromkeys(rate for e in evaluations for rate in e.recall_at_fmr):
        cells = (
            _figure("recall", e.recall_at_fmr[rate], e.ci95.get(f"recall@fmr={rate}"))
            if rate in e.recall_at_fmr
            else ""
            for e in evaluations
        )
        table.add_row(f"recall at false match rate {rate}", *cells)
    table.rows[-1].end_section = True
    for count, meaning in (
        ("tp", "true matches"),
        ("fp", "false matches"),
        ("fn", "false non-matches"),
        ("tn", "true non-matches"),
    ):
        table.add_row(meaning, *(f"{getattr(e.confusion, count):,}" for e in evaluations))
    return table


def baselines_table(
    run: SplitEvaluation, others: Mapping[str, SplitEvaluation], title: str = "this run"
) -> Table:
    """The figures of one split beside what is reached without the training.

    All at the prevalence that the policy states, or else at that of the pairs.

    Args:
        run: of the run.
        others: what each baseline is called -> its figures on the same pairs.
        title: what the run is called.
    """
    chance = {"auc": 0.5, "eer": 0.5, **run.one_verdict}
    table = Table(
        title=f"beside it, on the same {run.split} pairs",
        caption="each at its own threshold, chosen alike; F1 and accuracy at a prevalence of "
        f"{chance['prevalence']:.3g}" + ("; in brackets: 95 % interval" if run.ci95 else ""),
        title_justify="left",
        caption_justify="left",
    )
    table.add_column("")
    figures = ("auc", "eer", "f1", "accuracy")
    for name in figures:
        table.add_column(_TITLES.get(name, name), justify="right")
    for name, e in {title: run, **others}.items():
        table.add_row(name, *(_as_stated(e, figure) for figure in figures))
    table.add_row("one verdict for all", *(f"{chance[figure]:.3f}" for figure in figures))
    return table


def _as_stated(e: SplitEvaluation, metric: str) -> str:
    """A figure at the prevalence that the policy states, if it states one."""
    if metric not in e.at_prevalence:
        return _with_interval(e, metric)
    return _figure(metric, e.at_prevalence[metric], e.ci95.get(f"{metric}@prevalence"))


def folds_table(found: FoldedEvaluation, threshold: str | None = None) -> Table:
    """Each tested fold with its threshold and its figures.

    ``threshold`` says where the threshold is from, if no policy chose it.
    """
    origin = (
        f"threshold: {threshold or 'given'}"
        if found.policy == "given"
        else f"thresholds by {found.policy} on the other folds"
    )
    table = Table(title=f"{found.benchmark}, {origin}", title_justify="left")
    for column in (
        "fold",
        "threshold",
        "accuracy",
        "false matches",
        "false non-matches",
        "pairs",
        "without a face",
    ):
        table.add_column(column, justify="right")
    for f in found.folds:
        counts = (f"{n:,}" for n in (f.fp, f.fn, f.pairs, f.missing))
        table.add_row(f.name, f"{f.threshold:.4f}", f"{f.accuracy:.4f}", *counts)
    return table


def drift_table(old: OperatingPoint, new: OperatingPoint) -> Table:
    """An old and a new threshold on the same pairs, with 95 % intervals over identities.

    Figures are at the new policy's prevalence.
    """
    table = Table(
        title=f"{new.identities or 0:,} identities, {new.images or 0:,} images, {new.genuine:,} "
        f"genuine and {new.impostor:,} impostor pairs",
        caption=f"at a prevalence of {new.target_prevalence or new.prevalence:.3g}; in brackets: "
        f"95 % interval from a bootstrap over identities\n"
        "the new threshold was chosen on these very identities, so its figures are a little too "
        "good",
        title_justify="left",
        caption_justify="left",
    )
    table.add_column(f"{new.distance} distance")
    before = "" if old.distance == new.distance else f", {old.distance}"
    table.add_column(f"old threshold{before}", justify="right")
    table.add_column("new threshold", justify="right")
    around = new.ci95.get("threshold")
    interval = f" [dim]({around[0]:.4f}-{around[1]:.4f})[/dim]" if around else ""
    table.add_row(
        "threshold", f"{old.threshold:.4f}", f"{new.threshold:.4f}{interval}", end_section=True
    )
    for name in new.figures:
        row = (_figure(name, p.figures[name], p.ci95.get(name)) for p in (old, new))
        table.add_row(_TITLES.get(name, name), *row)
    return table


def paired_table(compared: PairedComparison, on: str) -> Table:
    """The figures of A and of B on the same pairs, and how far they are apart.

    ``on`` names what they were compared on.
    """
    c = compared
    each = (c.threshold_a, c.threshold_b)
    at = ", ".join(f"{n} {t:.4f}" for n, t in zip("AB", each, strict=True) if t is not None)
    table = Table(
        title=f"{escape(on)}: {c.identities:,} identities, {c.images:,} images, {c.genuine:,} "
        f"genuine and {c.impostor:,} impostor pairs",
        caption=f"at thresholds: {at or 'of each fold, chosen on the other folds'}\n"
        + (
            c.why_no_interval
            or "interval: 95 %, over the identities of both\n"
            "by chance, one figure in twenty differs: go by the ROC AUC"
        ),
        title_justify="left",
        caption_justify="left",
    )
    table.add_column("")
    for column in ("A", "B", "B - A", "interval", "B is"):
        table.add_column(column, justify="right")
    for name, figure in c.figures.items():
        metric, _, rate = name.partition("@fmr=")
        metric, _, stated = metric.partition("@")
        title = _TITLES.get(metric, metric)
        title += f" at false match rate {rate}" if rate else ""
        title += f" at prevalence {c.prevalence:.3g}" if stated else ""
        form = "{:.2g}" if name == "fmr" else "{:.3f}"
        ends = figure.ci95 or ()
        interval = " to ".join(f"{end:+.3f}" for end in ends)
        values = (form.format(value) for value in (figure.a, figure.b))
        table.add_row(title, *values, f"{figure.difference:+.3f}", interval, figure.verdict)
    return table


def sweep_table(
    title: str, split: str, runs: Sequence[tuple[str, str, Mapping[str, Any], str]]
) -> Table:
    """The runs of a sweep, in the order given, with figures of the people that it chooses by.

    Args:
        title: of the table.
        split: whose people's figures these are.
        runs: name, settings, figures and failure of each: the figures are ``SplitEvaluation``'s,
            as :meth:`SplitEvaluation.to_dict` writes them, or empty where the run failed.
    """
    table = Table(
        title=escape(title),
        caption=f"figures of the {split} people, in brackets: 95 % interval from a bootstrap over "
        f"identities\nthose of the best run are a little too good, since it was chosen by them"
        if split
        else None,
        title_justify="left",
        caption_justify="left",
    )
    table.add_column("run", justify="right")
    table.add_column("settings", overflow="fold")
    for name in SWEEP_FIGURES:
        table.add_column(_TITLES[name], justify="right")
    for name, settings, figures, failure in runs:
        words = escape(settings) + (f"\n[red]{escape(failure)}[/red]" if failure else "")
        cells = (
            _figure(metric, figures[metric], figures.get("ci95", {}).get(metric))
            for metric in (SWEEP_FIGURES if figures else ())
        )
        table.add_row(name, words, *cells)
    return table


def show(*tables: Table) -> None:
    """Print tables; wide enough for all columns even if standard output is a file."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=100)
    for table in tables:
        console.print(table)


def _origin(point: OperatingPoint) -> str:
    """The interval of a threshold, and how and where it was chosen."""
    low, high = point.ci95.get("threshold", (None, None))
    interval = "" if low is None else f" (95 %: {low:.4f}-{high:.4f})"
    return (
        f"{interval}; a number that was given"
        if point.policy == "given"
        else f"{interval}; {point.policy}{point.settings_in_words}; on {escape(point.split)}"
    )


def _with_interval(evaluation: SplitEvaluation, metric: str) -> str:
    return _figure(metric, getattr(evaluation, metric), evaluation.ci95.get(metric))


def _figure(name: str, value: float, interval: tuple[float, float] | None) -> str:
    form = "{:.2g}" if name == "fmr" else "{:.3f}"  # false match rates are often below a thousandth
    around = (
        f" [dim]({form.format(interval[0])}-{form.format(interval[1])})[/dim]" if interval else ""
    )
    return form.format(value) + around
