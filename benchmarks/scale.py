"""Rates of one core, and what ten million people with a hundred million pictures would take.

    OMP_NUM_THREADS=1 python benchmarks/scale.py LFW            measure, and count on
    OMP_NUM_THREADS=1 python benchmarks/scale.py LFW --quick    a tenth of the work

LFW is a folder of people. Everything runs in one process with one thread, and is counted by the
processor's time, so that what others do on the machine disturbs little. Medians of three.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

import siamese
from siamese.faces.hashing import hash_files

PICTURES, PEOPLE, SIZE = 100_000_000, 10_000_000, 128
EPOCHS = 20


def rate(count: int, work: Callable[[], object], rounds: int = 3) -> float:
    """Things per second of one core."""
    work()  # warm
    seconds = []
    for _ in range(rounds):
        start = time.process_time()
        work()
        seconds.append(time.process_time() - start)
    return count / statistics.median(seconds)


def measured(lfw: Path, share: float) -> dict[str, float]:
    table = siamese.IdentityTable.from_folder(lfw)
    paths = [table.root / file for file in table.files[: int(1000 * share)]]
    found = {"read and hash": rate(len(paths), lambda: hash_files(paths))}
    few = paths[: int(300 * share)]

    def crop() -> None:
        with tempfile.TemporaryDirectory() as cache:
            cropper = siamese.DlibHogCropper(no_face="whole_image")
            siamese.crop_files(few, cropper, cache=cache, workers=1, progress=False)

    found["crop (dlib_hog)"] = rate(len(few), crop)
    images = torch.randint(0, 256, (64, 3, 150, 150), dtype=torch.uint8)
    dlib = siamese.Bundle.load("pretrained").backbone.eval()
    with torch.no_grad():
        found["embed (dlib's network)"] = rate(64, lambda: dlib(images))
    found["train (small_res_net)"] = training_rate()
    n = int(20_000 * share**0.5)
    rows = torch.randn(n, SIZE, generator=torch.Generator().manual_seed(0))
    who = np.arange(n) // 10

    def calibrated() -> None:
        siamese.calibrate(rows, who, pairs="all_pairs", intervals=False, probability=None)

    found["pairs calibrated"] = rate(n * (n - 1) // 2, calibrated)
    gallery, probes = np.random.default_rng(0).normal(size=(100_000, SIZE)).astype(np.float32), 64
    probe = gallery[:probes]
    found["distances searched"] = rate(
        probes * len(gallery), lambda: np.argpartition(-(probe @ gallery.T), 10, axis=1)
    )
    return found


def training_rate() -> float:
    module = siamese.SiameseModule("small_res_net", "contrastive_loss")
    optimizer = module.make_optimizer()
    images = torch.randint(0, 256, (64, 3, 64, 64), dtype=torch.uint8)
    labels = torch.arange(64) // 4

    def step() -> None:
        loss = module.loss(module(images), labels, None)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return rate(64 * 5, lambda: [step() for _ in range(5)])


def softmax_step(classes: int) -> tuple[float, float]:
    """Seconds of a core for the loss of 64 images and its gradient, and GB of weights."""
    loss = siamese.MarginSoftmaxLoss(classes, 256)
    embeddings = torch.randn(64, 256, requires_grad=True)
    labels = torch.randint(classes, (64,))
    return 1 / rate(1, lambda: loss(embeddings, labels).backward()), classes * 256 * 4 / 1e9


def shown(seconds: float) -> str:
    hours = seconds / 3600
    return f"{hours:,.0f}" if hours >= 1 else f"{hours:.2g}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("lfw", type=Path)
    parser.add_argument("--quick", action="store_true")
    given = parser.parse_args()
    rates = measured(given.lfw, 0.1 if given.quick else 1.0)
    pairs = PICTURES * (PICTURES - 1) // 2
    amounts = {
        "read and hash": PICTURES,
        "crop (dlib_hog)": PICTURES,
        "embed (dlib's network)": PICTURES,
        "train (small_res_net)": PICTURES * EPOCHS,
        "pairs calibrated": 2 * 10**11,
        "distances searched": PEOPLE,
    }
    print("| step | of a core, per second | how many | core-hours |")
    print("|---|---|---|---|")
    for name, value in rates.items():
        amount = amounts[name]
        print(f"| {name} | {value:,.0f} | {amount:,} | {shown(amount / value)} |")
    print(f"\nall {pairs:.3g} pairs: {shown(pairs / rates['pairs calibrated'])} core-hours")
    for classes in (1_000, 10_000, 100_000):
        seconds, size = softmax_step(classes)
        print(
            f"margin softmax, {classes:,} classes: {seconds * 1e3:.1f} ms, {size:.3f} GB of weights"
        )


if __name__ == "__main__":
    main()
