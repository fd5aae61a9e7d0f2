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
* the sum of the log-likelihood ratios of the parts;
* networks and both as they were before training (first weights of another seed).

A fold's pairs are judged at the threshold that is most accurate, genuine and impostor pairs
weighing the same, on all pairs of the people who were kept apart for it (at most ten images of
each, or one of them has most of the genuine pairs), and, in View 2, on those of the other fold of
its group: the same networks measured these, and nobody of the tested fold has a part in it. (Pairs
of other groups were measured by networks that know the tested fold's people.) "Best" is the best
threshold on all tested pairs: to compare settings in View 1, not to report. LFW is the folder of
folders of people, with the official files of pairs in it or beside it. The cropper finds faces and
their eyes with models that learned from other images: "label-free outside data for alignment";
data/cropper=fixed_box is without.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

import siamese
from recorded import refuse_other_settings
from siamese.backbones.base import BACKBONES
from siamese.data.dataset import CropDataset
from siamese.data.embedding import embed
from siamese.datasets.benchmarks import BENCHMARKS
from siamese.evaluation.baselines import gather_statistics
from siamese.evaluation.data import EvaluationData, run_manifest
from siamese.verification.curves import ThresholdCurve, auc, eer

MOST = 10  # images of each identity that a threshold is chosen on


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
    parser.add_argument("--jobs", type=int, default=1, help="runs that are measured at once")
    args = parser.parse_args()
    groups = args.groups if args.view == 2 else [""]
    folders = [train(args.lfw, args.out, args.view, group, args.settings) for group in groups]
    if args.train_only:
        return
    # Processes, not threads: each has one thread of torch. Started anew, since torch was used here.
    with ProcessPoolExecutor(args.jobs, get_context("spawn")) as pool:
        found = list(pool.map(measure, folders))
    figures = judge(found)
    minutes = sum(_minutes(run.folder) for run in found)
    print(f"{len(found)} trainings, {minutes:.0f} minutes together\n")
    print("| measured by | accuracy | ROC AUC | EER | best |\n|---|---|---|---|---|")
    for name, of in figures.items():
        error = of["standard_error"]
        spread = f" +- {error:.4f}" if error is not None else ""
        rest = " | ".join(f"{of[k]:.4f}" for k in ("auc", "eer", "best"))
        print(f"| {name} | {of['accuracy']:.4f}{spread} | {rest} |")
    if args.json:
        args.json.write_text(json.dumps({"minutes": minutes, "figures": figures}, indent=1))


def train(lfw: Path, out: Path, view: int, group: str, settings: Sequence[str]) -> Path:
    """The folder of a finished run."""
    folder = out / (f"view2-{group.replace(',', '-')}" if view == 2 else "view1")
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
    begun = (folder / "checkpoints" / "last.ckpt").exists()
    if begun or (folder / "evaluation.json").exists():
        refuse_other_settings(folder, words)
    if (folder / "evaluation.json").exists():
        return folder
    if begun:
        words = [f"hydra.run.dir={folder}", f"resume={folder}"]
    print(f"siamese train {' '.join(words)}", file=sys.stderr, flush=True)
    subprocess.run([sys.executable, "-m", "siamese", "train", *words], check=True)
    return folder


@dataclass(frozen=True)
class Measured:
    """Distances of the pairs of one run that were not trained on.

    Attributes:
        folder: of the run.
        same, fold: (n,) of each pair; fold -1 for those that only choose thresholds.
        distances: what is measured how -> (n,) float64; of PLDA the negative ratio.
    """

    folder: Path
    same: np.ndarray
    fold: np.ndarray
    distances: dict[str, np.ndarray]


def measure(folder: Path) -> Measured:
    """Measure the pairs of a run's tested folds, and those of who was kept apart."""
    torch.set_num_threads(1)
    bundle, manifest = siamese.Bundle.load(folder), run_manifest(folder)
    data = EvaluationData.of_manifest(
        manifest, bundle.cropper, siamese.BalancedPairs(), progress=False
    )
    rows = {split: embed(bundle.backbone, of) for split, of in data.datasets.items()}
    if networks := networks_of(bundle.backbone):
        untrained = before_training(bundle.backbone, data.datasets["train"])
        first = {split: embed(untrained, of)[:, :networks] for split, of in data.datasets.items()}
    pairs = {
        "test": data.pair_rules["test"](data.datasets["test"].labels),
        "calibration": _pairs_of_few(data.datasets["calibration"].labels),
    }
    parts = {
        "networks": {split: of[:, :networks] for split, of in rows.items()},
        "fixed descriptors": {split: of[:, networks:] for split, of in rows.items()},
        "both in one embedding": rows,
    }
    if networks:
        parts["networks before training"] = first
        parts["both before training"] = {
            split: torch.cat([of, rows[split][:, networks:]], dim=1) for split, of in first.items()
        }
    if networks in (0, bundle.backbone.embedding_size):
        kept = ("networks", "networks before training") if networks else ("fixed descriptors",)
        parts = {name: parts[name] for name in kept}
    found: dict[str, np.ndarray] = {}
    for name, own in parts.items():
        found[f"{name}, cosine"] = _between(siamese.CosineDistance(), own, pairs)
        plda = siamese.PldaDistance.fit(own["train"], data.datasets["train"].labels)
        found[f"{name}, PLDA"] = -plda.ratios(_between(plda, own, pairs))
    both = [found.get(f"{name}, PLDA") for name in ("networks", "fixed descriptors")]
    if all(part is not None for part in both):
        found["sum of both PLDA ratios"] = both[0] + both[1]
    same = np.concatenate([of.same for of in pairs.values()])
    fold = np.full(len(same), -1)
    tested = _folds(manifest, pairs["test"].left, pairs["test"].right)
    fold[: len(tested)] = tested
    print(f"measured {folder}", file=sys.stderr, flush=True)
    return Measured(folder, same, fold, found)


def networks_of(backbone: siamese.Backbone) -> int:
    """How many numbers of an embedding networks have made; 0 where nothing is trained."""
    return backbone.trained_size if any(True for _ in backbone.parameters()) else 0


def before_training(backbone: siamese.Backbone, data: CropDataset) -> siamese.Backbone:
    """The same network with other first weights, and the statistics of training images."""
    torch.manual_seed(0)
    fresh = BACKBONES.build(BACKBONES.settings(backbone))
    gather_statistics(fresh, data)
    return fresh.eval()


def _pairs_of_few(labels: np.ndarray) -> siamese.Pairs:
    """All pairs of at most MOST images of each identity."""
    order = np.random.default_rng(0).permutation(len(labels))
    kept = [order[labels[order] == identity][:MOST] for identity in np.unique(labels)]
    rows = np.sort(np.concatenate(kept))
    pairs = siamese.AllPairs()(labels[rows])
    return siamese.Pairs(rows[pairs.left], rows[pairs.right], pairs.same)


def _between(
    distance: siamese.Distance, rows: Mapping[str, Tensor], pairs: Mapping[str, siamese.Pairs]
) -> np.ndarray:
    found = [distance.between(rows[split], of.left, of.right) for split, of in pairs.items()]
    return np.concatenate(found).astype(np.float64)


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


def judge(found: Sequence[Measured]) -> dict[str, dict[str, float | None]]:
    """Way of measuring -> its figures."""
    figures = {}
    for name in found[0].distances:
        right, distances, same = [], [], []
        for run in found:
            ours = run.distances[name]
            for fold in np.unique(run.fold[run.fold >= 0]):
                tested = run.fold == fold
                chosen = ThresholdCurve.of(_from_zero(ours)[~tested], run.same[~tested])
                threshold = chosen.thresholds[np.argmax(chosen.accuracy(0.5))]
                accepted = siamese.is_match(_from_zero(ours)[tested], float(threshold))
                right.append(float((accepted == run.same[tested]).mean()))
                distances.append(ours[tested])
                same.append(run.same[tested])
        every = ThresholdCurve.of(_from_zero(np.concatenate(distances)), np.concatenate(same))
        figures[name] = {
            "accuracy": statistics.mean(right),
            "standard_error": statistics.stdev(right) / len(right) ** 0.5 if right[1:] else None,
            "auc": auc(every),
            "eer": eer(every),
            "best": float(every.accuracy().max()),
        }
    return figures


def _from_zero(distances: np.ndarray) -> np.ndarray:
    """Ratios may be below 0; only their order counts."""
    return (distances - distances.min()).astype(np.float32)


def _minutes(folder: Path) -> float:
    """Of all epochs, as long as those since the run was last resumed."""
    each = json.loads((folder / "timing.json").read_text())["seconds_per_epoch"]
    epochs = siamese.Bundle.load(folder).provenance["epochs"]
    return each * epochs / 60


if __name__ == "__main__":
    main()
