"""SiameseModule: a LightningModule that trains any backbone with any embedding loss."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import IO, Any, Self

import pytorch_lightning as pl
import torch
from pytorch_lightning.trainer.states import TrainerFn
from torch import Tensor, nn

from siamese.backbones.base import BACKBONES, as_backbone
from siamese.data.datamodule import ImageDataModule
from siamese.data.dataset import CropDataset, SplitOrigin
from siamese.distances.base import DISTANCES, Distance, as_distance
from siamese.distances.euclidean import EuclideanDistance
from siamese.errors import ConfigError, did_you_mean, first_line
from siamese.evaluation.data import pair_rule_of
from siamese.losses.base import LOSSES, EmbeddingLoss, check_arguments
from siamese.notices import warn_once
from siamese.pairs.base import PairRule
from siamese.registry import Registry, as_plain
from siamese.training.description import (
    KEY,
    build_parts,
    describe_module,
    read_module_checkpoint,
)
from siamese.training.gathering import DATA_PARALLEL, SEPARATE, SPLIT, whole_batch
from siamese.training.joining import shared
from siamese.training.logged_alike import log_alike
from siamese.training.monitors import full_monitor
from siamese.training.schedules import StepFactorLR, WarmupCosine
from siamese.training.split_outputs import (
    SplitOutputs,
    accuracy,
    figures_of,
    genuine_share,
    measured,
    some_pairs,
)
from siamese.verification.point import OperatingPoint
from siamese.verification.policies.base import as_policy


class SiameseModule(pl.LightningModule):
    """Trains a backbone so that distances between its embeddings tell identities apart.

    A siamese network is one backbone applied to both images of a pair; here each image of a batch
    is encoded once and the loss forms the pairs. Batches are dictionaries with ``image`` (B, 3, H,
    W), ``label`` (B,) int64, ``index`` (B,) int64 and, optionally, ``pairs`` (2, n) int64.

    It logs, all once per epoch (``calibration`` is the name of the validated split):

    * ``train/loss``, ``train/lr`` and, from the second epoch on, ``train/accuracy``: the share of a
      batch's pairs on the right side of the last threshold, weighed to the prevalence that the
      threshold was chosen at. Where the loss sees other embeddings than are used later
      (:attr:`siamese.Backbone.same_at_use`), it is the threshold that the same policy chooses for
      these.
    * ``calibration/loss``: of batches that are drawn from the split as training batches are from
      theirs, unaugmented, in evaluation mode; so it can be compared with ``train/loss``. (A split
      of fewer identities than a batch has gives smaller batches, with a larger share of genuine
      pairs; a torch sampler cannot be asked, so there batches of ``IdentitySampler()`` are taken.)
      None for a loss that only knows the training identities.
    * in ``trainer.validate`` and ``trainer.test`` also ``auc``, ``eer``, ``threshold`` and, at it,
      ``f1``, ``accuracy``, ``precision``, ``recall`` and ``fmr``, under the name of the split that
      is evaluated (``calibration/``, ``test/``). In training
      :class:`siamese.ThresholdCalibrator` logs these.

    A checkpoint describes its module: :meth:`load_from_checkpoint` needs nothing else.

    Args:
        backbone: images (B, 3, H, W) to embeddings (B, D): a :class:`siamese.Backbone`, or any
            network that takes floating point images 0..1 (it is wrapped in a
            :class:`siamese.ModuleBackbone`), or a registered name (``"small_res_net"``).
        loss: ``loss(embeddings, labels, pairs)`` to a scalar, or a registered name
            (``"contrastive_loss"``).
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
        data_parallel: what several processes (Lightning's ``ddp``) do with batches:

            * ``"split"``: each batch that one process would have is divided over them, and the loss
              sees all of it. The training is that of one process, but for the order in which
              numbers are added, and for dropout, which every process draws for itself; batch
              normalisation needs :class:`siamese.SyncedBatchNorm`.
            * ``"joined"``: each process draws batches of its own; the loss sees them as one, with
              pairs across processes.
            * ``"separate"``: each process draws batches of its own, and its loss sees these alone;
              ``train/accuracy`` is that of the first process.

            Loaders that do not divide batches (of your own, or with a ``DistributedSampler``) make
            ``"split"`` to ``"joined"``, and so does a ``training_step`` of your own.

    Attributes:
        threshold: () float64 buffer, NaN until a :class:`siamese.ThresholdCalibrator` has set it.
        operating_point: where the threshold came from; None until then.

    Examples:
        >>> import siamese
        >>> import torch
        >>> network = siamese.SmallResNet(
        ...     widths=(8,), depths=(1,), learned_size=16, gradient_cells=0
        ... )
        >>> module = siamese.SiameseModule(network, siamese.ContrastiveLoss()).eval()
        >>> module(torch.zeros(2, 3, 32, 32)).shape
        torch.Size([2, 16])
    """

    threshold: Tensor

    def __init__(
        self,
        backbone: nn.Module | str,
        loss: nn.Module | str,
        distance: Distance | str | None = None,
        optimizer: Callable[[Iterable[Any]], torch.optim.Optimizer] | None = None,
        schedule: Callable[[torch.optim.Optimizer], Any] | None = WarmupCosine(),  # noqa: B008
        decay_matrices_only: bool = True,
        layer_decay: float = 1.0,
        data_parallel: str = SPLIT,
    ) -> None:
        super().__init__()
        if data_parallel not in DATA_PARALLEL:
            raise ConfigError(
                f"data_parallel={data_parallel!r} is not "
                f"known{did_you_mean(data_parallel, DATA_PARALLEL)}"
            )
        if not 0 < layer_decay <= 1:
            raise ConfigError(f"layer_decay must be above 0 and at most 1, not {layer_decay}")
        self.backbone = as_backbone(_made("backbone", backbone, BACKBONES))
        self.loss = _made("loss", loss, LOSSES)
        check_arguments(self.loss)
        if isinstance(self.loss, EmbeddingLoss):
            self.loss.divide(self.backbone.trained_parts)
        distance = None if distance is None else as_distance(distance, to_be_fitted=True)
        own = getattr(self.loss, "distance", None)
        own = own if isinstance(own, Distance) else None
        self.distance: Distance = _one_distance(distance, own)
        self.optimizer = optimizer or functools.partial(
            torch.optim.AdamW, lr=2e-3, weight_decay=0.05
        )
        self.schedule = schedule
        self.decay_matrices_only, self.layer_decay = decay_matrices_only, layer_decay
        self.data_parallel = data_parallel
        self.operating_point: OperatingPoint | None = None
        self.register_buffer("threshold", torch.tensor(float("nan"), dtype=torch.float64))
        # The threshold among embeddings as the loss sees them, where these are others.
        self._training_threshold: float | None = None
        self._outputs: SplitOutputs | None = None

    @property
    def loads_parts(self) -> bool:
        """Whether each process needs a part of a batch alone; the data module asks."""
        own = type(self).training_step is SiameseModule.training_step
        return own and self.data_parallel == SPLIT

    def forward(self, images: Tensor) -> Tensor:
        """Embed images: (B, 3, H, W) uint8 or floating point 0..1 -> (B, D)."""
        embeddings: Tensor = self.backbone(images)
        return embeddings

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        embeddings, labels, pairs = self(batch["image"]), batch["label"], batch.get("pairs")
        separate = self.data_parallel == SEPARATE
        if self._trainer is not None and self.trainer.world_size > 1 and not separate:
            shared = "whole" in batch
            embeddings, labels, pairs = whole_batch(embeddings, labels, pairs, shared=shared)
        loss: Tensor = self.loss(embeddings, labels, pairs)
        common: dict[str, Any] = {"on_step": False, "on_epoch": True, "batch_size": len(labels)}
        # Of a whole batch all processes have the same.
        log_alike(self, "train/loss", loss, prog_bar=True, sync_dist=separate, **common)
        if (right := self._train_accuracy(embeddings.detach(), labels, pairs)) is not None:
            log_alike(self, "train/accuracy", right, **common)
        return loss

    @torch.no_grad()
    def _train_accuracy(
        self, embeddings: Tensor, labels: Tensor, pairs: Tensor | None
    ) -> Tensor | None:
        """Of the batch's own pairs, at the last threshold; None before the first.

        The images are augmented, and the network changes during the epoch.
        """
        point, threshold = self.operating_point, self._threshold_in_training()
        if point is None or threshold is None:
            return None
        prevalence = point.target_prevalence
        if pairs is None:
            left, right = some_pairs(labels)
            prevalence = prevalence or genuine_share(labels)
        else:
            left, right = pairs
        distances = measured(self.distance, embeddings, left, right)
        return accuracy(distances, labels[left] == labels[right], threshold, prevalence)

    def _threshold_in_training(self) -> float | None:
        return float(self.threshold) if self.backbone.same_at_use else self._training_threshold

    def validation_step(
        self, batch: dict[str, Tensor], batch_idx: int, dataloader_idx: int = 0
    ) -> dict[str, Tensor]:
        """Return ``embeddings``, ``labels`` and ``index``, as the calibrator needs them.

        See :class:`siamese.ThresholdCalibrator`. Where embeddings at use are not those that the
        loss sees, ``loss_embeddings`` (B, D') are these; see :class:`siamese.LearningWatch`.
        """
        return self._evaluation_step(batch, dataloader_idx)

    def test_step(
        self, batch: dict[str, Tensor], batch_idx: int, dataloader_idx: int = 0
    ) -> dict[str, Tensor]:
        """As :meth:`validation_step`; the figures are logged at the end."""
        return self._evaluation_step(batch, dataloader_idx)

    def predict_step(
        self, batch: dict[str, Tensor], batch_idx: int, dataloader_idx: int = 0
    ) -> dict[str, Tensor]:
        """``embeddings`` (B, D), ``labels`` (B,) and ``index`` (B,), the row of the split."""
        return {
            "embeddings": self(batch["image"]),
            "labels": batch["label"],
            "index": batch["index"],
        }

    def _evaluation_step(self, batch: dict[str, Tensor], dataloader_idx: int) -> dict[str, Tensor]:
        embeddings, seen = self._embed_both(batch["image"])
        labels, index = batch["label"], batch["index"]
        if self._outputs is not None and dataloader_idx == 0:
            self._outputs.add(embeddings, seen, labels, index)
        found = {"embeddings": embeddings, "labels": labels, "index": index}
        return (
            found
            if seen is None or self.backbone.same_at_use
            else found | {"loss_embeddings": seen}
        )

    def _embed_both(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """Embeddings at use, and what the loss sees of them; None where that is not known."""
        if self.backbone.same_at_use or type(self).forward is not SiameseModule.forward:
            embeddings = self(images)
            return embeddings, embeddings if self.backbone.same_at_use else None
        return self.backbone.embed_both(images)

    def on_validation_epoch_start(self) -> None:
        fitting = self.trainer.state.fn == TrainerFn.FITTING
        self._outputs = None if self.trainer.sanity_checking else self._new_outputs(not fitting)

    def on_test_epoch_start(self) -> None:
        self._outputs = self._new_outputs(True)

    def _new_outputs(self, keep: bool) -> SplitOutputs:
        loaders = self._loaders()
        if keep and len(loaders) > 1:
            raise ConfigError(
                f"{len(loaders)} loaders at once: their figures would be logged under one name; "
                f"give one loader at a time"
            )
        data = getattr(loaders[0], "dataset", None) if loaders else None
        size = len(data) if isinstance(data, CropDataset) else 0
        return SplitOutputs(self.distance, size, keep)

    def _loaders(self) -> list[Any]:
        """Of the evaluation that is going on."""
        trainer = self.trainer
        testing = trainer.state.fn == TrainerFn.TESTING
        given = trainer.test_dataloaders if testing else trainer.val_dataloaders
        if isinstance(given, dict):
            return list(given.values())
        return list(given) if isinstance(given, (list, tuple)) else [given]

    def _origin(self) -> SplitOrigin | None:
        """The split that is evaluated, as its data set knows it.

        Not as the trainer's data module has it: that stays where loaders are given later on.
        """
        origin = getattr(getattr(self._loaders()[0], "dataset", None), "origin", None)
        return origin if isinstance(origin, SplitOrigin) else None

    def on_validation_epoch_end(self) -> None:
        outputs, self._outputs = self._outputs, None
        if outputs is None or outputs.empty():
            return
        origin = self._origin()
        split = origin.split if origin else self._validated_split()
        self._log_loss(outputs, split, origin)
        with shared(self.trainer):
            if self.trainer.state.fn != TrainerFn.FITTING:
                self._log_figures(outputs, split, origin)
            elif self.operating_point is not None and not self.backbone.same_at_use:
                self._training_threshold = self._threshold_of_loss(
                    outputs, origin, self.operating_point
                )

    def on_test_epoch_end(self) -> None:
        outputs, self._outputs = self._outputs, None
        if outputs is None or outputs.empty():
            return
        origin = self._origin()
        split = origin.split if origin else "test"
        self._log_loss(outputs, split, origin)
        with shared(self.trainer):
            self._log_figures(outputs, split, origin)

    def _validated_split(self) -> str:
        """What the split that is validated in training is called, where its data do not say."""
        data = getattr(self.trainer, "datamodule", None)
        if isinstance(data, ImageDataModule):
            return data.calibrating
        named = (getattr(c, "split", None) for c in self.trainer.callbacks)  # type: ignore[attr-defined]
        return next((name for name in named if isinstance(name, str)), "val")

    def _log_loss(self, outputs: SplitOutputs, split: str, origin: SplitOrigin | None) -> None:
        # The loss of a classifier of the training identities has no meaning for others.
        if not getattr(self.loss, "open_set", True) or not outputs.known_to_loss:
            return
        loss = outputs.mean_loss(self.loss, origin)
        if loss is not None:
            log_alike(self, f"{split}/loss", loss)

    def _rule(self, outputs: SplitOutputs, origin: SplitOrigin | None) -> PairRule:
        """The pairs that the split protocol chose, or else those of the threshold's rule."""
        chosen = origin.pair_rule if origin else None
        return chosen if chosen and outputs.complete() else pair_rule_of(None, self.operating_point)

    def _log_figures(self, outputs: SplitOutputs, split: str, origin: SplitOrigin | None) -> None:
        distances = outputs.pairs_at_use(self._rule(outputs, origin))
        if not distances.genuine or not distances.impostor:
            return
        if self.operating_point is None:
            warn_once(
                f"the module has no threshold, so that of the {split} split only auc and eer are "
                f"logged: give the trainer callbacks=[siamese.ThresholdCalibrator()] in fit"
            )
        for name, value in figures_of(distances, self.operating_point).items():
            log_alike(self, f"{split}/{name}", value)

    def _threshold_of_loss(
        self, outputs: SplitOutputs, origin: SplitOrigin | None, point: OperatingPoint
    ) -> float | None:
        """What the same policy chooses among embeddings as the loss sees them."""
        if not outputs.known_to_loss:
            return None
        distances = outputs.pairs_of_loss(self._rule(outputs, origin))
        if not distances.genuine or not distances.impostor:
            return None
        return distances.choose(as_policy(point.policy_settings).plain).threshold

    def configure_optimizers(self) -> Any:
        """The optimizer, with the schedule in the form that Lightning expects."""
        optimizer = self.make_optimizer()
        if self.schedule is None:
            return optimizer
        scheduler = self.schedule(optimizer)
        settings = {"scheduler": scheduler, "interval": getattr(self.schedule, "interval", "epoch")}
        if isinstance(scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau):
            wanted = str(getattr(self.schedule, "monitor", "eer"))
            split = "calibration" if self._trainer is None else self._validated_split()
            settings["monitor"] = full_monitor(wanted, split)
            settings["strict"] = False  # an epoch without validation is no plateau
        return {"optimizer": optimizer, "lr_scheduler": settings}

    def make_optimizer(self) -> torch.optim.Optimizer:
        """The optimizer alone: groups of parameters by learning rate and weight decay."""
        shares = {id(p): share for p, share in self.backbone.learning_rates(self.layer_decay)}
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

    def on_train_start(self) -> None:
        """Tell schedules that need it how long the run is, since it is known now."""
        for config in self.trainer.lr_scheduler_configs:
            if isinstance(config.scheduler, StepFactorLR):
                config.scheduler.start(self.trainer.global_step, self._total_steps())

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        rate = self.trainer.optimizers[0].param_groups[0]["lr"]
        log_alike(self, "train/lr", rate, on_step=False, on_epoch=True, batch_size=1)

    def set_operating_point(self, point: OperatingPoint) -> None:
        """Set ``threshold`` and ``operating_point`` together."""
        self.threshold.fill_(point.threshold)
        self.operating_point = point

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["operating_point"] = (
            self.operating_point.to_dict() if self.operating_point else None
        )
        # Numbers of numpy would be pickled as objects, which no checkpoint may hold.
        for state in checkpoint.get("optimizer_states", []):
            for group in state["param_groups"]:
                group.update({k: as_plain(v) for k, v in group.items()})
        if "lr_schedulers" in checkpoint:
            checkpoint["lr_schedulers"] = [as_plain(s) for s in checkpoint["lr_schedulers"]]
        checkpoint[KEY] = self.describe() | {"training_threshold": self._training_threshold}

    def describe(self) -> dict[str, Any]:
        """What it is made of, plain JSON values without weights; as checkpoints hold it."""
        parts = {"backbone": self.backbone, "loss": self.loss, "distance": self.distance}
        settings: dict[str, Any] = {
            "decay_matrices_only": self.decay_matrices_only,
            "layer_decay": self.layer_decay,
        }
        if self.data_parallel != SPLIT:  # which no checkpoint of an earlier version has
            settings["data_parallel"] = self.data_parallel
        return describe_module(parts, self.optimizer, self.schedule, settings)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        values = checkpoint.get("operating_point")
        self.operating_point = OperatingPoint.from_dict(values) if values else None
        described = checkpoint.get(KEY)
        if isinstance(described, dict):
            self._training_threshold = described.get("training_threshold")

    @classmethod
    def load_from_checkpoint(
        cls,
        checkpoint_path: str | Path | IO[bytes],
        map_location: Any = None,
        hparams_file: Any = None,
        strict: bool | None = None,
        weights_only: bool | None = None,
        **parts: Any,
    ) -> Self:
        """A module from a checkpoint alone, threshold and operating point included.

        What a run works out after training (the descriptors of ``DescribedNet``, a ``plda``
        distance) is only in its bundle.

        Args:
            checkpoint_path: a checkpoint that Lightning, or :func:`siamese.train`, wrote.
            map_location: the device of the module, as for ``torch.load``; by default the CPU.
            hparams_file: Lightning's; there is none here.
            strict: whether the weights must fit one by one; by default they must.
            weights_only: checkpoints are read as data; False is refused.
            parts: arguments of the class that are not taken from the checkpoint: ``backbone`` or
                ``loss`` of a class that is not registered, ``optimizer`` or ``schedule`` where they
                were functions of your own (otherwise the defaults are taken, with a warning).

        Raises:
            ConfigError: no checkpoint, a part that must be given, or weights that do not fit.
        """
        if weights_only is False:
            raise ConfigError("checkpoints are read as data alone: leave out weights_only")
        if hparams_file is not None:
            raise ConfigError("a checkpoint needs no hparams_file: leave it out")
        content = read_module_checkpoint(checkpoint_path, map_location)
        where = str(checkpoint_path)
        module = cls(**build_parts(content.get(KEY), parts, where))
        try:
            module.load_state_dict(content["state_dict"], strict=strict is not False)
        except RuntimeError as error:
            raise ConfigError(
                f"{where}: its weights do not fit ({first_line(error):.100}); give the parts that "
                f"the checkpoint was made with"
            ) from error
        module.on_load_checkpoint(content)
        if isinstance(map_location, (str, int, torch.device)):
            module.to(map_location)
        return module

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


def _made(what: str, given: Any, registry: Registry[Any]) -> nn.Module:
    """A part as it is, or built by its registered name.

    Raises:
        ConfigError: an unknown name, a class instead of an object, or no module.
    """
    if isinstance(given, str):
        given = registry.build(given)
    if isinstance(given, type):
        raise ConfigError(
            f"{what}: {given.__name__} is a class; give an object: {given.__name__}()"
        )
    if not isinstance(given, nn.Module):
        raise ConfigError(
            f"{what}={given!r:.80} is no torch.nn.Module; give one, or a name "
            f"({', '.join(registry)})"
        )
    return given


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
