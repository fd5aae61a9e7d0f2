"""What a run says at its end: figures, what must be known beside them, and what comes next."""

from __future__ import annotations

import os
from collections.abc import Iterator

from siamese.backbones.base import Backbone
from siamese.evaluation.baselines import judged_split
from siamese.inference.no_face import seen_without_search
from siamese.report import tables
from siamese.report.group_tables import show_groups
from siamese.training.resuming import PreviousRun
from siamese.training.training_run import TrainingRun


def notes_of(previous: PreviousRun | None, unvalidated: bool) -> Iterator[str]:
    """What is not as a user would think; ``unvalidated``: no best weights could be chosen."""
    if previous and not previous.exact:
        yield (
            "the checkpoint that was resumed is of an earlier version: had the run been stopped "
            "within an epoch, the rest of that epoch is left out"
        )
    if unvalidated:
        yield (
            "no epoch was validated, so none could be called the best: the bundle has the last "
            "weights (validate more often: trainer.check_val_every_n_epoch)"
        )


def show(run: TrainingRun, trained: bool) -> None:
    """The figures, and where everything lies; ``trained``: whether there was anything to train."""
    evaluation, shown = run.evaluation, os.path.relpath(run.folder)
    figures = list(run.evaluations.values())
    point, caution = run.operating_point, evaluation.caution
    tables.show(tables.evaluation_table(figures, point, caution))
    split = judged_split(evaluation)
    others = {b.title: b.evaluations[split] for b in evaluation.baselines}
    tables.show(tables.baselines_table(run.evaluations[split], others))
    show_groups(run.evaluations[split].groups, split)
    took = f"training took {run.seconds:.1f} s, {run.seconds_per_epoch:.2f} s per epoch"
    print(took if trained else untrained(evaluation.bundle.backbone))
    drawn = f"    plots: {shown}/plots" if (run.folder / "plots").is_dir() else ""
    page = f"report: {shown}/report.html    " if (run.folder / "report.html").is_file() else ""
    print(f"{page}run: {shown}    figures: {shown}/evaluation.json{drawn}")
    for note in evaluation.notes:
        print(f"note: {note}")
    if run.bundle.is_dir():
        compared = seen_without_search(evaluation.bundle.cropper)
        remark = f"    # compares {compared}, looks for no face" if compared else ""
        print(f"next: siamese verify A.jpg B.jpg --bundle {shown}/bundle{remark}")


def untrained(backbone: Backbone) -> str:
    """What is said instead of how long training took, where there was nothing to train."""
    if list(backbone.parameters()):
        return "nothing is trained: all weights are frozen (requires_grad=False)"
    fitted = type(backbone).fit is not Backbone.fit
    why = "it was fitted in closed form" if fitted else "it has no weights"
    return (
        f"nothing is trained in this backbone: {why} (max_epochs and the learning rate have no "
        f"part in it)"
    )
