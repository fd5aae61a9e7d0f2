"""SiameseModule: a LightningModule that trains any backbone with any embedding loss."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from siamese.distances.base import DISTANCES, Distance, is_match
from siamese.distances.euclidean import EuclideanDistance
from siamese.errors import ConfigError
from siamese.training.schedules import StepFactorLR, WarmupCosine
from siamese.verification.point import OperatingPoint


class SiameseModule(pl.LightningModule):
    """Trains a backbone so that distances between its embeddings tell identities apart.

    A siamese network is one backbone applied to both images of a pair; here each image of a batch
    is encoded once and the loss forms the pairs. Batches are dictionaries with ``image`` (B, 3, H,
    W), ``label`` (B,) int64, ``index`` (B,) int64 and, optionally, ``pairs`` (2, n) int64.

    Args:
        backbone: images (B, 3, H, W) to embeddings (B, D).
        loss: ``loss(embeddings, labels, pairs)`` to a scalar.
        distance: what verification measures; by default the loss's own, or else euclidean. A
            distance with weights is learned by the loss, so both must use one object: the loss's
            own is used if it has the same settings.
        optimizer: from parameter groups to an optimizer; by default AdamW with learning rate 2e-3
            and weight decay 0.05.
        schedule: from an optimizer to a torch scheduler, such as
            ``functools.partial(torch.optim.lr_scheduler.StepLR, step_size=5)``; stepped after
            every epoch, or after every batch where it has an attribute ``interval = "step"``. None
            keeps the rate constant.
        decay_matrices_only: no weight decay for biases and normalisation.
        layer_decay: learning rate of each layer of the backbone, as a share of the next one's, 0 <
            layer_decay <= 1: below 1, a pretrained network changes least where it is most general.
            Loss and distance learn at the full rate. See :meth:`siamese.Backbone.learning_rates`.

    Attributes:
        threshold: () float64 buffer, NaN until a :class:`siamese.ThresholdCalibrator` has set it.
        operating_point: where the threshold came from; None until then.
    """

    threshold: Tensor

    def __init__(
        self,
        backbone: nn.Module,
        loss: nn.Module,
        distance: Distance | None = None,
        optimizer: Callable[[Iterable[Any]], torch.optim.Optimizer] | None = None,
        schedule: Callable[[torch.optim.Optimizer], Any] | None = WarmupCosine(),  # noqa: B008
        decay_matrices_only: bool = True,
        layer_decay: float = 1.0,
    ) -> None:
        super().__init__()
        if not 0 < layer_decay <= 1:
            raise ConfigError(f"layer_decay must be above 0 and at most 1, not {layer_decay}")
        self.backbone, self.loss = backbone, loss
        own = getattr(loss, "distance", None)
        own = own if isinstance(own, Distance) else None
        self.distance: Distance = _one_distance(distance, own)
        self.optimizer = optimizer or functools.partial(
            torch.optim.AdamW, lr=2e-3, weight_decay=0.05
        )
        self.schedule = schedule
        self.decay_matrices_only, self.layer_decay = decay_matrices_only, layer_decay
        self.operating_point: OperatingPoint | None = None
        self.register_buffer("threshold", torch.tensor(float("nan"), dtype=torch.float64))

    def forward(self, images: Tensor) -> Tensor:
        """Embed images: (B, 3, H, W) uint8 or floating point 0..1 -> (B, D)."""
        embeddings: Tensor = self.backbone(images)
        return embeddings

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        embeddings, pairs = self(batch["image"]), batch.get("pairs")
        loss: Tensor = self.loss(embeddings, batch["label"], pairs)
        self.log(
            "train/loss",
            loss,
            on_step=False,
            on_epoch=True,
            prog_bar=True,
            batch_size=len(batch["label"]),
        )
        if (
            pairs is not None
            and self.operating_point is not None
            and getattr(self.backbone, "same_at_use", True)
        ):
            accuracy = self._accuracy(embeddings.detach(), batch["label"], pairs)
            self.log(
                "train/accuracy", accuracy, on_step=False, on_epoch=True, batch_size=pairs.shape[1]
            )
        return loss

    @torch.no_grad()
    def _accuracy(self, embeddings: Tensor, labels: Tensor, pairs: Tensor) -> Tensor:
        """Share of the batch's own pairs on the right side of the last threshold.

        The images are augmented, and the network changes during the epoch.
        """
        verdicts = is_match(
            self.distance.measure(embeddings[pairs[0]], embeddings[pairs[1]]), float(self.threshold)
        )
        right: Tensor = (verdicts == (labels[pairs[0]] == labels[pairs[1]])).float().mean()
        return right

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> dict[str, Tensor]:
        """Return ``embeddings``, ``labels`` and ``index``, as the calibrator needs them.

        See :class:`siamese.ThresholdCalibrator`.
        """
        embeddings = self(batch["image"])
        # The loss of a classifier of the training identities has no meaning for others.
        if getattr(self.loss, "open_set", True) and getattr(self.loss, "of_batches", True):
            loss = self.loss(embeddings, batch["label"])
            self.log(
                "val/loss",
                loss,
                on_step=False,
                on_epoch=True,
                batch_size=len(batch["label"]),
                sync_dist=True,
            )
        return {"embeddings": embeddings, "labels": batch["label"], "index": batch["index"]}

    @torch.no_grad()
    def pair_loss(self, embeddings: Tensor, labels: Tensor, pairs: Tensor) -> Tensor | None:
        """The loss of the calibrator's pairs, if all pairs of a batch would give a misleading one.

        None for any other loss.
        """
        if getattr(self.loss, "of_batches", True):
            return None
        loss: Tensor = self.loss(embeddings, labels, pairs)
        return loss

    def predict_step(self, batch: dict[str, Tensor], batch_idx: int) -> dict[str, Tensor]:
        """Embeddings with their labels and rows, as in :meth:`validation_step`."""
        return {
            "embeddings": self(batch["image"]),
            "labels": batch["label"],
            "index": batch["index"],
        }

    def configure_optimizers(self) -> Any:
        """The optimizer, with the schedule in the form that Lightning expects."""
        optimizer = self.make_optimizer()
        if self.schedule is None:
            return optimizer
        scheduler = self.schedule(optimizer)
        settings = {"scheduler": scheduler, "interval": getattr(self.schedule, "interval", "epoch")}
        if isinstance(scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau):
            settings["monitor"] = getattr(self.schedule, "monitor", "val/eer")
            settings["strict"] = False  # an epoch without validation is no plateau
        return {"optimizer": optimizer, "lr_scheduler": settings}

    def make_optimizer(self) -> torch.optim.Optimizer:
        """The optimizer alone: groups of parameters by learning rate and weight decay."""
        shares = {id(p): share for p, share in self._learning_rates()}
        groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
        for parameter in self.parameters():
            if parameter.requires_grad:
                spared = self.decay_matrices_only and parameter.ndim <= 1
                groups.setdefault((shares.get(id(parameter), 1.0), spared), []).append(parameter)
        # Full rate first, and in it the group that decays: the first group's rate is the one
        # logged.
        order = sorted(groups, key=lambda key: (-key[0], key[1]))
        settings = [
            {"params": groups[key]} | ({"weight_decay": 0.0} if key[1] else {}) for key in order
        ]
        optimizer = self.optimizer(settings)
        for (share, _), group in zip(order, optimizer.param_groups, strict=True):
            group["lr"] = group["lr"] * share  # a rate may be a tensor that all groups share
        return optimizer

    def _learning_rates(self) -> Iterable[tuple[nn.Parameter, float]]:
        """Parameters of the backbone with their share of the learning rate.

        A user's own backbone may not have such shares.
        """
        shares = getattr(self.backbone, "learning_rates", None)
        if shares is None and self.layer_decay != 1:
            raise ConfigError(
                f"layer_decay={self.layer_decay}: {type(self.backbone).__name__} does not say "
                f"which of its layers come first; leave layer_decay out, or give the backbone a "
                f"method learning_rates (see siamese.Backbone)"
            )
        return () if shares is None else shares(self.layer_decay)

    def on_train_start(self) -> None:
        """Tell schedules that need it how long the run is, since it is known now."""
        for config in self.trainer.lr_scheduler_configs:
            if isinstance(config.scheduler, StepFactorLR):
                config.scheduler.start(self.trainer.global_step, self._total_steps())

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        rate = self.trainer.optimizers[0].param_groups[0]["lr"]
        self.log("train/lr", rate, on_step=False, on_epoch=True, batch_size=1)

    def set_operating_point(self, point: OperatingPoint) -> None:
        """Set ``threshold`` and ``operating_point`` together."""
        self.threshold.fill_(point.threshold)
        self.operating_point = point

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["operating_point"] = (
            self.operating_point.to_dict() if self.operating_point else None
        )

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        values = checkpoint.get("operating_point")
        self.operating_point = OperatingPoint.from_dict(values) if values else None

    def _total_steps(self) -> float:
        trainer = self.trainer
        # Rounded up: a last, smaller group of batches is a step too.
        per_epoch = math.ceil(trainer.num_training_batches / trainer.accumulate_grad_batches)
        by_epochs = (
            per_epoch * trainer.max_epochs
            if trainer.max_epochs and trainer.max_epochs > 0
            else math.inf
        )
        return float(min(by_epochs, trainer.max_steps if trainer.max_steps > 0 else math.inf))


def _one_distance(given: Distance | None, own: Distance | None) -> Distance:
    """The distance to verify with, of the one given and the loss's own."""
    if given is None:
        return own or EuclideanDistance()
    if not given.learned or own is given:
        return given
    if own is not None and DISTANCES.settings(own) == DISTANCES.settings(given):
        return own
    raise ConfigError(
        f"{type(given).__name__} has weights, but the loss does not learn them: give the same "
        f"object to both, or use a loss that learns its distance "
        f"(module/loss=pair_cross_entropy_loss)"
    )
