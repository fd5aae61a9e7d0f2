"""The runs of a sweep, read from their folders: settings, and figures of those that it chose by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import yaml

from siamese.reading import exists, read_object, read_text
from siamese.report.flat_list import FlatList
from siamese.report.stored_report import Pair, Real, Share

TABLE = "sweep.csv"  # in the folder of a sweep: its runs, the best first
FAILED = "failed.txt"  # in a run's folder: why it failed
MARK = Path(".hydra") / "sweep.txt"  # in a run's folder: of which sweep it is one
_SETTINGS = Path(".hydra") / "overrides.yaml"
_LARGEST = 1 << 20  # bytes of the small files of a run
_REASON = 1000  # letters of a reason that a table shows


class _Known(msgspec.Struct, omit_defaults=True):
    """The figures by which runs are compared."""

    eer: Share
    f1: Share | None = None
    auc: Share | None = None
    threshold: Real | None = None
    ci95: dict[str, Pair] = {}


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


def is_sweep(folder: Path) -> bool:
    """Whether a folder is that of a sweep, and not of a run."""
    return exists(folder / TABLE) and not exists(folder / "evaluation.json")


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


def in_order(runs: Sequence[SweepRun]) -> list[SweepRun]:
    """Runs by their numbers, which is the order in which they were begun."""
    return sorted(runs, key=lambda run: _by_number(run.folder))


def varied_settings(runs: Sequence[SweepRun]) -> list[str]:
    """Names of the settings in which the runs differ, in the order they were given in."""
    names = dict.fromkeys(name for run in runs for name in run.settings)
    return [name for name in names if len({run.settings.get(name) for run in runs}) > 1]


def shortened(value: str) -> str:
    """A number that Optuna has drawn, in four digits; anything else as it is.

    >>> shortened("0.0021987924810036043"), shortened("0.75"), shortened("cosine")
    ('0.002199', '0.75', 'cosine')
    """
    if len(value) <= 8:
        return value
    try:
        return f"{float(value):.4g}"
    except ValueError:
        return value


def _read_run(folder: Path, sweep: Path) -> SweepRun:
    """What a run's folder says of it; what cannot be read counts as not finished."""
    name = folder.relative_to(sweep).as_posix()
    settings = _settings(folder / _SETTINGS)
    why = folder / FAILED
    if exists(why):  # whatever lies there besides is of an earlier run
        try:
            reason = " ".join(read_text(why, _LARGEST).split())[:_REASON]
        except (OSError, ValueError):
            reason = "the reason cannot be read"
        return SweepRun(folder, name, settings, failure=f"failed: {reason}")
    try:
        bundle = read_object(folder / "bundle" / "bundle.json")
        split = str(bundle["operating_point"]["split"])
        known = msgspec.convert(read_object(folder / "evaluation.json")[split], _Known)
        manifest = read_object(folder / "split.json")
        people = frozenset(str(entry["file"]) for entry in manifest["splits"].get(split, []))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):  # cut off, or not ours
        return SweepRun(folder, name, settings, failure="not finished")
    figures = msgspec.to_builtins(known)
    return SweepRun(folder, name, settings, split, figures, people)


def _settings(path: Path) -> dict[str, str]:
    """The settings that a run was given; none where the file is damaged, or not Hydra's."""
    try:
        words = yaml.load(read_text(path, _LARGEST), FlatList)
    except (OSError, ValueError, yaml.YAMLError, RecursionError):
        return {}
    if not isinstance(words, list):
        return {}
    parts = (word.partition("=") for word in words if isinstance(word, str))
    return {name.lstrip("+"): value for name, _, value in parts}


def _mark(run: Path) -> str:
    path = run / MARK
    try:
        return read_text(path, _LARGEST) if exists(path) else ""
    except (OSError, ValueError):  # damaged: of another sweep
        return ""


def _by_number(folder: Path) -> tuple[bool, int, str]:
    """Hydra numbers the runs: 10 comes after 9."""
    return not folder.name.isdigit(), int(folder.name) if folder.name.isdigit() else 0, str(folder)
