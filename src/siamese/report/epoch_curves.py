"""Curves over the epochs of a run: losses, figures of the validated split, its equal error rate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from siamese.report.history import History, validated_split
from siamese.report.plots import DASHES, PALETTE, blank_figure, remark

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WINDOW = 20  # recorded values in an average over epochs, at most
_MARKED = 40  # up to so many values each is marked, and no average is drawn
_MARKERS = "osD^"


class Chosen(NamedTuple):
    """Which epoch a run kept, and by which figure the best is told.

    Attributes:
        monitor: name in the history of the figure by which epochs are compared.
        mode: ``"min"`` or ``"max"`` of it is the best.
        kept: the epoch whose weights were kept, from 0; None where that is not known.
    """

    monitor: str
    mode: str = "min"
    kept: int | None = None

    def best(self, history: History) -> int | None:
        """The best epoch, the first of several alike, from 0; None where none was recorded."""
        epochs, values = history.get(self.monitor, ([], []))
        known = [(v, e) for e, v in zip(epochs, values, strict=True) if np.isfinite(v)]
        if not known:
            return None
        sign = 1 if self.mode == "min" else -1
        return min((sign * value, epoch) for value, epoch in known)[1]


def centred_mean(values: Sequence[float] | np.ndarray, window: int = WINDOW) -> np.ndarray:
    """Mean of each value and those around it; near the ends of as many as lie on both sides.

    So it is never ahead of the values, nor behind them, and ends where they end.

    Args:
        values: (n,) numbers; one that is NaN or infinite affects the means over it and no others.
        window: >= 1; of an even one, the next smaller odd one is taken.

    Returns:
        (n,) float64.

    Raises:
        ValueError: a window below 1.
    """
    if window < 1:
        raise ValueError(f"a mean needs a window of at least 1, not {window}")
    numbers = np.asarray(values, dtype=np.float64)
    half = (window - 1) // 2
    return np.array(
        [
            numbers[i - reach : i + reach + 1].mean()
            for i in range(len(numbers))
            for reach in [min(half, i, len(numbers) - 1 - i)]
        ],
        dtype=np.float64,
    )


def loss_curves(history: History, chosen: Chosen | None = None, one_rule: bool = True) -> Figure:
    """Losses; F1, accuracy and AUC; and the EER, over epochs, a panel each.

    Every epoch is drawn; the first one is 1. Where there are more than 40, their centred mean over
    20 is drawn, too. The best epoch and the kept one are marked.

    Args:
        history: name -> (epochs, values), from :func:`siamese.report.history.read_history`, which
            counts epochs from 0. Names without a panel are ignored.
        chosen: which epoch was kept; None marks none.
        one_rule: whether training and validation loss are means over batches drawn by one rule.
            Otherwise they cannot be compared, and each has a panel.
    """
    split = validated_split(history)
    train, held_out = ("train/loss",), (f"{split}/loss",)
    losses = (
        [("loss", train + held_out)]
        if one_rule
        else [("training loss", train), (f"{split} loss, of pairs drawn in another way", held_out)]
    )
    panels = [
        *losses,
        (
            "verification",
            (f"{split}/f1", f"{split}/accuracy", "train/accuracy", f"{split}/auc"),
        ),
        ("equal error rate", (f"{split}/eer",)),
    ]
    figure = blank_figure(13 / 3 * len(panels), 4.4)
    averaged = False
    for axes, (title, names) in zip(figure.subplots(1, len(panels)), panels, strict=True):
        known = {name: history[name] for name in names if history.get(name, ([], []))[0]}
        averaged |= _panel(axes, title, known, history, chosen)
    if averaged:
        text = f"thick: mean of up to {WINDOW} recorded epochs around each"
        figure.suptitle(text, fontsize=9, color="0.3")
    return figure


def _panel(
    axes: Axes,
    title: str,
    known: Mapping[str, tuple[list[int], list[float]]],
    history: History,
    chosen: Chosen | None,
) -> bool:
    """One panel; True where means are drawn."""
    from matplotlib.ticker import MaxNLocator

    axes.set(xlabel="epoch", title=title)
    if not known:
        axes.set(xticks=[], yticks=[])
        remark(axes, "not recorded")
        return False
    averaged = False
    for number, (name, (epochs, values)) in enumerate(known.items()):
        averaged |= _over_epochs(axes, name, epochs, values, number)
    last = max(epochs[-1] for epochs, _ in known.values()) + 1
    axes.set_xlim(1 - 0.03 * max(1, last - 1), last + 0.03 * max(1, last - 1))
    axes.grid(alpha=0.3)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    _limit(axes, [value for _, values in known.values() for value in values], title)
    if chosen is not None:
        _mark_epochs(axes, chosen, history)
    axes.legend(fontsize=8.5, loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2)
    return averaged


def _limit(axes: Axes, values: Sequence[float], title: str) -> None:
    """Show no values that cannot be: rates end at 1, losses and error rates begin at 0."""
    finite = [value for value in values if np.isfinite(value)]
    if not finite:
        return
    low, high = min(finite), max(finite)
    from_zero = title != "verification" and low >= 0
    room = 0.06 * (high - (0.0 if from_zero else low)) or 0.05 * abs(high) or 0.05
    bottom = 0.0 if from_zero else low - room
    top = high + room
    if "loss" not in title:
        bottom, top = max(0.0, bottom), max(high, min(1.0, top))
    axes.set_ylim(bottom, max(top, bottom + 1e-9))  # matplotlib widens what has no height


def _over_epochs(
    axes: Axes, name: str, epochs: list[int], values: list[float], number: int
) -> bool:
    """Draw one figure, epoch by epoch; True where its mean is drawn too."""
    colour, dash = PALETTE[number % len(PALETTE)], DASHES[number % len(DASHES)]
    shown = [epoch + 1 for epoch in epochs]
    if len(values) <= _MARKED:
        axes.plot(
            shown,
            values,
            color=colour,
            linestyle=dash,
            linewidth=1.5,
            marker=_MARKERS[number % len(_MARKERS)],
            markersize=4,
            label=name,
        )
        return False
    axes.plot(shown, values, color=colour, linewidth=0.9, alpha=0.65)
    axes.plot(shown, centred_mean(values), color=colour, linestyle=dash, linewidth=2.2, label=name)
    return True


def _mark_epochs(axes: Axes, chosen: Chosen, history: History) -> None:
    """Upright lines at the best epoch and the kept one; one line where they are the same."""
    best, kept = chosen.best(history), chosen.kept
    if best is not None:
        also = ", kept" if best == kept else ""
        axes.axvline(
            best + 1,
            color="0.35",
            linestyle=":",
            linewidth=1.4,
            label=f"best{also}: epoch {best + 1} ({chosen.monitor})",
        )
    if kept is not None and kept != best:
        axes.axvline(
            kept + 1, color="0.1", linestyle="-", linewidth=1.0, label=f"kept: epoch {kept + 1}"
        )
