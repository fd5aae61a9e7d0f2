"""Plots of a run, as PNG files: curves over epochs and over thresholds, and distance histograms."""

from __future__ import annotations

import io
import unicodedata
import warnings
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from siamese.report.history import History
from siamese.storage import write_whole
from siamese.verification.curves import ThresholdCurve, auc, eer
from siamese.verification.pair_distances import PairDistances
from siamese.verification.probability import Reliability

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Figure
    from matplotlib.ft2font import FT2Font

# Okabe and Ito's palette, for colour-blind readers too.
GENUINE, IMPOSTOR = "#0072b2", "#d55e00"
PALETTE = (GENUINE, IMPOSTOR, "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
DASHES = ("-", "--", "-.", ":")
WINDOW = 20  # recorded values in an average over epochs
_DPI = 120
_SMOOTHED = 5  # up to so many values no average is drawn
_STEPS = 1000  # a curve is drawn to this part of its range: finer than a pixel


def running_mean(values: Sequence[float] | np.ndarray, window: int = WINDOW) -> np.ndarray:
    """Mean of each value and those before it, ``window`` of them or as many as there are.

    Args:
        values: (n,) numbers; one that is NaN or infinite affects the means over it and no others.
        window: >= 1.

    Returns:
        (n,) float64.

    Raises:
        ValueError: a window below 1.
    """
    if window < 1:
        raise ValueError(f"a running mean needs a window of at least 1, not {window}")
    numbers = np.asarray(values, dtype=np.float64)
    if not len(numbers):
        return numbers
    # Not differences of one cumulative sum: those would carry a NaN, and rounding, to the end.
    sums = np.convolve(numbers, np.ones(min(window, len(numbers))))[: len(numbers)]
    mean: np.ndarray = sums / np.minimum(np.arange(1, len(numbers) + 1), window)
    return mean


def loss_curves(history: History) -> Figure:
    """Losses; F1, accuracy and AUC; and the EER, over epochs: three panels.

    Beyond 5 epochs the values are thin and light, and their means over the last 20 recorded epochs
    are drawn thick.

    Args:
        history: name -> (epochs, values), from :func:`siamese.report.history.read_history`. Names
            without a panel are ignored.
    """
    from matplotlib.ticker import MaxNLocator

    figure = blank_figure(13, 4)
    split = _validated(history)
    panels = (
        ("loss", ("train/loss", f"{split}/loss")),
        (
            "verification",
            (f"{split}/f1", f"{split}/accuracy", "train/accuracy", f"{split}/auc"),
        ),
        ("equal error rate", (f"{split}/eer",)),
    )
    smoothed = False
    for axes, (title, names) in zip(figure.subplots(1, 3), panels, strict=True):
        for number, name in enumerate(names):
            if history.get(name, ([], []))[0]:
                smoothed |= _over_epochs(
                    axes, name, *history[name], colour=PALETTE[number], dash=DASHES[number]
                )
        axes.set(xlabel="epoch", title=title)
        axes.grid(alpha=0.3)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        if axes.lines:
            axes.legend(fontsize=9)
        else:
            _remark(axes, "not recorded")
        lowest, highest = axes.get_ylim()
        if title == "verification":
            axes.set_ylim(max(0.0, lowest), min(1.02, max(highest, lowest + 0.1)))
        elif title == "equal error rate":
            axes.set_ylim(0, min(1.02, max(highest, 0.01)))
    if smoothed:
        figure.suptitle(
            f"thin: each epoch; thick: mean of the last {WINDOW} recorded", fontsize=9, color="0.3"
        )
    return figure


def _validated(history: History) -> str:
    """The name of the split that figures were logged for in each epoch."""
    named = (name.partition("/")[0] for name in sorted(history) if "/" in name)
    return next((split for split in named if split not in ("train", "test")), "calibration")


def verification_curves(
    distances: Mapping[str, PairDistances],
    threshold: float,
    band: tuple[float, float] | None = None,
) -> Figure:
    """ROC, DET, F1 and accuracy of each split, with the operating point on each curve.

    The curves are drawn through exact counts; of points closer than a thousandth of the range only
    one is drawn.

    Args:
        distances: split -> its pairs; a split without both kinds of pairs has no curves, and the
            legend says so.
        threshold: the operating point, in the unit of the distances.
        band: 95 % interval of the threshold, shaded.

    Raises:
        CalibrationError: distances that are NaN or infinite.
    """
    figure = blank_figure(17.5, 4.4)
    roc, det, f1, accuracy = figure.subplots(1, 4)
    roc.plot([0, 1], [1, 0], color="0.55", linewidth=0.9, label="equal error rates")
    for number, (split, pairs) in enumerate(distances.items()):
        style: dict[str, Any] = {
            "color": PALETTE[number % len(PALETTE)],
            "linestyle": DASHES[number % len(DASHES)],
        }
        if pairs.genuine and pairs.impostor:
            _curves_of_split((roc, det, f1, accuracy), split, pairs, threshold, style)
        else:
            counts = f"{pairs.genuine:,} genuine, {pairs.impostor:,} impostor"
            roc.plot([], [], label=f"no curve for {split}: {counts}", **style)
    unit = next((f"threshold ({pairs.distance} distance)" for pairs in distances.values()), None)
    _finish_rates(roc, det)
    for axes, name in ((f1, "F1"), (accuracy, "accuracy")):
        axes.set(title=name, xlabel=unit or "threshold")
        _finish_by_threshold(axes, threshold, band)
    return figure


def _curves_of_split(
    panels: tuple[Any, Any, Any, Any],
    split: str,
    pairs: PairDistances,
    threshold: float,
    style: Mapping[str, Any],
) -> None:
    """One split's lines on ROC, DET, F1 and accuracy, and its operating point on each."""
    roc, det, f1, accuracy = panels
    curve, point = pairs.curve(), pairs.count_verdicts(threshold)
    lines = _lines(curve)
    dot: dict[str, Any] = {
        "color": style["color"],
        "marker": "o",
        "markeredgecolor": "white",
        "zorder": 3,
    }
    rates = f"AUC {auc(curve):.3f}, EER {eer(curve):.3f}: {split}"
    roc.plot(lines["false match rate"], lines["true match rate"], label=rates, **style)
    roc.plot([point.fmr], [point.recall], **dot)
    _det(det, curve, style)
    # A rate of 0 has no place on a logarithmic axis: half a pair stands for none.
    no_match, no_miss = 0.5 / curve.impostor, 0.5 / curve.genuine
    det.plot([max(point.fmr, no_match)], [max(1 - point.recall, no_miss)], **dot)
    for axes, name, value in ((f1, "F1", point.f1), (accuracy, "accuracy", point.accuracy)):
        label = f"{value:.3f} {split}"
        axes.plot(lines["threshold"], lines[name], drawstyle="steps-post", label=label, **style)
        axes.plot([threshold], [value], **dot)


def _finish_rates(roc: Any, det: Any) -> None:
    """Titles, axes and legend of the two plots of error rates."""
    roc.set(
        title="ROC",
        xlabel="false match rate: impostor pairs accepted",
        ylabel="true match rate: genuine pairs accepted",
        xlim=(-0.02, 1.02),
        ylim=(-0.02, 1.02),
    )
    roc.grid(alpha=0.3)
    _plain(roc.legend(fontsize=9, loc="lower right"))
    det.set(title="DET", xlabel="false match rate", ylabel="false non-match rate")
    if det.lines:
        det.set(xscale="log", yscale="log")
        det.grid(alpha=0.3)
    else:
        _remark(det, "no pairs of both kinds")


def _finish_by_threshold(axes: Any, threshold: float, band: tuple[float, float] | None) -> None:
    """The threshold, its interval and the legend of a plot over thresholds."""
    axes.set_ylim(-0.02, 1.02)
    axes.grid(alpha=0.3)
    if not axes.lines:
        _remark(axes, "no pairs of both kinds")
        return
    axes.axvline(threshold, color="black", linestyle="--", linewidth=0.9)
    if band is not None:
        axes.axvspan(*band, color="0.85", zorder=0)
    title = f"at threshold {threshold:.3f}"
    _plain(axes.legend(title=title, fontsize=9, title_fontsize=9))


def reliability_diagram(judged: Mapping[str, Reliability], prevalence: float) -> Figure:
    """Stated probabilities against observed shares of genuine pairs, in 15 bins.

    There is one line per split.

    Args:
        judged: split -> from :func:`siamese.verification.probability.reliability`.
        prevalence: share of genuine pairs that the probabilities are for.
    """
    figure = blank_figure(5.2, 4.8)
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="0.55", linewidth=0.9, label="as stated")
    for number, (split, r) in enumerate(judged.items()):
        axes.plot(
            r.stated,
            r.observed,
            color=PALETTE[number % len(PALETTE)],
            linestyle=DASHES[number % len(DASHES)],
            marker="o",
            markersize=4,
            label=f"{split}: calibration error {r.calibration_error:.4f}",
        )
    axes.set(
        xlabel=f"stated probability of the same identity (prevalence {prevalence:.3g})",
        ylabel="observed share of genuine pairs",
        xlim=(-0.02, 1.02),
        ylim=(-0.02, 1.02),
        title="reliability",
    )
    axes.grid(alpha=0.3)
    _plain(axes.legend(fontsize=9, loc="upper left"))
    return figure


