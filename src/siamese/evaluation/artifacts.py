"""What a run leaves in its folder for people to look at: tables, curves, galleries of its pairs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from siamese.data.dataset import CropDataset
from siamese.data.manifest import SplitManifest
from siamese.data.prepared import PreparedData, PreparedSplit
from siamese.data.samplers.base import BatchPlan
from siamese.datasets.identities import IdentityTable
from siamese.errors import ConfigError
from siamese.inference.bundle import DESCRIPTION, FILES
from siamese.pairs.base import Pairs
from siamese.report import galleries, plots, skew
from siamese.report.group_plot import group_matrices
from siamese.report.record import ARRAYS, REPORT
from siamese.report.run_report import PAGE
from siamese.storage import write_json
from siamese.verification.figures import SplitEvaluation
from siamese.verification.pair_distances import PairDistances, PairSample
from siamese.verification.point import OperatingPoint

if TYPE_CHECKING:
    from siamese.report.plots import Figure

GALLERY = 20  # mistakes of either kind that are shown
PLOTS = ("distances", "curves", "reliability", "groups")  # the last one of one split
GALLERIES = ("samples", "false_matches", "false_non_matches")  # of each split
# Beside the figures the report; the last two of pairs in given folds.
FIGURES = ("evaluation.json", PAGE, REPORT, ARRAYS, "folds.json", "pairs.csv")
SAMPLES = 20  # pairs of a split that are shown, right or wrong


def write_data(
    manifest: SplitManifest, prepared: PreparedData, folder: Path, draw: bool = True
) -> None:
    """What a run is made of: ``split.json``, ``crops.json``, ``skew.json``, ``plots/skew.png``.

    The picture is drawn where some identity has more images than another.
    """
    manifest.save(folder / "split.json")
    write_json(folder / "crops.json", prepared.summary() | {"quarantine": manifest.quarantine})
    write_json(folder / "skew.json", skew.skew_summary(identities_of(prepared)))
    if not draw:
        return
    # Where pairs were chosen, the split is as skewed as its genuine pairs: they show skew before
    # the others do.
    in_use = {
        name if part.pairs is None else f"{name}, genuine pairs": _in_genuine_pairs(part)
        for name, part in prepared.splits.items()
    }
    if skew.is_skewed(in_use):
        spelling = {
            name: written
            for part in prepared.splits.values()
            for name, written in part.table.spellings.items()
        }
        picture = skew.skew_plot(in_use, spelling=spelling)
        plots.save(picture, folder / "plots" / "skew.png")


def identities_of(prepared: PreparedData) -> dict[str, Sequence[str]]:
    """Split -> who is on each of its images, all splits together first."""
    splits = {name: part.table.identities for name, part in prepared.splits.items()}
    everything = [identity for names in splits.values() for identity in names]
    return {"all": everything, **splits}


def write_training_pairs(plan: BatchPlan, data: CropDataset, folder: Path) -> None:
    """``plots/training_pairs.png``: pairs of the first batch, augmented as for the network."""
    batch = data[plan]
    labels, images = batch["label"].numpy(), batch["image"].permute(0, 2, 3, 1).numpy()
    every = np.triu_indices(len(labels), 1)
    left, right = batch["pairs"].numpy() if "pairs" in batch else every
    pairs = Pairs(left, right, labels[left] == labels[right])
    shown = PairSample(pairs, np.zeros(len(pairs), dtype=np.float32), "")  # none is shown
    figure = galleries.pair_gallery(
        shown,
        galleries.sample(shown, SAMPLES),
        images.__getitem__,
        title="first training batch",
    )
    plots.save(figure, folder / "plots" / "training_pairs.png")


def check_room(folder: Path, overwrite: bool, *, bundle: bool = False) -> None:
    """Refuse a folder in which an earlier evaluation lies; nothing is removed.

    Args:
        folder: where an evaluation is to be written.
        overwrite: whether what lies there may be replaced.
        bundle: whether a bundle in ``bundle/`` counts, too.

    Raises:
        ConfigError: there is something, and it may not be overwritten.
    """
    if not overwrite and _of_earlier(folder, bundle):
        raise ConfigError(
            f"{folder} holds an evaluation: give another folder, or replace it (overwrite=True; on "
            f"the command line --overwrite)"
        )


def make_room(folder: Path, *, bundle: bool = False) -> None:
    """Remove what an earlier evaluation left, so that none of it is taken for the next one's.

    Args:
        folder: see :func:`check_room`.
        bundle: whether to remove a bundle in ``bundle/``, too. In a run's folder it is the run's.
    """
    for path in _of_earlier(folder, bundle):
        path.unlink()
    own = folder / "bundle"
    if bundle and own.is_dir() and not own.is_symlink() and not any(own.iterdir()):
        own.rmdir()


def _of_earlier(folder: Path, bundle: bool) -> list[Path]:
    """The files of an earlier evaluation."""
    drawn, own = folder / "plots", folder / "bundle"
    found = [p for p in (drawn.glob("*.png") if drawn.is_dir() else ()) if is_of_evaluation(p)]
    found += [folder / name for name in FIGURES]
    if bundle and not own.is_symlink() and (own / DESCRIPTION).is_file():
        found += [own / name for name in FILES]
    return [path for path in found if path.exists()]


def is_of_evaluation(picture: Path) -> bool:
    """Whether a picture is one that :func:`write_evaluation` draws, by its name."""
    name = picture.stem
    return name in PLOTS or name.startswith(tuple(f"{kind}_" for kind in GALLERIES))


def write_evaluation(
    distances: Mapping[str, PairDistances],
    figures: Mapping[str, Any],
    evaluations: Mapping[str, SplitEvaluation],
    datasets: Mapping[str, CropDataset],
    prepared: PreparedData,
    point: OperatingPoint,
    folder: Path,
    caution: str = "",
    draw: bool = True,
) -> None:
    """``evaluation.json`` and ``plots/``: distances, curves, and galleries of each split.

    Args:
        distances: split -> the distances of its pairs.
        figures: what ``evaluation.json`` holds.
        evaluations: split -> its figures.
        datasets: split -> its crops.
        prepared: who is on them, and what each split is called.
        point: the threshold.
        folder: of the run; made if it is not there.
        caution: what must stand beside the figures.
        draw: whether there are pictures at all.
    """
    write_json(folder / "evaluation.json", figures)
    if not draw:
        return
    called = {split: prepared.called(split) for split in distances}
    for name, figure in figures_of(distances, evaluations, point, called).items():
        if caution:
            plots.head(figure, caution)
        plots.save(figure, folder / "plots" / f"{name}.png")
    for split, measured in distances.items():
        shown = shown_split(split, datasets, prepared, caution)
        for kind in GALLERIES:
            gallery = gallery_of(kind, measured, shown, point.threshold)
            plots.save(gallery, folder / "plots" / f"{kind}_{split}.png")


def shown_split(
    split: str, datasets: Mapping[str, CropDataset], prepared: PreparedData, caution: str = ""
) -> galleries.Shown:
    """How the images of a split are shown; the arguments as for :func:`write_evaluation`."""
    table = prepared.splits[split].table
    title = prepared.called(split) + (f" ({caution.partition(':')[0]})" if caution else "")
    return galleries.Shown(datasets[split].image, table.spelling, title, _file_names(table))


def _file_names(table: IdentityTable) -> Callable[[int], str]:
    return lambda row: Path(table.paths[row]).name


def figures_of(
    distances: Mapping[str, PairDistances],
    evaluations: Mapping[str, SplitEvaluation],
    point: OperatingPoint,
    called: Mapping[str, str],
) -> dict[str, Figure]:
    """The plots that do not belong to one split, and that of groups."""
    threshold, band = point.threshold, point.ci95.get("threshold")
    shown = {called[split]: measured for split, measured in distances.items()}
    found = {
        "distances": plots.distance_histograms(shown, threshold),
        "curves": plots.verification_curves(shown, threshold, band),
    }
    # On images that were trained on, no probability is right.
    strangers = {s: e for s, e in evaluations.items() if s != "train"} or evaluations
    judged = {called[split]: e.reliability for split, e in strangers.items() if e.reliability}
    if judged and point.target_prevalence is not None:
        fitted = called.get(point.split)
        found["reliability"] = plots.reliability_diagram(judged, point.target_prevalence, fitted)
    split = split_of_groups(evaluations, point)
    if evaluations[split].groups:
        found["groups"] = group_matrices(evaluations[split].groups, called[split])
    return found


def split_of_groups(evaluations: Mapping[str, SplitEvaluation], point: OperatingPoint) -> str:
    """The split whose figures by group are shown: test, or else where the threshold is from."""
    wanted = [name for name in ("test", point.split) if name in evaluations]
    return [*wanted, *evaluations][0]


def gallery_of(
    kind: str,
    distances: PairDistances,
    shown: galleries.Shown,
    threshold: float,
    count: int | None = None,
) -> Figure:
    """One of ``GALLERIES``: a sample of a split's pairs, or its worst mistakes of a kind.

    Args:
        kind: which one.
        distances: of the split's pairs.
        shown: how its images are shown.
        threshold: in the unit of the distances.
        count: how many pairs at most; by default 20.
    """
    sample = distances.pairs_to_show(SAMPLES)
    chosen: dict[str, Callable[..., np.ndarray]] = {
        "samples": galleries.sample,
        "false_matches": partial(galleries.false_matches, threshold=threshold),
        "false_non_matches": partial(galleries.false_non_matches, threshold=threshold),
    }
    most = count if count is not None else SAMPLES if kind == "samples" else GALLERY
    return galleries.pair_gallery(
        sample,
        chosen[kind](sample, count=most),
        shown.image,
        names=shown.names,
        files=shown.files,
        threshold=threshold,
        title=shown.title,
        totals=None if sample.complete else distances.count_verdicts(threshold),
    )


def _in_genuine_pairs(part: PreparedSplit) -> list[str]:
    """Who is on the images of a split's chosen genuine pairs, once per image and pair."""
    names = part.table.identities
    if part.pairs is None:
        return list(names)
    return [names[row] for a, b in part.pairs.T for row in (a, b) if names[a] == names[b]]
