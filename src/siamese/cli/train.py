"""`siamese train`: a run configured with Hydra; all of Hydra's own features work through it."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from siamese.cli.job import check_given, objective, one_line, train_as_told
from siamese.errors import (
    ConfigError,
    NothingLeftError,
    SiameseError,
    first_line,
)
from siamese.launched import by_slurm, by_torchrun

if TYPE_CHECKING:
    from omegaconf import DictConfig


HELP = "train a network, calibrate its threshold, test it, and save a bundle"
DESCRIPTION = (
    "Train a network, calibrate its threshold on identities it is not trained on, test it on "
    "identities neither saw (unless data/split says otherwise), and save a bundle."
)
EPILOG = """\
settings are given as group=choice or path.to.setting=value, in any order:
  siamese train                                  the ORL faces, in a few minutes
  siamese train data=lfw data.root=PATH          Labeled Faces in the Wild
  siamese train data=folder data.root=PATH       your own images, PATH/<identity>/<image>.jpg
  siamese train data=csv data.csv=FILE           your own images, columns path,identity
  siamese train data=parquet data.parquet=FILE   the same for millions of images
  siamese train data/cropper=dlib_hog data.cropper.margin=0.3 module.loss.margin=1.5
  siamese train experiment=balanced_pairs        a ready-made experiment
  siamese train resume=runs/latest max_epochs=48 go on with an earlier run, with its settings
  siamese train data=orl resume=auto             go on with the newest unfinished run, or begin one
  siamese train name=wide module.loss.margin=1.5 a run whose folder ends with its name
  siamese train plugins=[mine.py] --config-dir conf module/backbone=my_net   your own class
  siamese train --multirun module.loss.margin=1,1.5,2   several runs, and a table of them
  siamese train --multirun hydra/sweeper=optuna 'module.loss.margin=interval(0.5,2)'
                                                 settings that Optuna chooses, by the EER of the
                                                 calibration people (pip: hydra-optuna-sweeper)
  siamese train --multirun hydra/launcher=slurm ...         its runs as jobs of SLURM (extra slurm)
  siamese train trainer.devices=2                two processes, on two GPUs or cores
  siamese train -v                               print the figures of all splits and groups, too
  siamese train --cfg job                        show the settings and stop
  siamese train --hydra-help                     all options of Hydra
often set: max_epochs, seed (weights and batches), data.seed (the split), data.workers,
data.bad_images=quarantine, keep=best|last, module.optimizer.lr, module.loss.margin,
data.sampler.identities, data.sampler.images, plots=false, overwrite=true, trainer.* (Lightning's
own, loggers and callbacks too: +trainer.logger._target_=CLASS +trainer.logger.ARGUMENT=VALUE).
every argument of the class that a `_target_` names can be set; what is left out keeps the class's
default: --cfg job shows the classes, and a class's arguments are shown by
python -c "import siamese; help(siamese.ImageDataModule)"
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Hydra reads the settings; only the help is ours."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.usage = "siamese train [setting=value ...] [Hydra's options]"


def print_help(parser: argparse.ArgumentParser) -> None:
    """The help, with all groups and their choices."""
    from siamese.cli.overrides import groups

    parser.print_help()
    print("groups and their choices:")
    for group, choices in groups(config_folder()).items():
        print(f"  {group}: {', '.join(choices)}")


def config_folder() -> Path:
    """The packaged configurations, or the checkout's."""
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "conf", package.parents[1] / "conf"):
        if (folder / "train.yaml").is_file():
            return folder
    raise ConfigError(f"{package}: the configurations are missing; install siamese-lightning again")