def distance_histograms(distances: Mapping[str, PairDistances], threshold: float) -> Figure:
    """For each split the distances of genuine and impostor pairs, and the threshold."""
    figure = blank_figure(4.5 * len(distances), 3.6)
    curves = {
        split: pairs.curve() if pairs.genuine + pairs.impostor else None
        for split, pairs in distances.items()
    }
    top = max((float(c.thresholds[-1]) for c in curves.values() if c), default=0.0) or 1.0
    bins = np.linspace(0, top, 51)
    for axes, (split, c) in zip(
        np.atleast_1d(figure.subplots(1, len(distances))), distances.items(), strict=True
    ):
        curve = curves[split]
        for kind, count, colour in (
            ("genuine", c.genuine, GENUINE),
            ("impostor", c.impostor, IMPOSTOR),
        ):
            x, weights = np.zeros(0), np.zeros(0)
            if curve is not None:
                x, weights = (
                    curve.thresholds,
                    np.diff(curve.tp if kind == "genuine" else curve.fp, prepend=0),
                )
            # The density of nothing is 0 / 0.
            axes.hist(
                x,
                bins,
                weights=weights,
                color=colour,
                alpha=0.6,
                density=count > 0,
                label=f"{kind} ({count:,})",
            )
        axes.axvline(threshold, color="black", linestyle="--", label=f"threshold {threshold:.3f}")
        axes.set(xlabel=f"{c.distance} distance", yticks=[])
        axes.set_title(drawable(split), parse_math=False)
        axes.legend(fontsize=8)
    return figure


