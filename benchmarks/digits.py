"""Digits never trained on, told apart: raw pixels, the untrained network and the trained one.

    OMP_NUM_THREADS=1 python benchmarks/digits.py            what was chosen, on draws 0 to 19
    OMP_NUM_THREADS=1 python benchmarks/digits.py --choose   all recipes on draws 100 to 103

The images are scikit-learn's (``sklearn.datasets.load_digits``: 1,797 of 8 x 8 pixels). A draw is a
seed of ``siamese.IdentityDisjoint``: five digits to train, two for the threshold, three to test.
Everything is concluded alike: its threshold is the F1-optimal one of the two digits, and its
figures are those of balanced pairs of the three, on which accepting everything has F1 0.667.
"""

from __future__ import annotations

import argparse
import functools
import statistics
import tempfile
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from sklearn.datasets import load_digits
from torch import nn

import siamese
from siamese.evaluation.data import EvaluationData
from siamese.evaluation.stages import conclude

SPLIT = siamese.IdentityDisjoint(shares=(5, 2, 3))
# Small changes of place; no mirroring, since a mirrored digit is another sign.
SHIFTED: dict[str, Any] = {
    "flip": 0.0,
    "rotation": 12.0,
    "shear": 8.0,
    "translation": 0.08,
    "grey": 1.0,
}
SMALL: dict[str, Any] = {
    "widths": (32, 64, 128),
    "depths": (1, 1, 1),
    "learned_size": 128,
    "gradient_cells": 0,
    "mirror": False,  # a mirrored digit is another sign
}
Figures = tuple[float, float]  # F1 and ROC AUC of the test digits


@dataclass(frozen=True)
class Recipe:
    """How a network is trained: what differs between those that were tried."""

    loss: str = "contrastive_loss"
    settings: dict[str, Any] = field(default_factory=dict)  # of the loss
    distance: str | None = None  # None: the loss's own
    network: dict[str, Any] = field(default_factory=dict)  # arguments of SmallResNet
    changes: dict[str, Any] | None = field(default_factory=lambda: SHIFTED)
    epochs: int = 1
    rate: float = 2e-3  # of learning; at 0 only the statistics of the layers are gathered

    def module(self) -> siamese.SiameseModule:
        """The untrained network with its loss."""
        backbone = siamese.SmallResNet(**(SMALL | self.network))
        loss = siamese.LOSSES.build({"name": self.loss} | self.settings)
        optimizer = functools.partial(torch.optim.AdamW, lr=self.rate, weight_decay=0.05)
        return siamese.SiameseModule(backbone, loss, self.distance, optimizer)

    def data(self, root: Path, seed: int) -> siamese.FolderDataModule:
        """The digits of a draw."""
        changes = None if self.changes is None else siamese.Augmentation(**self.changes)
        return siamese.FolderDataModule(
            root,
            cropper=siamese.NoCropper(size=32),
            sampler=siamese.IdentitySampler(identities=5, images=16, steps=40),
            augmentation=changes,
            split=SPLIT,
            seed=seed,
            cache=root.parent / "cache",
            workers=0,
            crop_workers=1,
            progress=False,
        )


GRADIENTS = {"gradient_cells": 4}
SUPERVISED = "supervised_contrastive_loss"
RECIPES = {
    "contrastive": Recipe(network=GRADIENTS),
    "contrastive, PLDA": Recipe(network=GRADIENTS, distance="plda"),
    "contrastive, statistics alone": Recipe(network=GRADIENTS, rate=0.0),
    "contrastive, margin 2": Recipe(network=GRADIENTS, settings={"margin": 2.0}),
    "contrastive, 4 epochs": Recipe(network=GRADIENTS, epochs=4),
    "contrastive, not augmented": Recipe(network=GRADIENTS, changes=None),
    "contrastive, narrow": Recipe(network=GRADIENTS | {"widths": (16, 32, 64), "learned_size": 32}),
    "contrastive, no gradients": Recipe(),
    "contrastive, no gradients, statistics alone": Recipe(rate=0.0),
    "contrastive, no gradients, 4 epochs": Recipe(epochs=4),
    "contrastive, no gradients, not whitened": Recipe(network={"whiten": False}),
    "supervised contrastive": Recipe(SUPERVISED, network=GRADIENTS),
    "supervised contrastive, no gradients": Recipe(SUPERVISED),
}
CHOSEN = [
    "contrastive",
    "contrastive, PLDA",
    "contrastive, statistics alone",
    "contrastive, no gradients",
    "contrastive, no gradients, statistics alone",
]


def write_digits(root: Path) -> Path:
    """One folder per digit, one PNG per image: 0..16 becomes 0..240."""
    digits = load_digits()
    for number, (image, digit) in enumerate(zip(digits.images, digits.target, strict=True)):
        (root / str(digit)).mkdir(parents=True, exist_ok=True)
        pixels = (image * 15).astype("uint8")
        Image.fromarray(pixels).save(root / str(digit) / f"{number:04}.png")
    return root


