"""The report at the end of a run; what goes wrong with it costs no run."""

from __future__ import annotations

from collections.abc import Mapping

from siamese.data.adapters import TorchSampler
from siamese.data.datamodule import ImageDataModule
from siamese.errors import first_line
from siamese.evaluation.report_data import write_run_report
from siamese.training.training_run import TrainingRun


def report_on(
    run: TrainingRun, data: ImageDataModule, timing: Mapping[str, float], draw: bool, faces: bool
) -> None:
    """Write what the report of a run is made of, and the page.

    Args:
        run: complete, but for its last file.
        data: it was trained on.
        timing: what took how many seconds.
        draw: whether pictures are drawn; without them no image is kept, and no page is made.
        faces: whether the page shows images.
    """
    try:
        batch = (data.first_batch(), run.evaluation.data.datasets["train"])
        write_run_report(
            run.evaluation,
            run.folder,
            faces=faces and draw,
            draw=draw,
            batch=batch,
            timing=timing,
            one_rule=losses_of_one_rule(data),
        )
    except Exception as error:  # the run is saved: no report is worth an error
        print(f"note: no report was written: {first_line(error) or type(error).__name__}")


def losses_of_one_rule(data: ImageDataModule) -> bool:
    """Whether batches of training and of validation are drawn alike, so that losses compare."""
    return not isinstance(data.batch_sampler, TorchSampler)
