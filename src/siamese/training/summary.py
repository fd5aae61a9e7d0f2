"""What a run says: its data, its verdict, what must be known beside it, and what comes next."""

from __future__ import annotations

import os
import shutil
import textwrap
from collections import Counter
from collections.abc import Iterator

from siamese.backbones.base import Backbone
from siamese.errors import first_line
from siamese.evaluation.artifacts import identities_of
from siamese.evaluation.baselines import judged_split
from siamese.evaluation.data import EvaluationData
from siamese.inference.no_face import seen_without_search
from siamese.report import skew, tables
from siamese.report.group_tables import show_groups
from siamese.report.record import read_record
from siamese.report.verdict import judge_run
from siamese.training.resuming import PreviousRun
from siamese.training.run_progress import in_words
from siamese.training.training_run import TrainingRun
from siamese.verification.point import OperatingPoint

# Why an image is not in use, as it is counted, and in words.
_LEFT_OUT = {"no_face": "without a face", "skipped": "skipped", "bad": "that cannot be read"}


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


def show_data(images: EvaluationData, details: bool) -> None:
    """Before the training: whose images are in which split, and how many are left out.

    Args:
        images: of all splits.
        details: whether to show what becomes of each kind of image, and how images are
            distributed over identities, in tables.
    """
    if details:
        whole = identities_of(images.prepared)
        tables.show(tables.data_table(images.prepared.summary()), skew.skew_table(whole))
    else:
        for line in wrapped(data_in_words(images)):
            print(line)
    if images.manifest.caution:
        print(f"note: {images.manifest.caution}")


def data_in_words(images: EvaluationData) -> str:
    """One sentence about the data of a run."""
    parts, left_out = [], Counter[str]()
    for split, prepared in images.prepared.splits.items():
        people = len(prepared.table.distinct_identities)
        parts.append(
            f"{images.prepared.called(split)} {people:,} (of {prepared.counts['kept']:,} images)"
        )
        for kind in _LEFT_OUT:
            left_out[kind] += prepared.counts[kind]
    lost = [f"{n:,} {_LEFT_OUT[kind]}" for kind, n in left_out.items() if n]
    said = f"{images.manifest.dataset}: identities of {', '.join(parts)}"
    return f"{said}; not in use: {', '.join(lost)} (crops.json)" if lost else said


def show(run: TrainingRun, trained: bool, details: bool = False) -> None:
    """What came of a run, on one screen: the verdict first, and at the end where to look.

    Args:
        run: that is complete.
        trained: whether there was anything to train.
        details: whether to show all figures of every split, and of every group, too.
    """
    evaluation, shown = run.evaluation, os.path.relpath(run.folder)
    point, split = run.operating_point, judged_split(evaluation)
    print()
    for line in wrapped(verdict_in_words(run)):
        print(line)
    if details:
        figures = list(run.evaluations.values())
        tables.show(tables.evaluation_table(figures, point, evaluation.caution))
    else:
        for line in wrapped(threshold_in_words(point)):
            print(line)
    others = {b.title: b.evaluations[split] for b in evaluation.baselines}
    tables.show(tables.baselines_table(run.evaluations[split], others))
    if details:
        show_groups(run.evaluations[split].groups, split)
    elif run.evaluations[split].groups:
        print("figures by group: in the report, and with -v")
    for note in evaluation.notes:
        for line in wrapped(f"note: {note}"):
            print(line)
    took = f"training took {in_words(run.seconds)}, {run.seconds_per_epoch:.2f} s per epoch"
    print(took if trained else untrained(evaluation.bundle.backbone))
    page = f"report: {shown}/report.html    " if (run.folder / "report.html").is_file() else ""
    print(f"{page}figures: {shown}/evaluation.json    run: {shown}")
    if run.bundle.is_dir():
        compared = seen_without_search(evaluation.bundle.cropper)
        remark = f"    # compares {compared}, looks for no face" if compared else ""
        print(f"next: siamese verify A.jpg B.jpg --bundle {shown}/bundle{remark}")


def verdict_in_words(run: TrainingRun) -> str:
    """The verdict of the report; no run that is complete ends with an error for want of it."""
    try:
        verdict = judge_run(read_record(run.folder))
    except Exception as error:
        return f"note: no verdict could be made: {first_line(error) or type(error).__name__}"
    return f"{verdict.headline}. {verdict.sentence}"


def threshold_in_words(point: OperatingPoint) -> str:
    """The threshold, how it was chosen, and what it promises."""
    low, high = point.ci95.get("threshold", (None, None))
    around = "" if low is None else f" (95 %: {low:.4f} to {high:.4f})"
    said = (
        f"threshold: the same identity where the {point.distance} distance <= "
        f"{point.threshold:.4f}{around}; {point.choice_in_words()}; on {point.split}"
    )
    return f"{said}. It promises: {point.promise_in_words}" if point.promise else said


def wrapped(text: str) -> list[str]:
    """Lines of a sentence, as wide as the terminal, and no wider than 100 columns."""
    width = min(100, shutil.get_terminal_size((100, 24)).columns)
    return textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False)


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
