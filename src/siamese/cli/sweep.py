"""What a sweep says at its end: a table of its runs, the best of them, and its report."""

from __future__ import annotations

import csv
import io
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from siamese.cli.run_folder import HYDRAS, RunFolder, Sweep
from siamese.errors import first_line
from siamese.inference.bundle import SWEEP
from siamese.report.sweep_runs import FAILED, SweepRun, read_sweep, shortened, varied_settings
from siamese.report.tables import SWEEP_FIGURES, show, sweep_table
from siamese.storage import write_whole


def note_failure(folder: Path, error: Exception) -> None:
    """Leave the reason in the run's folder, where any process finds it."""
    write_whole(folder / FAILED, f"{first_line(error)}\n".encode())


def forget_failure(folder: Path) -> None:
    """Remove the reason for which an earlier run in this folder failed."""
    (folder / FAILED).unlink(missing_ok=True)


def show_sweep() -> None:
    """After a sweep: its table, the best run, ``sweep.csv`` and ``report.html``; nothing after
    anything else.

    Where every run failed for the same reason there is nothing to compare: the folders are removed
    if nothing else lies in them, and the error, which follows, says all.
    """
    begun, RunFolder.sweep = RunFolder.sweep, None
    if begun is None or not (runs := read_sweep(begun.folder, begun.mark)):
        return
    folder, name = begun.folder, begun.name
    reasons = {run.failure for run in runs}
    if len(reasons) == 1 and "" not in reasons and _remove_if_empty(begun, runs):
        return
    varied = varied_settings(runs)
    write_whole(folder / SWEEP, _as_csv(runs).encode())
    shown = os.path.relpath(folder)
    rows = [
        (
            run.name,
            " ".join(f"{k}={shortened(v)}" for k, v in run.settings.items() if k in varied),
            run.figures,
            run.failure,
        )
        for run in runs
    ]
    best = runs[0]
    title = f"sweep {name + ', ' if name else ''}{shown}: {len(runs)} runs"
    show(sweep_table(title, best.split, rows))
    if best.finished:
        if len({run.people for run in runs if run.finished}) > 1:
            print(
                f"note: the {best.split} people are not the same in all runs, so a smaller EER may "
                f"mean easier people"
            )
        where = os.path.relpath(best.folder)
        print(f"best by the {best.split} people's EER: {where} ({rows[0][1] or 'as all'})")
        page = f"report: {shown}/report.html    " if begun.plots and _reported(begun) else ""
        print(f"{page}table: {shown}/{SWEEP}    next: siamese evaluate {where}")


def _reported(sweep: Sweep) -> bool:
    """Write the report of a sweep; what goes wrong with it costs no sweep."""
    from siamese.report.run_report import write_sweep_report

    try:
        write_sweep_report(sweep.folder, mark=sweep.mark)
    except Exception as error:
        print(f"note: no report was written: {first_line(error) or type(error).__name__}")
        return False
    return True


def _as_csv(runs: Sequence[SweepRun]) -> str:
    """One row per run: its figures with the ends of their intervals, and all its settings."""
    names = list(dict.fromkeys(name for run in runs for name in run.settings))
    ends = [f"{figure}{end}" for figure in SWEEP_FIGURES for end in ("", "_low", "_high")]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["run", "split", *ends, "threshold", "failure", *names])
    for run in runs:
        cells: list[Any] = []
        for figure in SWEEP_FIGURES:
            interval = run.figures.get("ci95", {}).get(figure, ("", ""))
            cells += [run.figures.get(figure, ""), *interval]
        known = [run.name, run.split, *cells, run.figures.get("threshold", ""), run.failure]
        writer.writerow([*known, *(run.settings.get(name, "") for name in names)])
    return text.getvalue()


def _remove_if_empty(sweep: Sweep, runs: Sequence[SweepRun]) -> bool:
    """Remove runs in which nothing lies but what Hydra and we wrote before any of them began, and
    the sweep's folder, unless something else lies there.
    """
    left = [path.name for run in runs for path in run.folder.iterdir()]
    if any(name not in (*HYDRAS, FAILED) for name in left):
        return False
    for run in runs:
        shutil.rmtree(run.folder)
    if "multirun.yaml" not in sweep.before:
        (sweep.folder / "multirun.yaml").unlink(missing_ok=True)
    outer = [path for run in runs for path in run.folder.parents if sweep.folder in path.parents]
    for folder in [*outer, sweep.folder, *list(sweep.folder.parents)[:2]]:
        if folder.is_dir() and folder.resolve() != Path.cwd() and not any(folder.iterdir()):
            folder.rmdir()
    return True
