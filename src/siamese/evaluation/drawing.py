"""Figures of an evaluation, and of verdicts, as objects: for notebooks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from siamese.errors import ConfigError, did_you_mean
from siamese.evaluation.artifacts import GALLERIES, PLOTS, figures_of, gallery_of, shown_split
from siamese.evaluation.data import EvaluationData
from siamese.faces.images import read_image
from siamese.inference.pair_verdicts import PairVerdict
from siamese.report.galleries import frame_pair, shorten
from siamese.report.plots import blank_figure, head
from siamese.verification.figures import SplitEvaluation
from siamese.verification.pair_distances import PairDistances
from siamese.verification.point import OperatingPoint

if TYPE_CHECKING:
    from siamese.report.plots import Figure

MOST = 40  # pairs on one sheet
_WIDTH, _HEIGHT, _LINE = 2.7, 2.0, 4  # inches of a pair with its texts; pairs in a line


def plot_verdicts(verdicts: Sequence[PairVerdict], root: str | Path | None = None) -> Figure:
    """Pairs of photographs with the verdicts on them, in the order given.

    Above each pair stand its distance, the verdict, and the probability where the bundle has one;
    below it the names of the files. A pair that was accepted has a solid blue frame, one that was
    refused a dashed one. A pair without a verdict says why.

    Args:
        verdicts: 1 to 40 pairs, of :meth:`siamese.Verifier.verify_pairs` or
            :func:`siamese.verify_list`.
        root: the folder that the files are relative to, as for these.

    Raises:
        ConfigError: no pair, or more than 40.
        ImageError: a photograph of a verdict can no longer be read.
    """
    if not 1 <= len(verdicts) <= MOST:
        raise ConfigError(f"a sheet shows 1 to {MOST} pairs, not {len(verdicts):,}; give some")
    columns = min(_LINE, len(verdicts))
    lines = -(-len(verdicts) // columns)
    figure = blank_figure(_WIDTH * columns, _HEIGHT * lines)
    grid = figure.add_gridspec(lines, columns)
    folder = Path() if root is None else Path(root).expanduser()
    for place, pair in enumerate(verdicts):
        axes = figure.add_subplot(grid[place // columns, place % columns])
        found = pair.verification
        if found is None:
            axes.axis("off")
            reason = shorten(f"no verdict: {pair.reason}", 72 * _WIDTH - 10, 9)
            axes.text(0.5, 0.5, reason, ha="center", fontsize=9, parse_math=False)
            continue
        caption = f"{found.distance:.3f} {'same' if found.same else 'different'}"
        if found.probability is not None:
            caption += f", P {found.probability:.2f}"
        images = [read_image(folder / name) for name in (pair.a, pair.b)]
        names = ["/".join(Path(name).parts[-2:]) for name in (pair.a, pair.b)]
        frame_pair(axes, images, caption, names, found.same)
    return figure


def plot_evaluation(
    distances: Mapping[str, PairDistances],
    evaluations: Mapping[str, SplitEvaluation],
    point: OperatingPoint,
    data: EvaluationData,
    name: str,
    split: str,
    count: int,
) -> Figure:
    """See :meth:`siamese.RunEvaluation.plot`."""
    _check("figure", name, (*PLOTS, *GALLERIES))
    called = {each: data.prepared.called(each) for each in distances}
    if name in PLOTS:
        drawn = figures_of(distances, evaluations, point, called)
        if name not in drawn:
            lacks = "no column of groups" if name == "groups" else "no probabilities"
            raise ConfigError(f"there is no figure {name!r}: the data have {lacks}")
        figure = drawn[name]
        if caution := data.manifest.caution:
            head(figure, caution)
        return figure
    _check("split", split, tuple(distances))
    shown = shown_split(split, data.datasets, data.prepared, data.manifest.caution)
    return gallery_of(name, distances[split], shown, point.threshold, count)


def _check(kind: str, given: str, known: Sequence[str]) -> None:
    if given not in known:
        raise ConfigError(f"an evaluation has no {kind} {given!r}{did_you_mean(given, known)}")
