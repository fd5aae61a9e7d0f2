"""Time training steps: siamese.train against plain loops on the same network, in one process.

    OMP_NUM_THREADS=1 python benchmarks/training.py [--lfw FOLDER | --side 250] [--rounds N]
                                                    [--compile] [--device cuda --workers N]

Each epoch of siamese.train is a round; after it, the others run their steps in turn. So all meet
the same machine. Ratios are medians over the rounds, by the clock and by the processor time of all
threads: by the clock, augmentation in a thread is free only while a core is. Everybody trains a
SmallResNet with AdamW on batches of 24 identities with 4 pictures each, 64 x 64, with a contrastive
loss:

* siamese.train: from its own data module, at its defaults, with validation left out of the time;
* bare: the same step on batches that lie in memory, ready to be used;
* plain: a loop with pytorch-metric-learning's loss and sampler, and the same augmentation
  (``pip install -e '.[benchmarks]'``; left out where that is not installed);
* searching: a loop in the manner of face-similarity-pytorch: dlib searches every picture of every
  batch for a face, and only the two pictures that were drawn as a pair are compared.

The pictures are drawn, 250 x 250 or as large as ``--side`` says, unless a folder of identities is
given: dlib's search takes as long without a face.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from PIL import Image
from pytorch_lightning.profilers import SimpleProfiler
from torch import Tensor, nn

import siamese

IDENTITIES, EACH, SIZE = 24, 4, 64
BATCH = IDENTITIES * EACH
PEOPLE = 60  # of a folder, those with the most pictures
NEXT = "[_TrainingEpochLoop].train_dataloader_next"


def draw(folder: Path, side: int) -> Path:
    """Pictures of nobody: blurred noise, alike within an identity."""
    rng = np.random.default_rng(0)
    for identity in range(PEOPLE):
        base = rng.integers(0, 256, (8, 8, 3))
        for number in range(8):
            changed = (base + rng.integers(-40, 41, base.shape)).clip(0, 255).astype(np.uint8)
            path = folder / f"{identity:02d}" / f"{number}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(changed).resize((side, side), Image.Resampling.BICUBIC).save(path)
    return folder


def data_module(root: Path, cache: Path, steps: int, workers: int) -> siamese.ImageDataModule:
    table = siamese.IdentityTable.from_folder(root)
    kept = set(sorted(table.counts, key=lambda name: -table.counts[name])[:PEOPLE])
    rows = [row for row, name in enumerate(table.identities) if name in kept]
    return siamese.ImageDataModule(
        table.select(rows),
        siamese.NoCropper(SIZE),
        siamese.IdentitySampler(IDENTITIES, EACH, steps=steps),
        cache=cache,
        workers=workers,
        progress=False,
    )


def clocks() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


def finish(device: str) -> None:
    """Wait for what a device still has to do."""
    if device == "cuda":
        torch.cuda.synchronize()


def rates(start: tuple[float, float], end: tuple[float, float], steps: int) -> tuple[float, float]:
    wall, processor = (b - a for a, b in zip(start, end, strict=True))
    return steps * BATCH / wall, steps * BATCH / processor


class Quiet(SimpleProfiler):
    """Keeps its figures and prints nothing."""

    def describe(self) -> None: ...


class Loop:
    """A plain training loop over batches that never end."""

    def __init__(
        self,
        batches: Iterator[tuple[Tensor, Tensor]],
        loss: Callable[[Tensor, Tensor], Tensor],
        steps: int,
        precision: str = "32-true",
        compiled: bool = False,
        device: str = "cpu",
    ) -> None:
        self.batches, self.loss, self.steps, self.device = batches, loss, steps, device
        self.network = siamese.SmallResNet().to(device)
        if compiled:
            self.network.compile()
        self.optimizer = torch.optim.AdamW(self.network.parameters(), lr=2e-3, weight_decay=0.05)
        self.half = precision == "bf16-mixed"
        self.run(2)  # what happens once

    def run(self, steps: int) -> None:
        for images, labels in itertools.islice(self.batches, steps):
            images, labels = images.to(self.device), labels.to(self.device)
            self.optimizer.zero_grad()
            with torch.autocast(self.device, torch.bfloat16, enabled=self.half):
                embeddings = self.network(images)
            self.loss(embeddings.float(), labels).backward()
            self.optimizer.step()

    def pictures_per_second(self) -> tuple[float, float]:
        """By the clock, and by processor time."""
        start = clocks()
        self.run(self.steps)
        finish(self.device)
        return rates(start, clocks(), self.steps)


def bare(data: siamese.ImageDataModule, steps: int, **settings: Any) -> Loop:
    loss = siamese.ContrastiveLoss()
    device = settings.get("device", "cpu")  # where the batches lie, too
    batches = [
        (batch["image"].to(device), batch["label"].to(device)) for batch in data.train_dataloader()
    ]
    return Loop(itertools.cycle(batches), lambda x, y: loss(x, y, None), steps, **settings)


class Pictures(torch.utils.data.Dataset):
    """A data set as it is usually written: one augmented picture at a time."""

    def __init__(self, data: siamese.ImageDataModule) -> None:
        self.crops, self.augment = data.dataset("train"), siamese.Augmentation()
        self.rng = np.random.default_rng(0)

    def __len__(self) -> int:
        return len(self.crops)

    def __getitem__(self, row: int) -> tuple[Tensor, int]:
        image = self.augment(self.crops.image(row), (int(self.rng.integers(1 << 31)),))
        return torch.from_numpy(image).permute(2, 0, 1), int(self.crops.labels[row])


def plain(data: siamese.ImageDataModule, steps: int, **settings: Any) -> Loop | None:
    with contextlib.suppress(ImportError), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pytorch_metric_learning import distances, losses, samplers

        labels = data.dataset("train").labels
        sampler = samplers.MPerClassSampler(labels, EACH, BATCH, len(labels) // BATCH * BATCH)
        loader = torch.utils.data.DataLoader(
            Pictures(data),
            BATCH,
            sampler=sampler,
            num_workers=data.workers,
            persistent_workers=data.workers > 0,
        )
        loss = losses.ContrastiveLoss(distance=distances.LpDistance(normalize_embeddings=False))
        endless = itertools.chain.from_iterable(itertools.repeat(loader))
        return Loop(endless, loss, steps, **settings)
    return None


def searching(data: siamese.ImageDataModule, steps: int) -> Loop:
    """Pairs in two halves of a batch: picture i of the first is compared with i of the second."""
    import dlib

    table, detector = data.table("train"), dlib.get_frontal_face_detector()
    images = [np.asarray(Image.open(path).convert("RGB")) for path in table.paths]
    labels = data.dataset("train").labels
    rng = np.random.default_rng(0)

    def face(row: int) -> Tensor:
        image = images[row]
        if found := detector(image):
            box = max(found, key=lambda box: box.area())
            top, left = max(0, box.top()), max(0, box.left())
            image = image[top : box.bottom() + 1, left : box.right() + 1]
        image = np.asarray(Image.fromarray(image).resize((SIZE, SIZE)))
        return torch.from_numpy(image.copy()).permute(2, 0, 1)

    def batches() -> Iterator[tuple[Tensor, Tensor]]:
        while True:
            first = rng.choice(len(labels), BATCH // 2)
            second = [
                rng.choice(np.flatnonzero((labels == labels[row]) == (slot % 2 == 0)))
                for slot, row in enumerate(first)
            ]
            rows = [int(row) for row in (*first, *second)]
            yield torch.stack([face(row) for row in rows]), torch.from_numpy(labels[rows])

    def loss(embeddings: Tensor, labels: Tensor) -> Tensor:
        (a, b), (same_a, same_b) = embeddings.chunk(2), labels.chunk(2)
        apart = nn.functional.pairwise_distance(a, b)
        return torch.where(same_a == same_b, apart, (1 - apart).clamp(min=0)).square().mean()

    return Loop(batches(), loss, steps)


class Rounds(pl.Callback):
    """Times each epoch of siamese.train but the first, then lets the others run."""

    def __init__(self, others: dict[str, Loop]) -> None:
        self.others = others
        self.rates: dict[str, list[tuple[float, float]]] = {
            name: [] for name in ("siamese.train", *others)
        }
        self.start = self.end = clocks()

    def on_train_epoch_start(self, trainer: pl.Trainer, *_: Any) -> None:
        self.start = clocks()

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        if trainer.is_last_batch:
            finish(trainer.strategy.root_device.type)
        self.end = clocks()

    def on_train_epoch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        if trainer.current_epoch:  # in the first, the data are read and memory is first taken
            steps = int(trainer.num_training_batches)
            self.rates["siamese.train"].append(rates(self.start, self.end, steps))
            for name, loop in self.others.items():
                self.rates[name].append(loop.pictures_per_second())


def race(
    title: str,
    data: siamese.ImageDataModule,
    others: dict[str, Loop],
    rounds: int,
    precision: str = "32-true",
    compiled: bool = False,
    device: str = "cpu",
) -> None:
    siamese.seed_everything(0, verbose=False)
    module = siamese.SiameseModule(siamese.SmallResNet(), siamese.ContrastiveLoss())
    if compiled:
        module.backbone.compile()
    timed, profiler = Rounds(others), Quiet()
    settings = {"precision": precision, "profiler": profiler, "accelerator": device}
    with tempfile.TemporaryDirectory() as folder:
        siamese.train(
            module,
            data,
            folder,
            max_epochs=rounds + 1,
            callbacks=[timed],
            trainer=settings,
            plots=False,
            verbose=False,
        )
    ours, per_epoch = timed.rates["siamese.train"], data.batch_sampler.steps
    print(f"\n{title}\n")
    print("| | pictures per second (least to most) | siamese.train: by the clock | by processor |")
    print("|---|---|---|---|")
    for name, found in timed.rates.items():
        wall = [clock for clock, _ in found]
        ratios = [
            statistics.median(a[i] / b[i] for a, b in zip(ours, found, strict=True)) for i in (0, 1)
        ]
        print(
            f"| {name} | {statistics.median(wall):.0f} ({min(wall):.0f}-{max(wall):.0f}) | "
            f"{ratios[0]:.2f} | {ratios[1]:.2f} |"
        )
    waited = sum(profiler.recorded_durations[NEXT][per_epoch:])
    spent = sum(per_epoch * BATCH / clock for clock, _ in ours)
    print(f"\nsiamese.train waits for data in {100 * waited / spent:.1f} % of the time")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--lfw", type=Path, help="folder of identities to take pictures from")
    parser.add_argument("--side", type=int, default=250, help="of a drawn picture, pixels")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=20, help="of an epoch, which is a round")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--workers", type=int, default=0, help="loader processes, of plain, too")
    parser.add_argument("--compile", action="store_true", help="torch.compile, too; minutes")
    args = parser.parse_args()
    warnings.filterwarnings("ignore", module="pytorch_lightning")
    print(f"{torch.get_num_threads()} threads, torch {torch.__version__}, {args.device}")
    with tempfile.TemporaryDirectory() as folder:
        root = args.lfw or draw(Path(folder) / "people", args.side)
        data = data_module(root, Path(folder) / "cache", args.steps, args.workers)
        on = {"device": args.device}
        others = {"bare": bare(data, args.steps, **on), "plain": plain(data, args.steps, **on)}
        if args.device == "cpu":
            others["searching"] = searching(data, 1)
        known = {name: loop for name, loop in others.items() if loop is not None}
        race("float32", data, known, args.rounds, **on)
        kinds = [("bfloat16", {"precision": "bf16-mixed"})]
        if args.compile:
            kinds.append(("compiled", {"compiled": True}))
        for title, settings in kinds:
            loops = {
                "bare, float32": known["bare"],
                f"bare, {title}": bare(data, args.steps, **settings, **on),
            }
            if plain_loop := plain(data, args.steps, **settings, **on):
                loops[f"plain, {title}"] = plain_loop
            race(title, data, loops, args.rounds, **settings, **on)


if __name__ == "__main__":
    main()
