"""The page on a sweep: which run was chosen, by what, and how good it is on test identities."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from siamese.errors import ConfigError
from siamese.reading import exists
from siamese.report.page_parts import PageSection, PageTable
from siamese.report.page_sections import baselines_section
from siamese.report.record import RunRecord, read_record
from siamese.report.sweep_charts import order_chart, setting_charts
from siamese.report.sweep_runs import SweepRun, in_order, read_sweep, shortened, varied_settings
from siamese.report.verdict import judge_run
from siamese.report.words import UNKNOWN, interval, number, percent

_ROWS = 500  # runs in the table


def describe_sweep(folder: Path, mark: str | None = None) -> dict[str, Any]:
    """What the template of a report shows of a sweep.

    Args:
        folder: of the sweep.
        mark: see :func:`siamese.report.sweep_runs.read_sweep`.

    Raises:
        ConfigError: no run lies there.
    """
    runs = read_sweep(folder, mark)
    if not runs:
        raise ConfigError(f"{folder} holds no run of a sweep: give the folder that has sweep.csv")
    varied = varied_settings(runs)
    finished = [run for run in in_order(runs) if run.finished]
    missing: list[str] = []
    sections = [
        _chosen(runs, varied),
        _tested(runs[0], missing) if finished else None,
        _table(runs, varied),
        _charts(finished, runs[0], varied),
        _same(runs, varied) if len(runs) > 1 else None,
    ]
    return {
        "kind": "Report on a sweep",
        "title": f"{folder.resolve().name}: {len(runs)} runs of a sweep",
        "verdict": None,
        "notes": (),
        "sections": [section for section in sections if section is not None],
        "missing": missing,
    }


def _chosen(runs: Sequence[SweepRun], varied: Sequence[str]) -> PageSection:
    """Which run was chosen, by what figure, and whether it is shown to be better than others."""
    best, finished = runs[0], [run for run in runs if run.finished]
    title = "The chosen run"
    if not finished:
        said = ["No run has figures, so none was chosen. The table says why."]
        return PageSection("chosen", title, said)
    ends = best.figures.get("ci95", {}).get("eer")
    said = [
        f"Run {best.name} was chosen of {len(finished)}: it has the smallest equal error rate on "
        f"the {best.split} identities, {percent(best.figures['eer'])} "
        f"({interval(ends, 'percent')})."
    ]
    others = finished[1:]
    if ends and others:
        near = sum(run.figures["eer"] <= ends[1] for run in others)
        said.append(
            f"{_of_others(near, len(others))} an equal error rate within the 95 % interval of "
            f"that. That the chosen run is better than such a run is not shown."
            if near
            else "No other run has an equal error rate within the 95 % interval of that."
        )
    if others:
        said.append(
            "This figure is a little too good, since the run was chosen by it: the more runs, the "
            "more so. How good the run is, the next section says."
        )
    points = []
    if len({run.people for run in finished}) > 1:
        points.append(
            f"The {best.split} identities are not the same in all runs, so that a smaller error "
            f"rate may mean easier identities."
        )
    if lost := len(runs) - len(finished):
        points.append(f"{lost} of {len(runs)} runs have no figures; the table says why.")
    rows = [[name, _value(best, name)] for name in varied]
    tables = [PageTable("Its settings", ["setting", "value"], rows)] if rows else []
    return PageSection("chosen", title, said, tables=tables, points=points)


def _of_others(near: int, others: int) -> str:
    if others == 1:
        return "The other run has"
    return f"{near} of the {others} other runs {'has' if near == 1 else 'have'}"


def _tested(best: SweepRun, missing: list[str]) -> PageSection:
    """The test figures of the chosen run, beside its baselines, and of no other run."""
    title = "How good the chosen run is"
    alone = (
        "These are figures of the chosen run alone. The test figures of the other runs chose "
        "nothing, and do not stand on this page."
    )
    try:
        record: RunRecord = read_record(best.folder)
    except ConfigError as error:
        missing.append(f"the figures of the chosen run: {error}")
        return PageSection("tested", title, [f"That is {UNKNOWN}: its figures cannot be read."])
    verdict, found = judge_run(record), baselines_section(record)
    said = [f"{verdict.headline}. {verdict.sentence}", verdict.against, verdict.sure]
    if record.judged != "test":
        said.append(
            f"The run has no test identities: these are figures of the {record.judged} identities, "
            f"by which it was chosen."
        )
    page = f"{best.name}/report.html"
    whole = (
        f"The whole report of this run: {page}"
        if exists(best.folder / "report.html")
        else f"This run has no report of its own yet: siamese report {best.folder.name} makes one, "
        f"run where that folder lies."
    )
    points = [*found.said, alone, whole]
    return PageSection("tested", title, said, tables=found.tables, points=points)


def _table(runs: Sequence[SweepRun], varied: Sequence[str]) -> PageSection:
    """All runs, the best first."""
    rows = [
        [
            run.name,
            *(_value(run, name) for name in varied),
            *(_figure(run, name) for name in ("eer", "f1", "auc")),
            run.failure,
        ]
        for run in runs[:_ROWS]
    ]
    lost = any(run.failure for run in runs)
    header = ["run", *varied, "equal error rate", "F1", "ROC AUC", "why there are none"]
    if not lost:
        header, rows = header[:-1], [row[:-1] for row in rows]
    split = next((run.split for run in runs if run.finished), "calibration")
    note = f"Figures of the {split} identities, in brackets 95 % intervals over identities. "
    note += "The best run stands first; all figures stand in sweep.csv."
    if len(runs) > _ROWS:
        note += f" The first {_ROWS:,} of {len(runs):,} runs are shown."
    return PageSection("runs", "All runs", tables=[PageTable("", header, rows, note)])


def _value(run: SweepRun, name: str) -> str:
    return shortened(run.settings.get(name, "(not set)"))


def _figure(run: SweepRun, name: str) -> str:
    if name not in run.figures:
        return ""
    ends = run.figures.get("ci95", {}).get(name)
    return number(run.figures[name]) + (f" ({interval(ends)})" if ends else "")


def _charts(
    finished: Sequence[SweepRun], best: SweepRun, varied: Sequence[str]
) -> PageSection | None:
    """The objective against each setting, and in the order of the runs."""
    if len(finished) < 2:
        return None
    charts = [*setting_charts(finished, best, varied), order_chart(finished)]
    said = [
        "Each point is a run, with its 95 % interval over identities; a ring marks the chosen one. "
        "Other settings vary, too: a picture shows where good runs lie, not what a setting does "
        "alone."
    ]
    return PageSection("settings", "The error rate against each setting", said, charts)


def _same(runs: Sequence[SweepRun], varied: Sequence[str]) -> PageSection | None:
    """What was given to all runs alike."""
    alike = {name: value for name, value in runs[0].settings.items() if name not in varied}
    if not alike:
        return None
    rows = [[name, value] for name, value in alike.items()]
    table = PageTable("", ["setting", "value"], rows)
    return PageSection("alike", "What all runs were given", tables=[table])
