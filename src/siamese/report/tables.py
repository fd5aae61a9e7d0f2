"""Tables on the console: what each split held, and how well the threshold did on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from siamese.verification import OperatingPoint, SplitEvaluation
from siamese.verification.evaluate import METRICS


def data_table(summary: Mapping[str, Any]) -> Table:
    """People and pictures per split, and what cropping them met; from :meth:`PreparedData.summary`."""
    table = Table(
        title=f"data (cropped {summary['cropped_now']:,} pictures now, {summary['seconds']:.1f} s)", title_justify="left"
    )
    columns = ("people", "images", "kept", "no_face", "several_faces", "skipped", "bad")
    table.add_column("split")
    for column in columns:
        table.add_column(column.replace("_", " "), justify="right")
    for split, counts in summary["splits"].items():
        table.add_row(split, *(f"{counts[c]:,}" for c in columns))
    return table


def evaluation_table(evaluations: Sequence[SplitEvaluation], point: OperatingPoint, caution: str = "") -> Table:
    """The figures of each split, one column each, with their 95 % intervals over identities; ``caution`` stands below them."""
    table = Table(
        title=f"same person where {point.distance} distance <= {point.threshold:.4f} ({point.policy} on {point.split})",
        caption="in brackets: 95 % interval from a bootstrap over identities; 0 to 1 where there are fewer than 5 people"
        + (f"\n{caution}" if caution else ""),
        title_justify="left",
        caption_justify="left",
    )
    table.add_column("")
    for e in evaluations:
        table.add_column(e.split, justify="right")
    for name in ("people", "images", "genuine", "impostor"):
        table.add_row(
            f"{name} pairs" if name in ("genuine", "impostor") else name, *(f"{getattr(e, name):,}" for e in evaluations)
        )
    table.add_row("prevalence", *(f"{e.prevalence:.3f}" for e in evaluations), end_section=True)
    for metric in METRICS:
        table.add_row(
            {"f1": "F1", "auc": "ROC AUC", "eer": "EER"}.get(metric, metric), *(_with_interval(e, metric) for e in evaluations)
        )
    table.rows[-1].end_section = True
    for count, meaning in (
        ("tp", "true matches"),
        ("fp", "false matches"),
        ("fn", "false non-matches"),
        ("tn", "true non-matches"),
    ):
        table.add_row(meaning, *(f"{getattr(e.confusion, count):,}" for e in evaluations))
    return table


def show(*tables: Table) -> None:
    """Print tables; wide enough for all columns also where standard output is a file."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=100)
    for table in tables:
        console.print(table)


def _with_interval(evaluation: SplitEvaluation, metric: str) -> str:
    low, high = evaluation.ci95[metric]
    return f"{getattr(evaluation, metric):.3f} [dim]({low:.3f}-{high:.3f})[/dim]"
