"""Where in the gap between two distances a threshold lies, and what that is worth on others.

    python benchmarks/gap.py --runs runs/orl-seeds/*   runs of benchmarks/orl.py, F1 of test people
    python benchmarks/gap.py --runs ... --pretrained   the same by the pretrained network
    python benchmarks/gap.py --view2 LFW               LFW's ten folds, by the pretrained network
    python benchmarks/gap.py --embeddings FILE.npz     few people calibrate, 400 others are tested

All thresholds between the farthest accepted and the closest refused pair have the same counts on
the calibration pairs. Compared are the farthest accepted pair itself, the middle of the gap (the
rule of every policy), and, for the highest F1, the threshold of smoothed distances
(`MaxF1(smooth="auto")`). Nothing is trained; a run's splits and embeddings are its own.

FILE.npz as for benchmarks/calibration.py; of people with two images or more, up to five of each.
Shown is how much F1 on the others is lost against the best threshold for them, in the mean of 100
draws of people.
"""

from __future__ import annotations

import argparse
import statistics

import numpy as np

import siamese
from siamese.evaluation.benchmark import measure_benchmark
from siamese.inference.pretrained import CROPPER, pretrained_backbone
from siamese.verification.confusion import count_verdicts
from strangers import capped

COLUMNS = ("farthest accepted pair", "middle of the gap", "smoothed")


def thresholds(curve: siamese.ThresholdCurve, policy: siamese.Policy) -> list[float]:
    """In the order of COLUMNS; without the last where the policy does not smooth."""
    found = curve.choose(policy)
    places = [found.threshold if found.gap is None else found.gap[0], found.threshold]
    if isinstance(policy, siamese.MaxF1):
        places.append(curve.choose(siamese.MaxF1(policy.prevalence, smooth="auto")).threshold)
    return places


def of_runs(runs: list[str], pretrained: bool) -> None:
    """F1 of the test people of each run, at thresholds of its calibration people."""
    splits = ["calibration", "test"]
    print(f"| run | {' | '.join(COLUMNS)} |\n|---|---|---|---|")
    rows = []
    for run in runs:
        if pretrained:
            bundle = siamese.pretrained_bundle()
            found = siamese.evaluate_run(
                bundle, on=run, splits=splits, no_face="whole_image", progress=False
            )
        else:
            found = siamese.evaluate_run(run, splits=splits, progress=False)
        calibrating = found.data.calibrating
        curve = found.distances[calibrating].curve()
        at = thresholds(curve, siamese.MaxF1())
        rows.append([found.distances["test"].count_verdicts(t).f1 for t in at])
        print(f"| {run} | {' | '.join(f'{f1:.4f}' for f1 in rows[-1])} |", flush=True)
    means = [
        f"**{statistics.mean(column):.4f}** ({statistics.stdev(column):.4f})"
        for column in zip(*rows, strict=True)
    ]
    print(f"| mean (deviation) | {' | '.join(means)} |")


def of_view_2(root: str) -> None:
    """Mean accuracy of the folds, at thresholds of the other nine."""
    folds = siamese.lfw_view2(root)
    measured = measure_benchmark(
        pretrained_backbone().for_inference(),
        siamese.EuclideanDistance(),
        CROPPER,
        folds,
        progress=False,
    )
    print(f"| policy | {' | '.join(COLUMNS)} |\n|---|---|---|---|")
    for policy in (siamese.MaxAccuracy(), siamese.MaxF1(), siamese.Eer()):
        rows = []
        for fold in range(10):
            here = folds.fold == fold
            curve = siamese.ThresholdCurve.of(measured.distances[~here], folds.same[~here])
            rows.append(
                [
                    count_verdicts(measured.distances[here], folds.same[here], t).accuracy
                    for t in thresholds(curve, policy)
                ]
            )
        cells = [
            f"{np.mean(column):.4f} +- {np.std(column, ddof=1) / 10**0.5:.4f}"
            for column in zip(*rows, strict=True)
        ]
        print(f"| {policy.describe()['name']} | {' | '.join([*cells, '-'][:3])} |", flush=True)


def of_embeddings(source: str, repetitions: int = 100) -> None:
    """F1 that is lost on others where few people calibrate."""
    with np.load(source, allow_pickle=False) as stored:
        rows, who = stored["embeddings"], np.unique(stored["identities"], return_inverse=True)[1]
    rows, who = capped(rows, who, 5)
    several = np.flatnonzero(np.bincount(who) > 1)
    cases = [(n, share) for share in (0.5, 0.01) for n in (8, 20, 50, 200)]
    lost: dict[tuple[int, float], list[list[float]]] = {case: [] for case in cases}
    for repetition in range(repetitions):
        order = np.random.default_rng(repetition).permutation(several)
        tested = np.isin(who, order[-400:])
        others = siamese.measure_pairs(rows[tested], who[tested]).curve()
        for n, share in cases:
            mine = np.isin(who, order[:n])
            curve = siamese.measure_pairs(rows[mine], who[mine]).curve()
            at = [
                int(np.searchsorted(others.thresholds, t, side="right")) - 1
                for t in thresholds(curve, siamese.MaxF1(prevalence=share))
            ]
            f1 = others.f1(share)
            lost[n, share].append([float(f1.max() - f1[place]) for place in at])
    print(f"| people | prevalence | {' | '.join(COLUMNS)} |\n|---|---|---|---|---|")
    for (n, share), values in lost.items():
        cells = " | ".join(f"{loss:.4f}" for loss in np.mean(values, axis=0))
        print(f"| {n} | {share:g} | {cells} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", nargs="+", metavar="RUN")
    parser.add_argument("--pretrained", action="store_true")
    parser.add_argument("--view2", metavar="LFW")
    parser.add_argument("--embeddings", metavar="FILE.npz")
    args = parser.parse_args()
    if args.runs:
        of_runs(args.runs, args.pretrained)
    if args.view2:
        of_view_2(args.view2)
    if args.embeddings:
        of_embeddings(args.embeddings)
    if not (args.runs or args.view2 or args.embeddings):
        parser.error("give --runs, --view2 or --embeddings")


if __name__ == "__main__":
    main()
