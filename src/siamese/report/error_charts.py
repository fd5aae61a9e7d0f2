"""Charts of errors for the page: ROC where it matters, DET, errors by threshold, reliability."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from siamese.report.inline_svg import DASHES, GRID, INK, PAPER, QUIET, SERIES, Chart, Drawing, Key
from siamese.report.stored_report import StoredBin, StoredCurve
from siamese.report.words import percent
from siamese.verification.probability import wilson

# Lines: what each is called -> its curve and the threshold in use on it.
Lines = Mapping[str, tuple[StoredCurve, float]]
_FEWEST = 1e-4  # false match rate at which an axis begins at the latest


def rates_of(curve: StoredCurve) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Thresholds, false match rates and true match rates of a stored curve."""
    genuine, impostor = max(1, curve.genuine), max(1, curve.impostor)
    return (
        np.asarray(curve.thresholds),
        np.asarray(curve.fp, dtype=np.float64) / impostor,
        np.asarray(curve.tp, dtype=np.float64) / genuine,
    )


def roc_chart(lines: Lines, name: str = "roc") -> Chart | None:
    """True match rate over the logarithm of the false match rate, zoomed to where curves lie."""
    shown = {label: found for label, found in lines.items() if _both(found[0])}
    if not shown:
        return None
    drawing = Drawing.begin("false match rate (impostor pairs accepted)", "true match rate")
    axes = drawing.axes
    least = max(_FEWEST, min(0.5 / curve.impostor for curve, _ in shown.values()))
    lowest = 1.0
    for place, (label, (curve, threshold)) in enumerate(shown.items()):
        x, fmr, tmr = rates_of(curve)
        some = fmr > 0  # without any false match there is but the best of them
        first = float(tmr[~some].max(initial=0.0))
        fmr = np.append(least, np.maximum(fmr[some], least))
        tmr = np.append(first, tmr[some])
        axes.plot(fmr, tmr, drawstyle="steps-post", **_style(place))
        here = _at(curve, threshold)
        _point(axes, max(here[0], least), here[1], place)
        lowest = min(lowest, float(tmr[fmr <= 0.3].min(initial=here[1])), here[1])
        drawing.legend.append(Key(label, place, place % len(DASHES)))
        words = _words(x, *rates_of(curve)[1:])
        drawing.trace(label, np.maximum(rates_of(curve)[1], least), rates_of(curve)[2], words)
    grid = np.geomspace(least, 1, 80)
    axes.plot(grid, 1 - grid, color=QUIET, linewidth=0.9, linestyle=(0, (1, 2)))
    axes.set_xscale("log")
    bottom = max(0.0, np.floor(20 * (lowest - 0.02)) / 20)
    axes.set(xlim=(least, 1), ylim=(bottom, 1 + 0.02 * (1 - bottom)))
    _percent(axes, both=False)
    if len(shown) == 1:  # of several, the legend tells which dot is whose
        _name_point(axes, *_named(shown, least))
    reached = _at(*next(iter(shown.values())))
    return drawing.finish(
        name,
        "ROC, where it matters",
        f"ROC curve: at the threshold {percent(reached[1])} of genuine pairs are accepted "
        f"and {percent(reached[0])} of impostor pairs",
        "The higher and the further left, the better. The dot is the threshold in use; on the "
        "dotted line both error rates are equal. The axis below is logarithmic, and left of it is "
        "no impostor pair.",
    )


