"""LearningWatch: a Lightning callback that says, while there is time, that nothing is learned."""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.trainer.states import TrainerFn
from torch import Tensor

from siamese.errors import ConfigError
from siamese.launched import follows
from siamese.processes import all_processes
from siamese.training.embedding_checks import area, median_distance, scale_of
from siamese.training.gathering import SEPARATE, whole_batch
from siamese.training.one_embedding import Labelled, labels_of, loss_of_one

# Half of the pairs of different validation identities nearer than this share of the loss's margin,
# or of the embeddings' length where the loss has none: nothing can be told apart.
COLLAPSED = 1e-3
# One training batch in eight, and 32 of an epoch, are enough to know what one embedding would give.
EVERY, BATCHES = 8, 32
SAME_LOSS = 0.01  # relative difference of two losses that are called the same
DIVERGED = 10  # times the loss of one embedding for every image
IDLE = 0.9  # share of an epoch's batches without any loss
GUESSING = 0.55  # an area under the ROC curve that says nothing


# Plain numbers that a checkpoint keeps.
_COUNTS = ("_stuck", "_far", "_dead", "_guessing", "_lowest", "_epoch", "_judged")


class LearningWatch(pl.Callback):
    """Warns, once each, of what a loss curve does not show.

    * **collapsed embeddings**: validation images have nearly one embedding, measured against the
      loss's margin;
    * **loss at the margin**: after ``patience`` epochs the training loss is still what one and the
      same embedding for every image gives;
    * **divergence**: for ``patience`` epochs the training loss has been ten times that and more,
      and no lower than before;
    * **no active pairs**: nearly all batches of an epoch have a loss of 0, so nothing changes;
    * **dead validation**: for ``patience`` epochs the validation embeddings have not changed at
      all, or their ROC AUC has been that of guessing;
    * **a loss that is no number**.

    It reads what :class:`siamese.ThresholdCalibrator` reads: ``validation_step`` returns
    ``embeddings`` (B, D), and ``labels`` (B,), without which any two images count as different. If
    it returns ``loss_embeddings`` (B, D'), those that the loss sees, they are watched instead: what
    a network appends at use would hide that nothing is learned. *Loss at the margin* and
    *divergence* need a module whose ``loss`` is an :class:`siamese.EmbeddingLoss` and whose
    ``backbone`` is a :class:`siamese.Backbone`, and batches that are dictionaries with ``label``.
    The training goes on as it would without the callback: a copy of the loss is asked, once in an
    epoch, and no random number of the training's is drawn. :func:`siamese.train` adds it by itself.

    Args:
        patience: epochs after which slow learning is called none, >= 1.

    Raises:
        ConfigError: a ``patience`` below 1.
    """

    def __init__(self, patience: int = 3) -> None:
        if isinstance(patience, bool) or not isinstance(patience, int) or patience < 1:
            raise ConfigError(f"patience must be a whole number of at least 1, not {patience!r}")
        self.patience = patience
        self._loaded: dict[str, Any] | None = None
        self._forget()

    def _forget(self) -> None:
        self._said: set[str] = set()
        self._losses: list[Tensor] = []  # of this epoch's batches
        self._labelled: list[Labelled] = []  # of some of these batches
        self._stuck = self._far = self._dead = self._guessing = 0  # epochs in a row
        self._lowest = math.inf  # mean loss of an epoch
        self._area: float | None = None  # under the ROC curve of what the loss sees
        self._appended = False  # whether that is another thing than what is used
        self._embeddings: list[Tensor] = []  # of this validation
        self._labels: list[Tensor] = []
        self._index: list[Tensor] = []
        self._before: Tensor | None = None
        self._epoch = self._judged = -1

    def _warn(self, what: str, text: str) -> None:
        """Once in a training.

        The next one in the process is told again. ``warnings.warn`` would be silent there: Python
        keeps a list, for every file, of the words that were said, and says them once.
        """
        if what not in self._said:
            self._said.add(what)
            if follows():
                return
            # The line that is shown is the first, which says who speaks.
            warnings.warn_explicit(text, UserWarning, __file__, 1, __name__, registry={})

    def state_dict(self) -> dict[str, Any]:
        """What was said, and how many epochs in a row gave cause to; for a run that goes on."""
        counts = {name: getattr(self, name) for name in _COUNTS}
        losses = torch.stack(self._losses).cpu() if self._losses else torch.zeros(0)
        return {"said": sorted(self._said), "counts": counts, "losses": losses}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._loaded = state_dict

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._forget()
        if (loaded := self._loaded) is not None:
            self._said = set(loaded["said"])
            self._losses = list(loaded["losses"].to(pl_module.device))
            for name, value in loaded["counts"].items():
                if name in _COUNTS:
                    setattr(self, name, value)
            self._loaded = None

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._losses, self._labelled = [], []

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        loss = outputs.get("loss") if isinstance(outputs, Mapping) else outputs
        if not isinstance(loss, Tensor) or loss.numel() != 1:
            return
        # Lightning has divided it by the number of batches that a step is made of.
        self._losses.append(loss.detach().float().reshape(()) * trainer.accumulate_grad_batches)
        wanted = batch_idx % EVERY == 0 and len(self._labelled) < BATCHES
        if wanted and (labelled := labels_of(batch)) is not None:
            if trainer.world_size > 1:
                labelled = _of_whole_batch(labelled, pl_module, "whole" in batch)
            self._labelled.append(labelled)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        labelled, self._labelled = self._labelled, []
        if not self._losses:
            return
        epoch, losses = trainer.current_epoch, torch.stack(self._losses).double().cpu()
        if not bool(losses.isfinite().all()):
            self._warn(
                "no number",
                f"epoch {epoch}: the training loss is no number any more; lower the learning rate "
                f"(module.optimizer.lr), or look for damaged images",
            )
            return
        idle = float((losses.abs() < 1e-9).double().mean())
        if idle >= IDLE:
            self._warn(
                "no active pairs",
                f"epoch {epoch}: {idle:.0%} of the batches have a loss of 0: there is no active "
                f"pair, and nothing is learned any more; raise the margin, draw harder pairs (more "
                f"identities in a batch), or stop here",
            )
        if (one := loss_of_one(pl_module, labelled)) is None:
            return
        mean = float(losses.mean())
        # A network whose embeddings are long begins there; where its loss falls it learns.
        far = abs(one) > 1e-9 and mean > DIVERGED * abs(one) and mean >= self._lowest
        self._far, self._lowest = self._far + 1 if far else 0, min(mean, self._lowest)
        if self._far >= self.patience:
            self._warn(
                "diverged",
                f"for {self._far} epochs the training loss, {mean:.4g}, has been more than "
                f"{DIVERGED} times what one and the same embedding for every image gives, "
                f"{one:.4g}, and has not fallen below {self._lowest:.4g}: the weights have "
                f"diverged; lower the learning rate (module.optimizer.lr)",
            )
        self._stuck = self._stuck + 1 if abs(mean - one) <= SAME_LOSS * abs(one) else 0
        if self._stuck >= self.patience:
            self._warn(
                "at the margin",
                f"for {self._stuck} epochs the training loss, {mean:.4f}, has been what one and "
                f"the same embedding for every image gives, {one:.4f}: nothing is learned; lower "
                f"the learning rate, warm it up, or take another loss",
            )

    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._embeddings, self._labels, self._index, self._area = [], [], [], None

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        watched = trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking
        if watched and dataloader_idx == 0 and isinstance(outputs, Mapping):
            found = outputs.get("loss_embeddings", outputs.get("embeddings"))
            labels, self._appended = outputs.get("labels"), "loss_embeddings" in outputs
            if isinstance(found, Tensor) and found.ndim == 2:
                self._embeddings.append(found.detach().float().cpu())
                if isinstance(labels, Tensor) and labels.shape == found.shape[:1]:
                    self._labels.append(labels.detach().cpu())
                index = outputs.get("index")
                if isinstance(index, Tensor) and index.shape == found.shape[:1]:
                    self._index.append(index.detach().cpu())

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.sanity_checking:
            return
        if trainer.world_size > 1:
            self._gather()
        if not self._embeddings:
            return
        if len({rows.shape[1] for rows in self._embeddings}) > 1:  # nothing that can be compared
            return
        epoch, now = trainer.current_epoch, torch.cat(self._embeddings)
        labels = torch.cat(self._labels) if self._labels else now[:0, 0]
        self._embeddings, self._labels, self._index = [], [], []
        known = labels if len(labels) == len(now) else None
        apart, scale = median_distance(now, known), scale_of(pl_module, now)
        finite = bool(now.isfinite().all())
        if self._appended and finite and known is not None:
            self._area = area(pl_module, now, known)
        if finite and apart is not None and apart <= COLLAPSED * scale:
            self._warn(
                "collapsed",
                f"epoch {epoch}: the embeddings of {len(now):,} validation images have collapsed "
                f"(of images of different identities, half are nearer than {apart:.1e} to each "
                f"other, where {scale:.2g} is far): lower the learning rate, or take a loss that "
                f"pushes images of different identities apart",
            )
        if epoch == self._epoch:  # several validations in one epoch count once
            return
        self._epoch = epoch
        same = self._before is not None and torch.equal(self._before, now)
        self._dead, self._before = self._dead + 1 if same else 0, now
        if self._dead >= self.patience:
            self._warn(
                "dead",
                f"for {self._dead} epochs the validation embeddings have not changed at all: no "
                f"weight of the network is trained; look at requires_grad, the optimizer's "
                f"parameters and the learning rate",
            )

    def _gather(self) -> None:
        """Take the rows of all processes, each index once, in the order of one process."""
        own = (self._embeddings, self._labels, self._index)
        gathered = all_processes().gather(own)
        every: list[list[Tensor]] = [
            list(itertools.chain.from_iterable(parts)) for parts in zip(*gathered, strict=True)
        ]
        self._embeddings, self._labels, self._index = every
        sizes = [[len(rows) for rows in parts] for parts in every]
        if sizes[0] and sizes[0] == sizes[2]:
            index = torch.cat(self._index).numpy()
            rows = torch.from_numpy(np.unique(index, return_index=True)[1])
            if sizes[0] == sizes[1]:
                self._labels = [torch.cat(self._labels)[rows]]
            if len({part.shape[1] for part in self._embeddings}) == 1:
                self._embeddings = [torch.cat(self._embeddings)[rows]]

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.sanity_checking or trainer.state.fn != TrainerFn.FITTING:
            return
        seen = self._area if self._appended else _logged_area(trainer)
        if seen is None or trainer.current_epoch == self._judged:
            return
        self._judged = trainer.current_epoch
        self._guessing = self._guessing + 1 if seen < GUESSING else 0
        if self._guessing >= self.patience:
            self._warn(
                "guessing",
                f"for {self._guessing} epochs the ROC AUC of the validation identities has been "
                f"that of guessing ({seen:.3f}): look at the labels and the pictures of training "
                f"pairs, or at the learning rate",
            )


def _of_whole_batch(labelled: Labelled, module: pl.LightningModule, shared: bool) -> Labelled:
    """What the loss sees where the processes share a batch; see ``data_parallel``."""
    labels, pairs = labelled
    if getattr(module, "data_parallel", SEPARATE) == SEPARATE:
        return labelled
    rows = labels.new_zeros(len(labels), 1, dtype=torch.float32)
    return whole_batch(rows, labels, pairs, shared=shared)[1:]


def _logged_area(trainer: pl.Trainer) -> float | None:
    """The ROC AUC that the calibrator logged in this validation; None without one."""
    found = [v for name, v in trainer.callback_metrics.items() if name.endswith("/auc")]
    return float(found[-1]) if found else None
