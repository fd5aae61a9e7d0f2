"""The loggers of a run: those that a name stands for, put where the run lies, and opened early."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.loggers import (
    CSVLogger,
    Logger,
    MLFlowLogger,
    TensorBoardLogger,
    WandbLogger,
)

from siamese.errors import ConfigError, MissingDependencyError, did_you_mean, first_line

# What a name stands for; CSV files are written whatever is on.
LOGGERS: dict[str, type[Logger] | None] = {
    "tensorboard": TensorBoardLogger,
    "wandb": WandbLogger,
    "mlflow": MLFlowLogger,
    "csv": None,
    "none": None,
}
_EXTRAS: Mapping[Any, str] = {WandbLogger: "wandb", MLFlowLogger: "mlflow"}
_HOW = (
    "give a name (tensorboard, wandb, mlflow, csv), a list of names, an object such as "
    "pytorch_lightning.loggers.WandbLogger(...), True or False (on the command line: "
    "logger=[tensorboard,wandb], or +trainer.logger._target_=...)"
)
_ours: list[Any] = []  # runs of W&B that were begun here and not ended


def make_loggers(given: Any, folder: Path) -> list[Logger]:
    """The loggers of a run, beside that of its CSV files.

    Args:
        given: True for TensorBoard's, False or None for none; a logger, its class wrapped in
            ``functools.partial`` (what it lacks, the run fills in), a name of :data:`LOGGERS`, or a
            list of them.
        folder: of the run.

    Raises:
        ConfigError: something that is no logger.
        MissingDependencyError: the package of a logger is not installed.
    """
    if given is True:
        given = "tensorboard"
    if given is None or given is False:
        return []
    wanted = list(given) if isinstance(given, (list, tuple)) else [given]
    found: list[Logger] = []
    for each in wanted:
        if isinstance(each, Logger):
            found.append(each)
        elif isinstance(each, partial):
            found.append(_made(each, folder))
        elif isinstance(each, str) and each in LOGGERS:
            if kind := LOGGERS[each]:
                found.append(_made(partial(kind), folder))
        elif isinstance(each, str):
            raise ConfigError(f"logger={each!r} is unknown{did_you_mean(each, LOGGERS)}")
        else:
            raise ConfigError(f"logger={each!r:.80} is no logger: {_HOW}")
    return found


def _made(wanted: partial[Any], folder: Path) -> Logger:
    """A logger, with what was not given filled in: where it lies, and what the run is called."""
    kind = wanted.func
    given = _places(kind, folder) | wanted.keywords
    try:
        made = kind(*wanted.args, **given)
    except ModuleNotFoundError as error:
        if kind not in _EXTRAS:
            raise
        extra = _EXTRAS[kind]
        raise MissingDependencyError(
            f"logger={extra} needs a package that is not installed ({first_line(error)}): pip "
            f"install 'siamese-lightning[{extra}]'"
        ) from error
    except (TypeError, ValueError) as error:
        name = getattr(kind, "__name__", kind)
        raise ConfigError(f"{name} refuses its settings: {first_line(error)}") from error
    if not isinstance(made, Logger):
        raise ConfigError(f"logger={made!r:.80} is no logger: {_HOW}")
    if isinstance(made, WandbLogger):
        made._siamese = True  # type: ignore[attr-defined]  # ended with the run
    return made


def _places(kind: Any, folder: Path) -> dict[str, Any]:
    """Arguments of Lightning's loggers that depend on the run."""
    logs = folder / "logs"
    if kind is TensorBoardLogger:
        return {"save_dir": logs, "name": "", "version": "tensorboard"}
    if kind is CSVLogger:
        return {"save_dir": logs, "name": "", "version": "more"}
    if kind is WandbLogger:
        return {"save_dir": logs, "project": "siamese", "name": folder.name}
    if kind is MLFlowLogger:
        named: dict[str, Any] = {"experiment_name": "siamese", "run_name": folder.name}
        if "MLFLOW_TRACKING_URI" not in os.environ:
            # MLflow's own default, where `mlflow ui` looks; it keeps no new runs in plain files.
            here = Path.cwd()
            named["tracking_uri"] = f"sqlite:///{(here / 'mlflow.db').as_posix()}"
            named["artifact_location"] = str(here / "mlartifacts")
        return named
    return {}


def open_loggers(trainer: pl.Trainer) -> None:
    """Begin each logger's run before the training, so that what is wrong with one is said first.

    Raises:
        ConfigError: a logger cannot begin, such as one that wants to be logged in.
    """
    for logger in trainer.loggers:
        if not isinstance(logger, (WandbLogger, MLFlowLogger)):
            continue
        if isinstance(logger, WandbLogger) and getattr(logger, "_siamese", False):
            end_runs(failed=True)  # of a run that failed, which this one would go on with
        try:
            begun = logger.experiment
        except Exception as error:  # whatever their packages raise
            name = type(logger).__name__
            raise ConfigError(
                f"{name} cannot begin: {first_line(error) or type(error).__name__}; W&B works "
                f"without its server by logger.wandb.offline=true (WANDB_MODE=offline)"
                if isinstance(logger, WandbLogger)
                else f"{name} cannot begin: {first_line(error) or type(error).__name__}"
            ) from error
        if isinstance(logger, WandbLogger) and getattr(logger, "_siamese", False):
            _ours.append(begun)


def end_runs(*, failed: bool = False) -> None:
    """End the runs of W&B that were begun here: the next one in this process is another run."""
    while _ours:
        _ours.pop().finish(exit_code=int(failed))
