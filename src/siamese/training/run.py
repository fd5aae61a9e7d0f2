"""One run from data to bundle: train, calibrate, evaluate, and leave everything in one folder."""

from __future__ import annotations

import importlib.metadata
import re
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
from siamese.evaluation.artifacts import write_data, write_training_pairs
from siamese.evaluation.baselines import (
    before_training,
    beside_baselines,
    check_baselines,
    fingerprint,
)
from siamese.evaluation.data import EvaluationData
from siamese.evaluation.sources import describe_run
from siamese.evaluation.stages import RunEvaluation, conclude
from siamese.inference.bundle import RUN
from siamese.inference.components import Components
from siamese.launched import follows
from siamese.losses.base import EmbeddingLoss
from siamese.pairs.balanced_pairs import BalancedPairs
from siamese.pairs.base import PairRule, as_pair_rule
from siamese.processes import across_processes
from siamese.report import plots as pictures
from siamese.report.epoch_curves import Chosen, loss_curves
from siamese.report.history import History, join_histories, read_history, write_history
from siamese.storage import write_json
from siamese.training.callbacks import ThresholdCalibrator
from siamese.training.checks import check_run, has_weights, unnamed
from siamese.training.exact_resume import EpochSeeds
from siamese.training.final_log import log_end
from siamese.training.fitting import Weights, best_weights, fit
from siamese.training.folder import FINISHED, check_folder, remove_results
from siamese.training.joining import join_run, lead, one_speaks, set_up
from siamese.training.loggers import end_runs, open_loggers
from siamese.training.module import SiameseModule
from siamese.training.monitors import full_monitor
from siamese.training.reporting import losses_of_one_rule, report_on
from siamese.training.resuming import PreviousRun
from siamese.training.stopping import StopRequest, told_how_to_go_on
from siamese.training.summary import notes_of, show, show_data
from siamese.training.trainer import make_trainer, no_advertisements
from siamese.training.training_run import TrainingRun
from siamese.training.watch import LearningWatch
from siamese.verification.assurance import check_trials
from siamese.verification.measure import trials_of
from siamese.verification.policies.base import Policy, as_policy


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
    allow_changes: bool = False,
    overwrite: bool = False,
    plots: bool = True,
    faces: bool = True,
    baselines: Sequence[str] = ("untrained", "descriptors"),
    verbose: bool = True,
    details: bool = False,
) -> TrainingRun:
    """Train, calibrate the threshold, evaluate, and save a bundle.

    The threshold is calibrated on identities never trained on, and evaluated on identities that
    neither step saw. So with the default split protocol; where another lets splits share
    identities, the figures say so.

    Call ``siamese.seed_everything`` before the module is made if its initial weights are to be
    repeatable.

    With several devices (``trainer={"devices": 2, "strategy": "ddp"}``, or under ``torchrun``) each
    process calls this function and gets the same run; one of them writes. See
    :class:`siamese.SiameseModule` for what they do with batches.

    Args:
        module: backbone, loss and distance. The backbone's class should be registered, so that a
            bundle can name it; for a plain network that is not, everything is done but saving the
            bundle.
        data: the three splits.
        folder: where the run's files go; made if it is not there.
        max_epochs: epochs of training.
        policy: how the threshold is chosen: ``"max_f1"``, ``"max_accuracy"``, ``"eer"``, ``"fmr"``,
            ``"precision"``, ``"recall"``, ``"cost"``, or an object such as ``siamese.Fmr(1e-3)``.
        pairs: which pairs are calibrated on and evaluated, unless the split protocol chose them: a
            rule or its name (``"all_pairs"``); by default balanced ones.
        keep: whether the bundle gets the ``"best"`` weights by ``monitor`` on the calibration
            identities, or the ``"last"``.
        monitor, mode: what "best" means: ``"eer"``, ``"auc"``, ``"f1"``, ``"accuracy"`` or
            ``"loss"`` of the calibration identities, or ``"train/loss"``; ``"min"`` or ``"max"``.
        resume: folder of a previous run of the same module and data, or one of its checkpoints:
            goes on where that one was saved, also within an epoch, up to ``max_epochs`` in all; or
            ``"auto"``: goes on with the run in ``folder`` if one has begun there, and begins one
            otherwise. With the same settings, ``max_epochs`` included (schedules such as the
            default one depend on the length of the run), weights and figures come out bit for bit
            as if it had never stopped. A run that was stopped after its last epoch is calibrated,
            evaluated and saved.
        callbacks: more Lightning callbacks.
        trainer: more arguments of ``pytorch_lightning.Trainer``; they take precedence. Loggers and
            callbacks are added to the run's own. ``logger`` is a logger of Lightning, one of the
            names ``"tensorboard"`` (the default), ``"wandb"``, ``"mlflow"`` and ``"csv"`` (nothing
            beside the CSV files that every run writes), or a list of them; at the end they get
            pictures and figures, too.
        provenance: more facts for the bundle.
        allow_changes: go on with other settings than the previous run had; by default they are
            named and refused.
        overwrite: remove what another run left in the folder, its pictures included; by default
            such a folder is refused, so that no run is lost and none is mixed with another.
        plots: draw the pictures in ``plots/``, and ``report.html``; without them a short training
            ends sooner. ``run.evaluation.write(folder, overwrite=True)`` draws most of them later,
            :func:`siamese.write_report` the report.
        faces: show images in ``report.html``; without them it can be given to others. The
            galleries in ``plots/`` show them all the same; without plots no image is kept anywhere.
        baselines: what is measured on the same identities, to compare with: ``"untrained"`` (the
            run before training), ``"descriptors"`` (:class:`siamese.DescriptorNet`, fitted on the
            training images) and ``"pretrained"`` (dlib's network; crops of its own, extra
            ``pretrained``). They cost a pass over the images each, after the run is saved;
            descriptors, on their first use, 10 ms and 70 KB beside the cached crops for each image
            (a note instead above 20,000 images). Of a resumed run ``"untrained"`` is left out where
            the module was made with other first weights.
        verbose: print what is known of the data and what came of the run, and show its progress.
        details: print the figures of all splits and groups, too, and how images are distributed.

    Raises:
        SiameseError: bad data or settings; nothing is written before the data are known to be
            usable.
        TrainingStoppedError: a ``KeyboardInterrupt``, after Ctrl-C or SIGTERM: training stopped
            after the batch that was being computed, with a checkpoint. (In a thread of your own
            signals are not seen.)
        ProcessError: another process of the run has ended.
    """
    if trainer is not None and not isinstance(trainer, Mapping):
        raise ConfigError(
            f"trainer takes arguments of pytorch_lightning.Trainer, as a dictionary, not a "
            f"{type(trainer).__name__}: trainer={{'accelerator': 'cpu'}}"
        )
    here = join_run()
    folder, rule = Path(here.from_first(str(Path(folder).expanduser()))), as_policy(policy)
    verbose = verbose and not follows()
    compared = check_baselines(baselines)
    check_run(module, data, max_epochs, keep, monitor)
    # Where this module was trained before.
    module.distance = _unfitted(module.distance)
    module.backbone.unfit()
    previous = PreviousRun.find(resume, folder) if resume is not None else None
    here.wait()  # before the first process changes anything in the folder
    stop = StopRequest()
    with no_advertisements(), one_speaks():
        data.progress = data.progress and verbose
        set_up(data, here)
        images = EvaluationData.of_module(data, as_pair_rule(pairs or BalancedPairs()))
        _bind(module, images)
        if previous:
            previous.check(images.manifest, max_epochs, module)
        components = _components(module, data)
        untrained = before_training(components)
        facts = _facts(module, images, data) | dict(provenance or {})
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
        fitting = make_trainer(folder, chosen, settings | dict(trainer or {}), stop)
        reason, pairs_of_run = unnamed(components.backbone), images.pair_rules[images.calibrating]
        description = describe_run(components, pairs_of_run, rule, facts, reason)
        if previous:
            previous.check_settings(description, module.describe(), allow_changes)

        def begin() -> None:
            goes_on = previous is not None and previous.lies_in(folder)
            check_folder(folder, images, overwrite or goes_on)
            if goes_on:
                (folder / FINISHED).unlink(missing_ok=True)
            else:
                remove_results(folder)
            if reason is not None:
                print(f"note: {reason}")
            write_json(folder / RUN, description)
            _describe(folder, images, data, plots)
            if verbose:
                show_data(images, details)
            open_loggers(fitting)

        lead(here, begin)
        trained = has_weights(module)
        seconds = fit(fitting, module, data, folder, previous, stop) if trained else 0.0
    with told_how_to_go_on(folder), one_speaks(), across_processes() as here:
        weights: Weights = (fitting.current_epoch - 1, fitting.global_step)
        best_kept = keep == "best" and trained
        chosen_best = best_weights(module, best, folder, previous, here) if best_kept else None
        if chosen_best:
            weights = chosen_best
        facts |= {"epochs": fitting.current_epoch, "kept": "best" if chosen_best else "last"}
        evaluation = _conclude(module, components, images, rule, weights, facts)
        notes = notes_of(previous, best_kept and not chosen_best)
        evaluation = replace(evaluation, notes=(*evaluation.notes, *notes))
        epochs = fitting.current_epoch - (previous.epochs if previous else 0)
        run = TrainingRun(folder, evaluation, seconds, seconds / max(1, epochs))
        earlier = previous.history if previous else {}
        chosen_epoch = Chosen(
            full_monitor(monitor, images.calibrating), mode, weights[0] if weights[1] else None
        )
        one_rule = losses_of_one_rule(data)
        lead(here, lambda: _write(run, earlier, plots, chosen_epoch, one_rule))
        # The run is complete; nothing that happens to a baseline can lose it.
        compared = tuple(
            name
            for name in compared
            if name != "untrained" or (first == facts["first_weights"] and trained)
        )
        run = replace(
            run, evaluation=beside_baselines(compared, evaluation, untrained, rule, data.cache)
        )
        lead(here, lambda: _write_end(run, data, plots, faces))
        lead(here, lambda: _log_end(fitting, run, faces))
    if verbose:
        show(run, trained, details)
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
    evaluation = conclude(
        components, images, policy, epoch=epoch, step=step, provenance=facts, doubts=True
    )
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


