"""LearningWatch: a Lightning callback that says, while there is time, that nothing is learned."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.trainer.states import TrainerFn
from torch import Tensor, nn

from siamese.distances.euclidean import EuclideanDistance
from siamese.errors import ConfigError
from siamese.notices import warn_once

# Half of the pairs of validation images nearer than this share of the loss's margin, or of the
# embeddings' length where the loss has none: nothing can be told apart.
COLLAPSED = 1e-3
PAIRS = 2048  # that are looked at
SAME_LOSS = 0.01  # relative difference of two losses that are called the same
IDLE = 0.9  # share of an epoch's batches without any loss
GUESSING = 0.55  # an area under the ROC curve that says nothing


class LearningWatch(pl.Callback):
    """Warns, once each, of what a loss curve does not show.

    * **collapsed embeddings**: validation images have nearly one embedding, measured against the
      loss's margin;
    * **loss at the margin**: after ``patience`` epochs the training loss is still what one and the
      same embedding for every image gives;
    * **no active pairs**: nearly all batches of an epoch have a loss of 0, so nothing changes;
    * **dead validation**: for ``patience`` epochs the validation embeddings have not changed at
      all, or their ROC AUC has been that of guessing;
    * **a loss that is no number**.

    It reads what :class:`siamese.ThresholdCalibrator` reads: ``validation_step`` returns
    ``embeddings`` (B, D); and, if the module has a ``loss(embeddings, labels, pairs)`` and batches
    are dictionaries with ``label``, that too. :func:`siamese.train` adds it by itself.

    Args:
        patience: epochs after which slow learning is called none, >= 1.

    Raises:
        ConfigError: a ``patience`` below 1.
    """

    def __init__(self, patience: int = 3) -> None:
        if isinstance(patience, bool) or not isinstance(patience, int) or patience < 1:
            raise ConfigError(f"patience must be a whole number of at least 1, not {patience!r}")
        self.patience = patience
        self._forget()

    def _forget(self) -> None:
        self._said: set[str] = set()
        self._losses: list[Tensor] = []  # of this epoch's batches
        self._collapsed: list[float] = []  # of some of them, if all embeddings were one
        self._stuck = self._dead = self._guessing = 0  # epochs in a row
        self._embeddings: list[Tensor] = []  # of this validation
        self._before: Tensor | None = None
        self._epoch = self._judged = -1

    def _warn(self, what: str, text: str) -> None:
        """Once in a training."""
        if what not in self._said:
            self._said.add(what)
            warn_once(text)

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._forget()

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._losses, self._collapsed = [], []

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        loss = outputs.get("loss") if isinstance(outputs, Mapping) else outputs
        if not isinstance(loss, Tensor):
            return
        self._losses.append(loss.detach())
        # One batch in eight is enough, and costs nothing.
        if batch_idx % 8 == 0 and (value := _loss_of_one(pl_module, batch)) is not None:
            self._collapsed.append(value)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
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
        if not self._collapsed:
            return
        mean, one = float(losses.mean()), sum(self._collapsed) / len(self._collapsed)
        self._stuck = self._stuck + 1 if abs(mean - one) <= SAME_LOSS * abs(one) else 0
        if self._stuck >= self.patience:
            self._warn(
                "at the margin",
                f"for {self._stuck} epochs the training loss, {mean:.4f}, has been what one and "
                f"the same embedding for every image gives, {one:.4f}: nothing is learned; lower "
                f"the learning rate, warm it up, or take another loss",
            )

    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._embeddings = []

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
            found = outputs.get("embeddings")
            if isinstance(found, Tensor) and found.ndim == 2:
                self._embeddings.append(found.detach().float().cpu())

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not self._embeddings or trainer.sanity_checking:
            return
        epoch, now = trainer.current_epoch, torch.cat(self._embeddings)
        self._embeddings = []
        apart, scale = _median_distance(now), _scale(pl_module, now)
        if bool(now.isfinite().all()) and len(now) > 1 and apart <= COLLAPSED * scale:
            self._warn(
                "collapsed",
                f"epoch {epoch}: the embeddings of {len(now):,} validation images have collapsed "
                f"(half of them are nearer than {apart:.1e} to each other, where {scale:.2g} is "
                f"far): lower the learning rate, or take a loss that pushes images of different "
                f"identities apart",
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

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.sanity_checking or trainer.state.fn != TrainerFn.FITTING:
            return
        area = _logged_area(trainer)
        if area is None or trainer.current_epoch == self._judged:
            return
        self._judged = trainer.current_epoch
        self._guessing = self._guessing + 1 if area < GUESSING else 0
        if self._guessing >= self.patience:
            self._warn(
                "guessing",
                f"for {self._guessing} epochs the ROC AUC of the validation identities has been "
                f"that of guessing ({area:.3f}): look at the labels and the pictures of training "
                f"pairs, or at the learning rate",
            )


def _loss_of_one(module: pl.LightningModule, batch: Any) -> float | None:
    """The loss of a batch if all of its images had the same embedding; None if not known.

    A loss that classifies the training identities has no such value that says anything.
    """
    loss = getattr(module, "loss", None)
    size = getattr(getattr(module, "backbone", None), "trained_size", None)
    if not isinstance(loss, nn.Module) or not getattr(loss, "open_set", True):
        return None
    if not isinstance(size, int) or not isinstance(batch, Mapping):
        return None
    labels = batch.get("label")
    if not isinstance(labels, Tensor):
        return None
    same = torch.full((len(labels), size), size**-0.5, device=labels.device)
    was_training = loss.training
    loss.eval()
    try:
        with torch.no_grad():
            return float(loss(same, labels, batch.get("pairs")))
    finally:
        loss.train(was_training)


def _median_distance(embeddings: Tensor) -> float:
    """Median euclidean distance of some pairs of neighbouring and of distant rows."""
    rows = torch.arange(len(embeddings))
    steps = range(1, 1 + max(1, PAIRS // len(embeddings)))
    found = [(embeddings[rows] - embeddings[rows.roll(step)]).norm(dim=1) for step in steps]
    return float(torch.cat(found).median())


def _scale(module: pl.LightningModule, embeddings: Tensor) -> float:
    """What is far: the loss's margin if it is one of distances, else the embeddings' length."""
    margin = getattr(getattr(module, "loss", None), "margin", None)
    distance = getattr(getattr(module, "loss", None), "distance", None)
    if isinstance(margin, (int, float)) and isinstance(distance, EuclideanDistance):
        return float(margin)
    return float(embeddings.norm(dim=1).mean())


def _logged_area(trainer: pl.Trainer) -> float | None:
    """The ROC AUC that the calibrator logged in this validation; None without one."""
    found = [v for name, v in trainer.callback_metrics.items() if name.endswith("/auc")]
    return float(found[-1]) if found else None
