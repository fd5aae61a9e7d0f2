"""Galleries: pairs of images with distances and verdicts; the worst mistakes or a sample."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from siamese.distances.verdict import is_match
from siamese.report.plots import GENUINE, IMPOSTOR, blank_figure, drawable, text_width
from siamese.verification.confusion import Confusion
from siamese.verification.pair_distances import PairSample

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_WIDTH = 2.7  # inches of one pair
_CAPTION = 0.25  # inches of each line of captions, with the space around it
_GAP = 0.06  # between the two images, in images
_NAME, _HEADING = 7.0, 10.5  # points, sizes of letters


class Shown(NamedTuple):
    """How the images of a split are shown.

    Attributes:
        image: row of the embedding matrix -> its image, (H, W, 3) uint8.
        names: row of the embedding matrix -> its identity.
        title: the text above, such as the split.
        files: row of the embedding matrix -> the name of its file; None where no file is named.
    """

    image: Callable[[int], np.ndarray]
    names: Callable[[int], str]
    title: str
    files: Callable[[int], str] | None = None


def false_matches(shown: PairSample, threshold: float, count: int = 20) -> np.ndarray:
    """Different identities taken for one: the pairs of smallest distance first.

    Args:
        shown: pairs and their distances.
        threshold: in the unit of the distances.
        count: how many at most, >= 0.

    Returns:
        (k,) int64 row numbers of ``shown.pairs``, k <= count; equal distances in their order
        there, and no two pairs of the same two images, whichever is left.
    """
    return _mistakes(shown, threshold, same=False)[:count]


def false_non_matches(shown: PairSample, threshold: float, count: int = 20) -> np.ndarray:
    """One identity taken for two: the pairs of largest distance first.

    Otherwise as :func:`false_matches`.
    """
    return _mistakes(shown, threshold, same=True)[:count]


def sample(shown: PairSample, count: int = 8, seed: int = 0) -> np.ndarray:
    """Random pairs, genuine and impostor in turn, genuine first; where one kind runs out, fewer.

    Args:
        shown: pairs and their distances.
        count: how many at most, >= 0.
        seed: the same seed and pairs give the same sample.

    Returns:
        (k,) int64 row numbers of ``shown.pairs``, k <= count, no two pairs of the same two
        images.
    """
    rng = np.random.default_rng([seed, 6])
    genuine, impostor = (
        rng.permutation(_distinct(shown, np.flatnonzero(shown.pairs.same == kind)))[:wanted]
        for kind, wanted in ((True, (count + 1) // 2), (False, count // 2))
    )
    turns = min(len(genuine), len(impostor))
    alternating = np.stack([genuine[:turns], impostor[:turns]], axis=1).ravel()
    return np.concatenate([alternating, genuine[turns:], impostor[turns:]])


def pair_gallery(
    shown: PairSample,
    rows: Sequence[int] | np.ndarray,
    image: Callable[[int], np.ndarray],
    *,
    names: Callable[[int], str] | None = None,
    files: Callable[[int], str] | None = None,
    threshold: float | None = None,
    title: str = "",
    totals: Confusion | None = None,
) -> Figure:
    """Pairs side by side, up to five in a line, in the order given.

    Above each pair are its distance, the verdict, and whether that is right; without a threshold
    only its kind, genuine or impostor. Below it are the identities' names and those of the files.
    The heading counts the
    pairs shown and all pairs, each two images once; if no pairs are shown, it says of which
    mistakes there are none.

    Args:
        shown: pairs and their distances.
        rows: (k,) row numbers of ``shown.pairs``, such as :func:`false_matches` chooses.
        image: row of the embedding matrix -> its image, (H, W, 3) uint8; called once for each row
            that is shown.
        names: row of the embedding matrix -> its identity; long names are shortened in their
            middle.
        files: row of the embedding matrix -> the name of its file, shortened alike.
        threshold: in the unit of the distances; None for pairs without a verdict.
        title: the text above the count, such as the split.
        totals: counts of all the pairs that these were chosen from; by default these are all.
    """
    rows = np.asarray(rows, dtype=np.int64)
    per_line = (
        len(rows) if len(rows) <= 5 else min((5, 4), key=lambda columns: -len(rows) % columns)
    )
    lines = -(-len(rows) // per_line) if len(rows) else 0
    width = max(8.0, _WIDTH * per_line)
    heading = [
        part
        for text in (title, _caption_counts(shown, rows, threshold, totals))
        for part in _wrap(text, width)
    ]
    pair = _WIDTH / 2 + _CAPTION * (1 + 0.8 * ((names is not None) + (files is not None)))
    figure = blank_figure(width, pair * lines + 0.2 * len(heading) + 0.15)
    figure.suptitle("\n".join(heading), fontsize=_HEADING, parse_math=False)
    if not len(rows):
        return figure
    images = {
        row: image(row)
        for row in np.union1d(shown.pairs.left[rows], shown.pairs.right[rows]).tolist()
    }
    accepted = None if threshold is None else np.asarray(is_match(shown.distances, threshold))
    grid = figure.add_gridspec(lines, per_line)
    for place, row in enumerate(rows.tolist()):
        axes = figure.add_subplot(grid[place // per_line, place % per_line])
        left, right = int(shown.pairs.left[row]), int(shown.pairs.right[row])
        _side_by_side(axes, images[left], images[right])
        same = bool(shown.pairs.same[row])
        if accepted is None:
            _mark(axes, "genuine" if same else "impostor", same)
        else:
            match = bool(accepted[row])
            verdict = "same" if match else "different"
            mark = "\u2713 right" if match == same else "\u2717 wrong"
            _mark(axes, f"{float(shown.distances[row]):.3f} {verdict} {mark}", match == same)
        if names is not None:
            _name(axes, names(left), names(right), same)
        if files is not None:
            _write_below(axes, [files(left), files(right)], line=1 if names else 0)
    return figure


def _mistakes(shown: PairSample, threshold: float, same: bool) -> np.ndarray:
    """All of one kind, the worst first, each two images once."""
    accepted = np.asarray(is_match(shown.distances, threshold), dtype=bool)
    rows = np.flatnonzero((shown.pairs.same == same) & (accepted != same))
    distances = shown.distances[rows].astype(np.float64)
    return _distinct(shown, rows[np.argsort(-distances if same else distances, kind="stable")])


def _distinct(shown: PairSample, rows: np.ndarray) -> np.ndarray:
    """The rows without those whose two images came before, in either order.

    A benchmark may list a pair both ways.
    """
    left = shown.pairs.left[rows].astype(np.int64)
    right = shown.pairs.right[rows].astype(np.int64)
    _, first = np.unique(np.minimum(left, right) << 32 | np.maximum(left, right), return_index=True)
    kept: np.ndarray = rows[np.sort(first)]
    return kept


def _caption_counts(
    shown: PairSample, rows: np.ndarray, threshold: float | None, totals: Confusion | None
) -> str:
    """How many pairs are shown, and of how many."""
    genuine, impostor = (
        len(_distinct(shown, np.flatnonzero(shown.pairs.same == kind))) for kind in (True, False)
    )
    if totals is not None:
        genuine, impostor = totals.tp + totals.fn, totals.fp + totals.tn
    every = (
        f"{len(rows):,} of {genuine + impostor:,} pairs ({genuine:,} genuine, {impostor:,} "
        f"impostor)"
    )
    if threshold is None:
        return every if len(rows) else f"no pairs to show of {every.partition(' of ')[2]}"
    at = f"at threshold {threshold:.3f} ({shown.distance} distance)"
    none = []
    for same, kind, among in (
        (False, "false matches", f"{impostor:,} impostor pairs"),
        (True, "false non-matches", f"{genuine:,} genuine pairs"),
    ):
        found = len(_mistakes(shown, threshold, same))
        if totals is not None:
            found = totals.fn if same else totals.fp
        match = np.asarray(is_match(shown.distances, threshold))[rows]
        if len(rows) and ((shown.pairs.same[rows] == same) & (match != same)).all():
            return f"{len(rows):,} of {found:,} {kind} among {among} {at}"
        if not found:
            none.append(f"no {kind} among {among}")
    if len(rows):
        return f"{every} {at}"
    return f"{' and '.join(none) or 'no pairs to show'} {at}"


def _side_by_side(axes: Axes, left: np.ndarray, right: np.ndarray) -> None:
    """Two images, each in a square of side 1; one that is not square is centred in it."""
    for start, image in ((0.0, left), (1 + _GAP, right)):
        height, width = (n / max(image.shape[:2]) for n in image.shape[:2])
        x, y = start + (1 - width) / 2, (1 - height) / 2
        axes.imshow(image, extent=(x, x + width, y, y + height), cmap="gray", vmin=0, vmax=255)
    edge = _GAP / 2
    axes.set(
        xlim=(-edge, 2 + _GAP + edge), ylim=(-edge, 1 + edge), xticks=[], yticks=[], aspect="equal"
    )


def frame_pair(
    axes: Axes, images: Sequence[np.ndarray], caption: str, names: Sequence[str], good: bool
) -> None:
    """Two images in a frame, a caption above and a text below each.

    Args:
        axes: to draw on.
        images: two of (H, W, 3) uint8.
        caption: the text above.
        names: two texts, shortened in their middle.
        good: whether the frame is blue and solid; otherwise it is vermilion and dashed.
    """
    _side_by_side(axes, images[0], images[1])
    _mark(axes, caption, good)
    _write_below(axes, names)


def _mark(axes: Axes, caption: str, good: bool) -> None:
    """Caption and frame; blue and solid, or vermilion and dashed."""
    axes.set_title(caption, fontsize=9, pad=5)
    for spine in axes.spines.values():
        spine.set(
            color=GENUINE if good else IMPOSTOR, linewidth=2, linestyle="-" if good else (0, (4, 2))
        )


def _name(axes: Axes, left: str, right: str, same: bool) -> None:
    """Names below the images; one for both where they are one identity with one name."""
    _write_below(axes, [left] if same and left == right else [left, right])


def _write_below(axes: Axes, texts: Sequence[str], line: int = 0) -> None:
    """A text below each image, or one below both."""
    from matplotlib.transforms import offset_copy

    below = offset_copy(
        axes.transData, axes.get_figure(root=True), y=-line * (_NAME + 2.5), units="points"
    )
    width = (_WIDTH - 0.2) * 72 / len(texts)
    places = [1 + _GAP / 2] if len(texts) == 1 else [0.5, 1.5 + _GAP]
    for x, text in zip(places, texts, strict=True):
        axes.text(
            x,
            -0.08,
            shorten(text, width - 4, _NAME),
            transform=below,
            fontsize=_NAME,
            ha="center",
            va="top",
            parse_math=False,
            color="0.2" if line == 0 else "0.4",
        )


def shorten(text: str, width: float, size: float) -> str:
    """Text that a figure can write and that is no wider than ``width``.

    If it was longer, an ellipsis replaces its middle.

    Args:
        text: anything.
        width: in points.
        size: of the letters, in points.
    """
    text = drawable(text)
    if text_width(text, size) <= width:
        return text
    for kept in range(min(len(text) - 1, 200), 0, -1):
        candidate = f"{text[: -(-kept // 2)]}\u2026{text[len(text) - kept // 2 :]}"
        if text_width(candidate, size) <= width:
            return candidate
    return "\u2026"


def _wrap(text: str, width: float) -> list[str]:
    """Lines of a heading that fit a figure of so many inches."""
    text = drawable(text)
    for characters in range(int(16 * width), 8, -4):
        lines = textwrap.wrap(text, characters)
        if all(text_width(line, _HEADING) <= 72 * (width - 0.3) for line in lines):
            break
    return lines
