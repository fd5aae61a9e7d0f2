"""One run from data to bundle: train, calibrate, evaluate, and leave everything in one folder."""

from __future__ import annotations

import importlib.metadata
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint

from siamese.data.datamodule import ImageDataModule
from siamese.data.transforms import Augmentation
from siamese.distances.base import DISTANCES, Distance
from siamese.errors import ConfigError
from siamese.evaluation.artifacts import identities_of, write_data, write_training_pairs
from siamese.evaluation.baselines import (
    before_training,
    beside_baselines,
    check_baselines,
    fingerprint,
)
from siamese.evaluation.data import EvaluationData
from siamese.evaluation.sources import describe_run
from siamese.evaluation.stages import RunEvaluation, conclude
from siamese.inference.components import Components
from siamese.losses.base import EmbeddingLoss
from siamese.pairs.balanced_pairs import BalancedPairs
from siamese.pairs.base import PairRule, as_pair_rule
from siamese.report import plots as pictures
from siamese.report import skew, tables
from siamese.report.history import History, join_histories, read_history, write_history
from siamese.storage import write_json
from siamese.training.callbacks import ThresholdCalibrator
from siamese.training.checks import check_run, has_weights, unnamed
from siamese.training.folder import check_folder, remove_results
from siamese.training.module import SiameseModule
from siamese.training.monitors import full_monitor
from siamese.training.resuming import EpochSeeds, PreviousRun
from siamese.training.summary import notes_of, show
from siamese.training.trainer import make_trainer, no_advertisements
from siamese.training.training_run import TrainingRun
from siamese.training.watch import LearningWatch
from siamese.verification.assurance import check_trials
from siamese.verification.measure import trials_of
from siamese.verification.policies.base import Policy, as_policy

Weights = tuple[int | None, int | None]  # epoch, counted from 0, and step that they are of


