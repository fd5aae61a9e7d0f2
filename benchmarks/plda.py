"""PLDA against the euclidean and the cosine distance, on the same embeddings.

    python benchmarks/plda.py view2 LFW           the pretrained network on LFW's ten folds
    python benchmarks/plda.py runs RUN [RUN ...]  finished runs, on their own test identities
    python benchmarks/plda.py pixels              ORL's grey pixels: no network at all
    python benchmarks/plda.py speed               fitting, and calibrating on all pairs

In View 2 PLDA is fitted anew for every fold, to the images of people of other folds alone; in a
run to its training or its calibration people; of ORL's 40 people to 32, five times, and the other
eight are tested. LFW is the folder with the images' folder and pairs.txt.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from PIL import Image

import siamese
from siamese.data.embedding import embed
from siamese.evaluation.benchmark import embed_benchmark
from siamese.evaluation.data import EvaluationData, run_manifest
from siamese.inference.pretrained import pretrained_bundle
from siamese.verification.curves import auc
from siamese.verification.figures import gain_in_auc


def view2(root: str) -> None:
    """The pretrained bundle's embeddings, each image embedded once."""
    bundle = pretrained_bundle()
    pairs = siamese.lfw_view2(root)
    embedded = embed_benchmark(
        bundle.backbone.for_inference(), bundle.cropper, pairs, progress=False
    )
    print("| distance | accuracy | AUC | EER | seconds |\n|---|---|---|---|---|")
    for distance in (
        siamese.EuclideanDistance(),
        siamese.CosineDistance(),
        siamese.PldaDistance(),
    ):
        start = time.perf_counter()
        found = embedded.measured(distance).evaluate()
        seconds = time.perf_counter() - start
        print(
            f"| {siamese.DISTANCES.name(distance)} | {found.mean:.4f} +- "
            f"{found.standard_error:.4f} | {found.auc:.4f} | {found.eer:.4f} | {seconds:.0f} |",
            flush=True,
        )


def runs(folders: list[str]) -> None:
    """A run's network and all pairs of its test people; PLDA is fitted to others of the run."""
    print(
        "| run | fitted to people of | euclidean: AUC, EER | PLDA: AUC, EER | gain in AUC, 95 % "
        "interval |\n|---|---|---|---|---|"
    )
    for folder in folders:
        bundle, rule = siamese.Bundle.load(folder), siamese.AllPairs()
        data = EvaluationData.of_manifest(
            run_manifest(folder), bundle.cropper, rule, asked=True, progress=False
        ).datasets
        rows = {split: embed(bundle.backbone, part) for split, part in data.items()}
        for split in ("train", "calibration"):
            fitted = siamese.PldaDistance.fit(rows[split], data[split].labels)
            old, new = (
                siamese.measure_pairs(rows["test"], data["test"].labels, rule, distance)
                for distance in (siamese.EuclideanDistance(), fitted)
            )
            low, high = gain_in_auc(new, old) or (float("nan"),) * 2
            shown = [f"{auc(d.curve()):.3f}, {d.eer():.3f}" for d in (old, new)]
            print(
                f"| {Path(folder).name} | {split} | {shown[0]} | {shown[1]} | {low:+.3f} to "
                f"{high:+.3f} |",
                flush=True,
            )


def pixels() -> None:
    """28 x 23 grey pixels of the ORL faces as embeddings, all pairs of the people left out."""
    table = siamese.load_orl()
    images = [
        Image.open(path).convert("L").resize((23, 28), Image.Resampling.BOX) for path in table.paths
    ]
    rows = np.stack([np.asarray(image, dtype=np.float32).ravel() for image in images])
    figures = []
    for fold in range(5):
        test = table.labels % 5 == fold
        fitted = siamese.PldaDistance.fit(rows[~test], table.labels[~test])
        for distance in (siamese.EuclideanDistance(), siamese.CosineDistance(), fitted):
            found = siamese.measure_pairs(rows[test], table.labels[test], "all_pairs", distance)
            figures.append((auc(found.curve()), found.eer()))
    means = np.array(figures).reshape(5, 3, 2).mean(axis=0)
    print("| distance | AUC | EER |\n|---|---|---|")
    for name, (area, eer) in zip(("euclidean", "cosine", "plda"), means, strict=True):
        print(f"| {name} | {area:.3f} | {eer:.3f} |")


def speed() -> None:
    """On random numbers; ratios to the euclidean distance in the same process."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(3000), 4)
    for size in (128, 500):
        rows = rng.normal(size=(3000, size))[labels] + 2 * rng.normal(size=(len(labels), size))
        rows = rows.astype(np.float32)
        start = time.perf_counter()
        fitted = siamese.PldaDistance.fit(rows[:10_000], labels[:10_000])
        print(f"fitted to 10,000 x {size} in {time.perf_counter() - start:.1f} s")
        seconds = []
        for distance in (siamese.EuclideanDistance(), fitted):
            start = time.perf_counter()
            siamese.calibrate(rows, labels, distance=distance, intervals=False)
            seconds.append(time.perf_counter() - start)
        print(
            f"calibrated on all pairs of 12,000 x {size}: {seconds[0]:.1f} s euclidean, "
            f"{seconds[1]:.1f} s PLDA, ratio {seconds[1] / seconds[0]:.2f}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parts = parser.add_subparsers(dest="part", required=True)
    parts.add_parser("view2").add_argument("root", metavar="LFW")
    parts.add_parser("runs").add_argument("folders", metavar="RUN", nargs="+")
    parts.add_parser("pixels")
    parts.add_parser("speed")
    args = parser.parse_args()
    if args.part == "view2":
        view2(args.root)
    elif args.part == "runs":
        runs(args.folders)
    elif args.part == "pixels":
        pixels()
    else:
        speed()


if __name__ == "__main__":
    main()
