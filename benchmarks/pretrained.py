"""The pretrained bundle's threshold, and what its network reaches on LFW.

    python benchmarks/pretrained.py LFW --calibrate     writes the bundle's calibration
    python benchmarks/pretrained.py LFW [--jitter 32]   prints the table of View 2

The threshold is calibrated on LFW's development pairs and written to
src/siamese/inference/pretrained_calibration.npz. The table is measured on LFW's ten folds. LFW is
the folder with the images' folder and pairs.txt, pairsDevTrain.txt, pairsDevTest.txt.
"""

from __future__ import annotations

import argparse
import dataclasses
import time

import siamese
from siamese.evaluation.benchmark import BenchmarkDistances, measure_benchmark
from siamese.inference.pretrained import CALIBRATION, CROPPER, pretrained_backbone
from siamese.verification.policies.base import as_policy
from siamese.verification.thresholds import calibrate_pairs


def measured(
    pairs: siamese.PairsFile, cropper: siamese.Cropper, network: siamese.DlibResNet
) -> BenchmarkDistances:
    return measure_benchmark(
        network.for_inference(), siamese.EuclideanDistance(), cropper, pairs, progress=False
    )


def calibrate(root: str) -> None:
    """F1-optimal on all 3,200 pairs of View 1, half of them genuine."""
    found = measured(siamese.lfw_view1(root), CROPPER, pretrained_backbone())
    chosen = calibrate_pairs(found.pair_distances, as_policy("max_f1"), "LFW's development pairs")
    chosen.save(CALIBRATION)
    print(
        f"{CALIBRATION.stat().st_size:,} bytes, {found.not_acquired} of "
        f"{len(found.benchmark.files):,} images without a face"
    )
    print(chosen.point)


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
    else:
        table(args.root, args.jitter)


if __name__ == "__main__":
    main()
