"""Where Hydra puts a run or a sweep: noted, and refused where another one lies already."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from hydra.experimental.callback import Callback

from siamese.errors import ConfigError, SiameseError
from siamese.report.sweep_runs import MARK
from siamese.storage import write_whole

if TYPE_CHECKING:
    from omegaconf import DictConfig

# What Hydra writes into a run's folder before the run begins: settings, and a log (named after
# the file `train.py`).
HYDRAS = (".hydra", "train.log")


class Refused(BaseException):
    """Carries an error of ours past Hydra, which prints lines of its own about an Exception."""

    def __init__(self, error: SiameseError) -> None:
        super().__init__(str(error))
        self.error = error


class Sweep(NamedTuple):
    """A sweep that has begun in this process.

    Attributes:
        folder: where its runs lie.
        name: as it was given, or empty.
        mark: what only the runs of this sweep have in the file :data:`MARK` of their folder.
        recorded: what lay there of an earlier run's settings and description.
        before: names of what lay in the folder before.
        plots: whether its report is drawn.
    """

    folder: Path
    name: str
    mark: str
    before: frozenset[str]
    plots: bool = True


class RunFolder(Callback):
    """Looks at the folder before Hydra writes there; ``conf/train.yaml`` names this class.

    Later is too late: the settings of the run that lies there would be gone. Hydra takes a copy of
    this object along to wherever a run is made, another machine say; so the runs know their sweep.

    Attributes:
        sweep: the one that has begun in this process; None if none has.
        before: names of what lay in the folder of this process's single run before it.
        mark: of the sweep; empty for a single run.
    """

    sweep: ClassVar[Sweep | None] = None
    recorded: ClassVar[Mapping[Path, bytes]] = MappingProxyType({})
    before: ClassVar[frozenset[str]] = frozenset()
    mark: str = ""

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Refuse the folder of another run."""
        folder = _resolved(config, "hydra.run.dir")
        _check(folder, folder, config)
        RunFolder.before = _names(folder)
        home = folder.resolve()
        files = [*(home / ".hydra").glob("*.yaml"), home / "run.json"]
        RunFolder.recorded = {path: path.read_bytes() for path in files if path.is_file()}

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Refuse a folder where other runs lie in the places of this sweep's runs."""
        from siamese.cli.sweep_folders import occupied

        folder = _resolved(config, "hydra.sweep.dir")
        subdir = str(config.hydra.sweep._get_node("subdir")._value())
        for path in occupied(folder, subdir, list(config.hydra.overrides.task)):
            _check(path, folder, config)
        self.mark = secrets.token_hex(8)
        name, plots = str(config.get("name") or ""), config.get("plots") is not False
        RunFolder.sweep = Sweep(folder, name, self.mark, _names(folder), plots)

    def on_job_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Mark a run as one of this sweep."""
        path = Path(config.hydra.runtime.output_dir) / MARK
        if self.mark and path.parent.is_dir():
            path.write_text(self.mark, encoding="utf-8")


def restore_settings(folder: Path) -> None:
    """Put back the settings of the run that was to go on there, if the new ones were refused.

    Hydra writes the new ones before they are looked at; a run that begins describes itself.
    """
    described = folder.resolve() / "run.json"
    recorded = RunFolder.recorded
    if described not in recorded or described.read_bytes() != recorded[described]:
        return
    for path, content in recorded.items():
        write_whole(path, content)


def is_taken(folder: Path, config: DictConfig) -> bool:
    """Whether another run lies there, which this one neither goes on with nor may replace."""
    from siamese.training.folder import holds_run

    resumed = config.get("resume")
    goes_on = resumed and Path(str(resumed)).expanduser().resolve().is_relative_to(folder.resolve())
    return config.get("overwrite") is not True and not goes_on and holds_run(folder)


def _names(folder: Path) -> frozenset[str]:
    return frozenset(path.name for path in folder.iterdir()) if folder.is_dir() else frozenset()


def _resolved(config: DictConfig, key: str) -> Path:
    """A folder that may be named by Hydra's own settings, which Hydra itself gives out later."""
    from hydra.core.hydra_config import HydraConfig
    from omegaconf import OmegaConf

    hydra = HydraConfig.instance()
    before = hydra.cfg
    hydra.set_config(config)
    try:
        return Path(str(OmegaConf.select(config, key)))
    finally:
        hydra.cfg = before


def _check(run: Path, given: Path, config: DictConfig) -> None:
    if is_taken(run, config):
        shown = os.path.relpath(given)
        mode = "run" if run == given else "sweep"
        raise Refused(
            ConfigError(
                f"{shown} holds another {mode}: give another folder (hydra.{mode}.dir=...), "
                + (f"go on with that run (resume={shown}), " if mode == "run" else "")
                + "or replace it (overwrite=true)"
            )
        )
