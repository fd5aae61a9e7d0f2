"""Continuing a previous run: what of it is used, and what is checked."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint

from siamese.data.manifest import SplitManifest
from siamese.data.transforms import stable_seed
from siamese.errors import ConfigError, first_line
from siamese.inference.bundle import RUN
from siamese.reading import read_object
from siamese.registry import as_plain
from siamese.report.history import History, join_histories, read_history
from siamese.training.module import SiameseModule
from siamese.training.monitors import short_monitor


class GivenRates(pl.Callback):
    """Records in checkpoints the optimizer settings that a run was given.

    A checkpoint brings its optimizer's settings with it. Where a resumed run is given others, these
    apply; a rate that a schedule has changed since is changed in proportion. Where it is given the
    same, the checkpoint's stay untouched, whatever the schedule made of them.
    """

    def __init__(self) -> None:
        self._given: list[dict[str, Any]] = []
        self._recorded: list[dict[str, Any]] | None = None
        self._resumed = False

    def state_dict(self) -> dict[str, Any]:
        return {"given": self._given}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._recorded = as_plain(state_dict["given"])

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        self._resumed = True

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, SiameseModule)
        self._given = [_plain_settings(g) for g in pl_module.make_optimizer().param_groups]
        if not self._resumed or self._given == self._recorded:
            return
        # Checkpoints of 0.1.0 record nothing; their only schedule is made anew from the given
        # rates.
        recorded = self._recorded or [{}] * len(self._given)
        before = _initial_rates(pl_module, recorded)
        now = _initial_rates(pl_module, self._given)
        groups = trainer.optimizers[0].param_groups
        for group, given, old, new in zip(groups, self._given, before, now, strict=True):
            rate = group["lr"] * (new / old) if old else new
            if not trainer.lr_scheduler_configs:
                rate = given["lr"]
            group.update(given, lr=rate, initial_lr=new)
        for config in trainer.lr_scheduler_configs:
            if hasattr(config.scheduler, "base_lrs"):
                config.scheduler.base_lrs = list(now)


def _plain_settings(group: dict[str, Any]) -> dict[str, Any]:
    """An optimizer group's settings without its parameters, as a checkpoint can keep them."""
    return {
        name: float(value) if isinstance(value, torch.Tensor) else as_plain(value)
        for name, value in group.items()
        if name != "params"
    }


def _initial_rates(module: SiameseModule, settings: list[dict[str, Any]]) -> list[float]:
    """What the module's schedule starts from, where the optimizer has these settings."""
    optimizer = module.make_optimizer()
    for group, values in zip(optimizer.param_groups, settings, strict=True):
        group.update(values)
    if module.schedule is not None:
        module.schedule(optimizer)
    return [float(group.get("initial_lr", group["lr"])) for group in optimizer.param_groups]


class EpochSeeds(pl.Callback):
    """Seeds dropout and noise again in each epoch.

    So a resumed run draws the same numbers as a run that was not interrupted.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        torch.manual_seed(stable_seed(self._seed, 9, trainer.current_epoch))


def _first_weights(folder: Path) -> str | None:
    """As a run's description has it; the check of a run.json is not for here."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        facts = read_object(folder / RUN).get("provenance") or {}
        found = facts.get("first_weights")
        return found if isinstance(found, str) else None
    return None


def _logged_today(name: str, split: str) -> str:
    """A logged name as it is now: 0.1.0 began with ``val/``, whatever the split was called.

    Its ``val/loss`` keeps its name: it was the loss of other batches, and is not comparable.
    """
    if name == "val/loss" or not name.startswith("val/"):
        return name
    return f"{split}/{name.removeprefix('val/')}"


def _is_whole(content: Mapping[str, Any]) -> bool:
    """Whether Lightning wrote a checkpoint at the end of an epoch; True where that is not known."""
    with contextlib.suppress(KeyError, TypeError):
        return bool(content["loops"]["fit_loop"]["epoch_loop.batch_progress"]["is_last_batch"])
    return True


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
        first_weights: fingerprint of what it began with
            (:func:`siamese.evaluation.baselines.fingerprint`); None where that is not known.
        whole: whether its last epoch came to its end.
    """

    checkpoint: Path
    epochs: int
    manifest: SplitManifest | None
    history: History
    shapes: Mapping[str, tuple[int, ...]]
    groups: tuple[int, ...]
    best: Path | None
    first_weights: str | None = None
    whole: bool = True

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
                f"({first_line(error):.80}); give the run's "
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
        validated = manifest.calibrating if manifest else "calibration"
        before = {_logged_today(name, validated): values for name, values in before.items()}
        kept = best if best.exists() else None
        first = _first_weights(folder)
        whole = _is_whole(content)
        return cls(checkpoint, epochs, manifest, before, shapes, groups, kept, first, whole)

    def lies_in(self, folder: Path) -> bool:
        """Whether this is the run that the folder holds."""
        return self.checkpoint.resolve().is_relative_to(folder.resolve())

    def better(self, monitor: str, mode: str, later: ModelCheckpoint) -> Path | None:
        """The previous run's best checkpoint, if no later epoch is better."""
        if self.best is None or later.best_model_score is None:
            return None
        wanted = short_monitor(monitor)
        earlier = {"val/loss"} if wanted == "loss" else set()  # was the loss of other batches
        states = torch.load(self.best, map_location="cpu", weights_only=True)["callbacks"]
        scores = [
            s["best_model_score"]
            for s in states.values()
            if isinstance(s, dict)
            and short_monitor(str(s.get("monitor"))) == wanted
            and s.get("monitor") not in earlier
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
                f"the run to resume was trained for max_epochs={self.epochs} already: give "
                f"max_epochs above {self.epochs}"
            )
        if self.manifest is not None and not self.manifest.has_split_of(manifest):
            raise ConfigError(
                "the run to resume has another split: resume it with the same data, data.split "
                "and data.seed (a run that was made in Python records no settings for the command)"
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
