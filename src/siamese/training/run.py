"""One run from data to bundle: train, calibrate, evaluate, and leave everything in one folder."""

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
from pytorch_lightning.utilities.exceptions import (  # type: ignore[attr-defined]
    MisconfigurationException,
)

from siamese.backbones.base import BACKBONES, Backbone
from siamese.data.datamodule import ImageDataModule
from siamese.data.transforms import Augmentation
from siamese.distances.base import DISTANCES, Distance
from siamese.errors import CalibrationError, ConfigError, did_you_mean
from siamese.evaluation.artifacts import identities_of, write_data, write_training_pairs
from siamese.evaluation.data import EvaluationData
from siamese.evaluation.sources import describe_run
from siamese.evaluation.stages import RunEvaluation, conclude
from siamese.faces.croppers.base import CROPPERS
from siamese.inference.components import Components
from siamese.inference.verifier import Verifier
from siamese.losses.base import EmbeddingLoss
from siamese.pairs.balanced_pairs import BalancedPairs
from siamese.pairs.base import PairRule, as_pair_rule
from siamese.report import plots, skew, tables
from siamese.report.history import History, join_histories, read_history, write_history
from siamese.storage import write_json
from siamese.training.callbacks import ThresholdCalibrator
from siamese.training.module import SiameseModule
from siamese.training.resuming import EpochSeeds, KeepGivenRates, PreviousRun
from siamese.verification.calibration import Calibration
from siamese.verification.figures import SplitEvaluation
from siamese.verification.point import OperatingPoint
from siamese.verification.policies.base import Policy, as_policy

KEEP = ("best", "last")
MONITORS = ("val/eer", "val/auc", "val/f1", "val/accuracy", "val/loss", "train/loss")


@dataclass(frozen=True, repr=False)
class TrainingRun:
    """What a run gave.

    Attributes:
        folder: holds all of ``bundle/``, ``checkpoints/{best,last}.ckpt``, ``split.json``,
            ``crops.json``, ``skew.json``, ``evaluation.json``, ``timing.json``, ``run.json``,
            ``history.csv``, ``logs/`` and ``plots/``.
        evaluation: the bundle and its figures on every split.
        seconds: of training, without data preparation and evaluation.
        seconds_per_epoch: validation included.
    """

    folder: Path
    evaluation: RunEvaluation
    seconds: float
    seconds_per_epoch: float

    @property
    def evaluations(self) -> dict[str, SplitEvaluation]:
        """Split -> figures."""
        return self.evaluation.evaluations

    @property
    def calibration(self) -> Calibration:
        """The threshold with its curve, its interval, and the probability of a distance."""
        calibration = self.evaluation.calibration
        assert calibration is not None  # a run ends with one
        return calibration

    @property
    def operating_point(self) -> OperatingPoint:
        """The threshold and where it came from."""
        return self.evaluation.operating_point

    @property
    def bundle(self) -> Path:
        """The bundle's folder: what ``Verifier.load`` takes."""
        return self.folder / "bundle"

    @property
    def verifier(self) -> Verifier:
        """A verifier with this run's bundle."""
        return Verifier.load(self.bundle)

    def __repr__(self) -> str:
        return f"TrainingRun({str(self.folder)!r}, {self.evaluation!r})"


