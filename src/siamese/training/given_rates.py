"""GivenRates: the optimizer settings of a resumed run are those that it was given."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
import torch

from siamese.registry import as_plain
from siamese.training.module import SiameseModule


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
