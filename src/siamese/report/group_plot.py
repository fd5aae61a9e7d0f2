"""The false match rate by pair of groups, drawn as a matrix for every column."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from siamese.report.plots import blank_figure, drawable
from siamese.verification.group_figures import GroupEvaluation, GroupFigures

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# From dark to light in even steps, also in print and for colour-blind readers.
COLOURS = "cividis"
_SIDE = 0.85  # inches of a cell
_LONGEST = 24  # letters of a group's name


def group_matrices(groups: Mapping[str, GroupEvaluation], split: str) -> Figure:
    """One matrix for each column: groups against groups, within a group on the diagonal.

    The colour scale is logarithmic, the same for all. A rate of 0 is written with the upper end of
    its 95 % interval, and has no colour.

    Args:
        groups: column -> its figures, of one column at least.
        split: whose images these are.
    """
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import LogNorm

    sides = [max(3, len(found.groups)) * _SIDE + 1.4 for found in groups.values()]
    figure = blank_figure(sum(sides) + 1.0, max(sides))
    panels = np.atleast_1d(figure.subplots(1, len(groups), width_ratios=sides))
    rates = [cell.fmr for found in groups.values() for cell in found.cells if cell.fmr]
    low, high = min(rates, default=1e-3), max(rates, default=1.0)
    # A scale of at least a factor of ten: small differences do not look large.
    norm = LogNorm(min(low, high / 10), high)
    colours = colormaps[COLOURS]
    for axes, found in zip(panels, groups.values(), strict=True):
        _matrix(axes, found, norm, colours)
        axes.set_title(
            drawable(f"{split} by {found.column}, threshold {found.threshold:.3f}"),
            parse_math=False,
            fontsize=10,
        )
    if rates:
        scale = ScalarMappable(norm, colours)
        figure.colorbar(scale, ax=list(panels), label="false match rate", shrink=0.8, aspect=30)
    return figure


def _matrix(axes: Any, found: GroupEvaluation, norm: Any, colours: Any) -> None:
    """Draw one column's cells on and below the diagonal."""
    from matplotlib.patches import Rectangle

    place = {name: i for i, name in enumerate(found.groups)}
    n = len(place)
    for cell in found.cells:
        column, row = (place[name] for name in cell.groups)  # the first one is never after
        colour = colours(norm(cell.fmr)) if cell.fmr else (1.0, 1.0, 1.0, 1.0)
        spot = (column - 0.5, row - 0.5)
        axes.add_patch(Rectangle(spot, 1, 1, facecolor=colour, edgecolor="0.6", linewidth=0.5))
        bright = np.dot(colour[:3], (0.299, 0.587, 0.114)) > 0.5
        axes.text(
            column,
            row,
            cell_text(cell),
            ha="center",
            va="center",
            fontsize=8,
            color="black" if bright else "white",
        )
    names = [drawable(name if len(name) <= _LONGEST else name[:_LONGEST] + "...") for name in place]
    axes.set(xlim=(-0.5, n - 0.5), ylim=(n - 0.5, -0.5), aspect="equal")
    axes.set_xticks(
        range(n), names, rotation=45, ha="right", rotation_mode="anchor", parse_math=False
    )
    axes.set_yticks(range(n), names, parse_math=False)
    axes.tick_params(length=0)
    for side in axes.spines.values():
        side.set_visible(False)


def cell_text(cell: GroupFigures) -> str:
    """A rate in two digits; of 0 the upper end of its interval, too; a dash without pairs."""
    if cell.fmr is None:
        return "-"
    if cell.fmr == 0 and "fmr" in cell.ci95:
        return f"0\n(<= {cell.ci95['fmr'][1]:.2g})"
    return f"{cell.fmr:.2g}"
