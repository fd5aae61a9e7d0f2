"""Memory over a long training: whether it grows with the epochs.

    python benchmarks/torture/memory.py [--epochs 200]

Trains on made-up pictures and prints the resident memory of the process every twenty epochs. Exits
with 1 if the last fifth holds more than the second one by over a tenth.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import pytorch_lightning as pl
from kills import make_people

import siamese


def resident() -> float:
    """Megabytes of this process (Linux)."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 1e6


class Watch(pl.Callback):
    """Notes the resident memory after each epoch."""

    def __init__(self) -> None:
        self.seen: list[float] = []

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.seen.append(resident())
        if len(self.seen) % 20 == 0:
            print(f"epoch {len(self.seen):4d}: {self.seen[-1]:7.1f} MB", flush=True)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=200)
    args = parser.parse_args(argv)
    watch = Watch()
    with tempfile.TemporaryDirectory(prefix="memory") as home:
        make_people(Path(home) / "people")
        data = siamese.FolderDataModule(
            Path(home) / "people",
            cropper=siamese.NoCropper(32),
            sampler=siamese.IdentitySampler(4, 2, steps=5),
            cache=Path(home) / "cache",
            workers=0,
            progress=False,
        )
        net = siamese.SmallResNet(widths=(8,), depths=(1,), learned_size=8)
        siamese.train(
            siamese.SiameseModule(net, siamese.ContrastiveLoss()),
            data,
            Path(home) / "run",
            max_epochs=args.epochs,
            callbacks=[watch],
            baselines=(),
            plots=False,
            verbose=False,
        )
    fifth = max(1, args.epochs // 5)
    before, after = median(watch.seen[fifth : 2 * fifth]), median(watch.seen[-fifth:])
    print(f"median of the second fifth {before:.1f} MB, of the last one {after:.1f} MB")
    return after > 1.1 * before


if __name__ == "__main__":
    sys.exit(main())
