"""ExactResume: what a checkpoint must hold, too, for a run to go on from any batch bit for bit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint, Timer
from pytorch_lightning.trainer.states import TrainerFn
from torch.optim.lr_scheduler import ReduceLROnPlateau

from siamese.checkpoint_files import read_checkpoint
from siamese.data.random_numbers import random_state, set_random_state
from siamese.data.transforms import stable_seed
from siamese.errors import CheckpointError, ConfigError
from siamese.processes import all_processes
from siamese.storage import write_whole
from siamese.training.position import Position, place_loops


class EpochSeeds(pl.Callback):
    """Seeds dropout and noise again in each epoch.

    So what is drawn in an epoch does not depend on the epochs before, or on the process.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # Each process draws for its own images.
        of_process = (trainer.global_rank,) if trainer.global_rank else ()
        torch.manual_seed(stable_seed(self._seed, 9, trainer.current_epoch, *of_process))


class ExactResume(pl.Callback):
    """Lets a run that stopped anywhere end as one that did not.

    Lightning's checkpoints hold weights, optimizers, schedules and counters. This adds the state of
    the random numbers (torch, its GPUs, numpy, Python), the means that are being logged, and the
    step of a ``ReduceLROnPlateau`` that is due; and it corrects the counters, with which Lightning
    2.6 would leave out an epoch's validation, or begin one twice. The training loader must know
    where it is: that of :class:`siamese.ImageDataModule` does (Lightning's ``Stateful``).

    :func:`siamese.train` uses it; so can any Trainer::

        pl.Trainer(callbacks=[siamese.ExactResume()], plugins=[siamese.AtomicCheckpointIO()])

    Not part of it: gradients that are being accumulated (checkpoints are written after a step),
    random numbers that an augmentation of your own draws inside a loader's process, and the batches
    of a loader that is not ``Stateful``, such as torch's own, within an epoch.
    """

    def __init__(self) -> None:
        self._saved: dict[str, Any] | None = None
        self._position: Position | None = None
        self._means: dict[str, list[Any]] = {}

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        self._trainer = trainer

    def state_dict(self) -> dict[str, Any]:
        trainer = self._trainer
        own = {"random": random_state(), "means": dict(_sums(trainer)) | self._means}
        of_processes = all_processes().gather(own) if trainer.world_size > 1 else [own]
        return {
            **of_processes[0],
            "others": of_processes[1:],
            "plateau": _plateau_values(trainer),
            "ended": _was_ended(trainer),
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
        for callback in trainer.checkpoint_callbacks:
            if isinstance(callback, ModelCheckpoint) and callback.monitor is not None:
                _bring_along(callback, checkpoint, Path(str(trainer.ckpt_path)).parent)
        batches = saved.get("batches")
        self._position = Position.of(checkpoint, batches if isinstance(batches, int) else None)
        if self._position is not None:
            place_loops(checkpoint, self._position)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        position, saved = self._position, self._saved or {}
        self._position, self._saved, self._means = None, None, {}
        if position is None:
            return
        if position.whole:
            _begin_epoch(trainer)
            if position.schedules_due:
                _step_plateaus(trainer, saved.get("plateau", {}))
        of_processes = [saved, *saved.get("others", [])]
        same = len(of_processes) == trainer.world_size
        own = of_processes[trainer.global_rank] if same else saved
        if not position.whole:
            _check_processes(pl_module, len(of_processes), trainer.world_size)
            self._means = dict(own.get("means", {}))
        # What ended of itself is not trained on, unless it is made longer.
        if saved.get("ended") and trainer.max_epochs == saved.get("max_epochs"):
            trainer.should_stop = True
        if state := own.get("random"):
            set_random_state(state)
            if not same and trainer.global_rank:  # each process draws for its own images
                torch.manual_seed(stable_seed(torch.initial_seed() % 2**32, trainer.global_rank))

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        _restarted(trainer)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not trainer.sanity_checking:
            _restarted(trainer)
            # What callbacks after this one have logged of the last batch.
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
        if not means:
            return
        every = all_processes().gather(means) if trainer.world_size > 1 else [means]
        for name, value in means_of(every).items():
            pl_module.log(name, torch.tensor(value))

    def _add_means(self, trainer: pl.Trainer) -> None:
        """Add what the means held when the run was stopped, once a batch has made them anew."""
        if self._means:
            for key, metric in _metrics(trainer):
                if (sums := self._means.pop(key, None)) is not None:
                    _add(metric, *sums[:2])


def means_of(every: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Logged name -> mean of an epoch, out of the sums of all processes.

    Where they shared their batches, all have the same sums, and the mean is that of the first.
    """
    found = {}
    for key, (total, weight, name) in every[0].items():
        sums = [means[key] for means in every if key in means]
        if any(one != sums[0] for one in sums):
            total, weight = (sum(float(one[i]) for one in sums) for i in (0, 1))
        found[str(name)] = float(torch.tensor(total) / int(weight))
    return found


def _check_processes(module: pl.LightningModule, before: int, now: int) -> None:
    """Refuse to go on within an epoch where its batches were those of other processes.

    Raises:
        ConfigError: see above.
    """
    divided = bool(getattr(module, "loads_parts", False))
    if before != now and not divided:
        raise ConfigError(
            f"the run was stopped within an epoch of {before} processes, each with batches of its "
            f"own, and cannot go on with {now}: give as many as before, or a checkpoint of an "
            f"epoch's end"
        )


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


def _was_ended(trainer: pl.Trainer) -> bool:
    """Whether a callback has ended the training for good; one that has no time left has not."""
    callbacks: list[pl.Callback] = trainer.callbacks  # type: ignore[attr-defined]
    timers = [callback for callback in callbacks if isinstance(callback, Timer)]
    return trainer.should_stop and not any((t.time_remaining() or 0.0) <= 0 for t in timers)


def _bring_along(best: ModelCheckpoint, checkpoint: dict[str, Any], home: Path) -> None:
    """Let a run that goes on in another folder, or in a moved one, know its best epochs.

    Lightning forgets them there, and would write over a better one.

    Args:
        best: a callback that keeps checkpoints by a figure.
        checkpoint: that is resumed.
        home: the folder where it lies.
    """
    state = checkpoint.get("callbacks", {}).get(best.state_key)
    if not state or best.dirpath is None or state.get("dirpath") == best.dirpath:
        return
    kept: dict[str, Any] = {}
    for path, score in dict(state.get("best_k_models") or {}).items():
        here = Path(best.dirpath) / Path(path).name
        places = (here, Path(path), home / here.name)
        found = next((p for p in places if _is_of(p, checkpoint["global_step"])), None)
        if found is None:
            return
        if found != here:
            here.parent.mkdir(parents=True, exist_ok=True)
            write_whole(here, found.read_bytes())
        kept[path] = (str(here), score)
    state["dirpath"], state["last_model_path"] = best.dirpath, ""
    state["best_k_models"] = dict(kept.values())
    for name in ("best_model_path", "kth_best_model_path"):
        state[name] = kept[state[name]][0] if state.get(name) in kept else ""


def _is_of(path: Path, step: int) -> bool:
    """Whether a checkpoint lies there that was written up to a step."""
    try:
        return int(read_checkpoint(path)["global_step"]) <= step
    except (OSError, CheckpointError, KeyError, TypeError, ValueError):
        return False


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
    """What is logged of the batches of a training epoch: means, sums, least and greatest values."""
    for key, metric in trainer.fit_loop.epoch_loop._results.items():
        if metric.is_tensor and metric.meta.on_epoch and not metric.meta.is_custom_reduction:
            yield str(key), metric


def _add(metric: Any, value: float, weight: float) -> None:
    before = torch.as_tensor(value, dtype=metric.value.dtype, device=metric.value.device)
    if metric.meta.is_max_reduction or metric.meta.is_min_reduction:
        metric.value = metric.meta.reduce_fx(before, metric.value)
        return
    metric.value = metric.value + before
    if metric.meta.is_mean_reduction:
        metric.cumulated_batch_size = metric.cumulated_batch_size + int(weight)


def _sums(trainer: pl.Trainer) -> Iterator[tuple[str, list[Any]]]:
    """Of each the value so far (a mean's sum), its weight, and the name that it is logged under."""
    for key, metric in _metrics(trainer):
        weight = float(metric.cumulated_batch_size) if metric.meta.is_mean_reduction else 1.0
        yield key, [float(metric.value), weight, str(metric.meta.name)]
