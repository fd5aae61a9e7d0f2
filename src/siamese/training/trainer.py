"""Lightning's Trainer as a run needs it: loggers, checkpoints, progress, and little else."""

from __future__ import annotations

import contextlib
import logging
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint, ProgressBar
from pytorch_lightning.loggers import CSVLogger
from pytorch_lightning.plugins.io import CheckpointIO
from pytorch_lightning.plugins.layer_sync import LayerSync
from pytorch_lightning.strategies import DDPStrategy
from pytorch_lightning.utilities.exceptions import (  # type: ignore[attr-defined]
    MisconfigurationException,
)

from siamese.errors import ConfigError, first_line
from siamese.launched import by_slurm, by_torchrun
from siamese.training.checkpoint_io import AtomicCheckpointIO
from siamese.training.exact_resume import ExactResume
from siamese.training.given_rates import GivenRates
from siamese.training.joining import asks_for_several, started_devices
from siamese.training.loggers import make_loggers
from siamese.training.run_progress import RunProgress
from siamese.training.stopping import GracefulStop, StopRequest
from siamese.training.synced_batch_norm import SyncedBatchNorm


def make_trainer(
    folder: Path,
    callbacks: Sequence[pl.Callback],
    settings: Mapping[str, Any],
    stop: StopRequest,
) -> pl.Trainer:
    """A Trainer that writes checkpoints and logs into a run's folder.

    Args:
        folder: of the run.
        callbacks: of the run.
        settings: of ``pytorch_lightning.Trainer``; they take precedence. Loggers and callbacks in
            them are added to those of the run, whose history is always recorded. So are plugins;
            a ``CheckpointIO`` among them replaces ours.
        stop: how a signal asks the training to stop.

    Raises:
        ConfigError: settings that the Trainer refuses, or several processes that ``ddp`` did not
            start.
    """
    logs = folder / "logs"
    # Not `save_last` of the best one: that file is only brought up to date when a best is saved.
    # After each epoch, validated or not: wherever training ends, these are its weights.
    last = ModelCheckpoint(
        folder / "checkpoints",
        "last",
        enable_version_counter=False,
        save_on_train_epoch_end=True,
    )
    defaults: dict[str, Any] = {
        "accelerator": "auto",
        "devices": 1,
        "deterministic": "warn",
        "num_sanity_val_steps": 0,
        "log_every_n_steps": 1,
        "enable_model_summary": False,
        # Lightning would rebuild the samplers without their arguments; ours shard themselves.
        "use_distributed_sampler": False,
    }
    merged = defaults | {"strategy": "auto"} | dict(settings)
    started = started_devices()  # they are there, whatever an earlier run was given
    if merged["strategy"] != "auto":
        started.pop("strategy", None)
    merged |= started
    own = merged.pop("callbacks", None) or []
    callbacks = [*callbacks, *(own if isinstance(own, (list, tuple)) else [own])]
    plugins = merged.pop("plugins", None) or []
    plugins = list(plugins) if isinstance(plugins, (list, tuple)) else [plugins]
    if not any(isinstance(plugin, CheckpointIO) for plugin in plugins):
        plugins.append(AtomicCheckpointIO())
    merged["logger"] = [
        CSVLogger(logs, "", "csv"),
        *make_loggers(merged.get("logger", True), folder),
    ]
    theirs = any(isinstance(callback, ProgressBar) for callback in callbacks)
    progress = [RunProgress()] if merged["enable_progress_bar"] and not theirs else []
    # Lightning's own use of a deprecated function of torch: nothing a user could mend.
    warnings.filterwarnings("ignore", message=".*LeafSpec.*", module="pytorch_lightning")
    # A resumed run writes to a folder of its own, on purpose; its best checkpoint is the best of
    # the epochs added.
    warnings.filterwarnings("ignore", message="The dirpath has changed", module="pytorch_lightning")
    # Of networks in channels-last order; it costs a copy of small gradients, and nothing else.
    warnings.filterwarnings("ignore", message="Grad strides do not match bucket view strides")
    # One that goes on in its own folder finds its files there, and keeps what they held.
    for text in ("Checkpoint directory .* exists", "Experiment logs directory .* exists"):
        warnings.filterwarnings("ignore", message=text)
    _check_name(merged["strategy"])
    if asks_for_several(merged):
        _normalise_over_processes(merged, plugins)
    try:
        trainer = pl.Trainer(
            **merged,
            plugins=plugins,
            callbacks=[
                _LastValidation(),
                ExactResume(),
                *callbacks,
                last,
                GracefulStop(stop, folder / "checkpoints" / "last.ckpt"),
                GivenRates(),
                *progress,
            ],
        )
    except (MisconfigurationException, TypeError, ValueError, RuntimeError) as error:
        raise ConfigError(
            f"pytorch_lightning.Trainer refuses its settings: {first_line(error)}; "
            f"correct trainer.*"
        ) from error
    _check_strategy(trainer)
    return trainer


