"""RunProgress: one line about a training: which epoch, how long it will take, how it goes."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import ProgressBar

from siamese.progress import NotebookLine, in_notebook

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

_LINES = 10  # that a training writes into a file, about
_SHOWN = ("loss", "eer", "f1")  # what is shown of the split that is validated on


class RunProgress(ProgressBar):
    """A bar over the whole training, not one for each epoch.

    On a terminal and in a notebook it is one line that moves. Elsewhere, as in the log of a job,
    about ten lines are written in all, at ends of epochs.
    """

    def __init__(self) -> None:
        super().__init__()
        self._enabled = True
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._line: NotebookLine | None = None
        self._began, self._first = 0.0, 0

    def enable(self) -> None:
        self._enabled = True

    def disable(self) -> None:
        self._enabled = False

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not self._enabled:
            return
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

        self._began, self._first = time.monotonic(), trainer.global_step
        if in_notebook():
            self._line = NotebookLine()
            return
        console = Console(stderr=True)
        if console.is_terminal:
            columns = (
                TextColumn("{task.description}"),
                BarColumn(bar_width=20),
                MofNCompleteColumn(),
                TextColumn("{task.fields[words]}"),
            )
            self._bar = Progress(*columns, console=console, transient=True)
            self._task = self._bar.add_task(
                _epoch(trainer), total=_steps(trainer), completed=trainer.global_step, words=""
            )
            self._bar.start()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *args: Any
    ) -> None:
        if self._line is not None:
            self._line.write(self._text(trainer))
        if self._bar is None or self._task is None:
            return
        self._bar.update(
            self._task,
            description=_epoch(trainer),
            completed=trainer.global_step,
            words=self._words(trainer),
        )

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self._line is not None:  # its last text stays
            self._line.write(self._text(trainer), now=True)
            return
        if not self._enabled or self._bar is not None or trainer.global_step == self._first:
            return
        done, of = trainer.current_epoch + 1, trainer.max_epochs or 0
        if of < 1 or done == of or done * _LINES // of != (done - 1) * _LINES // of:
            print(self._text(trainer), file=sys.stderr, flush=True)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._stop()

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        self._stop()

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        self._stop()

    def _stop(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = self._task = None
        self._line = None

    def _text(self, trainer: pl.Trainer) -> str:
        return f"{_epoch(trainer)}  {self._words(trainer)}"

    def _words(self, trainer: pl.Trainer) -> str:
        total, done = _steps(trainer), trainer.global_step
        spent = time.monotonic() - self._began
        left = (
            f"{in_words(spent / (done - self._first) * max(0, total - done))} left  "
            if total is not None and total > done > self._first
            else ""
        )
        return left + figures_in_words(trainer.callback_metrics)


def figures_in_words(metrics: Mapping[str, Any]) -> str:
    """The loss of training, and loss, EER and F1 of the split that is validated on."""
    found = [f"loss {float(metrics['train/loss']):.4g}"] if "train/loss" in metrics else []
    splits = {name.partition("/")[0] for name in metrics if "/" in name} - {"train", "test"}
    for split in sorted(splits):
        known = [
            f"{shown if shown == 'loss' else shown.upper()} {float(metrics[key]):.3g}"
            for shown in _SHOWN
            if (key := f"{split}/{shown}") in metrics
        ]
        found += [f"{split}: {', '.join(known)}"] if known else []
    return "  ".join(found)


def in_words(seconds: float) -> str:
    """A duration for a reader: 40 s, 3 min, 2 h 10 min.

    >>> in_words(42.3), in_words(170), in_words(7801)
    ('42 s', '3 min', '2 h 10 min')
    """
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"


def _epoch(trainer: pl.Trainer) -> str:
    of = trainer.max_epochs
    return f"Epoch {trainer.current_epoch + 1}" + (f"/{of}" if of is not None and of > 0 else "")


def _steps(trainer: pl.Trainer) -> int | None:
    """Steps of the whole training; None where nobody can know."""
    batches = trainer.num_training_batches
    limits = [trainer.max_steps] if trainer.max_steps > 0 else []
    if trainer.max_epochs is not None and trainer.max_epochs > 0 and math.isfinite(batches):
        # The last step of an epoch is of what is left, however few batches that are.
        each = math.ceil(batches / max(1, trainer.accumulate_grad_batches))
        limits.append(trainer.max_epochs * max(1, each))
    return min(limits, default=None)