def _facts(module: SiameseModule, images: EvaluationData, data: ImageDataModule) -> dict[str, Any]:
    """The bundle's provenance, as far as it is known before training."""
    return {
        "siamese": importlib.metadata.version("siamese-lightning"),
        "torch": torch.__version__,
        "dataset": images.manifest.dataset,
        "split_protocol": images.manifest.protocol,
        "split_seed": images.manifest.seed,
        "loss": repr(module.loss),
        # Without the address that a class without a repr of its own shows.
        "sampler": re.sub(r" at 0x[0-9a-f]+", "", repr(data.batch_sampler)),
        "batch_seed": data.batch_seed,
    }


def _describe(folder: Path, images: EvaluationData, data: ImageDataModule, draw: bool) -> None:
    """Write what the run is made of."""
    write_data(images.manifest, images.prepared, folder, draw)
    if draw:
        write_training_pairs(data.first_batch(), images.datasets["train"], folder)


def _write(run: TrainingRun, earlier: History, draw: bool, chosen: Chosen, one_rule: bool) -> None:
    """What is left in the run's folder at its end.

    ``chosen`` and ``one_rule`` are those of :func:`siamese.report.epoch_curves.loss_curves`.
    """
    folder, bundle = run.folder, run.evaluation.bundle
    if unnamed(bundle.backbone) is None:
        bundle.save(run.bundle)
    logged = folder / "logs" / "csv" / "metrics.csv"
    history = join_histories(earlier, read_history(logged) if logged.exists() else {})
    if history:
        write_history(folder / "history.csv", history)
        if draw:
            curves = loss_curves(history, chosen, one_rule)
            pictures.save(curves, folder / "plots" / "loss_curves.png")
    run.evaluation.write(folder, plots=draw, report=False, overwrite=True)


def _write_end(run: TrainingRun, data: ImageDataModule, draw: bool, faces: bool) -> None:
    """Figures with baselines, the report, and the last file of a run: then nothing is left."""
    if run.evaluation.baselines and unnamed(run.evaluation.bundle.backbone) is None:
        run.evaluation.documented_bundle.save(run.bundle)  # its card has them beside its figures
    write_json(run.folder / "evaluation.json", run.evaluation.to_dict())
    timing = {
        "training_seconds": round(run.seconds, 2),
        "seconds_per_epoch": round(run.seconds_per_epoch, 3),
    }
    report_on(run, data, timing, draw, faces)
    write_json(run.folder / FINISHED, timing)


def _log_end(fitting: pl.Trainer, run: TrainingRun, faces: bool) -> None:
    """What the run found, for its loggers; only now, since a server may be slow."""
    log_end(fitting.loggers, run, faces=faces, step=fitting.global_step)
    end_runs()
