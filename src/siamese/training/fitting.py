"""The training itself: Lightning's fit, from the beginning or from where a run was stopped."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import ModelCheckpoint

from siamese.checkpoint_files import read_checkpoint, remove_leftovers
from siamese.data.datamodule import ImageDataModule
from siamese.data.loader_faults import loader_error
from siamese.errors import LoaderError, ProcessError
from siamese.launched import follows
from siamese.processes import Processes
from siamese.report.history import write_history
from siamese.storage import write_whole
from siamese.training.description import KEY
from siamese.training.folder import unfinished
from siamese.training.module import SiameseModule
from siamese.training.resuming import PreviousRun
from siamese.training.stopping import StoppedTraining, StopRequest, TrainingStoppedError

# How torch says that another process is gone: gloo, and NCCL.
_CUT_OFF = ("gloo", "onnection closed by peer", "onnection reset by peer", "NCCL")
Weights = tuple[int | None, int | None]  # epoch, counted from 0, and step that they are of


def fit(
    trainer: pl.Trainer,
    module: SiameseModule,
    data: ImageDataModule,
    folder: Path,
    previous: PreviousRun | None,
    stop: StopRequest,
) -> float:
    """Train; returns the seconds.

    Raises:
        TrainingStoppedError: a signal stopped it.
    """
    start = time.perf_counter()
    checkpoints = folder / "checkpoints"
    if not follows():
        remove_leftovers(checkpoints)
    # Before the logger begins anew: a run stopped again must not lose what came first.
    if previous and not follows():
        write_history(folder / "history.csv", previous.history)
    checkpoint = previous.checkpoint if previous else None
    if not module.training:  # as another training has left it
        module.train()
    try:
        with stop.listening():
            trainer.fit(module, datamodule=data, ckpt_path=checkpoint, weights_only=True)
            if stop.agreed is not None:  # after the last epoch
                raise StoppedTraining
    except (StoppedTraining, SystemExit) as stopped:  # the latter is Lightning's answer to Ctrl-C
        number = stop.agreed or stop.signal or signal.SIGINT
        raise TrainingStoppedError(number, folder if unfinished(folder) else None) from stopped
    except (RuntimeError, OSError, EOFError) as error:
        kept = unfinished(folder)
        remedy = f"; what was trained is kept: go on with resume={folder}" if kept else ""
        if trainer.world_size > 1 and any(word in str(error) for word in _CUT_OFF):
            raise ProcessError(
                f"another process of this run has ended, or cannot be reached, and this one cannot "
                f"go on alone{remedy}"
            ) from error
        if (fault := loader_error(error)) is None:
            raise
        raise LoaderError(f"{fault}{remedy}") from error
    last = checkpoints / "last.ckpt"
    # No epoch was left: only what follows.
    if checkpoint is not None and not follows() and not last.exists():
        checkpoints.mkdir(parents=True, exist_ok=True)
        write_whole(last, checkpoint.read_bytes())
    return time.perf_counter() - start


def best_weights(
    module: SiameseModule,
    best: ModelCheckpoint,
    folder: Path,
    previous: PreviousRun | None,
    here: Processes,
) -> Weights | None:
    """Put the best epoch's weights into the module, also where a previous run had it.

    The first process reads them for all, which need not see its disk.

    Returns:
        which epoch they are of; None where none was called the best.
    """
    content = here.by_first(lambda: _best_checkpoint(best, folder, previous))
    if content is None:
        return None
    module.load_state_dict(content["state_dict"])
    module.on_load_checkpoint(content)
    return content["epoch"], content["global_step"]


def _best_checkpoint(
    best: ModelCheckpoint, folder: Path, previous: PreviousRun | None
) -> dict[str, Any] | None:
    """The checkpoint that was kept as the best, after it was put into the folder."""
    assert best.monitor is not None
    kept = folder / "checkpoints" / "best.ckpt"
    if previous and (better := previous.better(best.monitor, best.mode, best)):
        if better.resolve() != kept.resolve():  # a run that goes on in its own folder has it
            kept.parent.mkdir(parents=True, exist_ok=True)
            write_whole(kept, better.read_bytes())
    elif best.best_model_score is None or not kept.is_file():
        return None
    content = read_checkpoint(kept)
    used = ("state_dict", "epoch", "global_step", "operating_point", KEY)
    return {name: content[name] for name in used if name in content}
