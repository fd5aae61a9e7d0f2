"""The recipe from LFW alone, ``experiment=lfw``, on LFW's View 1 or in the ten folds of View 2.

    python benchmarks/lfw_alone.py LFW [SETTING=VALUE ...] [--view 1] [--groups 0,1 2,3 4,5 6,7 8,9]
                                   [--out runs/lfw_alone] [--json FILE]

View 1 is for development. In View 2 a training leaves out the people of a group of folds, with all
of their images, and measures these folds' pairs; so nobody of a tested fold was ever trained on. A
run that lies in the folder already is not trained again, one that was stopped goes on. Of each
training these are measured, with everything fitted on its training images alone:

* the networks' part of the embedding, by cosine distance and by PLDA;
* the fixed descriptors' part, by cosine distance and by PLDA (the baseline that needs no training);
* both in one embedding, by cosine and by PLDA, as the run's bundle measures them;
* the sum of the log-likelihood ratios of the parts.

Folds are judged as always: each at the threshold of best accuracy on the pairs of the others, which
networks measured that had not seen those people. LFW is the folder of folders of people, with the
official files of pairs in it or beside it. The cropper finds faces and their eyes with models that
learned from other images: "label-free outside data for alignment"; data/cropper=fixed_box is
without.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

import siamese
from siamese.data.embedding import embed
from siamese.datasets.benchmarks import BENCHMARKS
from siamese.evaluation.data import EvaluationData, run_manifest
from siamese.verification.curves import auc, eer


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("lfw", type=Path)
    parser.add_argument("settings", nargs="*")
    parser.add_argument("--view", type=int, choices=(1, 2), default=1)
    parser.add_argument("--groups", nargs="+", default=["0,1", "2,3", "4,5", "6,7", "8,9"])
    parser.add_argument("--out", type=Path, default=Path("runs/lfw_alone"))
    parser.add_argument("--json", type=Path, help="write the figures there, too")
    parser.add_argument("--train-only", action="store_true")
    args = parser.parse_args()
    groups = args.groups if args.view == 2 else [""]
    found = []
    for group in groups:
        folder = train(args.lfw, args.out, args.view, group, args.settings)
        if not args.train_only:
            found.append(measure(folder))
            print(f"measured {folder}", file=sys.stderr, flush=True)
    if args.train_only:
        return
    figures = judge(found, args.view)
    minutes = sum(_minutes(run.folder) for run in found)
    print(f"{len(found)} trainings, {minutes:.0f} minutes together\n")
    print("| measured by | accuracy | ROC AUC | EER |\n|---|---|---|---|")
    for name, (accuracy, error, area, equal) in figures.items():
        spread = f" +- {error:.4f}" if error is not None else ""
        print(f"| {name} | {accuracy:.4f}{spread} | {area:.4f} | {equal:.4f} |")
    if args.json:
        args.json.write_text(json.dumps({"minutes": minutes, "figures": figures}, indent=1))


def train(lfw: Path, out: Path, view: int, group: str, settings: Sequence[str]) -> Path:
    """The folder of a finished run."""
    folder = out / (f"view2-{group.replace(',', '-')}" if view == 2 else "view1")
    if (folder / "evaluation.json").exists():
        return folder
    words = [f"hydra.run.dir={folder}", f"resume={folder}"]
    if not (folder / "checkpoints" / "last.ckpt").exists():
        words = [
            "experiment=lfw",
            f"data.root={lfw}",
            f"data.split.benchmark=lfw_view{view}",
            *([f"data.split.tested=[{group}]"] if view == 2 else []),
            f"hydra.run.dir={folder}",
            "overwrite=true",
            "plots=false",
            *settings,
        ]
    print(f"siamese train {' '.join(words)}", file=sys.stderr, flush=True)
    subprocess.run([sys.executable, "-m", "siamese", "train", *words], check=True)
    return folder


@dataclass(frozen=True)
class Measured:
    """Distances of the tested pairs of one run.

    Attributes:
        folder: of the run.
        same, fold: (n,) of each pair.
        distances: what is measured how -> (n,) float64; of PLDA the negative ratio.
    """

    folder: Path
    same: np.ndarray
    fold: np.ndarray
    distances: dict[str, np.ndarray]


def measure(folder: Path) -> Measured:
    """Measure the pairs of a run's tested folds."""
    bundle = siamese.Bundle.load(folder)
    manifest = run_manifest(folder)
    keep = {"train", "test"}
    for name in set(manifest.splits) - keep:
        del manifest.splits[name]
    rule = siamese.AllPairs()
    data = EvaluationData.of_manifest(manifest, bundle.cropper, rule, progress=False)
    rows = {split: embed(bundle.backbone, data.datasets[split]) for split in keep}
    labels, (left, right) = data.datasets["train"].labels, data.prepared.splits["test"].pairs
    networks = bundle.backbone.trained_size
    parts = {
        "networks": slice(0, networks),
        "fixed descriptors": slice(networks, None),
        "both in one embedding": slice(None),
    }
    found: dict[str, np.ndarray] = {}
    for name, part in parts.items():
        own = {split: rows[split][:, part] for split in keep}
        if not own["test"].shape[1] or not bool(own["test"].any()):
            continue
        found[f"{name}, cosine"] = _between(siamese.CosineDistance(), own["test"], left, right)
        plda = siamese.PldaDistance.fit(own["train"], labels)
        found[f"{name}, PLDA"] = -plda.ratios(_between(plda, own["test"], left, right))
    both = [found.get(f"{name}, PLDA") for name in ("networks", "fixed descriptors")]
    if all(part is not None for part in both):
        found["sum of both PLDA ratios"] = both[0] + both[1]
    who = data.datasets["test"].labels
    return Measured(folder, who[left] == who[right], _folds(manifest, left, right), found)


def _between(
    distance: siamese.Distance, rows: Tensor, left: np.ndarray, right: np.ndarray
) -> np.ndarray:
    return distance.between(rows, left, right).astype(np.float64)


def _folds(manifest: siamese.SplitManifest, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """(n,) the fold of each tested pair."""
    table = manifest.table("test")
    chosen = BENCHMARKS[manifest.settings["benchmark"]](table.root)
    fold = {
        frozenset((chosen.files[a], chosen.files[b])): int(k)
        for a, b, k in zip(chosen.left, chosen.right, chosen.fold, strict=True)
    }
    pairs = zip(left, right, strict=True)
    return np.array([fold[frozenset((table.files[a], table.files[b]))] for a, b in pairs])


def judge(
    found: Sequence[Measured], view: int
) -> dict[str, tuple[float, float | None, float, float]]:
    """Way of measuring -> accuracy, its standard error, ROC AUC and EER."""
    same, fold = (np.concatenate([getattr(r, of) for r in found]) for of in ("same", "fold"))
    figures = {}
    for name in found[0].distances:
        distances = np.concatenate([run.distances[name] for run in found])
        distances = (distances - distances.min()).astype(np.float32)
        if view == 2:
            e = siamese.cross_validate(distances, same, fold)
            figures[name] = (e.mean, e.standard_error, e.auc, e.eer)
        else:  # the best threshold on these very pairs: to compare settings, not to report
            curve = siamese.ThresholdCurve.of(distances, same)
            best = max(curve.at(t).accuracy for t in curve.thresholds)
            figures[name] = (best, None, auc(curve), eer(curve))
    return figures


def _minutes(folder: Path) -> float:
    return json.loads((folder / "timing.json").read_text())["training_seconds"] / 60


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
