"""Plots of a run, as PNG files: curves over thresholds, reliability, and distance histograms."""

from __future__ import annotations

import io
import textwrap
import unicodedata
import warnings
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

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
_DPI = 120
_STEPS = 1000  # a curve is drawn to this part of its range: finer than a pixel


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
    figure = blank_figure(17.5, 5.0)
    roc, det, f1, accuracy = figure.subplots(1, 4)
    roc.plot([0, 1], [1, 0], color="0.55", linewidth=0.9, label="equal error rates")
    without_errors = []
    for number, (split, pairs) in enumerate(distances.items()):
        style: dict[str, Any] = {
            "color": PALETTE[number % len(PALETTE)],
            "linestyle": DASHES[number % len(DASHES)],
        }
        if pairs.genuine and pairs.impostor:
            _curves_of_split((roc, det, f1, accuracy), split, pairs, threshold, style)
            if not _has_both_errors(pairs.curve()):
                without_errors.append(split)
        else:
            counts = f"{pairs.genuine:,} genuine, {pairs.impostor:,} impostor"
            roc.plot([], [], label=f"no curve for {split}: {counts}", **style)
    unit = next((f"threshold ({pairs.distance} distance)" for pairs in distances.values()), None)
    _finish_rates(roc, det, without_errors)
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
    if _has_both_errors(curve):
        _det(det, curve, split, style)
        # A rate of 0 has no place on a logarithmic axis: half a pair stands for none.
        no_match, no_miss = 0.5 / curve.impostor, 0.5 / curve.genuine
        det.plot([max(point.fmr, no_match)], [max(1 - point.recall, no_miss)], **dot)
    for axes, name, value in ((f1, "F1", point.f1), (accuracy, "accuracy", point.accuracy)):
        label = f"{value:.3f} {split}"
        axes.plot(lines["threshold"], lines[name], drawstyle="steps-post", label=label, **style)
        axes.plot([threshold], [value], **dot)


def _finish_rates(roc: Any, det: Any, without_errors: Sequence[str]) -> None:
    """Titles, axes and legend of the two plots of error rates."""
    roc.set(
        title="ROC",
        xlabel="false match rate: impostor pairs accepted",
        ylabel="true match rate: genuine pairs accepted",
        xlim=(-0.02, 1),
        ylim=(0, 1.02),
    )
    roc.grid(alpha=0.3)
    _legend(roc)
    det.set(title="DET", xlabel="false match rate", ylabel="false non-match rate")
    if det.lines:
        det.set(xscale="log", yscale="log")
        for axis in (det.xaxis, det.yaxis):
            _decades(axis)
        det.grid(alpha=0.3)
        for split in without_errors:
            det.plot([], [], linestyle="", label=f"{split}: some threshold makes no error")
        _legend(det)
    elif without_errors:
        remark(det, "some threshold makes\nno error on any split")
    else:
        remark(det, "no pairs of both kinds")