def det_chart(lines: Lines, name: str = "det") -> Chart | None:
    """Both error rates on logarithmic axes; None where no curve has both kinds of errors.

    Source: Martin et al., *The DET curve*, Eurospeech 1997.
    """
    found = {}
    for label, (curve, threshold) in lines.items():
        x, fmr, tmr = rates_of(curve)
        inner = (np.asarray(curve.fp) > 0) & (np.asarray(curve.tp) < curve.genuine)
        if inner.sum() > 1 and _both(curve):
            found[label] = (curve, threshold, x[inner], fmr[inner], 1 - tmr[inner])
    if not found:
        return None
    drawing = Drawing.begin("false match rate", "false non-match rate")
    axes = drawing.axes
    for place, (label, (curve, threshold, x, fmr, fnmr)) in enumerate(found.items()):
        axes.plot(fmr, fnmr, drawstyle="steps-post", **_style(place))
        at, hit = _at(curve, threshold)
        _point(axes, max(at, 0.5 / curve.impostor), max(1 - hit, 0.5 / curve.genuine), place)
        drawing.legend.append(Key(label, place, place % len(DASHES)))
        drawing.trace(label, fmr, fnmr, _words(x, fmr, 1 - fnmr))
    axes.set(xscale="log", yscale="log")
    low = min(axes.get_xlim()[0], axes.get_ylim()[0])
    axes.plot([low, 1], [low, 1], color=QUIET, linewidth=0.9, linestyle=(0, (1, 2)))
    xs = np.concatenate([each[3] for each in found.values()])
    ys = np.concatenate([each[4] for each in found.values()])
    ends = [(float(v.min()) / 1.5, min(1.0, 1.5 * float(v.max()))) for v in (xs, ys)]
    axes.set(xlim=ends[0], ylim=ends[1])
    _percent(axes, both=True)
    return drawing.finish(
        name,
        "DET: one error against the other",
        "DET curve: false non-match rate over false match rate, both logarithmic",
        "The further down and to the left, the better. Where the dotted line crosses the curve "
        "both rates are equal. Rates of 0 have no place on these axes; a dot there stands at half "
        "a pair.",
    )


def threshold_chart(curve: StoredCurve, threshold: float, unit: str) -> Chart | None:
    """F1, and both error rates, at every threshold."""
    if not _both(curve):
        return None
    x, fmr, tmr = rates_of(curve)
    tp, fp = np.asarray(curve.tp, dtype=np.float64), np.asarray(curve.fp, dtype=np.float64)
    f1 = 2 * tp / np.maximum(1, tp + fp + curve.genuine)
    drawing = Drawing.begin(f"threshold ({unit} distance)", "share")
    axes = drawing.axes
    values = (("F1", f1), ("false match rate", fmr), ("false non-match rate", 1 - tmr))
    for place, (label, y) in enumerate(values):
        axes.plot(x, y, drawstyle="steps-post", **_style(place))
        drawing.legend.append(Key(label, place, place % len(DASHES)))
        words = [f"threshold {t:.4f}: {label} {v:.3f}" for t, v in zip(x, y, strict=True)]
        drawing.trace(label, x, y, words)
    axes.axvline(threshold, color=INK, linewidth=1.1)
    _label(axes, threshold, 0.55, "threshold")
    axes.set(ylim=(0, 1.03), xlim=(float(x[0]), float(x[-1])))
    _percent_axis(axes.yaxis)
    return drawing.finish(
        "by-threshold",
        "Errors at every threshold",
        "F1, false match rate and false non-match rate over the threshold",
        "A smaller threshold accepts less: fewer false matches, more false non-matches. F1 is that "
        "of the pairs as they were chosen.",
    )


def reliability_chart(
    bins: Sequence[StoredBin], prevalence: float, genuine: int, impostor: int, split: str
) -> Chart | None:
    """Stated probabilities against observed shares, with intervals and numbers of pairs."""
    found = [b for b in bins if b.genuine + b.impostor]
    if not found or not genuine or not impostor:
        return None
    drawing = Drawing.begin("stated probability", "observed share of genuine pairs")
    axes = drawing.axes
    axes.plot([0, 1], [0, 1], color=QUIET, linewidth=0.9, linestyle=(0, (1, 2)))
    x = [b.stated for b in found]
    counts = [(b.genuine, b.impostor) for b in found]
    factor = prevalence / genuine / ((1 - prevalence) / impostor)
    y = [_weighted(g / (g + i), factor) for g, i in counts]
    ends = [[_weighted(float(end), factor) for end in wilson(g, g + i)] for g, i in counts]
    below = [max(0.0, v - low) for v, (low, _) in zip(y, ends, strict=True)]
    above = [max(0.0, high - v) for v, (_, high) in zip(y, ends, strict=True)]
    axes.errorbar(x, y, [below, above], fmt="none", ecolor=QUIET, elinewidth=1.1, capsize=3)
    axes.plot(x, y, marker="o", markersize=5.5, markeredgecolor=PAPER, **_style(0))
    axes.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03))
    _percent_axis(axes.xaxis)
    _percent_axis(axes.yaxis)
    words = [
        f"stated {percent(s)}, observed {percent(v)} ({percent(low)} to {percent(high)}) of "
        f"{g + i:,} pairs"
        for s, v, (low, high), (g, i) in zip(x, y, ends, counts, strict=True)
    ]
    drawing.trace(split, x, y, words)
    drawing.legend.append(Key(split, 0, 0))
    return drawing.finish(
        "reliability",
        "Are stated probabilities kept?",
        "Reliability diagram: observed shares of genuine pairs over stated probabilities",
        f"On the dotted line they are. Bars are 95 % intervals of the pairs in each tenth "
        f"(Wilson), as if pairs were independent: with few identities the true ones are wider. "
        f"Prevalence {prevalence:.3g}.",
    )


