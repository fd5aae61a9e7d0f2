"""The folder of a run: what lies in it, whether it may be used, and emptying it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from siamese.datasets.suffixes import is_image
from siamese.errors import ConfigError
from siamese.evaluation.data import EvaluationData
from siamese.evaluation.report_data import FILES as REPORT_FILES
from siamese.evaluation.sources import is_at_work
from siamese.inference.bundle import free_folder

# What a run leaves in its folder, beside bundle/, checkpoints/, logs/ and plots/.
FILES = (
    "evaluation.json",
    "history.csv",
    "timing.json",
    "run.json",
    "split.json",
    "crops.json",
    "skew.json",
    *REPORT_FILES,
)
FINISHED = "timing.json"  # the last file that a run writes
# What shows that a folder holds a run.
RESULTS = (
    "evaluation.json",
    "bundle",
    "checkpoints/last.ckpt",
    "checkpoints/best.ckpt",
)


def holds_run(folder: Path) -> bool:
    """Whether a folder holds a run: one that came as far as a checkpoint, or is still at work.

    A run that was killed in its first epoch may have a best checkpoint, and no last one to go on
    from: nothing is lost where it begins again.
    """
    found = [name for name in RESULTS if (folder / name).exists()]
    if found == ["checkpoints/best.ckpt"] and (folder / "run.json").is_file():
        found = []
    return bool(found) or is_at_work(folder)


def unfinished(folder: Path) -> bool:
    """Whether a folder holds a run that can be gone on with and did not come to its end."""
    begun = (folder / "checkpoints" / "last.ckpt").is_file()
    return begun and not (folder / FINISHED).exists()


def check_folder(folder: Path, images: EvaluationData, overwrite: bool) -> None:
    """Refuse a folder where the run's files would lie among what is not the run's.

    Raises:
        ConfigError: it holds images of the data, or another run that may not be overwritten.
        BundleError: its ``bundle`` is something else than a bundle.
    """
    free_folder(folder / "bundle")
    if not overwrite and holds_run(folder):
        raise ConfigError(
            f"{folder} holds another run: give another folder, go on with that run "
            f"(resume={str(folder)!r}), or replace it (overwrite=True; on the command line "
            f"overwrite=true)"
        )
    taken = [name for name in (*FILES, "plots", "logs") if (folder / name).exists()]
    failed = (folder / "run.json").exists()  # before its first checkpoint: nothing is lost
    if not overwrite and taken and not failed:
        raise ConfigError(
            f"{folder / taken[0]} is where a run would write, and may be yours: give another "
            f"folder, or let it be removed (overwrite=True; on the command line overwrite=true)"
        )
    home, root = folder.resolve(), Path(images.manifest.root)
    if not _holds_images(home):  # to look where each of millions of images lies would take hours
        return
    for entries in images.manifest.splits.values():
        for entry in entries:
            if (root / entry["file"]).resolve().is_relative_to(home):
                raise ConfigError(
                    f"{folder} holds the images to train on; give another folder for the run's "
                    f"files, or they would be read as images the next time"
                )


def _holds_images(folder: Path) -> bool:
    """Whether there is any file in a folder that might be an image, however deep."""
    return any(is_image(name) for _, _, names in os.walk(folder) for name in names)


def remove_results(folder: Path) -> None:
    """Remove what another run left in the folder: its results, and the checkpoints that we wrote.

    Its weights may have been trained on identities that are tested now.
    """
    for name in FILES:
        (folder / name).unlink(missing_ok=True)
    for name in ("best.ckpt", "last.ckpt"):
        (folder / "checkpoints" / name).unlink(missing_ok=True)
    for name in ("bundle", "logs", "plots"):
        shutil.rmtree(folder / name, ignore_errors=True)
