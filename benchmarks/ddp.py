"""Trainings by 1, 2 and 3 processes: what differs, and pictures per second.

    python benchmarks/ddp.py            the ORL faces, three losses, 1, 2 and 3 processes
    python benchmarks/ddp.py --double   the same with a network of float64 numbers
    python benchmarks/ddp.py --speed    pictures per second of 2 processes against 1

Each process has one thread; processes are started by torchrun. The network has no dropout, which
every process draws for itself.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import torch
from torch import nn

import siamese
from siamese.processes import all_processes, meet

LOSSES = ("contrastive_loss", "triplet_loss", "margin_softmax_loss")


class Wide(nn.Module):
    """In float64 rounding is 10^9 times smaller: what is left of a difference is no rounding."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.AvgPool2d(4),
            nn.Flatten(),
            nn.Linear(3 * 16 * 16, 128, bias=False),
            nn.BatchNorm1d(128),
            nn.ReLU(),
            nn.Linear(128, 64),
        ).double()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return nn.functional.normalize(self.net(images.double()), dim=1)


def trained(loss: str, double: bool, epochs: int, folder: Path) -> dict[str, object]:
    siamese.seed_everything(0)
    data = siamese.OrlDataModule(cropper=siamese.NoCropper(size=64), workers=0, progress=False)
    backbone = Wide() if double else siamese.SmallResNet()
    module = siamese.SiameseModule(backbone, loss)
    data.setup()
    if double and loss == "margin_softmax_loss":
        people = len(data.table("train").distinct_identities)
        module.loss.bind(people, 64)
        module.loss.double()
    settings = {"accelerator": "cpu", "enable_progress_bar": False, "logger": False}
    run = siamese.train(
        module,
        data,
        folder,
        max_epochs=epochs,
        baselines=(),
        plots=False,
        verbose=False,
        trainer=settings,
    )
    torch.save([p.detach().double() for p in module.parameters()], folder / "weights.pt")
    test = run.evaluations["test"]
    return {
        "threshold": run.operating_point.threshold,
        "f1": test.f1,
        "auc": test.auc,
        "eer": test.eer,
        "seconds": run.seconds,
    }


def started(processes: int, folder: Path, *words: str) -> dict[str, float]:
    """One training, by torchrun."""
    command = [
        *(sys.executable, "-m", "torch.distributed.run"),
        *(f"--nproc-per-node={processes}", "--rdzv-backend=c10d", "--rdzv-endpoint=127.0.0.1:0"),
        *(__file__, "--worker", str(folder), *words),
    ]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr[-12000:])
    found: dict[str, float] = json.loads((folder / "answer.json").read_text())
    return found


def difference(one: Path, other: Path) -> float:
    """Of all weights, relative to their length."""
    a, b = (torch.load(path / "weights.pt", weights_only=True) for path in (one, other))
    total = sum(float((x - y).square().sum()) for x, y in zip(a, b, strict=True))
    return (total / sum(float(x.square().sum()) for x in a)) ** 0.5


def compare(double: bool, epochs: int) -> None:
    network = "one hidden layer, float64" if double else "small_res_net, float32"
    print(f"ORL, {network}, {epochs} epochs; figures of the test people\n")
    print("| loss | processes | threshold | F1 | ROC AUC | EER | weights differ by |")
    print("|---|---|---|---|---|---|---|")
    for loss in LOSSES:
        with tempfile.TemporaryDirectory() as home:
            for processes in (1, 2, 3):
                folder = Path(home) / str(processes)
                words = ("--loss", loss, "--epochs", str(epochs), *(["--double"] * double))
                found = started(processes, folder, *words)
                apart = difference(Path(home) / "1", folder)
                figures = " | ".join(f"{found[name]:.6f}" for name in ("f1", "auc", "eer"))
                shown = f"{found['threshold']:.9f} | {figures} | {apart:.1e}"
                print(f"| {loss} | {processes} | {shown} |", flush=True)


def speed(epochs: int, rounds: int) -> None:
    seconds: dict[int, list[float]] = {1: [], 2: []}
    with tempfile.TemporaryDirectory() as home:
        for turn in range(rounds):
            for processes in seconds:
                folder = Path(home) / f"{turn}-{processes}"
                words = ("--loss", LOSSES[0], "--epochs", str(epochs))
                seconds[processes].append(started(processes, folder, *words)["seconds"])
    middle = {count: statistics.median(values) for count, values in seconds.items()}
    pictures = epochs * 240  # 24 of 40 people
    for count, value in middle.items():
        print(f"{count} process(es): {value:.1f} s, {pictures / value:.0f} pictures/s")
    print(f"2 against 1: {middle[1] / middle[2]:.2f} times as fast (medians of {rounds})")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--double", action="store_true")
    parser.add_argument("--speed", action="store_true")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--loss", default=LOSSES[0])
    parser.add_argument("--worker", type=Path)
    given = parser.parse_args()
    if given.worker:
        warnings.simplefilter("ignore")
        meet()
        found = trained(given.loss, given.double, given.epochs, given.worker)
        if all_processes().first:
            (given.worker / "answer.json").write_text(json.dumps(found))
    elif given.speed:
        speed(given.epochs, given.rounds)
    else:
        start = time.perf_counter()
        compare(given.double, given.epochs)
        print(f"\n{time.perf_counter() - start:.0f} s", file=sys.stderr)


if __name__ == "__main__":
    main()