def train(
    module: SiameseModule,
    data: ImageDataModule,
    folder: str | Path,
    *,
    max_epochs: int = 20,
    policy: str | dict[str, Any] | Policy = "max_f1",
    pairs: str | PairRule | None = None,
    keep: str = "best",
    monitor: str = "eer",
    mode: str = "min",
    resume: str | Path | None = None,
    callbacks: Sequence[pl.Callback] = (),
    trainer: Mapping[str, Any] | None = None,
    provenance: Mapping[str, Any] | None = None,
    overwrite: bool = False,
    plots: bool = True,
    baselines: Sequence[str] = ("untrained", "descriptors"),
    verbose: bool = True,
) -> TrainingRun:
    """Train, calibrate the threshold, evaluate, and save a bundle.

    The threshold is calibrated on identities never trained on, and evaluated on identities that
    neither step saw. So with the default split protocol; where another lets splits share
    identities, the figures say so.

    Call ``siamese.seed_everything`` before the module is made if its initial weights are to be
    repeatable.

    Args:
        module: backbone, loss and distance. The backbone's class should be registered, so that a
            bundle can name it; for a plain network that is not, everything is done but saving the
            bundle.
        data: the three splits.
        folder: where the run's files go; made if it is not there.
        max_epochs: epochs of training.
        policy: how the threshold is chosen: ``"max_f1"``, ``"max_accuracy"``, ``"eer"``, ``"fmr"``,
            ``"recall"``, ``"cost"``, or an object such as ``siamese.Fmr(1e-3)``.
        pairs: which pairs are calibrated on and evaluated, unless the split protocol chose them: a
            rule or its name (``"all_pairs"``); by default balanced ones.
        keep: whether the bundle gets the ``"best"`` weights by ``monitor`` on the calibration
            identities, or the ``"last"``.
        monitor, mode: what "best" means: ``"eer"``, ``"auc"``, ``"f1"``, ``"accuracy"`` or
            ``"loss"`` of the calibration identities, or ``"train/loss"``; ``"min"`` or ``"max"``.
        resume: folder of a previous run of the same module and data, or one of its checkpoints:
            goes on after its last epoch, up to ``max_epochs`` in all. With the same settings and a
            schedule that does not depend on the length of the run (None), the weights come out as
            if it had never stopped. A run that ``max_steps`` or ``max_time`` stopped within an
            epoch goes on with the next one; the run's notes say so.
        callbacks: more Lightning callbacks.
        trainer: more arguments of ``pytorch_lightning.Trainer``; they take precedence. Loggers and
            callbacks are added to the run's own.
        provenance: more facts for the bundle.
        overwrite: remove what another run left in the folder, its pictures included; by default
            such a folder is refused, so that no run is lost and none is mixed with another.
        plots: draw the pictures in ``plots/``; without them a short training ends sooner.
            ``run.evaluation.write(folder, overwrite=True)`` draws most of them later.
        baselines: what is measured on the same identities, to compare with: ``"untrained"`` (the
            run before training), ``"descriptors"`` (:class:`siamese.DescriptorNet`, fitted on the
            training images) and ``"pretrained"`` (dlib's network; crops of its own, extra
            ``pretrained``). They cost a pass over the images each, after the run is saved;
            descriptors, on their first use, 10 ms and 70 KB beside the cached crops for each image
            (a note instead above 20,000 images). Of a resumed run ``"untrained"`` is left out where
            the module was made with other first weights.
        verbose: print tables and show progress bars.

    Raises:
        SiameseError: bad data or settings; nothing is written before the data are known to be
            usable.
    """
    if trainer is not None and not isinstance(trainer, Mapping):
        raise ConfigError(
            f"trainer takes arguments of pytorch_lightning.Trainer, as a dictionary, not a "
            f"{type(trainer).__name__}: trainer={{'accelerator': 'cpu'}}"
        )
    folder, rule = Path(folder).expanduser(), as_policy(policy)
    compared = check_baselines(baselines)
    check_run(module, data, max_epochs, keep, monitor)
    # Where this module was trained before.
    module.distance = _unfitted(module.distance)
    module.backbone.unfit()
    previous = PreviousRun.find(resume) if resume is not None else None
    with no_advertisements():
        data.progress = data.progress and verbose
        images = EvaluationData.of_module(data, as_pair_rule(pairs or BalancedPairs()))
        _bind(module, images)
        if previous:
            previous.check(images.manifest, max_epochs, module)
        components = _components(module, data)
        untrained = before_training(components)
        facts = _facts(module, images) | dict(provenance or {})
        first = facts["first_weights"] = fingerprint(untrained)
        if previous and previous.first_weights:
            facts["first_weights"] = previous.first_weights
        best = ModelCheckpoint(
            folder / "checkpoints",
            "best",
            monitor=full_monitor(monitor, images.calibrating),
            mode=mode,
            enable_version_counter=False,
        )
        seeds = EpochSeeds(data.batch_seed)
        watch = [] if any(isinstance(c, LearningWatch) for c in callbacks) else [LearningWatch()]
        chosen = [_calibrator(images, rule), *watch, seeds, best, *callbacks]
        settings = {"max_epochs": max_epochs, "enable_progress_bar": verbose}
        fitting = make_trainer(folder, chosen, settings | dict(trainer or {}))
        goes_on = previous is not None and previous.lies_in(folder)
        check_folder(folder, images, overwrite or goes_on)
        if not goes_on:
            remove_results(folder)
        if (reason := unnamed(components.backbone)) is not None:
            print(f"note: {reason}")
        pairs_of_run = images.pair_rules[images.calibrating]
        describe_run(folder, components, pairs_of_run, rule, facts, reason)
        _describe(folder, images, data, plots, verbose)
        trained = has_weights(module)
        seconds = _fit(fitting, module, data, folder, previous) if trained else 0.0
    weights: Weights = (fitting.current_epoch - 1, fitting.global_step)
    chosen_best = keep == "best" and bool(best.best_model_path)
    if chosen_best:
        weights = _restore_best(module, best, folder, previous)
    facts |= {"epochs": fitting.current_epoch, "kept": "best" if chosen_best else "last"}
    evaluation = _conclude(module, components, images, rule, weights, facts)
    notes = notes_of(previous, trained and keep == "best" and not chosen_best)
    evaluation = replace(evaluation, notes=(*evaluation.notes, *notes))
    epochs = fitting.current_epoch - (previous.epochs if previous else 0)
    run = TrainingRun(folder, evaluation, seconds, seconds / max(1, epochs))
    _write(run, previous.history if previous else {}, plots)
    # The run is complete; nothing that happens to a baseline can lose it.
    compared = tuple(
        name
        for name in compared
        if name != "untrained" or (first == facts["first_weights"] and trained)
    )
    run = replace(
        run, evaluation=beside_baselines(compared, evaluation, untrained, rule, data.cache)
    )
    write_json(folder / "evaluation.json", run.evaluation.to_dict())
    if verbose:
        show(run, trained)
    return run


