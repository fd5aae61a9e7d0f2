"""How unevenly images are distributed over identities: counts, a table, a plot."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.table import Table
from rich.text import Text

from siamese.report.galleries import shorten
from siamese.report.plots import GENUINE, IMPOSTOR, PALETTE, blank_figure, drawable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# First and last number of images; None is without end.
BUCKETS: tuple[tuple[int, int | None], ...] = (
    (1, 1), (2, 2), (3, 5), (6, 10), (11, 25), (26, 75), (76, 200), (201, None),
)  # fmt: skip
# Times the median: from there on a linear axis shows only the first few identities.
_LOG_FROM = 20
_NAMED = 3  # identities of a split
_FIGURES = ("identities", "images", "median", "mean", "standard deviation")


def images_per_identity(identities: Sequence[str]) -> np.ndarray:
    """How many images each identity has.

    Args:
        identities: the identity of each image.

    Returns:
        (identities,) int64, descending.
    """
    return np.array(list(_counted(identities).values()), dtype=np.int64)


def _counted(identities: Sequence[str]) -> dict[str, int]:
    """Identity -> its number of images, those with most first, and of those alike by name."""
    return dict(sorted(Counter(identities).items(), key=lambda item: (-item[1], item[0])))


def skew_counts(identities: Sequence[str]) -> list[int]:
    """How many identities have 1, 2, 3-5, ... images: one number for each of ``BUCKETS``."""
    counts = images_per_identity(identities)
    return [
        int(np.count_nonzero((counts >= low) & (counts <= (high or np.inf))))
        for low, high in BUCKETS
    ]


def skew_summary(splits: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """Split -> its numbers, in plain JSON.

    They are the numbers of identities and images, the median, mean and standard deviation of images
    per identity, and the buckets. The standard deviation is that of these identities (divided by
    their number). A split without identities has no median, mean or deviation: None.

    Args:
        splits: split -> the identity of each of its images.
    """
    summary: dict[str, Any] = {}
    for split, identities in splits.items():
        counts = images_per_identity(identities)
        middle = [float(f(counts)) if len(counts) else None for f in (np.median, np.mean, np.std)]
        summary[split] = dict(
            zip(_FIGURES, [len(counts), int(counts.sum()), *middle], strict=True)
        ) | {"identities with": dict(zip(_names(), skew_counts(identities), strict=True))}
    return summary


def skew_table(splits: Mapping[str, Sequence[str]]) -> Table:
    """The identities of each split by their numbers of images, one column per split.

    Args:
        splits: split -> the identity of each of its images.
    """
    summary = skew_summary(splits)
    table = Table(title="identities by number of images", title_justify="left")
    table.add_column("images each")
    for split in summary:
        table.add_column(Text(split), justify="right")
    for bucket in _names():
        table.add_row(
            bucket, *(f"{figures['identities with'][bucket]:,}" for figures in summary.values())
        )
    table.rows[-1].end_section = True
    for name in _FIGURES:
        form = "{:,}" if name in ("identities", "images") else "{:,.2f}"
        values = (figures[name] for figures in summary.values())
        table.add_row(name, *("-" if value is None else form.format(value) for value in values))
    return table


def is_skewed(splits: Mapping[str, Sequence[str]]) -> bool:
    """Whether some identity of a split has more images than another: else there is no skew."""
    counts = [images_per_identity(identities) for identities in splits.values()]
    return any(len(each) and each[0] != each[-1] for each in counts)


def skew_plot(
    splits: Mapping[str, Sequence[str]], top: int = 250, spelling: Mapping[str, str] | None = None
) -> Figure:
    """Images per identity of each split, those with most first.

    Median, mean and standard deviation are of all identities of the split. All panels have one
    vertical axis, so that splits can be compared; it is logarithmic where some identities have far
    more images than most. The identities with most images are named.

    Args:
        splits: split -> the identity of each of its images; at least one.
        top: how many identities are drawn, >= 1.
        spelling: identity -> its name as it was written; by default as identities are called here.
    """
    figure = blank_figure(4.6 * len(splits), 4.2)
    counted = {split: _counted(identities) for split, identities in splits.items()}
    found = [np.array(list(each.values())) for each in counted.values() if each]
    logarithmic = any(c[0] >= _LOG_FROM * np.median(c) for c in found)
    most = max((int(c[0]) for c in found), default=1)
    for axes, (split, identities) in zip(
        np.atleast_1d(figure.subplots(1, len(splits), sharey=True)), splits.items(), strict=True
    ):
        _panel(axes, images_per_identity(identities), top, logarithmic, most)
        _name_largest(axes, counted[split], spelling or {})
        number = len(set(identities))
        axes.set_title(
            f"{drawable(split)}: {number:,} {'identity' if number == 1 else 'identities'}, "
            f"{len(identities):,} {'image' if len(identities) == 1 else 'images'}",
            parse_math=False,
            fontsize=11,
        )
    return figure


def _name_largest(axes: Axes, counted: Mapping[str, int], spelling: Mapping[str, str]) -> None:
    """Who has most images, with their numbers, where some have more than others."""
    first = list(counted.items())[:_NAMED]
    if not first or first[0][1] == min(counted.values()):
        return
    lines = [f"{shorten(spelling.get(name, name), 110, 7.5)} {n:,}" for name, n in first]
    axes.text(
        0.97,
        0.68,
        "\n".join(["most images", *lines]),
        transform=axes.transAxes,
        fontsize=7.5,
        ha="right",
        va="top",
        color="0.2",
        parse_math=False,
    )


def _panel(axes: Axes, counts: np.ndarray, top: int, logarithmic: bool, most: int) -> None:
    """One split; ``most`` is the largest number of images of any identity of any split."""
    from matplotlib.ticker import MaxNLocator, NullFormatter, StrMethodFormatter

    if not len(counts):
        axes.text(
            0.5,
            0.5,
            "no identities",
            transform=axes.transAxes,
            ha="center",
            va="center",
            color="0.4",
        )
        axes.set(xticks=[], yticks=[])
        return
    shown = counts[:top]
    # A logarithmic axis has no 0, and an identity with one image must be visible.
    floor = 0.8 if logarithmic else 0.0
    axes.stairs(shown, np.arange(len(shown) + 1) + 0.5, baseline=floor, fill=True, color=PALETTE[5])
    mean, deviation = float(counts.mean()), float(counts.std())
    for height, colour, dash, label in (
        (float(np.median(counts)), "black", "-", f"median {np.median(counts):g}"),
        (mean, GENUINE, "--", f"mean {mean:.2f}"),
        (mean + deviation, IMPOSTOR, ":", f"mean + standard deviation ({deviation:.2f})"),
    ):
        axes.axhline(height, color=colour, linestyle=dash, linewidth=1.6, label=label)
    of = f" (first {len(shown):,} of {len(counts):,})" if len(shown) < len(counts) else ""
    axes.set(
        xlabel=f"identity, most images first{of}", ylabel="images", xlim=(0.5, len(shown) + 0.5)
    )
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True, min_n_ticks=1))
    if logarithmic:
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.set_ylim(floor, 12 * most)
    else:
        axes.yaxis.set_major_locator(MaxNLocator(nbins=6, integer=True, min_n_ticks=1))
        axes.set_ylim(0, 1.45 * most)  # room for the legend
    axes.legend(fontsize=8.5, loc="upper right")


def _names() -> list[str]:
    return [
        str(low) if low == high else f"{low}-{high}" if high else f"{low}+" for low, high in BUCKETS
    ]
