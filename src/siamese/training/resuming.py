"""Continuing a previous run: what of it is used, and what is checked."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pytorch_lightning.callbacks import ModelCheckpoint

from siamese.checkpoint_files import read_checkpoint
from siamese.data.manifest import SplitManifest
from siamese.errors import CheckpointError, ConfigError, NothingLeftError
from siamese.evaluation.sources import is_at_work
from siamese.inference.bundle import RUN
from siamese.launched import follows
from siamese.reading import read_object
from siamese.report.history import History, join_histories, read_history
from siamese.training.changes import check_changes, differences, note_of_length
from siamese.training.description import KEY
from siamese.training.exact_resume import ExactResume, means_of
from siamese.training.folder import FINISHED
from siamese.training.module import SiameseModule
from siamese.training.monitors import short_monitor
from siamese.training.position import Position

AUTO = "auto"  # instead of a run: the one in the folder that is to be trained in
# Parts of a checkpoint's description that say how it was trained.
_TRAINED_BY = ("loss", "optimizer", "schedule", "settings")
_MADE_OF = ("backbone", "distance", "cropper", "augmentation", "pair_rule", "policy")
_BATCHES = ("sampler", "batch_seed")


def _described(folder: Path) -> dict[str, Any]:
    """A run's description, as far as it can be read; its check is not for here."""
    with contextlib.suppress(OSError, ValueError):
        return read_object(folder / RUN)
    return {}


def _last_means(saved: Mapping[str, Any], epoch: int) -> History:
    """What is logged at the end of an epoch, after its checkpoint: a kill may come in between."""
    every = [one.get("means", {}) for one in (saved, *saved.get("others", []))]
    return {name: ([epoch], [value]) for name, value in means_of(every).items()}


def _logged_today(name: str, split: str) -> str:
    """A logged name as it is now: 0.1.0 began with ``val/``, whatever the split was called.

    Its ``val/loss`` keeps its name: it was the loss of other batches, and is not comparable.
    """
    if name == "val/loss" or not name.startswith("val/"):
        return name
    return f"{split}/{name.removeprefix('val/')}"


