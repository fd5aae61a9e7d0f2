"""Figures by group on the console: tables, and sentences that say whether groups differ."""

from __future__ import annotations

from collections.abc import Mapping

from rich.markup import escape
from rich.table import Table

from siamese.report.tables import show
from siamese.verification.group_figures import RATES, GroupEvaluation, GroupFigures

BETWEEN = 5  # pairs of groups that are shown


def show_groups(groups: Mapping[str, GroupEvaluation], split: str) -> None:
    """Print tables and sentences for every column; nothing where there is none."""
    for found in groups.values():
        show(*groups_tables(found, split))
        for sentence in group_sentences(found):
            print(sentence)


def groups_tables(found: GroupEvaluation, split: str) -> list[Table]:
    """The figures within each group; then the pairs of groups that are most often confused.

    Args:
        found: of one column.
        split: whose images these are.
    """
    tables = [_within(found, split)]
    if any(cell.fmr is not None for cell in found.between):
        tables.append(_between(found))
    return tables


def group_sentences(found: GroupEvaluation) -> list[str]:
    """Of either error rate whether it differs between groups, with figures and intervals."""
    return [_sentence(found, rate) for rate in RATES if rate in found.disparities]


def _within(found: GroupEvaluation, split: str) -> Table:
    at = (
        "of each group's own pairs"
        if found.prevalence is None
        else f"at prevalence {found.prevalence:.3g}"
    )
    notes = [f"in brackets: 95 % interval from a bootstrap over identities; F1 {at}"]
    notes += [
        f"highest {RATES[rate]} over the geometric mean: {unequal.ratio:.3g} ({unequal.group})"
        if unequal.ratio is not None
        else f"{RATES[rate]}: {unequal.note}"
        for rate, unequal in found.disparities.items()
    ]
    if found.unknown:
        notes.append(f"images of an unknown group, left out here: {found.unknown:,}")
    table = Table(
        title=escape(f"{split} by {found.column}, at threshold {found.threshold:.4f}"),
        caption=escape("\n".join(notes)),
        title_justify="left",
        caption_justify="left",
    )
    table.add_column("within group", overflow="fold")
    for title in ("identities", "images", "false match rate", "false non-match rate", "F1"):
        table.add_column(title, justify="right")
    for cell in found.within:
        table.add_row(
            escape(cell.groups[0]),
            f"{cell.identities:,}",
            f"{cell.images:,}",
            *(_figure(cell, name) for name in ("fmr", "fnmr", "f1")),
        )
    return table


def _between(found: GroupEvaluation) -> Table:
    rated = [cell for cell in found.between if cell.fmr is not None]
    worst = sorted(rated, key=lambda cell: -(cell.fmr or 0))[:BETWEEN]
    mixed = any(cell.fnmr is not None for cell in worst)
    table = Table(
        title=f"between groups, the highest false match rates ({len(worst)} of {len(rated)})",
        title_justify="left",
    )
    table.add_column("groups", overflow="fold")
    titles = ("impostor pairs", "false match rate", *(("false non-match rate",) if mixed else ()))
    for title in titles:
        table.add_column(title, justify="right")
    for cell in worst:
        rates = (_figure(cell, name) for name in (("fmr", "fnmr") if mixed else ("fmr",)))
        table.add_row(escape(" - ".join(cell.groups)), f"{cell.impostor:,}", *rates)
    return table


def _figure(cell: GroupFigures, name: str) -> str:
    """A figure with its interval; a dash where there are no pairs."""
    value = getattr(cell, name)
    if value is None:
        return "-"
    around = cell.ci95.get(name)
    form = "{:.3f}" if name == "f1" else "{:.2g}"  # rates may be far below a thousandth
    interval = f" [dim]({'-'.join(form.format(end) for end in around)})[/dim]" if around else ""
    return form.format(value) + interval


def _sentence(found: GroupEvaluation, rate: str) -> str:
    differs, title = found.disparities[rate].differs, RATES[rate]
    if differs is not None:
        one, other = (_stated(found, group, rate) for group in differs)
        wider = "" if found.level == 0.95 else f", made wider for {len(found.groups)} groups,"
        return (
            f"{found.column}: the {title} differs between groups: {one}, {other}: intervals{wider} "
            f"do not overlap"
        )
    if sum(rate in cell.ci95 for cell in found.within) < 2:
        return (
            f"{found.column}: whether the {title} differs between groups is not known: fewer than "
            f"two groups have enough identities"
        )
    return f"{found.column}: no difference in {title} between groups is shown"


def _stated(found: GroupEvaluation, group: str, rate: str) -> str:
    cell = found.cell(group, group)
    low, high = cell.ci95[rate]
    return f"{getattr(cell, rate):.2g} ({low:.2g}-{high:.2g}) in {group}"
