"""What a run found goes to the loggers that are on: figures, pictures, tables and the report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pytorch_lightning.loggers import (
    CSVLogger,
    Logger,
    MLFlowLogger,
    TensorBoardLogger,
    WandbLogger,
)

from siamese.errors import first_line
from siamese.report.words import BASELINES
from siamese.training.training_run import TrainingRun

_FIGURES = ("eer", "auc", "f1", "accuracy", "precision", "recall", "fmr")
# Pictures that show images of the data, by the beginning of their names.
_WITH_IMAGES = ("samples_", "false_matches_", "false_non_matches_", "training_pairs")
_FILES = ("report.html", "evaluation.json", "history.csv")


@dataclass(frozen=True)
class FinalLog:
    """What is handed to a logger at the end of a run.

    Attributes:
        values: name -> number: ``final/threshold``, ``final/test/eer``, and the same of baselines,
            ``final/test/untrained/eer``.
        header, rows: the same as a table, a row for a split or a baseline.
        pictures: name -> PNG file.
        files: the report, the figures and the history.
        settings: of the run.
    """

    values: Mapping[str, float]
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    pictures: Mapping[str, Path] = field(default_factory=dict)
    files: Sequence[Path] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def markdown(self) -> str:
        """The table as text."""
        lines = [self.header, ["---"] * len(self.header), *self.rows]
        return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def log_end(loggers: Sequence[Logger], run: TrainingRun, *, faces: bool, step: int) -> None:
    """Hand what a run found to its loggers; what goes wrong with one costs no run.

    Args:
        loggers: of the run; nothing more goes to CSV files.
        run: complete.
        faces: whether pictures that show images of the data may be handed on.
        step: at which the pictures stand, steps of training.
    """
    others = [logger for logger in loggers if not isinstance(logger, CSVLogger)]
    if not others:
        return
    found = found_by(run, faces=faces)
    for logger in others:
        try:
            hand_on(logger, found, step)
        except Exception as error:  # whatever their packages raise
            reason = first_line(error) or type(error).__name__
            print(f"note: {type(logger).__name__} did not take over all of the run: {reason}")


def found_by(run: TrainingRun, *, faces: bool) -> FinalLog:
    """What a run found, as loggers get it.

    Args:
        run: complete; its pictures lie in its folder.
        faces: see :func:`log_end`.
    """
    values = {"final/threshold": float(run.operating_point.threshold)}
    rows = []
    for path, title, figures in _measured(run):
        known = {name: float(getattr(figures, name)) for name in _FIGURES}
        values |= {f"final/{path}/{name}": value for name, value in known.items()}
        rows.append([title, *(f"{value:.4f}" for value in known.values())])
    drawn = sorted((run.folder / "plots").glob("*.png"))
    pictures = {
        path.stem: path for path in drawn if faces or not path.stem.startswith(_WITH_IMAGES)
    }
    files = [run.folder / name for name in _FILES if (run.folder / name).is_file()]
    facts = run.evaluation.bundle.provenance
    settings = facts.get("config") or {
        name: facts[name]
        for name in ("dataset", "split_protocol", "loss", "sampler")
        if name in facts
    }
    return FinalLog(values, ["", *_FIGURES], rows, pictures, files, settings)


def _measured(run: TrainingRun) -> Iterator[tuple[str, str, Any]]:
    """(name, title, figures) of each split, and of what the judged one is compared with."""
    for split, figures in run.evaluations.items():
        yield split, split, figures
    judged = run.evaluation.judged
    for baseline in run.evaluation.baselines:
        title = f"{judged}: {BASELINES.get(baseline.name, baseline.name)}"
        yield f"{judged}/{baseline.name}", title, baseline.evaluations[judged]


def hand_on(logger: Logger, found: FinalLog, step: int) -> None:
    """Hand the end of a run to one logger, in the way that its own page shows it.

    Args:
        logger: of Lightning; of a kind that is not known here, numbers, and pictures where it takes
            some by ``log_image``.
        found: what to hand on.
        step: see :func:`log_end`.
    """
    if isinstance(logger, TensorBoardLogger):
        _to_tensorboard(logger, found, step)
    elif isinstance(logger, WandbLogger):
        _to_wandb(logger, found)
    elif isinstance(logger, MLFlowLogger):
        _to_mlflow(logger, found, step)
    else:
        logger.log_metrics(dict(found.values), step)
        if callable(put := getattr(logger, "log_image", None)):
            for name, path in found.pictures.items():
                put(f"plots/{name}", [str(path)])
        logger.save()


def _to_tensorboard(logger: TensorBoardLogger, found: FinalLog, step: int) -> None:
    """Images, a table as text, and the page of hyperparameters; it holds no files."""
    logger.log_hyperparams(dict(found.settings), dict(found.values), step)
    writer = logger.experiment
    for name, path in found.pictures.items():
        with Image.open(path) as image:
            pixels = np.asarray(image.convert("RGB"))
        writer.add_image(f"plots/{name}", pixels, step, dataformats="HWC")
    writer.add_text("figures", found.markdown, step)
    logger.save()
    writer.close()  # Lightning closes it at the end of the training alone


def _to_wandb(logger: WandbLogger, found: FinalLog) -> None:
    """Images, a table, the values of the run's summary, and files as artifacts."""
    logger.log_hyperparams(dict(found.settings))
    for name, path in found.pictures.items():
        logger.log_image(f"plots/{name}", [str(path)])
    rows = [list(row) for row in found.rows]
    logger.log_table("figures", columns=[each or "of" for each in found.header], data=rows)
    experiment = logger.experiment
    experiment.summary.update(dict(found.values))
    for path in found.files:
        experiment.log_artifact(str(path), name=f"{path.stem}-{experiment.id}", type=path.stem)


def _to_mlflow(logger: MLFlowLogger, found: FinalLog, step: int) -> None:
    """Metrics, parameters, and everything else as artifacts of the run."""
    logger.log_hyperparams(dict(found.settings))
    logger.log_metrics(dict(found.values), step)
    client, run = logger.experiment, logger.run_id
    for path in found.pictures.values():
        client.log_artifact(run, str(path), "plots")
    for path in found.files:
        client.log_artifact(run, str(path))
    client.log_text(run, found.markdown, "figures.md")
