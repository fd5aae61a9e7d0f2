"""The pretrained bundle's threshold, and what its network reaches on LFW.

    python benchmarks/pretrained.py LFW --calibrate       writes the bundle's calibration
    python benchmarks/pretrained.py LFW --false-matches   prints how its rates are kept
    python benchmarks/pretrained.py LFW [--jitter 32]     prints the table of View 2

The threshold is calibrated on all pairs of those people of LFW who are in no pair of its ten folds
(View 2), and written to src/siamese/inference/pretrained_calibration.npz. Its rates are then
counted on all pairs of the people of View 2. The table is measured on LFW's ten folds. LFW is the
folder with the images' folder and pairs.txt, pairsDevTrain.txt, pairsDevTest.txt.
"""

from __future__ import annotations

import argparse
import dataclasses
import time

import numpy as np

import siamese
from siamese.data.embedding import embed
from siamese.datasets.identities import normalise_identity
from siamese.evaluation.benchmark import BenchmarkDistances, measure_benchmark
from siamese.inference.pretrained import CALIBRATION, CROPPER, pretrained_backbone
from siamese.verification.thresholds import calibrate_pairs


def measured(
    pairs: siamese.PairsFile, cropper: siamese.Cropper, network: siamese.DlibResNet
) -> BenchmarkDistances:
    return measure_benchmark(
        network.for_inference(), siamese.EuclideanDistance(), cropper, pairs, progress=False
    )


def everybody(root: str, of_view_2: bool) -> siamese.PairDistances:
    """All pairs of the people who are in pairs of View 2, or of all the others."""
    table = siamese.load_lfw(root)
    tested = {normalise_identity(name) for name in siamese.lfw_view2(root).identities}
    rows = [i for i, name in enumerate(table.identities) if (name in tested) == of_view_2]
    chosen = table.select(np.array(rows))
    cropped = siamese.crop_files(chosen.paths, CROPPER, progress=False)
    # Photographs without a face are refused by the bundle.
    with_face = [i for i, faces in enumerate(cropped.faces) if faces and cropped.files[i]]
    print(f"{len(chosen) - len(with_face)} of {len(chosen):,} images without a face")
    crops = siamese.CropDataset(
        [file for i in with_face if (file := cropped.files[i]) is not None],
        chosen.labels[with_face],
    )
    embeddings = embed(pretrained_backbone().for_inference(), crops)
    return siamese.measure_pairs(embeddings, crops.labels)


def calibrate(root: str) -> None:
    """The highest smoothed F1 of all pairs of the people who are in no pair of View 2."""
    pairs = everybody(root, of_view_2=False)
    policy = siamese.MaxF1(prevalence="balanced", smooth="auto")
    chosen = calibrate_pairs(pairs, policy, "people of LFW outside View 2")
    assert chosen.draws is not None
    # Impostor pairs of a draw to 0.1 %, as far as the thresholds are apart: the file is shipped.
    parts, powers = np.frexp(chosen.draws.fp)
    rounded = np.ldexp(np.rint(parts * 1024) / 1024, powers)
    chosen = dataclasses.replace(chosen, draws=dataclasses.replace(chosen.draws, fp=rounded))
    chosen.save(CALIBRATION)
    print(f"{CALIBRATION.stat().st_size:,} bytes")
    print(chosen.point)


def false_matches(root: str) -> None:
    """What the bundle's policies give on all pairs of the people of View 2."""
    bundle, strangers = siamese.pretrained_bundle(), everybody(root, of_view_2=True)
    assert bundle.calibration is not None
    people = strangers.identities
    print(
        f"{strangers.genuine:,} genuine and {strangers.impostor:,} impostor pairs of {people:,} "
        f"people\n\n"
        "| policy | threshold | false match rate, calibration | false match rate, others (95 %) | "
        "recall, others (95 %) |\n|---|---|---|---|---|"
    )
    policies: dict[str, siamese.Policy | None] = {"the bundle's own": None}
    for rate in (0.01, 0.001, 0.0001):
        for confidence in (None, 0.95):
            sure = "" if confidence is None else ",confidence=0.95"
            policies[f"fmr,rate={rate:g}{sure}"] = siamese.Fmr(rate, confidence=confidence)
    for name, policy in policies.items():
        found = bundle.calibration if policy is None else bundle.calibration.with_policy(policy)
        there = siamese.evaluate_pairs(strangers, found.threshold)
        around = {key: "-".join(f"{end:.3g}" for end in there.ci95[key]) for key in there.ci95}
        print(
            f"| {name} | {found.threshold:.4f} | {found.point.figures['fmr']:.3g} | "
            f"{there.fmr:.3g} ({around['fmr']}) | {there.recall:.4f} ({around['recall']}) |",
            flush=True,
        )


def table(root: str, jitter: int) -> None:
    """Detection and averaging, one change at a time; the other nine folds choose the threshold."""
    view1, view2 = siamese.lfw_view1(root), siamese.lfw_view2(root)
    plain = siamese.DlibHogCropper(size=150, margin=0.25, aligner="five_point")
    settings = {
        "dlib's box and largest face": (plain, {}),
        "doubled beforehand, score >= -0.5, largest": (
            dataclasses.replace(CROPPER, several_faces="largest"),
            {},
        ),
        "..., central": (dataclasses.replace(CROPPER, several_faces="central"), {}),
        "..., prominent": (CROPPER, {}),
        "..., prominent, unit length": (CROPPER, {"unit_length": True}),
        "..., prominent, mirrored": (CROPPER, {"mirror": True}),
        "..., prominent, mirrored, unit length (the pretrained bundle)": (
            CROPPER,
            {"mirror": True, "unit_length": True},
        ),
    }
    if jitter:
        settings[f"..., prominent, {jitter} jittered copies"] = (CROPPER, {"jitter": jitter})
        settings[f"..., prominent, {jitter} jittered copies, unit length"] = (
            CROPPER,
            {"jitter": jitter, "unit_length": True},
        )
    print(
        "| | View 1 | View 2, every pair answered | no face: wrong | without a face | EER | "
        "seconds to embed |"
    )
    print("|---|---|---|---|---|---|---|")
    for name, (cropper, changes) in settings.items():
        network = siamese.DlibResNet("dlib", **changes).eval()
        # Crop beforehand, so that the time below is the network's.
        siamese.crop_files(view2.paths, cropper, progress=False)
        start = time.perf_counter()
        two = measured(view2, cropper, network)
        seconds = time.perf_counter() - start
        one, ten = measured(view1, cropper, network).evaluate(), two.evaluate()
        print(
            f"| {name} | {one.mean:.4f} | {ten.mean:.4f} +- {ten.standard_error:.4f} | "
            f"{ten.strict_mean:.4f} +- "
            f"{ten.strict_standard_error:.4f} | {ten.not_acquired} of {ten.images:,} | "
            f"{ten.eer:.4f} | {seconds:.0f} |",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("root", metavar="LFW")
    parser.add_argument("--calibrate", action="store_true")
    parser.add_argument("--false-matches", action="store_true")
    parser.add_argument(
        "--jitter",
        type=int,
        default=0,
        metavar="N",
        help="average over so many copies, too: N times the work",
    )
    args = parser.parse_args()
    if args.calibrate:
        calibrate(args.root)
    elif args.false_matches:
        false_matches(args.root)
    else:
        table(args.root, args.jitter)


if __name__ == "__main__":
    main()
