"""Where Hydra puts a run or a sweep: noted, and refused where another one lies already."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from hydra.experimental.callback import Callback

from siamese.errors import ConfigError, SiameseError

if TYPE_CHECKING:
    from omegaconf import DictConfig


class Refused(BaseException):
    """Carries an error of ours past Hydra, which prints lines of its own about an Exception."""

    def __init__(self, error: SiameseError) -> None:
        super().__init__(str(error))
        self.error = error


class RunFolder(Callback):
    """Looks at the folder before Hydra writes there; ``conf/train.yaml`` names this class.

    Later is too late: the settings of the run that lies there would be gone.

    Attributes:
        sweep: folder and name of the sweep that has begun in this process; None if none has.
    """

    sweep: ClassVar[tuple[Path, str] | None] = None

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Refuse the folder of another run."""
        folder = _resolved(config, "hydra.run.dir")
        _check(folder, folder, config)

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Refuse the folder of another sweep; keep that of this one, and its name or ""."""
        folder = _resolved(config, "hydra.sweep.dir")
        if folder.is_dir():
            for path in folder.iterdir():
                if path.name.isdigit():  # of any other name are those that the user makes distinct
                    _check(path, folder, config)
        RunFolder.sweep = folder, str(config.get("name") or "")


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
    from siamese.training.folder import holds_run

    resumed = config.get("resume")
    goes_on = resumed and Path(str(resumed)).expanduser().resolve().is_relative_to(run.resolve())
    if config.get("overwrite") is not True and not goes_on and holds_run(run):
        shown = os.path.relpath(given)
        mode = "run" if run == given else "sweep"
        raise Refused(
            ConfigError(
                f"{shown} holds another {mode}: give another folder (hydra.{mode}.dir=...), "
                + (f"go on with that run (resume={shown}), " if mode == "run" else "")
                + "or replace it (overwrite=true)"
            )
        )
