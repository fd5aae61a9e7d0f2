"""On a CUDA device: dlib's network against the CPU's, and the calibration of all pairs.

    python benchmarks/cuda.py network [--rounds 5]
    python benchmarks/cuda.py pairs [--images 100000 1000000] [--cpu 100000]

`network`: descriptors of made-up chips, farthest from those of the CPU in float32, and pictures per
second in batches of 256 that lie in the device's memory. PyTorch lets convolutions on CUDA round
their inputs to TF32 unless it is told otherwise; both are shown.

`pairs`: seconds of `siamese.calibrate` over all pairs of made-up embeddings of 128 numbers, without
intervals. Up to `--cpu` images the CPU does the same, with all its threads, and every count of the
curve is compared.
"""

from __future__ import annotations

import argparse
import statistics
import time

import numpy as np
import torch

import siamese
from processes import made_up

BATCH = 256


def chips(count: int) -> torch.Tensor:
    """Smooth noise: how long a convolution takes does not depend on what it sees."""
    rng = np.random.default_rng(0)
    small = torch.from_numpy(rng.integers(0, 256, (count, 3, 16, 16), dtype=np.uint8)).float()
    large = torch.nn.functional.interpolate(small, size=(150, 150), mode="bicubic")
    return large.clamp(0, 255).round().byte()


def network(rounds: int) -> None:
    images = chips(BATCH)
    plain = siamese.DlibResNet("dlib").eval()
    with torch.inference_mode():
        expected = torch.cat([plain(part) for part in images.split(32)]).double()
    folded = siamese.DlibResNet("dlib").eval().for_inference()
    half = siamese.DlibResNet("dlib").eval().for_inference().bfloat16()
    on_device = images.cuda()
    print("| on the device | farthest from the CPU's | pictures per second (least to most) |")
    print("|---|---|---|")
    for name, module, tf32 in (
        ("float32", plain, False),
        ("float32, TF32 allowed", plain, True),
        ("folded, float32", folded, False),
        ("folded, TF32 allowed", folded, True),
        ("folded, bfloat16", half, True),
    ):
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = tf32
        module = module.cuda()
        with torch.inference_mode():
            for _ in range(5):
                found = module(on_device)
            apart = (found.double().cpu() - expected).norm(dim=1).max().item()
            rates = []
            for _ in range(rounds):
                torch.cuda.synchronize()
                start = time.perf_counter()
                for _ in range(10):
                    module(on_device)
                torch.cuda.synchronize()
                rates.append(10 * BATCH / (time.perf_counter() - start))
        rate = statistics.median(rates)
        spread = f"{min(rates):,.0f}-{max(rates):,.0f}"
        print(f"| {name} | {apart:.1g} | {rate:,.0f} ({spread}) |", flush=True)


def pairs(sizes: list[int], cpu: int) -> None:
    # What is loaded and started at the first call.
    siamese.calibrate(torch.randn(400, 128).cuda(), np.arange(400) // 4)
    print("| images | pairs | the device, seconds | the CPU, seconds | equal counts |")
    print("|---|---|---|---|---|")
    for images in sizes:
        rows, who = made_up(images, images // 4)
        took, found = [], []
        for device in ["cuda", "cpu"][: 2 if images <= cpu else 1]:
            start = time.perf_counter()
            found.append(
                siamese.calibrate(rows, who, device=device, intervals=False, probability=None)
            )
            took.append(time.perf_counter() - start)
        same = all(_equal(found[0], other) for other in found[1:])
        beside = (f"{took[1]:.1f}", "yes" if same else "NO") if len(took) > 1 else ("", "")
        number = images * (images - 1) // 2
        print(
            f"| {images:,} | {number:,} | {took[0]:.1f} | {beside[0]} | {beside[1]} |", flush=True
        )


def _equal(one: siamese.Calibration, other: siamese.Calibration) -> bool:
    """Whether threshold, point and every count of the curve are the same."""
    a, b = one.curve, other.curve
    return (
        one.threshold == other.threshold
        and one.point == other.point
        and np.array_equal(a.thresholds, b.thresholds)
        and np.array_equal(a.tp, b.tp)
        and np.array_equal(a.fp, b.fp)
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["network", "pairs"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--images", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--cpu", type=int, default=100_000, help="the CPU does up to so many")
    args = parser.parse_args()
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}\n")
    network(args.rounds) if args.what == "network" else pairs(args.images, args.cpu)


if __name__ == "__main__":
    main()
