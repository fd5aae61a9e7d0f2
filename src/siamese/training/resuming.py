"""Continuing a previous run: what of it is used, and what is checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint

from siamese.data.manifest import SplitManifest
from siamese.data.transforms import stable_seed
from siamese.errors import ConfigError
from siamese.report.history import History, join_histories, read_history
from siamese.training.module import SiameseModule


class KeepGivenRates(pl.Callback):
    """Restores the optimizer settings that were given; a checkpoint replaces them by its own.

    A rate that a schedule has changed since is changed in proportion.
    """

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, SiameseModule)
        given = pl_module.make_optimizer().param_groups
        loaded = trainer.optimizers[0].param_groups
        for group, own in zip(loaded, given, strict=True):
            before = group.get("initial_lr", group.get("peak_lr", group["lr"]))
            rate = group["lr"]
            if not trainer.lr_scheduler_configs or before == 0:
                rate = own["lr"]
            elif before != own["lr"]:
                rate = rate * (own["lr"] / before)
            group.update({k: v for k, v in own.items() if k != "params"}, lr=rate)
            group["initial_lr"] = own["lr"]
        for config in trainer.lr_scheduler_configs:
            if hasattr(config.scheduler, "base_lrs"):
                config.scheduler.base_lrs = [group["initial_lr"] for group in loaded]


class EpochSeeds(pl.Callback):
    """Seeds dropout and noise again in each epoch.

    So a resumed run draws the same numbers as a run that was not interrupted.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        torch.manual_seed(stable_seed(self._seed, 9, trainer.current_epoch))


@dataclass(frozen=True)
class PreviousRun:
    """A previous run, to be continued.

    Attributes:
        checkpoint: the run's last one, or the one that was named.
        epochs: how many it was trained for.
        manifest: its ``split.json``; None if there is only a checkpoint.
        history: losses and figures of its epochs.
        shapes: of the checkpoint's weights, by name.
        groups: how many parameters each group of its optimizer has.
        best: its best checkpoint; None if there is none.
    """

    checkpoint: Path
    epochs: int
    manifest: SplitManifest | None
    history: History
    shapes: Mapping[str, tuple[int, ...]]
    groups: tuple[int, ...]
    best: Path | None

    @classmethod
    def find(cls, run: str | Path) -> PreviousRun:
        """Read a run's folder, or a checkpoint.

        Raises:
            ConfigError: it is neither.
        """
        path = Path(run).expanduser()
        checkpoint = path / "checkpoints" / "last.ckpt" if path.is_dir() else path
        try:
            content = torch.load(checkpoint, map_location="cpu", weights_only=True)
            epochs = int(content["epoch"]) + 1
            shapes = {name: tuple(value.shape) for name, value in content["state_dict"].items()}
            groups = tuple(
                len(group["params"]) for group in content["optimizer_states"][0]["param_groups"]
            )
        except FileNotFoundError as error:
            raise ConfigError(
                f"resume={run}: no run (there is no {checkpoint}); give the folder of a training "
                f"run, or a checkpoint"
            ) from error
        except Exception as error:  # torch raises many kinds for a file that is no checkpoint
            raise ConfigError(
                f"resume={run}: not a checkpoint of a training run "
                f"({(str(error) or type(error).__name__).splitlines()[0]:.80}); give the run's "
                f"folder, or its checkpoints/last.ckpt"
            ) from error
        folder = path if path.is_dir() else path.parent.parent
        split, best = folder / "split.json", folder / "checkpoints" / "best.ckpt"
        # A run that was stopped has no history.csv yet, or that of the run which it resumed itself;
        # but it has a log.
        known: History = {}
        for file in (folder / "history.csv", folder / "logs" / "csv" / "metrics.csv"):
            known = join_histories(known, read_history(file) if file.exists() else {})
        before = {
            n: ([e for e in es if e < epochs], vs[: sum(e < epochs for e in es)])
            for n, (es, vs) in known.items()
        }
        manifest = SplitManifest.load(split) if split.exists() else None
        return cls(
            checkpoint, epochs, manifest, before, shapes, groups, best if best.exists() else None
        )

    def better(self, monitor: str, mode: str, later: ModelCheckpoint) -> Path | None:
        """The previous run's best checkpoint, if no later epoch is better."""
        if self.best is None or later.best_model_score is None:
            return None
        states = torch.load(self.best, map_location="cpu", weights_only=True)["callbacks"]
        scores = [
            s["best_model_score"]
            for s in states.values()
            if isinstance(s, dict) and s.get("monitor") == monitor
        ]
        sign = 1 if mode == "min" else -1
        known = scores and scores[0] is not None
        return (
            self.best
            if known and sign * float(scores[0]) <= sign * float(later.best_model_score)
            else None
        )

    def check(self, manifest: SplitManifest, max_epochs: int, module: SiameseModule) -> None:
        """Check that the run can be continued.

        There must be epochs left, and the split must be the same, so that no identity that was
        trained on is tested on; so must the network, the loss and the learning rates' shares.

        Raises:
            ConfigError: one of them is not so.
        """
        if max_epochs <= self.epochs:
            raise ConfigError(
                f"the run to resume has {self.epochs} epochs already: give max_epochs above "
                f"{self.epochs}"
            )
        if self.manifest is not None and (self.manifest.splits, self.manifest.pairs) != (
            manifest.splits,
            manifest.pairs,
        ):
            raise ConfigError(
                "the run to resume has another split: resume it with the same data, data.split "
                "and data.seed"
            )
        own = {name: tuple(value.shape) for name, value in module.state_dict().items()}
        if strange := sorted(
            name
            for name in own.keys() | self.shapes.keys()
            if own.get(name) != self.shapes.get(name)
        ):
            raise ConfigError(
                f"the run to resume has another network or loss ({strange[0]} is "
                f"{self.shapes.get(strange[0], 'not there')}, here "
                f"{own.get(strange[0], 'not there')}): resume it with the same module.backbone, "
                f"module.loss and distance"
            )
        if (
            tuple(len(group["params"]) for group in module.make_optimizer().param_groups)
            != self.groups
        ):
            raise ConfigError(
                "the run to resume trained its layers at other shares of the learning rate: resume "
                "it with the same module.layer_decay, module.backbone.affine_rate and "
                "module.decay_matrices_only"
            )
