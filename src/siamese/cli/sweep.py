"""The runs of a sweep, read from their folders, as a table that names the best one of them."""

from __future__ import annotations

import csv
import io
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from siamese.cli.run_folder import HYDRAS, MARK, RunFolder, Sweep
from siamese.errors import first_line
from siamese.inference.bundle import DESCRIPTION, SWEEP
from siamese.reading import read_object
from siamese.report.tables import SWEEP_FIGURES, show, sweep_table
from siamese.storage import write_whole

FAILED = "failed.txt"  # in a run's folder: why it failed
_SETTINGS = Path(".hydra") / "overrides.yaml"


@dataclass(frozen=True)
class SweepRun:
    """One run of a sweep, as its folder tells it.

    Attributes:
        folder: of the run.
        name: of the folder, within that of the sweep.
        settings: name -> value, as they were given to this run.
        split: whose people the figures are of: those that the threshold was chosen on.
        figures: of that split alone; a sweep chooses, so it never reads those of test people.
        people: the images of that split, to compare with those of other runs.
        failure: that there are no figures, and why; empty where there are.
    """

    folder: Path
    name: str
    settings: dict[str, str]
    split: str = ""
    figures: dict[str, Any] = field(default_factory=dict)
    people: frozenset[str] = frozenset()
    failure: str = ""

    @property
    def finished(self) -> bool:
        """Whether the run has figures."""
        return bool(self.figures)


def note_failure(folder: Path, error: Exception) -> None:
    """Leave the reason in the run's folder, where any process finds it."""
    write_whole(folder / FAILED, f"{first_line(error)}\n".encode())


def forget_failure(folder: Path) -> None:
    """Remove the reason for which an earlier run in this folder failed."""
    (folder / FAILED).unlink(missing_ok=True)


def read_sweep(folder: Path, mark: str | None = None) -> list[SweepRun]:
    """The runs below a sweep's folder: the best first, then by number; what failed stands last.

    The best has the smallest EER; of equal ones, that with the largest area.

    Args:
        folder: of the sweep.
        mark: only runs that have it are runs of this sweep; None for all that lie there.
    """
    found = {path.parent.parent for path in folder.rglob(str(_SETTINGS))}
    if mark is not None:
        found = {path for path in found if _mark(path) == mark}
    runs = [_read_run(each, folder) for each in sorted(found, key=_by_number)]
    return sorted(
        runs,
        key=lambda run: (
            not run.finished,
            run.figures.get("eer", 0.0),
            -run.figures.get("auc", 0.0),
        ),
    )


def show_sweep() -> None:
    """After a sweep: its table, the best run, and ``sweep.csv``; nothing after anything else.

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
            " ".join(f"{k}={v}" for k, v in run.settings.items() if k in varied),
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
        print(f"table: {shown}/{SWEEP}    next: siamese evaluate {where}")


def varied_settings(runs: Sequence[SweepRun]) -> list[str]:
    """Names of the settings in which the runs differ, in the order they were given in."""
    names = dict.fromkeys(name for run in runs for name in run.settings)
    return [name for name in names if len({run.settings.get(name) for run in runs}) > 1]


def _read_run(folder: Path, sweep: Path) -> SweepRun:
    """What a run's folder says of it; what cannot be read counts as not finished."""
    from omegaconf import OmegaConf

    name = folder.relative_to(sweep).as_posix()
    words = [str(word) for word in OmegaConf.load(folder / _SETTINGS)]
    settings = {k.lstrip("+"): v for k, _, v in (word.partition("=") for word in words)}
    why = folder / FAILED
    if why.is_file():  # whatever lies there besides is of an earlier run
        reason = why.read_text(encoding="utf-8").strip()
        return SweepRun(folder, name, settings, failure=f"failed: {reason}")
    try:
        bundle = read_object(folder / "bundle" / DESCRIPTION)
        split = str(bundle["operating_point"]["split"])
        figures = read_object(folder / "evaluation.json")[split]
        manifest = read_object(folder / "split.json")
        people = frozenset(str(entry["file"]) for entry in manifest["splits"].get(split, []))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):  # cut off, or not ours
        return SweepRun(folder, name, settings, failure="not finished")
    return SweepRun(folder, name, settings, split, figures, people)


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


def _mark(run: Path) -> str:
    path = run / MARK
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def _by_number(folder: Path) -> tuple[bool, int, str]:
    """Hydra numbers the runs: 10 comes after 9."""
    return not folder.name.isdigit(), int(folder.name) if folder.name.isdigit() else 0, str(folder)
