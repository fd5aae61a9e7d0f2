"""Figures as SVG that stands in a page: the page's colours, no date, and values under the pointer.

A figure is drawn with the colours of :data:`COLOURS`, which stand for variables of the page's style
sheet: light, dark and print each give them values of their own.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Union

import numpy as np

from siamese.report.plots import blank_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# What a figure is drawn with -> the variable of the page that takes its place.
COLOURS = {
    "#0a0b01": "--ink",
    "#0a0b02": "--quiet",
    "#0a0b03": "--grid",
    "#0a0b04": "--paper",
    "#0a0b05": "--band",
    **{f"#0a0c0{n}": f"--series-{n}" for n in range(6)},
}
INK, QUIET, GRID, PAPER, BAND = list(COLOURS)[:5]
SERIES = tuple(list(COLOURS)[5:])
# Beside the colours: a page printed in grey tells series apart by these.
DASHES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (6, 2, 1.5, 2)), (0, (1.5, 1.5)))
HOVERED = 160  # points of a series that the pointer finds at most
Numbers = Union[Sequence[float], np.ndarray]
_INCHES = (5.4, 3.6)
_COLOUR = re.compile("|".join(COLOURS))


@dataclass(frozen=True)
class Key:
    """A line of a chart's legend, which the page writes as text."""

    label: str
    number: int  # of the series' colour
    dash: int = 0  # of its dashes; -1 for a filled area


@dataclass
class Chart:
    """A picture of the page.

    Attributes:
        name: unique in a page; begins its ids.
        title: above it.
        svg: the picture, safe to be put into HTML as it is.
        label: what it shows, for those who do not see it.
        caption: what must be known to read it.
        legend: of its series.
        hover: series -> (x, y, words) in units of the picture, for the pointer.
        width, height: of the picture in these units.
    """

    name: str
    title: str
    svg: str
    label: str
    caption: str = ""
    legend: Sequence[Key] = ()
    hover: list[dict[str, Any]] = field(default_factory=list)
    width: float = 0.0
    height: float = 0.0


@dataclass
class Drawing:
    """A chart while it is drawn: its figure, its axes, and what the pointer will find.

    Attributes:
        figure, axes: of matplotlib, styled for the page.
        traced: (label, x, y, words) of each series.
        legend: lines of the legend.
    """

    figure: Figure
    axes: Axes
    traced: list[tuple[str, Numbers, Numbers, Sequence[str]]] = field(default_factory=list)
    legend: list[Key] = field(default_factory=list)

    @classmethod
    def begin(cls, xlabel: str, ylabel: str, inches: tuple[float, float] = _INCHES) -> Drawing:
        """Empty axes in the colours of the page; labels are ours, no text of strangers."""
        figure = blank_figure(*inches)
        figure.set_dpi(72)
        axes = figure.subplots()
        figure.patch.set_alpha(0)
        axes.patch.set_alpha(0)
        axes.grid(color=GRID, linewidth=0.7)
        axes.set_axisbelow(True)
        axes.tick_params(which="both", colors=QUIET, labelsize=10.5, length=3)
        for side, spine in axes.spines.items():
            spine.set_visible(side in ("left", "bottom"))
            spine.set_color(QUIET)
        # Names of distances are text, no formulas.
        axes.set_xlabel(xlabel, color=INK, fontsize=11, parse_math=False)
        axes.set_ylabel(ylabel, color=INK, fontsize=11, parse_math=False)
        return cls(figure, axes)

    def trace(self, label: str, x: Numbers, y: Numbers, words: Sequence[str]) -> None:
        """Let the pointer find a series; of many points some.

        Args:
            label: what the series is called.
            x, y: of its points, in units of the axes.
            words: of each point.
        """
        step = max(1, -(-len(words) // HOVERED))
        self.traced.append((label, x[::step], y[::step], words[::step]))

    def finish(self, name: str, title: str, label: str, caption: str = "") -> Chart:
        """The chart; ``name`` is unique in a page, and made of letters and hyphens."""
        svg, width, height = as_svg(self.figure, name)
        hover = []
        for series, x, y, words in self.traced:
            points = self.axes.transData.transform(list(zip(x, y, strict=True)))
            found = [
                [round(float(px), 1), round(height - float(py), 1), text]
                for (px, py), text in zip(points, words, strict=True)
                if -1 <= px <= width + 1 and -1 <= py <= height + 1
            ]
            hover.append({"name": series, "points": found})
        return Chart(name, title, svg, label, caption, self.legend, hover, width, height)


def as_svg(figure: Figure, name: str) -> tuple[str, float, float]:
    """A figure as SVG for the middle of a page, and its width and height.

    The same figure gives the same text: it has no date, and its ids begin with ``name``.
    """
    from matplotlib import rc_context

    stream = io.StringIO()
    # Without dates; ids come from the salt instead of a random number.
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": name, "svg.id": None}):
        figure.savefig(stream, format="svg", dpi=72, metadata={"Date": None, "Creator": None})
    text = stream.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    width, height = map(float, re.search(r'viewBox="0 0 (\S+) (\S+)"', text).groups())  # type: ignore[union-attr]
    text = re.sub(r"<svg[^>]*>", f'<svg viewBox="0 0 {width:g} {height:g}">', text, count=1)
    text = re.sub(r'\bid="([^"]*)"', rf'id="{name}-\1"', text)
    text = re.sub(r"url\(#([^)]*)\)", rf"url(#{name}-\1)", text)
    text = re.sub(r'xlink:href="#([^"]*)"', rf'href="#{name}-\1"', text)
    text = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font: \1px var(--sans)", text)
    text = _COLOUR.sub(lambda found: f"var({COLOURS[found[0]]})", text)
    text = re.sub(r"<!--.*?-->\s*", "", text, flags=re.DOTALL)
    return re.sub(r"\n\s+", "\n", text), width, height
