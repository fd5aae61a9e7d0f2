"""Stopping a training on a signal: after the batch that is being computed, with a checkpoint.

SIGTERM is how clusters take a machine back (preemption), SIGINT is Ctrl-C.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Checkpoint
from pytorch_lightning.trainer.states import TrainerFn

from siamese.processes import all_processes
from siamese.training.folder import unfinished

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class TrainingStoppedError(KeyboardInterrupt):
    """A training was stopped by SIGTERM or Ctrl-C; its text says how to go on with it.

    Attributes:
        signal: which signal it was.
        folder: of the run; None where nothing was kept.
    """

    def __init__(self, number: int, folder: Path | None) -> None:
        self.signal, self.folder = signal.Signals(number), folder
        super().__init__(
            f"interrupted ({self.signal.name}); go on with: siamese train {_word(folder)}"
            if folder is not None
            else f"interrupted ({self.signal.name}) before the first batch; nothing was kept"
        )


@contextlib.contextmanager
def told_how_to_go_on(folder: Path) -> Iterator[None]:
    """Let an interruption after the training say how to go on, too."""
    try:
        yield
    except TrainingStoppedError:
        raise
    except KeyboardInterrupt as stop:
        raise TrainingStoppedError(signal.SIGINT, folder if unfinished(folder) else None) from stop


def _word(folder: Path) -> str:
    """``resume=FOLDER`` as the command takes it, which has its own marks of quotation."""
    try:
        shown = os.path.relpath(folder)
    except ValueError:  # on another drive
        shown = str(folder)
    if re.fullmatch(r"[\w./\\:+@-]+", shown):
        return f"resume={shown}"
    return shlex.quote(f'resume="{shown}"')


class StopRequest:
    """What the signals have asked for, since :meth:`listening` began.

    Attributes:
        signal: that this process got; None before.
        agreed: that one of the processes of the run got, when all have heard of it.
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        self.agreed: int | None = None

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Note a first signal; a second one interrupts at once. In the main thread only."""
        self.signal = self.agreed = None
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.getsignal(number) for number in _SIGNALS}
        try:
            self.listen()
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def listen(self) -> None:
        """Take the signals; Lightning takes SIGTERM for itself when a training begins."""
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                signal.signal(number, self._note)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.signal is not None:
            raise KeyboardInterrupt
        self.signal = number
        # Not print: this may have interrupted one.
        words = b"\nstopping after this batch, with a checkpoint (Ctrl-C again: at once)\n"
        with contextlib.suppress(OSError):
            os.write(2, words)


class StoppedTraining(BaseException):
    """Leads out of Lightning's loops, which take every kind of Exception for a failure."""


class GracefulStop(Checkpoint):
    """Ends a training on request where its state is whole: after a step, or after an epoch.

    In a validation and on an epoch's last batch that is the end of the epoch. Lightning calls
    checkpoints last, when all other callbacks know of a batch.

    Args:
        request: what was asked for.
        checkpoint: where to save, within an epoch; at its end others do.
    """

    def __init__(self, request: StopRequest, checkpoint: Path) -> None:
        self._request, self._checkpoint = request, checkpoint

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._request.listen()

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self._asked(trainer):
            raise StoppedTraining

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self._asked(trainer):
            raise StoppedTraining

    def _asked(self, trainer: pl.Trainer) -> bool:
        """Whether to stop: of several processes all do, after the same batch."""
        asked = self._request
        signals = [asked.signal]
        if trainer.world_size > 1:  # not into `signal`: this process's own first one may yet come
            signals = all_processes().gather(asked.signal)
        asked.agreed = next((one for one in signals if one is not None), None)
        return asked.agreed is not None

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        if not self._asked(trainer) or trainer.fit_loop._should_accumulate():
            return
        if not trainer.fit_loop.epoch_loop._num_ready_batches_reached():
            trainer.save_checkpoint(self._checkpoint)
            raise StoppedTraining

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Keep what was trained before a failure between two batches, or in a validation."""
        if isinstance(exception, (StoppedTraining, KeyboardInterrupt)) or trainer.world_size > 1:
            return  # of several processes the others may be elsewhere: a checkpoint needs all
        counts = trainer.fit_loop.epoch_loop.batch_progress.current
        fitting = trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking
        between = 0 < counts.ready == counts.completed and not trainer.fit_loop._should_accumulate()
        if fitting and between:
            with contextlib.suppress(Exception):  # the failure itself is what is reported
                trainer.save_checkpoint(self._checkpoint)
