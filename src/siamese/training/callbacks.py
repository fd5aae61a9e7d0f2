"""ThresholdCalibrator: a Lightning callback that chooses the threshold on validation identities."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.trainer.states import TrainerFn
from torch import Tensor

from siamese.distances.base import Distance, as_distance
from siamese.distances.euclidean import EuclideanDistance
from siamese.errors import CalibrationError, ConfigError
from siamese.notices import warn_once
from siamese.pairs.balanced_pairs import BalancedPairs
from siamese.pairs.base import PairRule, as_pair_rule
from siamese.training.joining import shared
from siamese.training.logged_alike import log_alike
from siamese.training.metrics import PairMetric, VerificationThreshold
from siamese.training.split_outputs import FIGURES
from siamese.verification.calibration import Calibration
from siamese.verification.curves import auc, eer
from siamese.verification.pair_distances import PairDistances
from siamese.verification.point import OperatingPoint
from siamese.verification.policies.base import Policy, as_policy
from siamese.verification.policies.max_f1 import MaxF1
from siamese.verification.probability import check_kind
from siamese.verification.thresholds import calibrate_pairs

_CONTRACT = (
    "validation_step must return a dictionary with 'embeddings' (B, D), 'labels' (B,) and 'index' "
    "(B,), the row of the data set"
)


class ThresholdCalibrator(pl.Callback):
    """After every validation epoch, choose the module's threshold on the validation identities.

    By default it is the F1-optimal distance. The callback works with any LightningModule whose
    ``validation_step`` returns ``{"embeddings": (B, D), "labels": (B,), "index": (B,)}``; it reads
    nothing else. Before checkpoints are saved it writes:

    * ``module.threshold``, a () float64 buffer. Register it yourself
      (``self.register_buffer("threshold", torch.tensor(float("nan"), dtype=torch.float64))``) so
      that ``load_from_checkpoint`` knows it; otherwise the callback registers it when training
      starts;
    * ``module.operating_point``, the :class:`siamese.OperatingPoint` that says where the threshold
      came from, also stored in every checkpoint under ``"operating_point"``;
    * the logged values ``calibration/threshold``, ``calibration/f1``, ``calibration/accuracy``,
      ``calibration/precision`` (these three at the policy's prevalence), ``calibration/recall``,
      ``calibration/fmr``, ``calibration/auc`` and ``calibration/eer``: under the split's name, or
      another ``prefix``.

    It does not calibrate in ``trainer.validate`` or ``trainer.test``, in the sanity check, or on a
    split without both genuine and impostor pairs: then the old threshold stays and a warning says
    so. Too few pairs for the policy (``Fmr``) stop the training. The validation loader must show
    identities that are not in the training set. Of several calibrators, each with its own
    ``prefix``, the last one's threshold and operating point stay.

    With several processes the rows are gathered, ordered by index and de-duplicated. Every process
    finds the same threshold, bit for bit the one that a single process finds on the same
    embeddings.

    Args:
        policy: how the threshold is chosen (one with a confidence needs ``intervals``; where its
            promise cannot be made in an epoch, the threshold is that without), such as
            ``"max_f1"``, ``"eer"`` or, with enough impostor pairs, ``siamese.Fmr(0.01)``.
        pairs: which pairs to calibrate on, a pair rule or its name; by default balanced ones
            (10,000 of each kind at most), :class:`siamese.AllPairs` for every pair. F1 depends on
            their prevalence; a policy can state another.
        distance: an object or a name, by default the module's own ``distance``, or else euclidean.
        split: what the operating point calls the validation identities.
        prefix: of the logged names; by default the split's name and a slash.
        probability: how P(same | distance) is fitted: ``"isotonic"``, ``"platt"``, or None: not at
            all.
        intervals: whether to draw identities again for 95 % intervals, in every epoch; False where
            that takes too long.

    Attributes:
        calibration: the latest one, with its curve, probability and intervals; None before the
            first. Not part of checkpoints.

    Raises:
        ConfigError: an unknown name or setting; in training, two calibrators with one prefix.
        CalibrationError: in training, outputs that are not as described, rows of one index that
            show different identities, embeddings that are NaN or infinite, or pairs that cannot
            support the policy.

    Examples:
        >>> import siamese
        >>> import pytorch_lightning as pl
        >>> calibrator = siamese.ThresholdCalibrator(siamese.MaxF1("balanced"), pairs="all_pairs")
        >>> trainer = pl.Trainer(callbacks=[calibrator], logger=False, enable_checkpointing=False)
        >>> calibrator.calibration is None  # until the first validation epoch has ended
        True
    """

    def __init__(
        self,
        policy: str | dict[str, Any] | Policy = "max_f1",
        *,
        pairs: str | PairRule | None = None,
        distance: str | Distance | None = None,
        split: str = "calibration",
        prefix: str | None = None,
        probability: str | None = "isotonic",
        intervals: bool = True,
    ) -> None:
        if isinstance(policy, PairRule):
            raise ConfigError(
                f"{type(policy).__name__} chooses pairs, not a threshold: write "
                f"ThresholdCalibrator(pairs={type(policy).__name__}())"
            )
        check_kind(probability)
        self.pairs, self.split = as_pair_rule(pairs or BalancedPairs()), split
        self.prefix = f"{split}/" if prefix is None else prefix
        self.distance = None if distance is None else as_distance(distance)
        self.policy = as_policy(policy)
        self.probability, self.intervals = probability, intervals
        self.calibration: Calibration | None = None
        self._metric: PairMetric | None = None

    def __repr__(self) -> str:
        policy, rule = self.policy.describe(), self.pairs.describe()
        return f"ThresholdCalibrator({policy}, pairs={rule}, split={self.split!r})"

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        others = [
            c
            for c in getattr(trainer, "callbacks", [])
            if isinstance(c, ThresholdCalibrator) and c is not self
        ]
        if any(c.prefix == self.prefix for c in others):
            raise ConfigError(
                f"two calibrators log under {self.prefix!r}, which would mix their figures; give "
                f"each its own prefix"
            )
        if not hasattr(pl_module, "threshold"):
            pl_module.register_buffer("threshold", torch.tensor(math.nan, dtype=torch.float64))
        buffer = dict(pl_module.named_buffers(recurse=False)).get("threshold")
        if buffer is None or buffer.shape != () or not buffer.is_floating_point():
            raise CalibrationError(
                f"{type(pl_module).__name__}.threshold is not a scalar buffer: write "
                f"self.register_buffer('threshold', torch.tensor(float('nan'), "
                f"dtype=torch.float64)) in its constructor"
            )
        if not hasattr(pl_module, "operating_point"):
            pl_module.operating_point = None  # type: ignore[assignment]
        own = getattr(pl_module, "distance", None)
        distance = self.distance or (own if isinstance(own, Distance) else EuclideanDistance())
        self._metric = VerificationThreshold(self.policy, self.pairs)
        self._metric.distance = distance  # the module's own may be fitted after the training only

    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert self._metric is not None  # Lightning calls setup first
        self._metric.to(pl_module.device).reset()

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Tensor | Mapping[str, Any] | None,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if trainer.sanity_checking or trainer.state.fn != TrainerFn.FITTING or dataloader_idx > 0:
            return
        missing = [
            k
            for k in ("embeddings", "labels", "index")
            if not isinstance(outputs, Mapping) or k not in outputs
        ]
        if missing:
            raise CalibrationError(
                f"{type(pl_module).__name__} gives the calibrator no {', '.join(missing)}: "
                f"{_CONTRACT}"
            )
        assert self._metric is not None
        assert isinstance(outputs, Mapping)
        self._metric.update(outputs["embeddings"], outputs["labels"], outputs["index"])

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.sanity_checking:
            return
        # `trainer.validate` uses a threshold, it does not choose one.
        if trainer.state.fn != TrainerFn.FITTING:
            return
        with shared(trainer):
            self._calibrate(trainer, pl_module)

    def _calibrate(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Choose the threshold: every process gathers all rows and finds the same."""
        assert self._metric is not None
        with self._metric.gathered():
            distances = self._metric.pair_distances()
        self._metric.reset()
        if not distances.genuine or not distances.impostor:
            warn_once(
                f"the {self.split} split has {len(distances.labels)} images with "
                f"{distances.genuine} genuine and {distances.impostor} impostor pairs: the "
                f"threshold stays at {_threshold(pl_module):g}; validate on two identities or "
                f"more, with two images or more of one",
                stacklevel=2,
            )
            return
        epoch, step = trainer.current_epoch, trainer.global_step
        self.calibration = self._calibrated(distances, epoch, step)
        point, curve = self.calibration.point, self.calibration.curve
        _store(pl_module, point)
        figures = {
            "threshold": point.threshold,
            **{name: point.figures[name] for name in FIGURES},
            "auc": auc(curve),
            "eer": distances.eer() if curve.weighted is None else eer(curve),
        }
        for name, value in figures.items():
            shown = name in ("f1", "threshold")
            log_alike(pl_module, f"{self.prefix}{name}", value, prog_bar=shown)

    def _calibrated(self, distances: PairDistances, epoch: int, step: int) -> Calibration:
        """With the policy, or, where its promise cannot be made yet, without its confidence."""

        def chosen(policy: Policy) -> Calibration:
            return calibrate_pairs(
                distances,
                policy,
                self.split,
                epoch=epoch,
                step=step,
                probability=self.probability,
                intervals=self.intervals,
            )

        plain = self.policy.plain
        if plain is self.policy:
            return chosen(plain)
        if self.intervals:
            try:
                return chosen(self.policy)
            except CalibrationError as error:
                warn_once(f"{error}. Until then the threshold promises nothing for others")
        try:
            return chosen(plain)
        except CalibrationError:  # so small a rate is known with a confidence alone
            return chosen(MaxF1(plain.prevalence, weights=plain.weights))

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        point = getattr(pl_module, "operating_point", None)
        checkpoint["operating_point"] = (
            point.to_dict() if isinstance(point, OperatingPoint) else None
        )

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        if values := checkpoint.get("operating_point"):
            _store(pl_module, OperatingPoint.from_dict(values))


def _threshold(module: pl.LightningModule) -> float:
    buffer = module.threshold
    assert isinstance(buffer, Tensor)  # setup made it
    return float(buffer)


def _store(module: pl.LightningModule, point: OperatingPoint) -> None:
    buffer = module.threshold
    assert isinstance(buffer, Tensor)
    # A module in half precision converts its buffers too.
    if buffer.dtype in (torch.float16, torch.bfloat16):
        module.threshold = buffer = buffer.float()
    buffer.fill_(point.threshold)
    module.operating_point = point  # type: ignore[assignment]
