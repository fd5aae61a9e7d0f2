"""Pictures of a run, as PNG files: loss curves, and distance histograms with the threshold."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from siamese.storage import write_whole
from siamese.verification import Compared

if TYPE_CHECKING:
    from matplotlib.figure import Figure

GENUINE, IMPOSTOR = "#0072b2", "#d55e00"  # Okabe and Ito's palette: told apart by everybody


def read_history(metrics_csv: str | Path) -> dict[str, tuple[list[int], list[float]]]:
    """Lightning's ``metrics.csv`` as name -> (epochs, values), empty cells left out."""
    history: dict[str, tuple[list[int], list[float]]] = {}
    with Path(metrics_csv).open(newline="", encoding="utf-8") as stream:
        for row in csv.DictReader(stream):
            for name, value in row.items():
                if name not in ("epoch", "step") and value:
                    epochs, values = history.setdefault(name, ([], []))
                    epochs.append(int(row["epoch"]))
                    values.append(float(value))
    return history


def loss_curves(history: Mapping[str, tuple[list[int], list[float]]]) -> Figure:
    """Loss on the left; F1 and EER of the calibration people on the right, over epochs."""
    figure = _figure(10, 4)
    left, right = figure.subplots(1, 2)
    for axes, names, title in (
        (left, ("train/loss", "val/loss"), "loss"),
        (right, ("val/f1", "val/auc", "val/eer"), "calibration people"),
    ):
        for name in names:
            if name in history:
                axes.plot(*history[name], label=name, marker="." if len(history[name][0]) < 40 else None)
        axes.set(xlabel="epoch", title=title)
        axes.grid(alpha=0.3)
        if axes.lines:
            axes.legend()
    right.set_ylim(0, 1.02)
    return figure


def distance_histograms(compared: Mapping[str, Compared], threshold: float) -> Figure:
    """For each split the distances of genuine and impostor pairs, and the threshold between them."""
    figure = _figure(4.5 * len(compared), 3.6)
    top = max(float(c.distances.max()) for c in compared.values()) or 1.0
    bins = np.linspace(0, top, 51)
    for axes, (split, c) in zip(np.atleast_1d(figure.subplots(1, len(compared))), compared.items(), strict=True):
        for kind, colour, name in ((c.pairs.same, GENUINE, "genuine"), (~c.pairs.same, IMPOSTOR, "impostor")):
            axes.hist(c.distances[kind], bins, color=colour, alpha=0.6, density=True, label=f"{name} ({int(kind.sum()):,})")
        axes.axvline(threshold, color="black", linestyle="--", label=f"threshold {threshold:.3f}")
        axes.set(title=split, xlabel=f"{c.distance} distance", yticks=[])
        axes.legend(fontsize=8)
    return figure


def save(figure: Figure, path: str | Path) -> Path:
    """Write a figure as PNG, making its folder."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=120)
    write_whole(path, content.getvalue())
    return path


def _figure(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure  # not pyplot: no global state, no window, no backend

    return Figure(figsize=(width, height), layout="constrained")
