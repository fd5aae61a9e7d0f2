"""RunRecord: what a run's folder tells its report; what lacks or is damaged is said."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import numpy as np

from siamese.errors import CalibrationError, ConfigError, first_line
from siamese.pairs.base import Pairs
from siamese.reading import exists, read_bytes, read_object
from siamese.report.history import History, read_history
from siamese.report.stored_report import VERSION, Figures, StoredReport, as_figures
from siamese.verification.held import HeldDistances
from siamese.verification.point import GIVEN, OperatingPoint
from siamese.verification.stored_arrays import arrays_of

T = TypeVar("T")
REPORT, ARRAYS = "report.json", "report.npz"
_LARGEST = 1 << 26
_SETTINGS = 1 << 16  # letters of recorded settings that a page shows


@dataclass(frozen=True, repr=False)
class RunRecord:
    """A run, or an evaluation, as its folder tells it.

    Attributes:
        name: of the folder.
        figures: split -> figures.
        stored: ``report.json``; None where it lacks.
        point: the operating point; None where none is known.
        history: of the epochs; empty where nothing was trained.
        timing: seconds, by name.
        provenance: facts about the run: versions, loss, sampler, seeds.
        parts: backbone, distance and cropper with their settings, by kind.
        settings: as they were recorded, text.
        data: who is in which split, and what was left out.
        skew: split -> how many images identities have.
        pairs: the judged split's pairs with their distances.
        missing: what the report lacks, and why, in sentences.
    """

    name: str
    figures: Mapping[str, Figures]
    stored: StoredReport | None = None
    point: OperatingPoint | None = None
    history: History = field(default_factory=dict)
    timing: Mapping[str, float] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    parts: Mapping[str, Any] = field(default_factory=dict)
    settings: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)
    skew: Mapping[str, Any] = field(default_factory=dict)
    pairs: HeldDistances | None = None
    missing: tuple[str, ...] = ()

    @property
    def judged(self) -> str:
        """The split by which the run is judged: test, or else that of the threshold."""
        wanted = [self.stored.judged] if self.stored else []
        wanted += ["test", *([self.point.split] if self.point else [])]
        return next((name for name in wanted if name in self.figures), next(iter(self.figures)))

    @property
    def chosen_on_judged(self) -> bool:
        """Whether the judged identities are those that the threshold was chosen on."""
        point = self.point
        return point is not None and point.policy != GIVEN and point.split == self.judged

    def called(self, split: str) -> str:
        """A split as it is called in what is printed."""
        known = self.stored.splits.get(split) if self.stored else None
        return known.called if known else split

    def __repr__(self) -> str:
        return f"RunRecord({self.name!r}, {list(self.figures)})"


def read_record(folder: str | Path) -> RunRecord:
    """What lies in a folder; nothing is executed, and no image is opened.

    Args:
        folder: of a run, or of an evaluation (``siamese evaluate --out``).

    Raises:
        ConfigError: there are no figures, or they are damaged.
    """
    folder = Path(folder).expanduser()
    evaluation = folder / "evaluation.json"
    if not exists(evaluation):
        raise ConfigError(
            f"{folder} has no evaluation.json: a report is of a run that came to its end, or of an "
            f"evaluation; siamese evaluate {folder} --out DIR makes one"
        )
    try:
        figures = as_figures(read_object(evaluation, _LARGEST))
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(
            f"{evaluation} holds no figures ({first_line(error)}); evaluate the run again: siamese "
            f"evaluate {folder} --out DIR"
        ) from error
    missing: list[str] = []
    stored = _part(folder / REPORT, _stored, missing) if exists(folder / REPORT) else None
    if stored is None and not missing:
        missing.append(
            "curves, distances and galleries: the folder has no report.json (it is of an earlier "
            "version, or was written without plots)"
        )
    run = _part(folder / "run.json", _object, missing) or {}
    history = read_history(folder / "history.csv") if exists(folder / "history.csv") else {}
    bundle = folder / "bundle" / "bundle.json"
    point = stored.operating_point if stored else _part(bundle, _point, missing)
    provenance = run.get("provenance")
    timing = _part(folder / "timing.json", _object, missing) or (stored.timing if stored else {})
    data = _part(folder / "crops.json", _object, missing) or (stored.data if stored else {})
    return RunRecord(
        folder.resolve().name,
        figures,
        stored,
        point,
        history,
        {name: float(v) for name, v in timing.items() if isinstance(v, (int, float))},
        provenance if isinstance(provenance, dict) else {},
        {n: run[n] for n in ("backbone", "distance", "cropper", "augmentation") if n in run},
        _part(folder / ".hydra" / "config.yaml", _text, missing) or "",
        data,
        _part(folder / "skew.json", _object, missing) or {},
        _part(folder / ARRAYS, lambda path: _pairs(path, stored), missing),
        tuple(missing),
    )


def _part(path: Path, read: Callable[[Path], T], missing: list[str]) -> T | None:
    """What a file says; None, and why, where it is damaged; None alone where there is none."""
    if not exists(path):
        return None
    try:
        return read(path)
    except (OSError, ValueError, TypeError, RecursionError, CalibrationError) as error:
        missing.append(f"what {path.name} says: it is damaged ({first_line(error)})")
        return None


def _object(path: Path) -> dict[str, Any]:
    return read_object(path, _LARGEST)


def _stored(path: Path) -> StoredReport:
    values = _object(path)
    version = values.get("version")
    if type(version) is int and version > VERSION:
        raise ValueError(f"written by a newer siamese, report version {version}")
    return msgspec.convert(values, StoredReport)


def _point(path: Path) -> OperatingPoint:
    values = _object(path).get("operating_point")
    return OperatingPoint.from_dict(values if isinstance(values, dict) else {})


def _text(path: Path) -> str:
    text = read_bytes(path, 1 << 22).decode("utf-8", "replace")
    return text if len(text) <= _SETTINGS else text[:_SETTINGS] + "\n... (cut off)"


def _pairs(path: Path, stored: StoredReport | None) -> HeldDistances | None:
    """The judged split's pairs, checked to be what their rows and labels can be."""
    if stored is None:
        return None
    found = arrays_of(read_bytes(path, _LARGEST))
    keys = found.pop("keys", None)
    if set(found) != {"left", "right", "distances", "labels"}:
        raise ValueError("it has other arrays")
    left, right, distances, labels = (
        found[name] for name in ("left", "right", "distances", "labels")
    )
    whole = all(array.dtype.kind in "iu" for array in (left, right, labels))
    if not whole or not left.shape == right.shape == distances.shape or distances.ndim != 1:
        raise ValueError("its arrays do not fit")
    if labels.ndim != 1 or not len(left) or not np.isfinite(distances).all():
        raise ValueError("its arrays do not fit")
    rows = np.stack([left, right]).astype(np.int64)
    if rows.min() < 0 or rows.max() >= len(labels):
        raise ValueError("its pairs are of rows that are not there")
    who = labels.astype(np.int64)
    if keys is not None and (keys.dtype != np.uint64 or keys.shape != np.unique(who).shape):
        raise ValueError("its keys do not fit")
    pairs = Pairs(rows[0], rows[1], who[rows[0]] == who[rows[1]])
    point = stored.operating_point
    name, rule = (point.distance, point.pair_rule) if point else ("", {})
    return HeldDistances(pairs, distances.astype(np.float32), who, name, rule, keys)
