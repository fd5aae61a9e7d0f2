"""One run from data to bundle: train, calibrate, evaluate on all splits, and leave everything in one folder."""

from __future__ import annotations

import contextlib
import importlib.metadata
import logging
import os
import shutil
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint, RichProgressBar
from pytorch_lightning.loggers import CSVLogger, TensorBoardLogger
from pytorch_lightning.utilities.exceptions import MisconfigurationException  # type: ignore[attr-defined]

from siamese import artifacts
from siamese.backbones.base import BACKBONES
from siamese.backbones.base import Backbone
from siamese.inference.bundle import Bundle
from siamese.training.callbacks import ThresholdCalibrator
from siamese.evaluation.embedding import measure_splits
from siamese.data.datamodule import ImageDataModule
from siamese.data.embedding import EVAL_BATCH
from siamese.data.samplers.base import SequentialBatches
from siamese.data.transforms import Augmentation
from siamese.distances.base import DISTANCES
from siamese.distances.learned import LearnedDistance
from siamese.errors import CalibrationError
from siamese.errors import ConfigError
from siamese.errors import did_you_mean
from siamese.faces.croppers.base import CROPPERS
from siamese.losses.base import EmbeddingLoss
from siamese.training.module import SiameseModule
from siamese.pairs.balanced_pairs import BalancedPairs
from siamese.pairs.base import PairRule
from siamese.pairs.base import pair_counts
from siamese.report import files
from siamese.report import tables
from siamese.training.resuming import PreviousRun
from siamese.training.resuming import EpochSeeds
from siamese.training.resuming import KeepGivenRates
from siamese.storage import write_json
from siamese.verification.calibration import Calibration
from siamese.verification.point import OperatingPoint
from siamese.verification.policies.base import Policy
from siamese.verification.figures import SplitEvaluation
from siamese.verification.policies.base import as_policy
from siamese.verification.thresholds import calibrate_pairs
from siamese.verification.figures import evaluate
from siamese.inference.verifier import Verifier

KEEP = ("best", "last")
MONITORS = ("val/eer", "val/auc", "val/f1", "val/accuracy", "val/loss", "train/loss")


@dataclass(frozen=True)
class TrainingRun:
    """What a run gave.

    Attributes:
        folder: holds all of ``bundle/``, ``checkpoints/{best,last}.ckpt``, ``split.json``, ``crops.json``,
            ``skew.json``, ``evaluation.json``, ``timing.json``, ``history.csv``, ``logs/`` and ``plots/``.
        calibration: the threshold with the curve that it was chosen from, its interval, and the probability of a distance.
        evaluations: split -> figures.
        seconds: of training, without data preparation and evaluation.
        seconds_per_epoch: validation included.
    """

    folder: Path
    calibration: Calibration
    evaluations: dict[str, SplitEvaluation]
    seconds: float
    seconds_per_epoch: float

    @property
    def operating_point(self) -> OperatingPoint:
        """The threshold and where it came from."""
        return self.calibration.point

    @property
    def bundle(self) -> Path:
        """The bundle's folder: what ``Verifier.load`` takes."""
        return self.folder / "bundle"

    @property
    def verifier(self) -> Verifier:
        """A verifier with this run's bundle."""
        return Verifier.load(self.bundle)


