"""``evaluation.json`` and ``history.csv``: the figures of a run for other programs to read."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from siamese.storage import write_json
from siamese.storage import write_whole
from siamese.verification.figures import SplitEvaluation


def write_evaluation(path: str | Path, evaluations: Mapping[str, SplitEvaluation]) -> Path:
    """Write split -> figures as JSON."""
    return write_json(path, {split: e.to_dict() for split, e in evaluations.items()})


def write_history(path: str | Path, history: Mapping[str, tuple[Sequence[int], Sequence[float]]]) -> Path:
    """Write the metrics of a run as CSV: one row per epoch, one column per metric, empty where nothing was recorded.

    Args:
        path: of the file; its folder is made.
        history: name -> (epochs, values), from :func:`siamese.report.plots.read_history`, which reads this file too.
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
