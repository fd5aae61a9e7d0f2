"""Sheets of images, and a threshold among its figures: pictures for notebooks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from siamese.errors import ConfigError
from siamese.faces.images import read_image
from siamese.report.galleries import shorten
from siamese.report.group_plot import group_matrices
from siamese.report.plots import DASHES, PALETTE, blank_figure
from siamese.verification.calibration import Calibration
from siamese.verification.group_figures import GroupEvaluation
from siamese.verification.policies.base import OBSERVED

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST = 400  # images on one sheet: more of them cannot be seen
_TITLE = 8.0  # points, size of letters


def plot_images(
    images: Sequence[str | Path | np.ndarray],
    titles: Sequence[str] | None = None,
    *,
    columns: int = 10,
    side: float = 1.0,
) -> Figure:
    """Images side by side, in the order given.

    Args:
        images: n paths, or arrays, (H, W, 3) or (H, W) uint8; 1 to 400 of them.
        titles: n texts above the images; long ones are shortened in their middle.
        columns: how many stand in a line, >= 1.
        side: inches of each image, > 0.

    Raises:
        ConfigError: no image or more than 400, another number of titles, or no line or side.
        ImageError: a file that cannot be read.

    Examples:
        >>> import siamese
        >>> import numpy as np
        >>> sheet = siamese.plot_images(np.zeros((6, 8, 8), dtype=np.uint8), columns=3)
        >>> len(sheet.axes)
        6
    """
    if not 1 <= len(images) <= MOST:
        raise ConfigError(
            f"a sheet shows 1 to {MOST} images, not {len(images):,}; give some of them"
        )
    if titles is not None and len(titles) != len(images):
        raise ConfigError(f"{len(images)} images need as many titles, not {len(titles)}")
    if columns < 1 or side <= 0:
        raise ConfigError(f"columns and side must be positive, not {columns} and {side}")
    columns = min(columns, len(images))
    lines = -(-len(images) // columns)
    above = 0.2 if titles is not None else 0.0
    figure = blank_figure(columns * side, lines * (side + above))
    figure.set_layout_engine("constrained", w_pad=0.02, h_pad=0.02, wspace=0, hspace=0)
    grid = figure.add_gridspec(lines, columns)
    for place, image in enumerate(images):
        axes = figure.add_subplot(grid[place // columns, place % columns])
        pixels = read_image(image) if isinstance(image, (str, Path)) else np.asarray(image)
        axes.imshow(pixels, cmap="gray", vmin=0, vmax=255)
        axes.axis("off")
        if titles is not None:
            text = shorten(titles[place], 72 * side - 2, _TITLE)
            axes.set_title(text, fontsize=_TITLE, pad=2, parse_math=False)
    return figure


def plot_thresholds(calibrations: Calibration | Mapping[str, Calibration]) -> Figure:
    """F1 and the two error rates at every threshold, with the thresholds that were chosen.

    Calibrations on the same pairs (:meth:`siamese.Calibration.with_policy`) share their lines. F1
    is that at the prevalence of each policy. Of a single calibration the 95 % interval of the
    threshold is shaded.

    Args:
        calibrations: one, or name -> calibration; all with the same distance.

    Raises:
        ConfigError: none, or calibrations with different distances.
    """
    if isinstance(calibrations, Calibration):
        calibrations = {calibrations.point.policy: calibrations}
    distances = sorted({found.point.distance for found in calibrations.values()})
    if len(distances) != 1:
        raise ConfigError(
            f"thresholds are drawn over one distance, not over {', '.join(distances) or 'none'}; "
            f"give calibrations of one"
        )
    figure = blank_figure(11.0, 4.2)
    f1, rates = figure.subplots(1, 2)
    drawn: dict[Any, str] = {}
    for number, (name, found) in enumerate(calibrations.items()):
        colour = PALETTE[number % len(PALETTE)]
        _lines_of(f1, rates, found, name, colour, drawn)
        style: dict[str, Any] = {"color": colour, "linestyle": DASHES[number % len(DASHES)]}
        figures = found.point.figures
        f1.axvline(found.threshold, label=f"{name}: {found.threshold:.3f}", **style)
        f1.plot([found.threshold], [figures["f1"]], "o", color=colour, markeredgecolor="white")
        rates.axvline(found.threshold, **style)
    if len(calibrations) == 1 and (band := next(iter(calibrations.values())).band):
        for axes in (f1, rates):
            axes.axvspan(*band, color="0.5", alpha=0.2, linewidth=0, label="95 % interval")
    for axes, title in ((f1, "F1"), (rates, "error rates")):
        axes.set(title=title, xlabel=f"threshold ({distances[0]} distance)", ylim=(0, 1))
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8, framealpha=0.9)
    return figure


def _lines_of(
    f1: Any, rates: Any, found: Calibration, name: str, colour: str, drawn: dict[Any, str]
) -> None:
    """The lines of a calibration that are not drawn yet."""
    curve, stated = found.curve, found.point.settings.get("prevalence", OBSERVED)
    prevalence = None if stated == OBSERVED else found.point.target_prevalence
    first = id(curve) not in drawn
    if (id(curve), prevalence) not in drawn:
        share = curve.prevalence if prevalence is None else prevalence
        f1.plot(
            curve.thresholds,
            curve.f1(prevalence),
            color=colour if drawn else "0.2",
            label=f"F1 at a prevalence of {share:.3g}" + ("" if not drawn else f", {name}"),
        )
    if first:
        shade, suffix = (colour, f", {name}") if drawn else ("0.2", "")
        rates.plot(curve.thresholds, curve.fmr, color=shade, label=f"false match rate{suffix}")
        rates.plot(
            curve.thresholds, curve.fnmr, color=shade, linestyle=":",
            label=f"false non-match rate{suffix}",
        )  # fmt: skip
    drawn[id(curve)] = drawn[id(curve), prevalence] = name


def plot_groups(found: GroupEvaluation, title: str = "pairs") -> Figure:
    """Error rates within each group, on the diagonal, and between every two groups.

    Colours are those of the false match rate, on a logarithmic scale.

    Args:
        found: what :func:`siamese.evaluate_groups` gave.
        title: whose pairs these are.
    """
    return group_matrices({found.column: found}, title)