def train(
    module: SiameseModule,
    data: ImageDataModule,
    folder: str | Path,
    *,
    max_epochs: int = 20,
    pairs: PairRule | None = None,
    policy: str | dict[str, Any] | Policy = "max_f1",
    keep: str = "best",
    monitor: str = "val/eer",
    mode: str = "min",
    resume: str | Path | None = None,
    callbacks: Sequence[pl.Callback] = (),
    trainer: Mapping[str, Any] | None = None,
    provenance: Mapping[str, Any] | None = None,
    verbose: bool = True,
) -> TrainingRun:
    """Train, calibrate the threshold on people never trained on, evaluate on people neither step saw, and save a bundle.

    So with the default split protocol; where another lets splits share people, the figures say so.

    Call ``siamese.seed_everything`` before the module is made if its initial weights are to be repeatable.

    Args:
        module: backbone, loss and distance; the backbone's class must be registered, so that the bundle can name it.
        data: the three splits.
        folder: where the run's files go; made if it is not there, and what an earlier run left in it is replaced.
        max_epochs: epochs of training.
        pairs: which pairs are calibrated on and evaluated, unless the split protocol chose them; by default balanced ones.
        policy: how the threshold is chosen: ``"max_f1"``, ``"max_accuracy"``, ``"eer"``, ``"fmr"``, ``"recall"``, ``"cost"``, or an object such
            as ``siamese.Fmr(1e-3)``.
        keep: whether the bundle gets the ``"best"`` weights by ``monitor`` on the calibration people, or the ``"last"``.
        monitor, mode: what "best" means.
        resume: folder of an earlier run of the same module and data, or one of its checkpoints: goes on after its last epoch, up to
            ``max_epochs`` in all. With the same settings and a schedule that does not depend on the length of the run (None), the
            weights come out as if it had never stopped.
        callbacks: more Lightning callbacks.
        trainer: more arguments of ``pytorch_lightning.Trainer``; they take precedence.
        provenance: more facts for the bundle.
        verbose: print tables and show progress bars.

    Raises:
        SiameseError: bad data or settings; nothing is written before the data are known to be usable.
    """
    folder, protocol, rule = Path(folder), pairs or BalancedPairs(), as_policy(policy)
    backbone = _checked(module, data, max_epochs, keep, monitor)
    earlier = PreviousRun.find(resume) if resume is not None else None
    best = ModelCheckpoint(folder / "checkpoints", "best", monitor=monitor, mode=mode, enable_version_counter=False)
    # Not `save_last` of the other: that file is only brought up to date when a best one is saved.
    last = ModelCheckpoint(folder / "checkpoints", "last", enable_version_counter=False)
    with _no_advertisements():
        data.progress = data.progress and verbose
        data.setup()
        assert data.manifest is not None
        assert data.prepared is not None
        backbone.check(len(data.table("train")))
        if isinstance(module.loss, EmbeddingLoss):
            module.loss.bind(len(data.table("train").people), backbone.trained_size)
        if earlier:
            earlier.check(data.manifest, max_epochs, module)
        protocols: dict[str, PairRule] = {split: data.pairs(split) or protocol for split in data.splits}
        calibrating = data.calibrating
        rule.check(*pair_counts(protocols[calibrating], data.dataset(calibrating).labels))
        chosen = [
            # The probability is fitted at the end, once.
            ThresholdCalibrator(protocols[calibrating], split=calibrating, policy=rule, probability=None),
            EpochSeeds(data.batch_seed),
            best,
            last,
            *([KeepGivenRates()] if earlier else []),
            *callbacks,
        ]
        fitted = _trainer(folder, chosen, {"max_epochs": max_epochs, "enable_progress_bar": verbose} | dict(trainer or {}))
        artifacts.write_data(data.manifest, data.prepared, folder, verbose)
        artifacts.write_training_pairs(data.training_batches(), data.dataset("train"), folder)
        start = time.perf_counter()
        try:
            if earlier:  # before the logger begins anew: a run resumed and stopped again must not lose what came first
                files.write_history(folder / "history.csv", earlier.history)
            fitted.fit(module, datamodule=data, ckpt_path=earlier.checkpoint if earlier else None, weights_only=True)
        except SystemExit as stopped:  # Lightning's answer to Ctrl-C
            raise KeyboardInterrupt from stopped
        seconds = time.perf_counter() - start
    if keep == "best" and best.best_model_path:
        _restore(module, best.best_model_path)
        if earlier and (better := earlier.better(monitor, mode, best)):
            shutil.copyfile(better, folder / "checkpoints" / "best.ckpt")
            _restore(module, str(better))
    if module.operating_point is None:
        raise CalibrationError(
            "training ended without a threshold: no validation epoch had both genuine and impostor pairs; "
            "validate at least once and give the calibration split two pictures of one person"
        )
    module.eval()
    train_split = data.dataset("train")
    batches = (train_split[plan]["image"] for plan in SequentialBatches(len(train_split), EVAL_BATCH))
    backbone.fit(batches, torch.from_numpy(train_split.labels))
    datasets = {split: data.dataset(split) for split in data.splits}
    compared = measure_splits(module, module.distance, datasets, protocols)
    # Once more on these very embeddings: in training they may have been of lower precision, or from another device.
    found = module.operating_point
    calibration = calibrate_pairs(compared[calibrating], rule, found.split, epoch=found.epoch, step=found.step)
    point = calibration.point
    module.set_operating_point(point)
    caution, chance = data.manifest.caution, calibration.probability
    evaluations = {
        split: evaluate(c, point.threshold, split, caution=caution, probability=chance, prevalence=point.stated_prevalence)
        for split, c in compared.items()
    }
    epochs = fitted.current_epoch - (earlier.epochs if earlier else 0)
    run = TrainingRun(folder, calibration, evaluations, seconds, seconds / max(1, epochs))
    facts = _facts(module, data, run) | {"epochs": fitted.current_epoch, "kept": keep} | dict(provenance or {})
    augmentation = data.augmentation if isinstance(data.augmentation, Augmentation) else None
    Bundle(backbone, module.distance, data.cropper, point, facts, augmentation, calibration).save(run.bundle)
    timing = {"training_seconds": round(run.seconds, 2), "seconds_per_epoch": round(run.seconds_per_epoch, 3)}
    write_json(folder / "timing.json", timing)
    artifacts.write_history(folder, earlier.history if earlier else {})
    artifacts.write_comparison(compared, evaluations, datasets, data.prepared.splits, point, folder, caution)
    if verbose:
        tables.show(tables.evaluation_table(list(evaluations.values()), point, caution))
        shown = os.path.relpath(folder)
        print(f"training took {run.seconds:.1f} s, {run.seconds_per_epoch:.2f} s per epoch")
        print(f"run: {shown}    figures: {shown}/evaluation.json    pictures: {shown}/plots")
        print(f"next: siamese verify A.jpg B.jpg --bundle {shown}/bundle")
    return run


