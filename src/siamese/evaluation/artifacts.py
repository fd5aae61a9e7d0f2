"""What a run leaves in its folder for people to look at: tables, curves, and galleries of its pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from siamese.data.dataset import CropDataset
from siamese.data.manifest import SplitManifest
from siamese.data.prepared import PreparedData
from siamese.data.prepared import PreparedSplit
from siamese.data.samplers.base import PlannedBatches
from siamese.pairs.base import Pairs
from siamese.report import files
from siamese.report import galleries
from siamese.report import plots
from siamese.report import skew
from siamese.report import tables
from siamese.report.plots import History
from siamese.storage import write_json
from siamese.verification.pair_distances import PairDistances
from siamese.verification.pair_distances import HeldDistances
from siamese.verification.point import OperatingPoint
from siamese.verification.figures import SplitEvaluation
from siamese.verification.pair_distances import pairs_to_show

GALLERY = 20  # mistakes of either kind that are shown
SAMPLES = 20  # pairs of a split that are shown, right or wrong


def write_data(manifest: SplitManifest, prepared: PreparedData, folder: Path, verbose: bool) -> None:
    """What the run is made of: ``split.json``, ``crops.json``, ``skew.json``, ``plots/skew.png``; shown if ``verbose``."""
    summary = prepared.summary()
    manifest.save(folder / "split.json")
    write_json(folder / "crops.json", summary | {"quarantine": manifest.quarantine})
    splits: dict[str, Sequence[str]] = {name: part.table.identities for name, part in prepared.splits.items()}
    everything = [person for identities in splits.values() for person in identities]
    whole: dict[str, Sequence[str]] = {"all": everything, **splits}
    write_json(folder / "skew.json", skew.skew_summary(whole))
    # Where pairs were chosen, the split is as skewed as its genuine pairs: they show skew before the others do.
    in_use = {
        name if part.pairs is None else f"{name}, genuine pairs": _in_genuine_pairs(part)
        for name, part in prepared.splits.items()
    }
    plots.save(skew.skew_plot(in_use), folder / "plots" / "skew.png")
    if not verbose:
        return
    tables.show(tables.data_table(summary), skew.skew_table(whole))
    if twins := manifest.shared_pictures():
        print(f"note: {len(twins)} pictures are in two splits as different files, e.g. {twins[0][0]} = {twins[0][1]}")
    if manifest.caution:
        print(f"note: {manifest.caution}")


def write_training_pairs(batches: PlannedBatches, data: CropDataset, folder: Path) -> None:
    """``plots/training_pairs.png``: pairs of the first batch as the network is fed with them, augmented."""
    plan = next(iter(batches))
    batch = data[plan]
    labels, images = batch["label"].numpy(), batch["image"].permute(0, 2, 3, 1).numpy()
    left, right = batch["pairs"].numpy() if "pairs" in batch else np.triu_indices(len(labels), 1)
    pairs = Pairs(left, right, labels[left] == labels[right])
    shown = HeldDistances(pairs, np.zeros(len(pairs), dtype=np.float32), labels, "", {})
    figure = galleries.pair_gallery(shown, galleries.sample(shown, SAMPLES), images.__getitem__, title="first training batch")
    plots.save(figure, folder / "plots" / "training_pairs.png")


def write_comparison(
    compared: Mapping[str, PairDistances],
    evaluations: Mapping[str, SplitEvaluation],
    datasets: Mapping[str, CropDataset],
    parts: Mapping[str, PreparedSplit],
    point: OperatingPoint,
    folder: Path,
    caution: str = "",
) -> None:
    """``evaluation.json`` and in ``plots/``: distances, curves, and for each split a sample of its pairs and its mistakes."""
    files.write_evaluation(folder / "evaluation.json", evaluations)
    pictures, threshold, band = folder / "plots", point.threshold, point.ci95.get("threshold")
    figures = {
        "distances": plots.distance_histograms(compared, threshold),
        "curves": plots.verification_curves(compared, threshold, band),
    }
    judged = {split: e.reliability for split, e in evaluations.items() if e.reliability}
    if judged and point.target_prevalence is not None:
        figures["reliability"] = plots.reliability_diagram(judged, point.target_prevalence)
    for name, figure in figures.items():
        if caution:
            figure.suptitle(caution, fontsize=9)
        plots.save(figure, pictures / f"{name}.png")
    for split, every in compared.items():
        c = pairs_to_show(every, SAMPLES)
        totals = None if c is every else every.confusion(threshold)
        title = f"{split} ({caution.partition(':')[0]})" if caution else split
        identities: Sequence[str] = parts[split].table.identities
        for kind, rows in (
            ("samples", galleries.sample(c, SAMPLES)),
            ("false_matches", galleries.false_matches(c, threshold, GALLERY)),
            ("false_non_matches", galleries.false_non_matches(c, threshold, GALLERY)),
        ):
            figure = galleries.pair_gallery(
                c, rows, datasets[split].image, names=identities.__getitem__, threshold=threshold, title=title, totals=totals
            )
            plots.save(figure, pictures / f"{kind}_{split}.png")


def write_history(folder: Path, earlier: History) -> None:
    """``history.csv`` and ``plots/loss_curves.png`` from the logger's file and, where the run was resumed, the epochs before."""
    logged = folder / "logs" / "csv" / "metrics.csv"
    history = joined(earlier, plots.read_history(logged) if logged.exists() else {})
    if history:
        files.write_history(folder / "history.csv", history)
        plots.save(plots.loss_curves(history), folder / "plots" / "loss_curves.png")


def joined(earlier: History, later: History) -> dict[str, tuple[list[int], list[float]]]:
    """Two histories as one; where both know an epoch, the later one holds."""
    both: dict[str, dict[int, float]] = {}
    for history in (earlier, later):
        for name, (epochs, values) in history.items():
            both.setdefault(name, {}).update(zip(epochs, values, strict=True))
    return {name: (sorted(known), [known[e] for e in sorted(known)]) for name, known in both.items()}


def _in_genuine_pairs(part: PreparedSplit) -> list[Any]:
    """Who is on the pictures of a split's chosen genuine pairs, once per picture and pair; or simply of the split."""
    identities = part.table.identities
    if part.pairs is None:
        return list(identities)
    return [identities[row] for pair in part.pairs.T for row in pair if identities[pair[0]] == identities[pair[1]]]