def _calibrator(images: EvaluationData, policy: Policy) -> ThresholdCalibrator:
    """Chooses a threshold after each epoch, where the pairs can support the policy."""
    split = images.calibrating
    rule = images.pair_rules[split]
    labels = images.datasets[split].labels
    policy.check(*rule.counts(labels))
    if policy.assured_at is not None:  # whether that many identities will do is known before
        check_trials(policy, *trials_of(rule, labels))
    # Probability and intervals are computed at the end, once, and promises for others made.
    return ThresholdCalibrator(policy, pairs=rule, split=split, probability=None, intervals=False)


def _conclude(
    module: SiameseModule,
    components: Components,
    images: EvaluationData,
    policy: Policy,
    weights: Weights,
    facts: Mapping[str, Any],
) -> RunEvaluation:
    """Calibrate once more, evaluate, and make the bundle.

    In training embeddings may have been of lower precision, or from another device, and the last
    epoch need not have been validated.
    """
    module.eval()
    epoch, step = weights if weights[1] else (None, None)  # nothing was trained
    evaluation = conclude(components, images, policy, epoch=epoch, step=step, provenance=facts)
    module.distance = evaluation.bundle.distance  # one that is fitted after training now is
    module.set_operating_point(evaluation.operating_point)
    return evaluation


def _unfitted(distance: Distance) -> Distance:
    """The distance as it was before it was fitted, if it is one to be fitted."""
    if not distance.closed_form or distance.needs_fit:
        return distance
    settings = DISTANCES.settings(distance)
    settings.pop("embedding_size", None)
    return DISTANCES.build(settings)


def _bind(module: SiameseModule, images: EvaluationData) -> None:
    """Tell network and loss what is known only once the data are."""
    backbone, table = module.backbone, images.prepared.splits["train"].table
    backbone.check(len(table))
    if isinstance(module.loss, EmbeddingLoss):
        module.loss.bind(len(table.distinct_identities), backbone.trained_size)


def _components(module: SiameseModule, data: ImageDataModule) -> Components:
    """What the bundle will be made of."""
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


def _describe(
    folder: Path, images: EvaluationData, data: ImageDataModule, draw: bool, verbose: bool
) -> None:
    """Write, and show, what the run is made of."""
    write_data(images.manifest, images.prepared, folder, draw)
    if draw:
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
    if not module.training:  # as another training has left it
        module.train()
    try:
        fitting.fit(module, datamodule=data, ckpt_path=checkpoint, weights_only=True)
    except SystemExit as stopped:  # Lightning's answer to Ctrl-C
        raise KeyboardInterrupt from stopped
    return time.perf_counter() - start


def _restore_best(
    module: SiameseModule, best: ModelCheckpoint, folder: Path, previous: PreviousRun | None
) -> Weights:
    """Put the best epoch's weights into the module, also where a previous run had it."""
    chosen = best.best_model_path
    assert best.monitor is not None
    if previous and (better := previous.better(best.monitor, best.mode, best)):
        kept = folder / "checkpoints" / "best.ckpt"
        if better.resolve() != kept.resolve():  # a run that goes on in its own folder has it
            shutil.copyfile(better, kept)
        chosen = str(better)
    content = torch.load(chosen, map_location="cpu", weights_only=True)
    module.load_state_dict(content["state_dict"])
    module.on_load_checkpoint(content)
    return content["epoch"], content["global_step"]


def _write(run: TrainingRun, earlier: History, draw: bool) -> None:
    """What is left in the run's folder at its end."""
    folder, bundle = run.folder, run.evaluation.bundle
    if unnamed(bundle.backbone) is None:
        bundle.save(run.bundle)
    timing = {
        "training_seconds": round(run.seconds, 2),
        "seconds_per_epoch": round(run.seconds_per_epoch, 3),
    }
    write_json(folder / "timing.json", timing)
    logged = folder / "logs" / "csv" / "metrics.csv"
    history = join_histories(earlier, read_history(logged) if logged.exists() else {})
    if history:
        write_history(folder / "history.csv", history)
        if draw:
            pictures.save(pictures.loss_curves(history), folder / "plots" / "loss_curves.png")
    run.evaluation.write(folder, plots=draw, overwrite=True)