def save(figure: Figure, path: str | Path) -> Path:
    """Write a figure as PNG, making its folder."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    content = io.BytesIO()
    with warnings.catch_warnings():
        # A busy machine takes more than a second to find a legend's place: no user can mend that.
        warnings.filterwarnings("ignore", 'Creating legend with loc="best" can be slow')
        figure.savefig(content, format="png", dpi=_DPI)
    write_whole(path, content.getvalue())
    return path


def blank_figure(width: float, height: float) -> Figure:
    """An empty figure of so many inches."""
    from matplotlib.figure import Figure  # not pyplot: no global state, no window, no backend

    return Figure(figsize=(width, height), layout="constrained")


def drawable(text: str) -> str:
    """Text on one line, with an empty box for each character that the font lacks.

    Names are written in many scripts. Write it with ``parse_math=False``: a dollar sign is no
    formula here.
    """
    font = _font()
    text = "".join(
        c if c.isprintable() or "\ud800" <= c <= "\udfff" else " "
        for c in unicodedata.normalize("NFC", text)
    )
    return " ".join(
        "".join(c if c == " " or font.get_char_index(ord(c)) else "\u25a1" for c in text).split()
    )


def text_width(text: str, size: float) -> float:
    """Width in points of text on one line, in letters of ``size`` points, as in saved files."""
    from matplotlib.font_manager import FontProperties

    pixels = _pen().get_text_width_height_descent(text, FontProperties(size=size), False)[0]
    return float(pixels * 72 / _DPI)


@lru_cache(maxsize=1)
def _pen() -> Any:
    from matplotlib.backends.backend_agg import RendererAgg

    untyped: Any = RendererAgg
    return untyped(1, 1, _DPI)


@lru_cache(maxsize=1)
def _font() -> FT2Font:
    from matplotlib.font_manager import FontProperties, findfont
    from matplotlib.ft2font import FT2Font

    return FT2Font(findfont(FontProperties()))


def _over_epochs(
    axes: Axes, name: str, epochs: list[int], values: list[float], colour: str, dash: str
) -> bool:
    """Draw one metric; True where its mean is drawn too."""
    smoothed = len(values) > _SMOOTHED
    if smoothed:
        axes.plot(epochs, values, color=colour, linewidth=0.8, alpha=0.4)
        axes.plot(
            epochs, running_mean(values), color=colour, linestyle=dash, linewidth=2.2, label=name
        )
    else:
        axes.plot(
            epochs, values, color=colour, linestyle=dash, marker="o", markersize=4, label=name
        )
    return smoothed


def _lines(curve: ThresholdCurve) -> dict[str, np.ndarray]:
    """The points of a curve that are drawn, from accepting nothing on.

    They are as few points as show it to a thousandth of its range.
    """
    accepting_none = {
        "threshold": min(0.0, float(curve.thresholds[0])),
        "false match rate": 0.0,
        "true match rate": 0.0,
        "F1": 0.0,
        "accuracy": curve.impostor / (curve.genuine + curve.impostor),
    }
    values = (
        curve.thresholds.astype(np.float64),
        curve.fmr,
        curve.recall,
        curve.f1(),
        curve.accuracy(),
    )
    lines = {
        name: np.append(start, v)
        for (name, start), v in zip(accepting_none.items(), values, strict=True)
    }
    cells = np.stack(
        [np.floor(_STEPS * ((v - v.min()) / (np.ptp(v) or 1.0))) for v in lines.values()]
    )
    entered = (cells[:, 1:] != cells[:, :-1]).any(axis=0)
    # First and last point of each cell: jumps stay vertical.
    kept = np.append(True, entered) | np.append(entered, True)
    return {name: values[kept] for name, values in lines.items()}


def _det(axes: Axes, curve: ThresholdCurve, style: Mapping[str, Any]) -> None:
    """Both error rates on logarithmic axes, where neither is 0.

    Source: Martin et al., *The DET curve*, Eurospeech 1997.
    """
    shown = (curve.fp > 0) & (curve.tp < curve.genuine)
    if not shown.any():
        return
    x, y = curve.fmr[shown], curve.fnmr[shown]
    cells = np.stack([np.floor(_STEPS / 8 * np.log10(v)) for v in (x, y)])
    entered = np.append(True, (cells[:, 1:] != cells[:, :-1]).any(axis=0))
    axes.plot(x[entered], y[entered], drawstyle="steps-post", **style)


def _remark(axes: Axes, text: str) -> None:
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", color="0.4")


def _plain(legend: Any) -> None:
    """Write the names of splits as they are: no formulas, no missing characters."""
    for text in legend.get_texts():
        text.set_parse_math(False)
        text.set_text(drawable(text.get_text()))
