"""What was recorded in each epoch of a run: read, joined, and written as ``history.csv``."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from siamese.storage import write_whole

# Name -> (epochs, values).
History = Mapping[str, tuple[list[int], list[float]]]


def read_history(metrics_csv: str | Path) -> dict[str, tuple[list[int], list[float]]]:
    """Lightning's ``metrics.csv`` as name -> (ascending epochs, values), empty cells left out.

    A resumed run repeats the epoch in which it was stopped: the last value of an epoch counts. Rows
    without an epoch (of a LearningRateMonitor, say) are left out.
    """
    found: dict[str, dict[int, float]] = {}
    with Path(metrics_csv).open(newline="", encoding="utf-8") as stream:
        for row in csv.DictReader(stream):
            for name, value in row.items():
                if name not in ("epoch", "step") and value and row["epoch"]:
                    found.setdefault(name, {})[int(row["epoch"])] = float(value)
    return {
        name: (sorted(values), [values[epoch] for epoch in sorted(values)])
        for name, values in found.items()
    }


def join_histories(earlier: History, later: History) -> dict[str, tuple[list[int], list[float]]]:
    """Two histories as one; where both have an epoch, the later one counts."""
    both: dict[str, dict[int, float]] = {}
    for history in (earlier, later):
        for name, (epochs, values) in history.items():
            both.setdefault(name, {}).update(zip(epochs, values, strict=True))
    return {
        name: (sorted(known), [known[e] for e in sorted(known)]) for name, known in both.items()
    }


def write_history(
    path: str | Path, history: Mapping[str, tuple[Sequence[int], Sequence[float]]]
) -> Path:
    """Write the metrics of a run as CSV: one row per epoch, one column per metric.

    A cell is empty where nothing was recorded.

    Args:
        path: of the file; its folder is made.
        history: name -> (epochs, values), from :func:`read_history`, which reads this file too.
    """
    path = Path(path)
    names = sorted(history)
    columns = {name: dict(zip(*history[name], strict=True)) for name in names}
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["epoch", *names])
    for epoch in sorted(set().union(*columns.values())):
        writer.writerow([epoch, *(columns[name].get(epoch, "") for name in names)])
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, text.getvalue().encode())
    return path