class Pixels(nn.Module):
    """The 64 numbers of an image as its embedding."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images[:, 0].flatten(1)


def of_pixels(data: siamese.FolderDataModule) -> Iterator[tuple[str, Figures]]:
    """Raw pixels of the same draw: the euclidean distance, and PLDA fitted to five digits."""
    data.setup()
    assert data.manifest is not None
    cropper, rule = siamese.NoCropper(size=8), siamese.BalancedPairs()
    plain = EvaluationData.of_manifest(data.manifest, cropper, rule, progress=False)
    for name, distance in (
        ("raw pixels", siamese.EuclideanDistance()),
        ("raw pixels, PLDA", siamese.PldaDistance()),
    ):
        network = siamese.ModuleBackbone(Pixels())
        parts = siamese.Components(network, distance, cropper)
        yield name, figures(conclude(parts, plain, siamese.MaxF1()).evaluations["test"])


def figures(found: siamese.SplitEvaluation) -> Figures:
    return found.f1, found.auc


def train(recipe: Recipe, root: Path, seed: int) -> tuple[Figures, Figures, float]:
    """Figures without and with training, and the seconds that it took."""
    siamese.seed_everything(seed, verbose=False)
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        run = siamese.train(
            recipe.module(),
            recipe.data(root, seed),
            folder,
            max_epochs=recipe.epochs,
            keep="last",
            plots=False,
            baselines=["untrained"],
            verbose=False,
            trainer={"accelerator": "cpu"},
        )
        seconds = time.perf_counter() - start
    (untrained,) = run.evaluation.baselines
    return figures(untrained.evaluations["test"]), figures(run.evaluations["test"]), seconds


def measure(names: list[str], seeds: list[int], root: Path) -> dict[str, list[Figures]]:
    """Row of the table -> figures of each draw."""
    rows: dict[str, list[Figures]] = {}
    for seed in seeds:
        for name, found in of_pixels(RECIPES[names[0]].data(root, seed)):
            rows.setdefault(name, []).append(found)
        for name in names:
            before, after, seconds = train(RECIPES[name], root, seed)
            rows.setdefault(f"{name}: untrained", []).append(before)
            rows.setdefault(f"{name}: trained", []).append(after)
            shown = f"AUC {before[1]:.3f}, trained {after[1]:.3f}"
            print(f"draw {seed}, {name}: {shown}; {seconds:.1f} s", flush=True)
    return rows


def without_repetitions(rows: dict[str, list[Figures]]) -> dict[str, list[Figures]]:
    """Recipes that differ in training alone have one untrained network."""
    found: dict[str, list[Figures]] = {}
    for name, values in rows.items():
        if values not in found.values():
            found[name] = values
    return found


def show(rows: dict[str, list[Figures]]) -> None:
    """Means over the draws, with their standard deviation."""
    print("\n| | F1 | ROC AUC |\n|---|---|---|")
    for name, found in rows.items():
        print(f"| {name} | {' | '.join(_mean(column) for column in zip(*found, strict=True))} |")


def show_differences(rows: dict[str, list[Figures]], name: str) -> None:
    """By how much a row is higher than each other one within a draw, and in how many draws."""
    print(f"\n| {name} less | F1 | higher | ROC AUC | higher |\n|---|---|---|---|---|")
    for other, values in rows.items():
        if other == name:
            continue
        cells = []
        for a, b in zip(zip(*rows[name], strict=True), zip(*values, strict=True), strict=True):
            differences = [x - y for x, y in zip(a, b, strict=True)]
            higher = sum(d > 0 for d in differences)
            cells += [_mean(differences, "+"), f"{higher} of {len(differences)}"]
        print(f"| {other} | {' | '.join(cells)} |")


def _mean(numbers: Any, sign: str = "") -> str:
    numbers = list(numbers)
    spread = f" ({statistics.stdev(numbers):.3f})" if len(numbers) > 1 else ""
    return f"{statistics.mean(numbers):{sign}.3f}{spread}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--choose", action="store_true", help="every recipe, on other draws")
    parser.add_argument("--seeds", type=int, nargs="+", help="of the draws")
    parser.add_argument("--recipes", nargs="+", choices=RECIPES, metavar="RECIPE")
    args = parser.parse_args()
    names = args.recipes or (list(RECIPES) if args.choose else CHOSEN)
    seeds = args.seeds or (list(range(100, 104)) if args.choose else list(range(20)))
    warnings.filterwarnings("ignore", module="pytorch_lightning")
    warnings.filterwarnings("ignore", message="one identity has")  # two digits, half each
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        rows = measure(names, seeds, write_digits(Path(folder) / "digits"))
    rows = without_repetitions(rows)
    show(rows)
    if not args.choose:
        show_differences(rows, f"{names[0]}: trained")


if __name__ == "__main__":
    main()