def _decades(axis: Any) -> None:
    """Ticks of a logarithmic axis at 1, 0.1, ..., and at 2 and 5 times these where it is short.

    As matplotlib has them, labels of the ticks between overprint one another.
    """
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    low, high = axis.get_view_interval()
    short = np.log10(high / low) < 1.5
    axis.set_major_locator(LogLocator(10, subs=(1.0, 2.0, 5.0) if short else (1.0,)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def _legend(axes: Any, title: str | None = None, columns: int = 1) -> None:
    """A legend below the axes, where it hides nothing."""
    legend = axes.legend(
        title=title,
        fontsize=8.5,
        title_fontsize=8.5,
        loc="upper center",
        bbox_to_anchor=(0.5, -0.14),
        ncols=columns,
    )
    _plain(legend)


def _finish_by_threshold(axes: Any, threshold: float, band: tuple[float, float] | None) -> None:
    """The threshold, its interval and the legend of a plot over thresholds."""
    axes.set_ylim(0, 1)
    axes.grid(alpha=0.3)
    if not axes.lines:
        remark(axes, "no pairs of both kinds")
        return
    axes.axvline(threshold, color="black", linestyle="--", linewidth=0.9)
    if band is not None:
        axes.axvspan(*band, color="0.85", zorder=0)
    shaded = ", shaded: its 95 % interval" if band is not None else ""
    _legend(axes, f"at threshold {threshold:.3f}{shaded}")


def reliability_diagram(
    judged: Mapping[str, Reliability], prevalence: float, fitted: str | None = None
) -> Figure:
    """Stated probabilities against observed shares of genuine pairs, in 15 bins.

    There is one line per split, with the number of pairs in each bin below it. Upright bars are
    95 % intervals of the pairs in a bin (Wilson), as if these were independent.

    Args:
        judged: split -> from :func:`siamese.verification.probability.reliability`.
        prevalence: share of genuine pairs that the probabilities are for.
        fitted: the split that the probabilities were fitted to. It proves nothing about itself, and
            is left out where there is another.
    """
    shown = {split: r for split, r in judged.items() if split != fitted} or dict(judged)
    figure = blank_figure(5.6, 6.2)
    axes, counts = figure.subplots(2, 1, height_ratios=[4, 1], sharex=True)
    axes.plot([0, 1], [0, 1], color="0.55", linewidth=0.9, label="as stated")
    width = 1 / (15 * (len(shown) + 1))
    for number, (split, r) in enumerate(shown.items()):
        colour = PALETTE[number % len(PALETTE)]
        own = " (fitted to it: no proof)" if split == fitted else ""
        low, high = r.intervals()
        axes.errorbar(
            r.stated,
            r.observed,
            [np.subtract(r.observed, low).clip(min=0), np.subtract(high, r.observed).clip(min=0)],
            color=colour,
            linestyle=DASHES[number % len(DASHES)],
            marker="o",
            markersize=4,
            elinewidth=0.9,
            capsize=2,
            label=f"{split}: calibration error {r.calibration_error:.4f}{own}",
        )
        pairs = np.add(r.genuine, r.impostor)
        centres = (np.minimum(np.multiply(r.stated, 15).astype(int), 14) + 0.5) / 15
        offset = (number - (len(shown) - 1) / 2) * width
        counts.bar(centres + offset, pairs, width, color=colour)
    axes.set(
        ylabel="observed share of genuine pairs",
        xlim=(-0.02, 1.02),
        ylim=(-0.02, 1.02),
        title="reliability",
    )
    counts.set(
        xlabel=f"stated probability of the same identity (prevalence {prevalence:.3g})",
        ylabel="pairs in the bin",
        yscale="log",
    )
    counts.set_ylim(bottom=0.8)
    counts.yaxis.set_major_formatter("{x:,.0f}")
    for each in (axes, counts):
        each.grid(alpha=0.3)
    _plain(counts.legend(*axes.get_legend_handles_labels(), fontsize=9, loc="upper center",
                         bbox_to_anchor=(0.5, -0.55)))  # fmt: skip
    return figure


def distance_histograms(distances: Mapping[str, PairDistances], threshold: float) -> Figure:
    """For each split the distances of genuine and impostor pairs, and the threshold."""
    figure = blank_figure(4.5 * len(distances), 4.0)
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
            share = 100 * weights / max(1, count)
            # Filled and outlined in another way each, so that grey print tells them apart.
            axes.hist(x, bins, weights=share, color=colour, alpha=0.45)
            axes.hist(
                x,
                bins,
                weights=share,
                histtype="step",
                color=colour,
                linestyle="-" if kind == "genuine" else "--",
                linewidth=1.4,
                label=f"{kind} ({count:,})",
            )
        axes.axvline(threshold, color="black", linestyle="--", label=f"threshold {threshold:.3f}")
        axes.set(xlabel=f"{c.distance} distance", ylabel="% of the pairs of a kind, per bar")
        axes.set_title(drawable(split), parse_math=False)
        _legend(axes, columns=2)
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


def head(figure: Figure, text: str, size: float = 9) -> None:
    """Write a heading above a figure, on as many lines as its width asks for."""
    width = 72 * (float(figure.get_size_inches()[0]) - 0.3)
    text = drawable(text)
    lines = [text]
    for characters in range(len(text), 8, -4):
        if all(text_width(line, size) <= width for line in lines):
            break
        lines = textwrap.wrap(text, characters)
    figure.suptitle("\n".join(lines), fontsize=size, parse_math=False)


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


def _has_both_errors(curve: ThresholdCurve) -> bool:
    """Whether some threshold makes errors of both kinds: only then is there a DET curve."""
    return bool(((curve.fp > 0) & (curve.tp < curve.genuine)).any())


def _det(axes: Axes, curve: ThresholdCurve, split: str, style: Mapping[str, Any]) -> None:
    """Both error rates on logarithmic axes, where neither is 0.

    Source: Martin et al., *The DET curve*, Eurospeech 1997.
    """
    shown = (curve.fp > 0) & (curve.tp < curve.genuine)
    x, y = curve.fmr[shown], curve.fnmr[shown]
    cells = np.stack([np.floor(_STEPS / 8 * np.log10(v)) for v in (x, y)])
    entered = np.append(True, (cells[:, 1:] != cells[:, :-1]).any(axis=0))
    axes.plot(x[entered], y[entered], drawstyle="steps-post", label=split, **style)


def remark(axes: Axes, text: str) -> None:
    """Words in the middle of axes on which there is nothing else."""
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", color="0.4")


def _plain(legend: Any) -> None:
    """Write the names of splits as they are: no formulas, no missing characters."""
    for text in legend.get_texts():
        text.set_parse_math(False)
        text.set_text(drawable(text.get_text()))