_DDP_ALONE = (
    "siamese.train uses several devices by trainer.strategy=ddp alone: in a script, by the command "
    "(siamese train trainer.devices=2, from a notebook, too), or under torchrun"
)


def count_devices(settings: Mapping[str, Any]) -> int:
    """How many processes Lightning's ``ddp`` would use on this machine.

    Raises:
        ConfigError: the Trainer refuses the settings.
    """
    names = ("accelerator", "devices", "strategy")
    given: dict[str, Any] = {name: settings[name] for name in names if name in settings}
    _check_name(given.get("strategy"))
    try:
        with no_advertisements():
            trainer = pl.Trainer(**given, logger=False, enable_checkpointing=False)
    except (MisconfigurationException, TypeError, ValueError, RuntimeError) as error:
        raise ConfigError(
            f"pytorch_lightning.Trainer refuses its settings: {first_line(error)}; "
            f"correct trainer.*"
        ) from error
    _check_strategy(trainer)
    return int(trainer.num_devices)


def _normalise_over_processes(settings: dict[str, Any], plugins: list[Any]) -> None:
    """Let batch normalisation see whole batches: torch's layer does on GPUs, ours anywhere."""
    given = "sync_batchnorm" in settings or any(isinstance(p, LayerSync) for p in plugins)
    if given:
        return
    accelerator = settings.get("accelerator")
    if torch.cuda.is_available() and accelerator in ("auto", "gpu", "cuda"):
        settings["sync_batchnorm"] = True
    else:
        plugins.append(SyncedBatchNorm())


def _check_strategy(trainer: pl.Trainer) -> None:
    """Refuse ways to use several processes in which a run would not know its end.

    Raises:
        ConfigError: see above.
    """
    if trainer.world_size == 1:
        return
    # Processes of other machines, which somebody else must start, would be waited for in vain.
    told = {"MASTER_ADDR", "NODE_RANK"} <= os.environ.keys()
    if trainer.num_nodes > 1 and not (by_torchrun() or by_slurm() or told):
        raise ConfigError(several_machines(trainer.num_nodes))
    strategy = trainer.strategy
    forked = getattr(strategy, "_start_method", "popen") != "popen"
    if not isinstance(strategy, DDPStrategy) or forked:
        raise ConfigError(_DDP_ALONE)


def _check_name(strategy: Any) -> None:
    """Refuse a strategy by its name, before Lightning asks for what it would need.

    Raises:
        ConfigError: see above.
    """
    if isinstance(strategy, str) and not strategy.startswith(("auto", "ddp", "single_device")):
        raise ConfigError(f"trainer.strategy={strategy}: {_DDP_ALONE}")


def several_machines(machines: object) -> str:
    """How a run on several machines is started."""
    return (
        f"trainer.num_nodes={machines}: start the same line on each machine by torchrun, which "
        f"tells the processes of each other: torchrun --nnodes={machines} "
        f"--nproc-per-node=DEVICES --rdzv-backend=c10d --rdzv-endpoint=HOST:PORT -m siamese train "
        f"... (or a script)"
    )


class _LastValidation(pl.Callback):
    """Validates the last epoch, also where only every n-th one is (``check_val_every_n_epoch``)."""

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        every, epochs = trainer.check_val_every_n_epoch, trainer.current_epoch + 1
        if every is not None and epochs == trainer.max_epochs and epochs % every:
            trainer.check_val_every_n_epoch = epochs


@contextlib.contextmanager
def no_advertisements() -> Iterator[None]:
    """Keep Lightning's tips and lists of absent accelerators off the console; its warnings stay."""
    logger = logging.getLogger("pytorch_lightning.utilities.rank_zero")
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)
