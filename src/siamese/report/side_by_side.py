"""Several runs on one page: verdicts and figures side by side, and paired differences."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from siamese.errors import CalibrationError, first_line
from siamese.report.error_charts import Lines, det_chart, roc_chart
from siamese.report.page_parts import PageSection, PageTable
from siamese.report.record import RunRecord
from siamese.report.verdict import judge_run
from siamese.report.words import BASELINES, TITLES, UNKNOWN, figure_at, interval, number
from siamese.verification.paired import PairedComparison, compare_pairs

_FIGURES = ("auc", "eer", "f1", "accuracy", "recall", "fmr")
# Settings that change what is shown, and nothing else.
_SHOWN = ("plots", "faces", "name", "overwrite", "resume", "first_weights")
MOST_PAIRED = 6  # runs of which every two are compared


def comparison_sections(records: Sequence[RunRecord]) -> list[PageSection]:
    """What several runs are beside each other.

    Args:
        records: two at least; their names are distinct.
    """
    return [_verdicts(records), _figures(records), _curves(records), _settings(records)]


def _verdicts(records: Sequence[RunRecord]) -> PageSection:
    """Which is better, as far as that is shown, and the verdict on each."""
    said, tables, why = _paired(records)
    each = []
    for record in records:
        verdict = judge_run(record)
        each.append(f"{record.name}: {verdict.headline}. {verdict.sentence}")
    return PageSection("verdict", "Which run is better", said, tables=tables, points=[*why, *each])


def _paired(records: Sequence[RunRecord]) -> tuple[list[str], list[PageTable], list[str]]:
    """Sentences, tables of differences, and why some are not known."""
    said, tables, why = [], [], []
    for a, b in itertools.combinations(records[:MOST_PAIRED], 2):
        found = paired(a, b)
        if isinstance(found, str):
            why.append(f"{a.name} and {b.name} are not compared pair by pair: {found}.")
            continue
        sentence = found.sentence(a.name, b.name)
        said.append(f"{sentence[:1].upper()}{sentence[1:]}.")
        tables.append(_differences(a, b, found))
    if len(records) > MOST_PAIRED:
        why.append(f"Only the first {MOST_PAIRED} runs are compared pair by pair.")
    if not said:
        said.append(
            "Which run is better is not known: differences on the same pairs cannot be measured. "
            "The figures below are of different pairs, or lack their pairs."
        )
    return said, tables, why


def paired(a: RunRecord, b: RunRecord) -> PairedComparison | str:
    """How two runs differ on the same pairs; or why that is not known."""
    if a.pairs is None or b.pairs is None or a.stored is None or b.stored is None:
        lacking = a.name if a.pairs is None else b.name
        return f"the pairs of {lacking} are not kept (siamese compare measures them)"
    if not a.stored.pairs or a.stored.pairs != b.stored.pairs:
        return "they were tested on other images (siamese compare measures both on one set)"
    figures = [record.figures[record.judged] for record in (a, b)]
    stated = [each.at_prevalence.get("prevalence") for each in figures]
    try:
        return compare_pairs(
            a.pairs,
            b.pairs,
            figures[0].threshold,
            figures[1].threshold,
            prevalence=stated[0] if stated[0] == stated[1] else None,
        )
    except CalibrationError as error:
        return first_line(error)


def _differences(a: RunRecord, b: RunRecord, found: PairedComparison) -> PageTable:
    rows = []
    for name, figure in found.figures.items():
        metric, _, rate = name.partition("@fmr=")
        metric, _, stated = metric.partition("@")
        title = TITLES.get(metric, metric)
        title += f" at false match rate {rate}" if rate else " at the prevalence" if stated else ""
        around = figure.ci95
        ends = f"{around[0]:+.3f} to {around[1]:+.3f}" if around else UNKNOWN
        values = [number(figure.a), number(figure.b), f"{figure.difference:+.3f}"]
        rows.append([title, *values, ends, figure.verdict])
    header = ["", a.name, b.name, "difference", "95 % interval", f"{b.name} is"]
    note = (
        f"On the same {found.genuine:,} genuine and {found.impostor:,} impostor pairs of "
        f"{found.identities:,} identities, each at its own threshold; intervals over identities. "
        f"By chance, one figure in twenty differs: go by the ROC AUC."
    )
    return PageTable(f"{a.name} and {b.name} on the same pairs", header, rows, note)


def _figures(records: Sequence[RunRecord]) -> PageSection:
    rows = []
    for name in _FIGURES:
        cells = []
        for record in records:
            value, around = figure_at(record.figures[record.judged], name)
            cells.append(f"{number(value)} ({interval(around)})")
        rows.append([TITLES[name], *cells])
    for name, words in BASELINES.items():
        known = [record.figures[record.judged].baselines.get(name) for record in records]
        if any(known):
            cells = [number(each.auc) if each else UNKNOWN for each in known]
            rows.append([f"ROC AUC of {words}", *cells])
    tested = [
        f"{record.called(record.judged)}: {record.figures[record.judged].identities:,} identities"
        for record in records
    ]
    rows.append(["measured on", *tested])
    rows.append(["threshold", *(f"{r.figures[r.judged].threshold:.4f}" for r in records)])
    table = PageTable("", ["", *(record.name for record in records)], rows)
    return PageSection("figures", "Figures", tables=[table])


def _curves(records: Sequence[RunRecord]) -> PageSection:
    lines: Lines = {
        record.name: (split.curve, record.figures[record.judged].threshold)
        for record in records
        if record.stored and (split := record.stored.splits.get(record.judged)) and split.curve
    }
    charts = [chart for chart in (roc_chart(lines), det_chart(lines)) if chart]
    lacking = [record.name for record in records if record.name not in lines]
    said = [f"No curve is known of {name}." for name in lacking]
    return PageSection("errors", "Errors", said, charts)


def _settings(records: Sequence[RunRecord]) -> PageSection:
    """What differs between the runs, and no setting that is alike."""
    title = "What was set differently"
    known = [record for record in records if record.provenance]
    said = [
        f"No settings are recorded of {record.name}." for record in records if not record.provenance
    ]
    if len(known) < 2:
        return PageSection("settings", title, said)
    # Settings of the command where all have them: they have other names than the facts of a run.
    whole = all(isinstance(record.provenance.get("config"), dict) for record in known)
    flat = [
        _flattened(
            record.provenance["config"]
            if whole
            else {name: fact for name, fact in record.provenance.items() if name != "config"}
        )
        for record in known
    ]
    names = sorted(set().union(*flat))
    rows = [
        [name, *(each.get(name, "(not set)") for each in flat)]
        for name in names
        if len({each.get(name) for each in flat}) > 1 and name not in _SHOWN
    ]
    if not rows:
        return PageSection("settings", title, [*said, "No recorded setting differs."])
    table = PageTable("", ["setting", *(record.name for record in known)], rows)
    return PageSection("settings", title, said, tables=[table])


def _flattened(value: object, prefix: str = "") -> dict[str, str]:
    if isinstance(value, dict):
        found: dict[str, str] = {}
        for key, each in value.items():
            found |= _flattened(each, f"{prefix}.{key}" if prefix else str(key))
        return found
    return {prefix: " ".join(str(value).split())[:200]}
