"""What was recorded in each epoch of a run: read, joined, and written as ``history.csv``."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from siamese.errors import first_line
from siamese.notices import warn_once
from siamese.reading import LARGEST_TEXT, Unreadable, read_bytes
from siamese.storage import write_whole

# Name -> (epochs, values).
History = Mapping[str, tuple[list[int], list[float]]]


def read_history(metrics_csv: str | Path) -> dict[str, tuple[list[int], list[float]]]:
    """Lightning's ``metrics.csv`` as name -> (ascending epochs, values), empty cells left out.

    A resumed run repeats the epoch in which it was stopped: the last value of an epoch counts. Rows
    without an epoch (of a LearningRateMonitor, say) are left out.

    A file that a power failure cut off or overwrote is read up to the damage, with a warning; one
    that cannot be read at all gives an empty history. It is a record beside the run: neither keeps
    one from going on.
    """
    path = Path(metrics_csv)
    try:
        content = read_bytes(path, LARGEST_TEXT)
    except (OSError, Unreadable) as error:
        reason = getattr(error, "strerror", None) or first_line(error)
        warn_once(f"{path}: no metrics are read ({reason}); those curves will lack")
        return {}
    found: dict[str, dict[int, float]] = {}
    # Every row ends with the end of a line: what comes after the last one may be half a number.
    whole, end, rest = content.rpartition(b"\n")
    text = (whole + end).decode("utf-8-sig", "replace")
    reader = csv.DictReader(io.StringIO(text, newline=""))
    try:
        for row in reader:
            for name, (epoch, value) in _values(row).items():
                found.setdefault(name, {})[epoch] = value
        if rest:
            raise ValueError("cut off")
    except (ValueError, csv.Error):
        warn_once(
            f"{path}: damaged near line {reader.line_num}; the metrics before it are kept, the "
            f"rest will lack"
        )
    return {
        name: (sorted(values), [values[epoch] for epoch in sorted(values)])
        for name, values in found.items()
    }


def _values(row: Mapping[str | None, str | None]) -> dict[str, tuple[int, float]]:
    """Name -> (epoch, value) of one row.

    Raises:
        ValueError: it is cut off, or holds something else than numbers.
    """
    # DictReader gives None for cells that lack, and as the name of those that are too many.
    if (
        None in row
        or None in row.values()
        or "epoch" not in row
        or "\ufffd" in "".join(map(str, row))
    ):
        raise ValueError("not a row of metrics")
    epoch = row["epoch"]
    if not epoch:
        return {}
    return {
        str(name): (int(epoch), float(value))
        for name, value in row.items()
        if name not in ("epoch", "step") and value
    }


def validated_split(history: History) -> str:
    """The split that figures were logged for in each epoch."""
    named = (name.partition("/")[0] for name in sorted(history) if "/" in name)
    return next((split for split in named if split not in ("train", "test")), "calibration")


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