def _checked(module: SiameseModule, data: ImageDataModule, max_epochs: int, keep: str, monitor: str) -> Backbone:
    """Find out now, not after hours of training, what would go wrong at its end."""
    for given, wanted in ((module, SiameseModule), (data, ImageDataModule)):
        if not isinstance(given, wanted):
            raise ConfigError(
                f"siamese.train takes a siamese.{wanted.__name__} here, not a {type(given).__name__}: train(module, data, folder)"
            )
    if keep not in KEEP:
        raise ConfigError(f"keep={keep!r} is not known{did_you_mean(keep, KEEP)}")
    if not isinstance(max_epochs, int) or max_epochs < 1:
        raise ConfigError(f"max_epochs must be a whole number of at least 1, not {max_epochs!r}")
    if type(module) is SiameseModule and monitor not in MONITORS:
        raise ConfigError(f"monitor={monitor!r} is not logged{did_you_mean(monitor, MONITORS)}")
    if monitor == "val/loss" and not getattr(module.loss, "open_set", True):
        raise ConfigError(
            f"{type(module.loss).__name__} classifies the training people, so there is no val/loss: monitor val/eer instead"
        )
    try:
        module.configure_optimizers()
    except (TypeError, ValueError) as error:
        raise ConfigError(f"the optimizer cannot be made: {str(error).splitlines()[0]}; correct its settings") from error
    backbone = module.backbone
    if not isinstance(backbone, Backbone):
        raise ConfigError(
            f"{type(backbone).__name__} is not a siamese.Backbone: derive it from that class and register it in BACKBONES"
        )
    if isinstance(module.distance, LearnedDistance):
        _check_learned(module.distance, backbone)
    BACKBONES.settings(backbone)
    DISTANCES.settings(module.distance)
    CROPPERS.settings(data.cropper)
    return backbone