def _weighted(share: float, factor: float) -> float:
    """A share of the pairs, at a prevalence whose odds are ``factor`` times theirs."""
    return factor * share / (factor * share + 1 - share)


def _both(curve: StoredCurve) -> bool:
    return bool(curve.genuine and curve.impostor)


def _at(curve: StoredCurve, threshold: float) -> tuple[float, float]:
    """False and true match rate at a threshold."""
    x, fmr, tmr = rates_of(curve)
    place = int(np.searchsorted(x, threshold, side="right")) - 1
    return (float(fmr[place]), float(tmr[place])) if place >= 0 else (0.0, 0.0)


def _named(shown: Lines, least: float) -> tuple[float, float, str]:
    curve, threshold = next(iter(shown.values()))
    fmr, tmr = _at(curve, threshold)
    return max(fmr, least), tmr, f"threshold {threshold:.3f}"


def _style(place: int) -> dict[str, Any]:
    return {
        "color": SERIES[place % len(SERIES)],
        "linestyle": DASHES[place % len(DASHES)],
        "linewidth": 1.8,
    }


def _point(axes: Any, x: float, y: float, place: int) -> None:
    """The operating point of a curve."""
    colour = SERIES[place % len(SERIES)]
    axes.plot([x], [y], "o", color=colour, markersize=8, markeredgecolor=PAPER, zorder=4)


def _name_point(axes: Any, x: float, y: float, text: str) -> None:
    """The operating point by name, beside it and within the axes."""
    right = np.log10(x) < np.mean(np.log10(axes.get_xlim()))
    low, high = axes.get_ylim()
    axes.annotate(
        text,
        (x, y),
        xytext=(10 if right else -10, -14 if y > (low + high) / 2 else 12),
        textcoords="offset points",
        ha="left" if right else "right",
        va="top" if y > (low + high) / 2 else "bottom",
        fontsize=10.5,
        color=INK,
    )


def _label(axes: Any, x: float, height: float, text: str) -> None:
    """Words beside an upright line."""
    low, high = axes.get_xlim()
    right = x < (low + high) / 2
    axes.annotate(
        text,
        (x, height),
        xycoords=("data", "axes fraction"),
        xytext=(5 if right else -5, 0),
        textcoords="offset points",
        ha="left" if right else "right",
        fontsize=10.5,
        color=INK,
    )


def _words(x: np.ndarray, fmr: np.ndarray, tmr: np.ndarray) -> list[str]:
    return [
        f"threshold {t:.4f}: {percent(float(f))} false matches, {percent(float(1 - h))} missed"
        for t, f, h in zip(x, fmr, tmr, strict=True)
    ]


def _percent(axes: Any, both: bool) -> None:
    """Ticks of a logarithmic rate axis in percent: one for each factor of ten, no others."""
    from matplotlib.ticker import LogLocator, NullFormatter

    for axis in (axes.xaxis, axes.yaxis) if both else (axes.xaxis,):
        low, high = axis.get_view_interval()
        narrow = np.log10(high / low) < 1.6
        axis.set_major_locator(LogLocator(10, subs=(1.0, 2.0, 5.0) if narrow else (1.0,)))
        axis.set_minor_formatter(NullFormatter())
        axis.set_major_formatter(lambda value, _: percent(float(value)).replace(" %", "%"))
    if not both:
        _percent_axis(axes.yaxis)
    axes.grid(which="minor", color=GRID, linewidth=0.35)


def _percent_axis(axis: Any) -> None:
    axis.set_major_formatter(lambda value, _: f"{100 * value:.4g}%")