def train(
    module: SiameseModule,
    data: ImageDataModule,
    folder: str | Path,
    *,
    max_epochs: int = 20,
    pairs: str | PairRule | None = None,
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
    """Train, calibrate the threshold on identities never trained on, evaluate on identities neither
    step saw, and save a bundle.

    So with the default split protocol; where another lets splits share identities, the figures say
    so.

    Call ``siamese.seed_everything`` before the module is made if its initial weights are to be
    repeatable.

    Args:
        module: backbone, loss and distance; the backbone's class must be registered, so that the
            bundle can name it.
        data: the three splits.
        folder: where the run's files go; made if it is not there, and what a previous run left in
            it is replaced.
        max_epochs: epochs of training.
        pairs: which pairs are calibrated on and evaluated, unless the split protocol chose them; by
            default balanced ones.
        policy: how the threshold is chosen: ``"max_f1"``, ``"max_accuracy"``, ``"eer"``, ``"fmr"``,
            ``"recall"``, ``"cost"``, or an object such as ``siamese.Fmr(1e-3)``.
        keep: whether the bundle gets the ``"best"`` weights by ``monitor`` on the calibration
            identities, or the ``"last"``.
        monitor, mode: what "best" means.
        resume: folder of a previous run of the same module and data, or one of its checkpoints:
            goes on after its last epoch, up to ``max_epochs`` in all. With the same settings and a
            schedule that does not depend on the length of the run (None), the weights come out as
            if it had never stopped.
        callbacks: more Lightning callbacks.
        trainer: more arguments of ``pytorch_lightning.Trainer``; they take precedence.
        provenance: more facts for the bundle.
        verbose: print tables and show progress bars.

    Raises:
        SiameseError: bad data or settings; nothing is written before the data are known to be
            usable.
    """
    folder, rule = Path(folder), as_policy(policy)
    _check(module, data, max_epochs, keep, monitor)
    previous = PreviousRun.find(resume) if resume is not None else None
    with _no_advertisements():
        data.progress = data.progress and verbose
        images = EvaluationData.of_module(data, as_pair_rule(pairs or BalancedPairs()))
        _bind(module, images)
        if previous:
            previous.check(images.manifest, max_epochs, module)
        calibrating = images.calibrating
        labels = images.datasets[calibrating].labels
        rule.check(*images.pair_rules[calibrating].counts(labels))
        components = _components(module, data)
        facts = _facts(module, images) | dict(provenance or {})
        best = ModelCheckpoint(
            folder / "checkpoints", "best", monitor=monitor, mode=mode, enable_version_counter=False
        )
        # Its probability and intervals are computed at the end, once.
        calibrator = ThresholdCalibrator(
            images.pair_rules[calibrating],
            split=calibrating,
            policy=rule,
            probability=None,
            intervals=False,
        )
        chosen = [calibrator, EpochSeeds(data.batch_seed), best, *callbacks]
        settings = {"max_epochs": max_epochs, "enable_progress_bar": verbose}
        fitting = _trainer(folder, chosen, settings | dict(trainer or {}), previous)
        _describe(folder, images, data, verbose)
        describe_run(folder, components, images.pair_rules[calibrating], rule, facts)
        seconds = _fit(fitting, module, data, folder, previous)
    if keep == "best":
        _restore_best(module, best, folder, previous)
    if (found := module.operating_point) is None:
        raise CalibrationError(
            "training ended without a threshold: no validation epoch had both genuine and impostor "
            "pairs; validate at least once and give the calibration split two images of one "
            "identity"
        )
    facts |= {"epochs": fitting.current_epoch, "kept": keep}
    module.eval()
    # Calibrated once more: in training embeddings may have been of lower precision, or from
    # another device.
    evaluation = conclude(
        components, images, rule, epoch=found.epoch, step=found.step, provenance=facts
    )
    module.set_operating_point(evaluation.operating_point)
    epochs = fitting.current_epoch - (previous.epochs if previous else 0)
    run = TrainingRun(folder, evaluation, seconds, seconds / max(1, epochs))
    _write(run, previous.history if previous else {})
    if verbose:
        _show(run)
    return run


def _bind(module: SiameseModule, images: EvaluationData) -> None:
    """Tell network and loss what is known only once the data are."""
    backbone, table = module.backbone, images.prepared.splits["train"].table
    assert isinstance(backbone, Backbone)  # the check saw to it
    backbone.check(len(table))
    if isinstance(module.loss, EmbeddingLoss):
        module.loss.bind(len(table.distinct_identities), backbone.trained_size)


def _components(module: SiameseModule, data: ImageDataModule) -> Components:
    """What the bundle will be made of."""
    assert isinstance(module.backbone, Backbone)
    known = isinstance(data.augmentation, Augmentation)
    augmentation = data.augmentation if known else None
    return Components(module.backbone, module.distance, data.cropper, augmentation)  # type: ignore[arg-type]


def _facts(module: SiameseModule, images: EvaluationData) -> dict[str, Any]:
    """The bundle's provenance, as far as it is known before training."""
    return {
        "siamese": importlib.metadata.version("siamese-lightning"),
        "torch": torch.__version__,
        "dataset": images.manifest.dataset,
        "split_protocol": images.manifest.protocol,
        "split_seed": images.manifest.seed,
        "loss": repr(module.loss),
    }


def _describe(folder: Path, images: EvaluationData, data: ImageDataModule, verbose: bool) -> None:
    """Write, and show, what the run is made of."""
    write_data(images.manifest, images.prepared, folder)
    write_training_pairs(data.training_batches(), images.datasets["train"], folder)
    if not verbose:
        return
    whole = identities_of(images.prepared)
    tables.show(tables.data_table(images.prepared.summary()), skew.skew_table(whole))
    if twins := images.manifest.shared_images():
        print(
            f"note: {len(twins)} images are in two splits as different files, e.g. {twins[0][0]} = "
            f"{twins[0][1]}"
        )
    if images.manifest.caution:
        print(f"note: {images.manifest.caution}")


def _fit(
    fitting: pl.Trainer,
    module: SiameseModule,
    data: ImageDataModule,
    folder: Path,
    previous: PreviousRun | None,
) -> float:
    """Train; returns the seconds."""
    start = time.perf_counter()
    if previous:  # before the logger begins anew: a run stopped again must not lose what came first
        write_history(folder / "history.csv", previous.history)
    checkpoint = previous.checkpoint if previous else None
    try:
        fitting.fit(module, datamodule=data, ckpt_path=checkpoint, weights_only=True)
    except SystemExit as stopped:  # Lightning's answer to Ctrl-C
        raise KeyboardInterrupt from stopped
    return time.perf_counter() - start


def _restore_best(
    module: SiameseModule, best: ModelCheckpoint, folder: Path, previous: PreviousRun | None
) -> None:
    """Put the best epoch's weights into the module, also where a previous run had it."""
    if not best.best_model_path:
        return
    chosen = best.best_model_path
    assert best.monitor is not None
    if previous and (better := previous.better(best.monitor, best.mode, best)):
        shutil.copyfile(better, folder / "checkpoints" / "best.ckpt")
        chosen = str(better)
    content = torch.load(chosen, map_location="cpu", weights_only=True)
    module.load_state_dict(content["state_dict"])
    module.on_load_checkpoint(content)


def _write(run: TrainingRun, earlier: History) -> None:
    """What is left in the run's folder at its end."""
    folder = run.folder
    run.evaluation.bundle.save(run.bundle)
    timing = {
        "training_seconds": round(run.seconds, 2),
        "seconds_per_epoch": round(run.seconds_per_epoch, 3),
    }
    write_json(folder / "timing.json", timing)
    logged = folder / "logs" / "csv" / "metrics.csv"
    history = join_histories(earlier, read_history(logged) if logged.exists() else {})
    if history:
        write_history(folder / "history.csv", history)
        plots.save(plots.loss_curves(history), folder / "plots" / "loss_curves.png")
    run.evaluation.write(folder)


def _show(run: TrainingRun) -> None:
    """The figures, and where everything lies."""
    evaluation, shown = run.evaluation, os.path.relpath(run.folder)
    figures = list(run.evaluations.values())
    point, caution = run.operating_point, evaluation.caution
    tables.show(tables.evaluation_table(figures, point, caution))
    print(f"training took {run.seconds:.1f} s, {run.seconds_per_epoch:.2f} s per epoch")
    print(f"run: {shown}    figures: {shown}/evaluation.json    plots: {shown}/plots")
    print(f"next: siamese verify A.jpg B.jpg --bundle {shown}/bundle")


def _check(
    module: SiameseModule, data: ImageDataModule, max_epochs: int, keep: str, monitor: str
) -> None:
    """Find out now, not after hours of training, what would go wrong at its end."""
    for given, wanted in ((module, SiameseModule), (data, ImageDataModule)):
        if not isinstance(given, wanted):
            raise ConfigError(
                f"siamese.train takes a siamese.{wanted.__name__} here, not a "
                f"{type(given).__name__}: train(module, data, folder)"
            )
    if keep not in KEEP:
        raise ConfigError(f"keep={keep!r} is not known{did_you_mean(keep, KEEP)}")
    if not isinstance(max_epochs, int) or max_epochs < 1:
        raise ConfigError(f"max_epochs must be a whole number of at least 1, not {max_epochs!r}")
    if type(module) is SiameseModule and monitor not in MONITORS:
        raise ConfigError(f"monitor={monitor!r} is not logged{did_you_mean(monitor, MONITORS)}")
    if monitor == "val/loss" and not getattr(module.loss, "open_set", True):
        raise ConfigError(
            f"{type(module.loss).__name__} classifies the training identities, so there is no "
            f"val/loss: monitor val/eer instead"
        )
    try:
        module.configure_optimizers()
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"the optimizer cannot be made: {str(error).splitlines()[0]}; correct its settings"
        ) from error
    backbone = module.backbone
    if not isinstance(backbone, Backbone):
        raise ConfigError(
            f"{type(backbone).__name__} is not a siamese.Backbone: derive it from that class and "
            f"register it in BACKBONES"
        )
    if module.distance.learned:
        _check_learned(module.distance, backbone)
    BACKBONES.settings(backbone)
    DISTANCES.settings(module.distance)
    CROPPERS.settings(data.cropper)