@dataclass(frozen=True)
class PreviousRun:
    """A previous run, to be continued.

    Attributes:
        checkpoint: the run's last one, or the one that was named.
        epochs: how many came to their end.
        manifest: its ``split.json``; None if there is only a checkpoint.
        history: losses and figures of its whole epochs.
        shapes: of the checkpoint's weights, by name.
        groups: how many parameters each group of its optimizer has.
        best: its best checkpoint; None if there is none.
        first_weights: fingerprint of what it began with
            (:func:`siamese.evaluation.baselines.fingerprint`); None where that is not known.
        finished: whether it was calibrated, evaluated and saved.
        exact: whether the checkpoint knows its batch and its random numbers; those of 0.1.0 do not.
        made_of: its ``run.json``.
        trained_by: what the checkpoint says of loss, optimizer and schedule.
    """

    checkpoint: Path
    epochs: int
    manifest: SplitManifest | None
    history: History
    shapes: Mapping[str, tuple[int, ...]]
    groups: tuple[int, ...]
    best: Path | None
    first_weights: str | None = None
    finished: bool = False
    exact: bool = True
    made_of: Mapping[str, Any] = field(default_factory=dict)
    trained_by: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def find(cls, run: str | Path, folder: Path) -> PreviousRun | None:
        """Read a run's folder, or a checkpoint.

        Args:
            run: what to go on with; ``"auto"`` for the run in ``folder``, if one has begun there.
            folder: of the run that is about to begin.

        Returns:
            None if ``"auto"`` finds none.

        Raises:
            ConfigError: it is neither, is damaged, or another process is at work on it.
        """
        if run == AUTO:
            if not (folder / "checkpoints" / "last.ckpt").is_file():
                return None
            run = folder
        path = Path(run).expanduser()
        checkpoint = path / "checkpoints" / "last.ckpt" if path.is_dir() else path
        home = path if path.is_dir() else path.parent.parent
        best, split = home / "checkpoints" / "best.ckpt", home / "split.json"
        try:
            content = read_checkpoint(checkpoint)
            shapes = {name: tuple(value.shape) for name, value in content["state_dict"].items()}
            groups = tuple(
                len(group["params"]) for group in content["optimizer_states"][0]["param_groups"]
            )
            saved = content["callbacks"].get(ExactResume.__qualname__, {})
            position = Position.of(content, saved.get("batches"))
            ended = position.epoch if position else int(content["epoch"]) + 1
            trained_by = dict(content.get(KEY) or {})
        except FileNotFoundError as error:
            raise ConfigError(
                f"resume={run}: no run (there is no {checkpoint}); give the folder of a training "
                f"run, or a checkpoint"
            ) from error
        except CheckpointError as error:
            raise ConfigError(
                f"resume={run}: not a checkpoint of a training run ({error}); give the run's "
                f"folder, or its checkpoints/last.ckpt"
            ) from error
        except (AttributeError, KeyError, IndexError, TypeError, ValueError) as error:
            raise ConfigError(
                f"resume={run}: {checkpoint} is no checkpoint to go on from: it has no weights or "
                f"no optimizer ({type(error).__name__}); give a run's folder"
            ) from error
        # A run that a cluster takes to another machine is gone on with there.
        here = home.resolve() == folder.resolve()
        if here and not follows() and is_at_work(home, elsewhere=False):
            raise ConfigError(
                f"resume={run}: another process is training there (run.json says which); wait for "
                f"its end, or stop it"
            )
        if best.exists():  # now, and not after the training
            _check_best(best)
        # A run that was stopped has no history.csv yet, or that of the run which it resumed itself;
        # but it has a log.
        known: History = {}
        for file in (home / "history.csv", home / "logs" / "csv" / "metrics.csv"):
            known = join_histories(known, read_history(file) if file.exists() else {})
        # Of the epoch that goes on, what was validated in it; its means are made anew.
        begun = position is not None and position.batch > 0
        before = {}
        for n, (es, vs) in known.items():
            end = ended + (begun and not n.startswith("train/"))
            before[n] = ([e for e in es if e < end], vs[: sum(e < end for e in es)])
        if position is not None and position.schedules_due:
            before = join_histories(_last_means(saved, ended - 1), before)
        manifest = SplitManifest.load(split) if split.exists() else None
        validated = manifest.calibrating if manifest else "calibration"
        described = _described(home)
        first = dict(described.get("provenance") or {}).get("first_weights")
        return cls(
            checkpoint,
            ended,
            manifest,
            {_logged_today(name, validated): values for name, values in before.items()},
            shapes,
            groups,
            best if best.exists() else None,
            first if isinstance(first, str) else None,
            (home / FINISHED).exists(),
            bool(saved),
            described,
            trained_by,
        )

    def lies_in(self, folder: Path) -> bool:
        """Whether this is the run that the folder holds."""
        return self.checkpoint.resolve().is_relative_to(folder.resolve())

    def better(self, monitor: str, mode: str, later: ModelCheckpoint) -> Path | None:
        """The previous run's best checkpoint, if no later epoch is better."""
        if self.best is None:
            return None
        wanted = short_monitor(monitor)
        earlier = {"val/loss"} if wanted == "loss" else set()  # was the loss of other batches
        states = read_checkpoint(self.best)["callbacks"]
        scores = [
            s["best_model_score"]
            for s in states.values()
            if isinstance(s, dict)
            and short_monitor(str(s.get("monitor"))) == wanted
            and s.get("monitor") not in earlier
        ]
        sign = 1 if mode == "min" else -1
        if not scores or scores[0] is None:
            return None
        if later.best_model_score is None:  # no epoch was validated since
            return self.best
        return (
            self.best if sign * float(scores[0]) <= sign * float(later.best_model_score) else None
        )

    def check(self, manifest: SplitManifest, max_epochs: int, module: SiameseModule) -> None:
        """Check that the run can be continued.

        There must be epochs left, or what follows the last one; and the split must be the same, so
        that no identity that was trained on is tested on; so must the network, the loss and the
        learning rates' shares.

        Raises:
            ConfigError: one of them is not so.
        """
        trained = f"the run to resume was trained for max_epochs={self.epochs} already"
        if max_epochs <= self.epochs and self.finished:
            raise NothingLeftError(
                f"{trained}, and is finished: give max_epochs above {self.epochs} to train it on"
            )
        if max_epochs < self.epochs:
            raise ConfigError(
                f"{trained}: give max_epochs={self.epochs} to finish it (calibrate, evaluate, save "
                f"the bundle), or more"
            )
        if self.manifest is not None and not self.manifest.has_split_of(manifest):
            raise ConfigError(
                "the run to resume has another split: resume it with the same data, data.split "
                "and data.seed (a run that was made in Python records no settings for the command)"
            )
        own = {name: tuple(value.shape) for name, value in module.state_dict().items()}
        if strange := sorted(
            name
            for name in own.keys() | self.shapes.keys()
            if own.get(name) != self.shapes.get(name)
        ):
            raise ConfigError(
                f"the run to resume has another network or loss ({strange[0]} is "
                f"{self.shapes.get(strange[0], 'not there')}, here "
                f"{own.get(strange[0], 'not there')}): resume it with the same module.backbone, "
                f"module.loss and distance"
            )
        if (
            tuple(len(group["params"]) for group in module.make_optimizer().param_groups)
            != self.groups
        ):
            raise ConfigError(
                "the run to resume trained its layers at other shares of the learning rate: resume "
                "it with the same module.layer_decay, module.backbone.affine_rate and "
                "module.decay_matrices_only"
            )

    def check_settings(
        self, made_of: Mapping[str, Any], trained_by: Mapping[str, Any], allowed: bool
    ) -> None:
        """Refuse other settings than the run had, or show them where they are allowed.

        Args:
            made_of: what will be the ``run.json`` of the run that goes on.
            trained_by: as :func:`siamese.training.description.describe_module` writes it.
            allowed: whether others are.

        Raises:
            ConfigError: see :func:`siamese.training.changes.check_changes`.
        """
        before, now = dict(self.made_of), dict(made_of)
        facts = [dict(run.get("provenance") or {}) for run in (before, now)]
        if all("config" in of for of in facts):  # both by the command: its own words
            configs = [dict(of["config"]) for of in facts]
            found = differences(*configs)
            note_of_length(*configs)
        else:
            found = differences(
                *(
                    {part: run[part] for part in _MADE_OF if part in run}
                    | {part: by[part] for part in _TRAINED_BY if part in by}
                    | {part: of[part] for part in _BATCHES if part in of}
                    for run, by, of in zip(
                        (before, now), (self.trained_by, trained_by), facts, strict=True
                    )
                )
            )
        check_changes(found, allowed)


def _check_best(path: Path) -> None:
    try:
        read_checkpoint(path)["callbacks"].values()
    except (CheckpointError, KeyError, AttributeError) as error:
        raise ConfigError(
            f"{path}: the best checkpoint so far cannot be read ({error}); remove it to go on "
            f"without"
        ) from error