def _check_learned(distance: LearnedDistance, backbone: Backbone) -> None:
    """A learned distance is for embeddings of one length, in training as at use."""
    if not backbone.same_at_use:
        raise ConfigError(
            f"{type(backbone).__name__} gives other embeddings at use than while training, but a learned distance is trained on the "
            f"ones and measures the others: for SmallResNet set module.backbone.gradient_cells=0 and module.backbone.whiten=false"
        )
    if distance.embedding_size != backbone.embedding_size:
        raise ConfigError(
            f"the learned distance compares embeddings of {distance.embedding_size} numbers, {type(backbone).__name__} gives "
            f"{backbone.embedding_size}: set distance.embedding_size={backbone.embedding_size}"
        )


def _trainer(folder: Path, callbacks: Sequence[pl.Callback], settings: Mapping[str, Any]) -> pl.Trainer:
    logs = folder / "logs"
    defaults: dict[str, Any] = {
        "accelerator": "auto",
        "devices": 1,
        "deterministic": "warn",
        "logger": [CSVLogger(logs, "", "csv"), TensorBoardLogger(logs, "", "tensorboard")],
        "num_sanity_val_steps": 0,
        "log_every_n_steps": 1,
        "enable_model_summary": False,
        # Lightning would rebuild the samplers without their arguments; ours shard themselves.
        "use_distributed_sampler": False,
    }
    merged = defaults | dict(settings)
    progress = [_ProgressBar()] if merged["enable_progress_bar"] else []
    # Lightning's own use of a deprecated function of torch: nothing a user could mend.
    warnings.filterwarnings("ignore", message=".*LeafSpec.*", module="pytorch_lightning")
    # A resumed run writes to a folder of its own, on purpose; its best checkpoint is the best of the epochs added.
    warnings.filterwarnings("ignore", message="The dirpath has changed", module="pytorch_lightning")
    if merged["devices"] not in (1, "1", "auto") or merged.get("num_nodes", 1) != 1:
        raise ConfigError("siamese.train uses one device: leave out trainer.devices and trainer.num_nodes")
    try:
        return pl.Trainer(**merged, callbacks=[*callbacks, *progress])
    except (MisconfigurationException, TypeError, ValueError, RuntimeError) as error:
        raise ConfigError(
            f"pytorch_lightning.Trainer refuses its settings: {str(error).splitlines()[0]}; correct trainer.*"
        ) from error


class _ProgressBar(RichProgressBar):
    """Lightning's, without the version number that it takes from the logs' folder."""

    def get_metrics(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> dict[str, Any]:
        metrics: dict[str, Any] = super().get_metrics(trainer, pl_module)
        metrics.pop("v_num", None)
        return metrics


@contextlib.contextmanager
def _no_advertisements() -> Iterator[None]:
    """Keep Lightning's tips and lists of absent accelerators off the console; its warnings stay."""
    logger = logging.getLogger("pytorch_lightning.utilities.rank_zero")
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)


def _restore(module: SiameseModule, checkpoint: str) -> None:
    """Put a checkpoint's weights, with the threshold that belongs to them, into the module."""
    content = torch.load(checkpoint, map_location="cpu", weights_only=True)
    module.load_state_dict(content["state_dict"])
    module.on_load_checkpoint(content)


def _facts(module: SiameseModule, data: ImageDataModule, run: TrainingRun) -> dict[str, Any]:
    """The bundle's provenance."""
    assert data.manifest is not None
    return {
        "siamese": importlib.metadata.version("siamese-lightning"),
        "torch": torch.__version__,
        "dataset": data.manifest.dataset,
        "split_protocol": data.manifest.protocol,
        "split_seed": data.manifest.seed,
        "loss": repr(module.loss),
        "test": run.evaluations["test"].to_dict(),
    }