def _check_learned(distance: Distance, backbone: Backbone) -> None:
    """A learned distance is for embeddings of one length, in training as at use."""
    if not backbone.same_at_use:
        raise ConfigError(
            f"{type(backbone).__name__} gives other embeddings at use than while training, but a "
            f"learned distance is trained on the "
            f"ones and measures the others: for SmallResNet set module.backbone.gradient_cells=0 "
            f"and module.backbone.whiten=false"
        )
    size = getattr(distance, "embedding_size", backbone.embedding_size)
    if size != backbone.embedding_size:
        raise ConfigError(
            f"the learned distance compares embeddings of {size} numbers, "
            f"{type(backbone).__name__} gives "
            f"{backbone.embedding_size}: set distance.embedding_size={backbone.embedding_size}"
        )


def _trainer(
    folder: Path,
    callbacks: Sequence[pl.Callback],
    settings: Mapping[str, Any],
    previous: PreviousRun | None,
) -> pl.Trainer:
    logs = folder / "logs"
    # Not `save_last` of the best one: that file is only brought up to date when a best is saved.
    last = ModelCheckpoint(folder / "checkpoints", "last", enable_version_counter=False)
    resumed = [KeepGivenRates()] if previous else []
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
    # A resumed run writes to a folder of its own, on purpose; its best checkpoint is the best of
    # the epochs added.
    warnings.filterwarnings("ignore", message="The dirpath has changed", module="pytorch_lightning")
    if merged["devices"] not in (1, "1", "auto") or merged.get("num_nodes", 1) != 1:
        raise ConfigError(
            "siamese.train uses one device: leave out trainer.devices and trainer.num_nodes"
        )
    try:
        return pl.Trainer(**merged, callbacks=[*callbacks, last, *resumed, *progress])
    except (MisconfigurationException, TypeError, ValueError, RuntimeError) as error:
        raise ConfigError(
            f"pytorch_lightning.Trainer refuses its settings: {str(error).splitlines()[0]}; "
            f"correct trainer.*"
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
