"""ExactResume: what a checkpoint must hold, too, for a run to go on from any batch bit for bit."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import EarlyStopping
from pytorch_lightning.trainer.states import TrainerFn
from torch.optim.lr_scheduler import ReduceLROnPlateau

from siamese.data.transforms import stable_seed
from siamese.training.position import Position, place_loops


class EpochSeeds(pl.Callback):
    """Seeds dropout and noise again in each epoch.

    So what is drawn in an epoch does not depend on the epochs before, or on the process.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        torch.manual_seed(stable_seed(self._seed, 9, trainer.current_epoch))


class ExactResume(pl.Callback):
    """Lets a run that stopped anywhere end as one that did not.

    Lightning's checkpoints hold weights, optimizers, schedules and counters. This adds the state of
    the random numbers (torch, its GPUs, numpy, Python), the means that are being logged, and the
    step of a ``ReduceLROnPlateau`` that is due; and it corrects the counters, with which Lightning
    2.6 would leave out an epoch's validation, or begin one twice. The training loader must know
    where it is: that of :class:`siamese.ImageDataModule` does (Lightning's ``Stateful``).

    :func:`siamese.train` uses it; so can any Trainer::

        pl.Trainer(callbacks=[siamese.ExactResume()], plugins=[siamese.AtomicCheckpointIO()])

    Not part of it: gradients that are being accumulated (checkpoints are written after a step), and
    random numbers that an augmentation of your own draws inside a loader's process.

    Attributes:
        resumed_at: where the training that was resumed had been, ``(epoch, batch)``, both from 0;
            None for one that began anew.
    """

    def __init__(self) -> None:
        self.resumed_at: tuple[int, int] | None = None
        self._saved: dict[str, Any] | None = None
        self._position: Position | None = None
        self._means: dict[str, list[Any]] = {}

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        self._trainer = trainer

    def state_dict(self) -> dict[str, Any]:
        trainer = self._trainer
        return {
            "random": _random_state(),
            "means": dict(_sums(trainer)) | self._means,
            "plateau": _plateau_values(trainer),
            "batches": trainer.num_training_batches,
            "max_epochs": trainer.max_epochs,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._saved = state_dict

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        if trainer.state.fn != TrainerFn.FITTING:
            return
        # Lightning hands on the states of callbacks after this.
        saved = checkpoint.get("callbacks", {}).get(self.state_key) or {}
        batches = saved.get("batches")
        self._position = Position.of(checkpoint, batches if isinstance(batches, int) else None)
        if self._position is not None:
            place_loops(checkpoint, self._position)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        position, saved = self._position, self._saved or {}
        self._position, self._saved, self._means, self.resumed_at = None, None, {}, None
        if position is None:
            return
        self.resumed_at = (position.epoch, position.batch)
        if position.whole:
            _begin_epoch(trainer)
            if position.schedules_due:
                _step_plateaus(trainer, saved.get("plateau", {}))
            _stop_early(trainer, position.epoch - 1, saved.get("max_epochs"))
        else:
            self._means = dict(saved.get("means", {}))
        if state := saved.get("random"):
            _set_random_state(state)

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        _restarted(trainer)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not trainer.sanity_checking:
            _restarted(trainer)
            self._add_means(trainer)

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        self._add_means(trainer)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # All its batches were trained on before: no means were made anew.
        means, self._means = self._means, {}
        for total, weight, name in means.values():
            pl_module.log(name, torch.tensor(total) / int(weight))

    def _add_means(self, trainer: pl.Trainer) -> None:
        """Add what the means held when the run was stopped, once a batch has made them anew."""
        if self._means:
            for key, metric in _metrics(trainer):
                if (sums := self._means.pop(key, None)) is not None:
                    metric.value = metric.value + sums[0]
                    metric.cumulated_batch_size = metric.cumulated_batch_size + int(sums[1])


def _begin_epoch(trainer: pl.Trainer) -> None:
    """Nothing of an epoch is left to be done: Lightning need not restart anything.

    With ``max_steps`` it would, and would end the next epoch before its first batch.
    """
    loop = trainer.fit_loop
    for part in (loop, loop.epoch_loop, loop.epoch_loop.val_loop):
        part._restarting = False


def _restarted(trainer: pl.Trainer) -> None:
    """The epoch goes on as any other; Lightning would keep plateau schedules back at its end."""
    trainer.fit_loop._restarting = False


def _stop_early(trainer: pl.Trainer, epoch: int, max_epochs: int | None) -> None:
    """A run that early stopping had ended is not trained on, unless it is made longer."""
    ended = any(
        isinstance(callback, EarlyStopping) and 0 < callback.stopped_epoch == epoch
        for callback in trainer.callbacks  # type: ignore[attr-defined]
    )
    if ended and trainer.max_epochs == max_epochs:
        trainer.should_stop = True


def _plateaus(trainer: pl.Trainer) -> Iterator[Any]:
    for config in trainer.lr_scheduler_configs:
        if isinstance(config.scheduler, ReduceLROnPlateau) and config.interval == "epoch":
            yield config


def _plateau_values(trainer: pl.Trainer) -> dict[str, float]:
    """What plateau schedules look at; they are stepped after checkpoints of an epoch's end."""
    metrics = trainer.callback_metrics
    return {
        str(config.monitor): float(metrics[config.monitor])
        for config in _plateaus(trainer)
        if config.monitor in metrics
    }


def _step_plateaus(trainer: pl.Trainer, values: Mapping[str, float]) -> None:
    done = trainer.current_epoch
    for config in _plateaus(trainer):
        if config.monitor in values and done % config.frequency == 0:
            config.scheduler.step(values[config.monitor])


def _metrics(trainer: pl.Trainer) -> Iterator[tuple[str, Any]]:
    """What is logged as a mean over the batches of a training epoch."""
    for key, metric in trainer.fit_loop.epoch_loop._results.items():
        if metric.is_tensor and metric.meta.on_epoch and metric.meta.is_mean_reduction:
            yield str(key), metric


def _sums(trainer: pl.Trainer) -> Iterator[tuple[str, list[Any]]]:
    """Of each mean its sum, its weight, and the name under which it is logged."""
    for key, metric in _metrics(trainer):
        name = str(metric.meta.name)
        yield key, [float(metric.value), float(metric.cumulated_batch_size), name]


def _random_state() -> dict[str, Any]:
    """Of all generators that a training may draw from, as plain values and tensors."""
    name, keys, position, has_gauss, gauss = np.random.get_state()  # noqa: NPY002
    version, numbers, after = random.getstate()
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "numpy": [str(name), [int(k) for k in keys], int(position), int(has_gauss), float(gauss)],
        "python": [version, list(numbers), after],
    }


def _set_random_state(state: Mapping[str, Any]) -> None:
    torch.set_rng_state(state["torch"].cpu())
    if state["cuda"] and len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all([part.cpu() for part in state["cuda"]])
    name, keys, *rest = state["numpy"]
    np.random.set_state((name, np.array(keys, dtype=np.uint32), *rest))  # noqa: NPY002
    version, numbers, after = state["python"]
    random.setstate((version, tuple(numbers), after))
