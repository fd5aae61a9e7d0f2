"""Charts of a sweep: the error rate against each setting, and in the order of the runs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from siamese.report.inline_svg import INK, SERIES, Chart, Drawing, Key
from siamese.report.sweep_runs import SweepRun, shortened
from siamese.report.words import percent

_MOST = 8  # settings that are drawn
_VALUES = 12  # of a setting whose values are no numbers
_LETTERS = 14  # of such a value
_SPREAD = 30.0  # largest by smallest, from which an axis is logarithmic


def setting_charts(
    runs: Sequence[SweepRun], best: SweepRun, varied: Sequence[str]
) -> Iterator[Chart]:
    """A chart for each setting that differs.

    Args:
        runs: that have figures.
        best: the chosen one.
        varied: names of settings.
    """
    for place, name in enumerate(varied[:_MOST]):
        chart = _against(f"setting-{chr(97 + place)}", name, runs, best)
        if chart is not None:
            yield chart


def order_chart(runs: Sequence[SweepRun]) -> Chart:
    """The error rate in the order in which the runs were begun, with the lowest so far."""
    from matplotlib.ticker import MaxNLocator

    rates = [run.figures["eer"] for run in runs]
    lowest = np.minimum.accumulate(rates)
    drawing = Drawing.begin("run, in the order in which they began", "")
    x = np.arange(1, len(runs) + 1)
    drawing.axes.plot(x, rates, "o", color=SERIES[0], markersize=4.5)
    drawing.axes.step(x, lowest, where="post", color=SERIES[1], linewidth=1.6)
    drawing.legend += [Key("a run", 0, 0), Key("the lowest so far", 1, 0)]
    words = [f"run {run.name}: {percent(rate)}" for run, rate in zip(runs, rates, strict=True)]
    drawing.trace("equal error rate", x, rates, words)
    _rates(drawing, max(rates))
    drawing.axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1, nbins=8))
    title = "In the order of the runs"
    return drawing.finish("order", title, f"Equal error rate of {len(runs)} runs in their order")


def _against(name: str, setting: str, runs: Sequence[SweepRun], best: SweepRun) -> Chart | None:
    """The error rate against one setting; None where its values are too many words."""
    given = [run.settings.get(setting, "(not set)") for run in runs]
    numbers = [_number(value) for value in given]
    drawing = Drawing.begin("value of the setting", "")
    axes = drawing.axes
    if all(each is not None for each in numbers):
        x = [each for each in numbers if each is not None]
        if min(x) > 0 and max(x) / min(x) >= _SPREAD:
            axes.set_xscale("log")
    else:
        values = list(dict.fromkeys(sorted(given)))
        if len(values) > _VALUES:
            return None
        x = [float(values.index(value)) for value in given]
        # Text of strangers: no formulas, and nothing that cannot be seen.
        labels = ["".join(c if c.isprintable() else "?" for c in v)[:_LETTERS] for v in values]
        axes.set_xticks(range(len(values)), labels, parse_math=False, rotation=20)
        axes.set_xlim(-0.5, len(values) - 0.5)
    rates = [run.figures["eer"] for run in runs]
    top = max(rates)
    for at, run in zip(x, runs, strict=True):
        if ends := run.figures.get("ci95", {}).get("eer"):
            axes.vlines(at, *ends, color=SERIES[0], linewidth=0.9, alpha=0.5)
            top = max(top, ends[1])
    axes.plot(x, rates, "o", color=SERIES[0], markersize=4.5)
    drawing.legend.append(Key("a run, with its 95 % interval", 0, 0))
    for at, run in zip(x, runs, strict=True):
        if run.folder == best.folder:
            axes.plot([at], [run.figures["eer"]], "o", markerfacecolor="none", markersize=11,
                      markeredgecolor=INK)  # fmt: skip
            drawing.legend.append(Key(f"chosen: run {run.name}", -1, -2))
    words = [
        f"run {run.name}: {shortened(value)[:60]}, {percent(rate)}"
        for run, value, rate in zip(runs, given, rates, strict=True)
    ]
    drawing.trace("equal error rate", x, rates, words)
    _rates(drawing, top)
    label = f"Equal error rate of {len(runs)} runs against {setting}"
    return drawing.finish(name, setting, label)


def _rates(drawing: Drawing, top: float) -> None:
    axes = drawing.axes
    axes.set_ylim(0, 1.08 * top if top > 0 else 0.01)
    axes.set_ylabel("equal error rate", color=INK, fontsize=11, parse_math=False)
    axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.4g}%")


def _number(value: str) -> float | None:
    try:
        found = float(value)
    except ValueError:
        return None
    return found if math.isfinite(found) and abs(found) < 1e30 else None