def run_words(argv: Sequence[str]) -> int:
    """Hand the settings to Hydra; returns 0, or raises a :class:`SiameseError`."""
    import hydra
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    from siamese.cli.company import follow
    from siamese.cli.flags import check_flags
    from siamese.cli.newest_run import with_run
    from siamese.cli.overrides import complete_overrides, groups
    from siamese.cli.plugin_setting import import_given
    from siamese.cli.recorded_settings import with_recorded_settings
    from siamese.cli.run_folder import Refused, RunFolder
    from siamese.cli.sweep import show_sweep

    if by_torchrun() or by_slurm():
        from siamese.training.joining import join_run

        if not join_run().first:
            return follow()
    folder, before = config_folder(), sys.argv
    # Of a run before, in the same process.
    RunFolder.before, RunFolder.recorded = frozenset(), {}
    automatic = "resume=auto" in argv
    argv = ["details=true" if word in ("-v", "--verbose") else word for word in argv]
    argv = with_recorded_settings(with_run(argv), groups(folder), folder)
    check_flags(argv, folder)
    import_given(argv)
    os.environ["HYDRA_FULL_ERROR"] = "1"  # hand exceptions on to us instead of printing them
    try:
        sys.argv = ["siamese train", *complete_overrides(argv, folder)]
        hydra.main(version_base="1.3", config_path=str(folder), config_name="train")(_job)()
    except Refused as refused:
        if automatic and isinstance(refused.error, NothingLeftError):  # given once more: no failure
            print(refused.error)
            return _done()
        raise refused.error from refused
    except (HydraException, OmegaConfBaseException) as error:
        if "does not support sweep type" in str(error):
            raise ConfigError(
                "interval(...), range(...) of floats and the like need a sweeper that chooses "
                "values: add hydra/sweeper=optuna (pip install hydra-optuna-sweeper)"
            ) from error
        raise ConfigError(one_line(error)) from error
    except RuntimeError as error:
        if "srun" not in str(error):
            raise
        raise ConfigError(
            f"hydra/launcher=slurm: {first_line(error)}; start the sweep where SLURM's commands are"
        ) from error
    except SystemExit as ended:  # --hydra-help and the like
        if not ended.code:
            _done()
        raise
    finally:
        sys.argv = before
        show_sweep()  # also of a sweep that was stopped, or of which a run failed
    return _done()


def _done() -> int:
    """Let the processes that torchrun has started go, too; returns 0."""
    from siamese.cli.company import dismiss

    if by_torchrun():
        dismiss()
    return 0


def _job(config: DictConfig) -> float:
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    from siamese.cli.run_folder import Refused, RunFolder, is_taken, restore_settings
    from siamese.cli.sweep import forget_failure, note_failure

    folder = Path(HydraConfig.get().runtime.output_dir)
    sweeping = HydraConfig.get().mode == RunMode.MULTIRUN
    taken = is_taken(folder, config)  # the run there did not fail: this one is refused
    try:
        if not taken:
            forget_failure(folder)
        found = _run(config, folder)
        if not sweeping:
            _link_latest(folder)
        return found
    except Exception as error:
        if not sweeping:
            restore_settings(folder)
        if sweeping and not taken:  # the sweeper decides whether the other runs go on
            note_failure(folder, error)
        if not sweeping and isinstance(error, SiameseError):
            raise Refused(error) from error
        raise
    finally:
        _remove_if_empty(folder, () if sweeping else RunFolder.before)


def _run(config: DictConfig, folder: Path) -> float:
    """Run a job: in this process, in others of this machine, or with those of torchrun."""
    from hydra.core.hydra_config import HydraConfig
    from hydra.utils import instantiate
    from omegaconf import OmegaConf

    from siamese.cli.company import lead, run_in_processes, wanted_processes

    job = (config, OmegaConf.create({"hydra": HydraConfig.get()}), str(folder))
    given: Any = OmegaConf.select(config, "trainer")
    settings: Any = OmegaConf.to_container(given, resolve=True) if given else {}
    if isinstance(settings.get("strategy"), dict):
        settings["strategy"] = instantiate(given.strategy, _convert_="all")
    count = wanted_processes(settings)
    if count > 1:
        check_given(config)
        return run_in_processes(count, job)
    if by_torchrun():
        return lead(job)
    return objective(train_as_told(config, folder))


def _remove_if_empty(folder: Path, before: Collection[str]) -> None:
    """Remove what Hydra wrote before the run began, if that is all, and the folder if it is empty.

    Args:
        folder: of the run.
        before: names of what lay there before.
    """
    from siamese.cli.run_folder import HYDRAS

    new = [path for path in folder.iterdir() if path.name not in before] if folder.is_dir() else []
    if any(path.name not in HYDRAS for path in new):
        return
    for path in new:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    for each in (folder, *list(folder.parents)[:2]):
        if each.is_dir() and each.resolve() != Path.cwd() and not any(each.iterdir()):
            each.rmdir()


def _link_latest(folder: Path) -> None:
    """Let ``runs/latest`` point to this run: the default of `siamese evaluate`."""
    runs = Path("runs")
    try:
        runs.mkdir(exist_ok=True)
        temporary = runs / f".latest.{os.getpid()}"
        temporary.symlink_to(os.path.relpath(folder.resolve(), runs.resolve()))
        os.replace(temporary, runs / "latest")
    except OSError as error:  # a file system without links
        print(
            f"note: {runs / 'latest'} could not be set ({error.strerror}); give the run's folder "
            f"to siamese evaluate and siamese calibrate"
        )
