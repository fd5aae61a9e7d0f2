"""Charts for the page of learning and of distances, one set of axes each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from siamese.report.history import History, validated_split
from siamese.report.inline_svg import BAND, DASHES, INK, SERIES, Chart, Drawing, Key
from siamese.report.stored_report import Pair, StoredHistogram
from siamese.report.words import percent


def learning_charts(history: History, kept: int | None, one_rule: bool = True) -> list[Chart]:
    """Losses, and the error rate of the calibration identities, over epochs.

    Args:
        history: from :func:`siamese.report.history.read_history`, whose epochs begin with 0.
        kept: the epoch whose weights the bundle has, counted from 1; None where not known.
        one_rule: whether both losses are of batches drawn by one rule; otherwise, or where that is
            not known, each has axes of its own.
    """
    split = validated_split(history)
    found = []
    both = ("train/loss", f"{split}/loss")
    losses = (
        [("loss", "Loss", both, False)]
        if one_rule
        else [
            ("loss", "Loss in training", both[:1], False),
            ("loss-validated", f"Loss of the {split} identities", both[1:], False),
        ]
    )
    for name, title, series, share in (
        *losses,
        ("eer-epochs", f"Equal error rate of the {split} identities", (f"{split}/eer",), True),
    ):
        known = {key: history[key] for key in series if history.get(key, ([], []))[0]}
        if known:
            chart = _over_epochs(name, title, known, kept, share)
            found.append(chart)
    return found


def _over_epochs(
    name: str,
    title: str,
    series: Mapping[str, tuple[list[int], list[float]]],
    kept: int | None,
    share: bool,
) -> Chart:
    from matplotlib.ticker import MaxNLocator

    drawing = Drawing.begin("epoch", "" if share else "loss")
    axes = drawing.axes
    top, bottom, lost = 0.0, 0.0, 0
    for place, (key, (epochs, values)) in enumerate(series.items()):
        finite = [(e + 1, v) for e, v in zip(epochs, values, strict=True) if np.isfinite(v)]
        lost += len(values) - len(finite)
        if not finite:
            continue
        x, y = [e for e, _ in finite], [v for _, v in finite]
        top, bottom = max(top, *y), min(bottom, *y)
        label = key.partition("/")[0]
        axes.plot(
            x,
            y,
            color=SERIES[place],
            linestyle=DASHES[place],
            linewidth=1.8,
            marker="o",
            markersize=3.2 if len(x) <= 60 else 0,
        )
        drawing.legend.append(Key(label, place, place))
        shown = [percent(v) if share else f"{v:.4g}" for v in y]
        drawing.trace(label, x, y, [f"epoch {e}: {v}" for e, v in zip(x, shown, strict=True)])
        best = int(np.argmin(y))
        if share or label != "train":
            axes.plot([x[best]], [y[best]], "o", markerfacecolor="none", markeredgecolor=INK,
                      markersize=10)  # fmt: skip
            drawing.legend.append(Key(f"lowest: epoch {x[best]}, {shown[best]}", -1, -2))
    if kept is not None:
        axes.axvline(kept, color=INK, linewidth=1.1, linestyle=(0, (3, 2)))
        drawing.legend.append(Key(f"kept weights: epoch {kept}", -1, -3))
    axes.set_ylim(1.08 * bottom, 1.08 * top if top > 0 else 1 if bottom == 0 else 0)
    last = max((max(e) + 1 for e, _ in series.values()), default=1)
    axes.set_xlim(1 - 0.02 * last, last + max(0.5, 0.02 * last))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1, nbins=8))
    if share:
        axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.4g}%")
    caption = (
        "Lower is better. Test identities have no part in it."
        if share
        else "Both are of one loss; that of training is of augmented images, so that it can be "
        "the higher one."
        if len(series) > 1
        else "Of training images, augmented."
        if "train/loss" in series
        else "It cannot be compared with the loss in training: its pairs are drawn in another way, "
        "or that is not known."
    )
    if lost:
        caption = (
            f"{lost} of the recorded values are no finite numbers, and are not drawn. {caption}"
        )
    return drawing.finish(name, title, f"{title} over {last} epochs", caption)


def distance_chart(
    counts: StoredHistogram,
    threshold: float,
    band: Pair | None,
    unit: str,
    name: str = "distances",
    title: str = "Distances",
) -> Chart:
    """How far genuine and impostor pairs are apart, each as a share of its kind."""
    drawing = Drawing.begin(f"{unit} distance", "share of the pairs of a kind")
    axes = drawing.axes
    edges = np.asarray(counts.edges)
    centres = (edges[1:] + edges[:-1]) / 2
    if band is not None:
        axes.axvspan(*band, color=BAND, linewidth=0, zorder=0)
    for place, (kind, numbers) in enumerate(
        (("genuine", counts.genuine), ("impostor", counts.impostor))
    ):
        total = sum(numbers)
        shares = np.asarray(numbers) / max(1, total)
        style: dict[str, Any] = {"color": SERIES[place], "linewidth": 1.6}
        axes.stairs(shares, edges, fill=True, alpha=0.28, color=SERIES[place])
        axes.stairs(shares, edges, linestyle=DASHES[place], **style)
        drawing.legend.append(Key(f"{kind}: {total:,} pairs", place, place))
        words = [
            f"{low:.3f} to {high:.3f}: {n:,} {kind} pairs ({percent(float(s))})"
            for low, high, n, s in zip(edges[:-1], edges[1:], numbers, shares, strict=True)
        ]
        drawing.trace(kind, list(centres), list(shares), words)
    axes.axvline(threshold, color=INK, linewidth=1.2)
    drawing.legend.append(Key(f"threshold {threshold:.4f}", -1, 0))
    if band is not None:
        drawing.legend.append(Key("its 95 % interval", -1, -1))
    axes.set_ylim(0, None)
    axes.set_xlim(float(edges[0]), float(edges[-1]))
    axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.3g}%")
    return drawing.finish(
        name,
        title,
        f"Histogram of genuine and impostor distances with the threshold at {threshold:.4f}",
        "Left of the line pairs count as one identity. Genuine pairs right of it are missed, "
        "impostor pairs left of it falsely accepted.",
    )
