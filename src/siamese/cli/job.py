"""A run as the settings of the command describe it: built, trained, and what is wrong said."""

from __future__ import annotations

import importlib
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from siamese.cli.options import note_few_identities
from siamese.errors import ConfigError, SiameseError, did_you_mean, first_line
from siamese.launched import follows

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from siamese.training.training_run import TrainingRun


def objective(result: TrainingRun) -> float:
    """What a sweep makes as small as it can: the EER, 0..1, of those who chose the threshold.

    Hydra's sweepers minimise. The EER depends on no threshold and on no prevalence, and nothing is
    ever chosen by the figures of test identities.
    """
    return result.evaluations[result.operating_point.split].eer


def check_given(config: DictConfig) -> None:
    """See what is missing or wrong before anything slow is begun.

    Raises:
        ConfigError, SplitError: something is.
    """
    from omegaconf import OmegaConf

    missing = OmegaConf.missing_keys(config)
    if missing:
        name = sorted(missing)[0]
        raise ConfigError(f"{name} is not given; add {name}=... to the command")
    for name in ("overwrite", "plots", "faces", "allow_changes"):
        if not isinstance(config[name], bool):
            raise ConfigError(f"{name} must be true or false, not {config[name]!r}")
    if not isinstance(config.seed, int) or config.seed < 0:
        raise ConfigError(f"seed must be a whole number of at least 0, not {config.seed!r}")
    _look_for_files(config)


def train_as_told(config: DictConfig, folder: Path) -> TrainingRun:
    """The run that settings describe, in this process, or with those that it has joined.

    Raises:
        SiameseError: see :func:`siamese.train`.
    """
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode
    from hydra.utils import get_original_cwd, instantiate
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    check_given(config)
    # Only now, since it takes seconds.
    import pytorch_lightning as pl

    from siamese.cli.plugin_setting import import_all
    from siamese.cli.setting_checks import check_settings
    from siamese.training.run import train

    pl.seed_everything(config.seed, workers=True, verbose=False)
    try:
        plain: Any = OmegaConf.to_container(config, resolve=True)
        import_all(plain.get("plugins", []), Path(get_original_cwd()))
        words = HydraConfig.get().overrides.task
        check_settings(plain, [word.lstrip("+").partition("=")[0] for word in words])
        data, module, pairs, policy, trainer = (
            instantiate(config[part], _convert_="all")
            for part in ("data", "module", "pairs", "policy", "trainer")
        )
    except OmegaConfBaseException as error:
        raise ConfigError(one_line(error)) from error
    except Exception as error:
        raise _instantiation_error(error) from error
    sweeping = HydraConfig.get().mode == RunMode.MULTIRUN
    result = train(
        module,
        data,
        folder,
        max_epochs=config.max_epochs,
        pairs=pairs,
        policy=policy,
        keep=config.keep,
        monitor=config.monitor.name,
        mode=config.monitor.mode,
        resume=config.resume,
        trainer=({"enable_progress_bar": True} if sweeping else {}) | _trainer_settings(trainer),
        provenance={"config": plain},
        allow_changes=config.allow_changes,
        overwrite=config.overwrite,
        plots=config.plots,
        faces=config.faces,
        baselines=plain["baselines"] or (),
        # The figures of test people are nothing to compare runs by; they are in the runs' folders.
        verbose=not sweeping,
        details=config.details,
    )
    if follows():
        return result
    if sweeping:
        split = result.operating_point.split
        shown = f"EER {result.evaluations[split].eer:.3f} on the {split} people"
        print(f"{shown}: {os.path.relpath(folder)}", flush=True)
    note_few_identities(result.operating_point.identities)
    return result


def _look_for_files(config: DictConfig) -> None:
    """Miss what the split needs beside the images before anything slow is begun.

    Raises:
        SplitError: see :meth:`SplitProtocol.look_for_files`.
    """
    from hydra.utils import instantiate
    from omegaconf import OmegaConf

    from siamese.data.split_protocols.base import SplitProtocol

    try:
        root = OmegaConf.select(config, "data.root")
        made_before = OmegaConf.select(config, "data.manifest")
        protocol = instantiate(OmegaConf.select(config, "data.split"), _convert_="all")
    except Exception:  # wrong settings, or a plug-in's class: named when everything is built
        return
    if isinstance(protocol, SplitProtocol) and isinstance(root, str) and not made_before:
        protocol.look_for_files(Path(root))


def _trainer_settings(given: Any) -> dict[str, Any]:
    """Arguments of Lightning's Trainer; several callbacks or loggers may each have a name.

    Raises:
        ConfigError: something else than arguments.
    """
    if given is not None and not isinstance(given, dict):
        raise ConfigError(
            "trainer holds arguments of pytorch_lightning.Trainer: leave out trainer._target_"
        )
    settings = dict(given or {})
    for name in ("callbacks", "logger"):
        value = settings.get(name)
        if isinstance(value, dict):
            settings[name] = list(value.values())
    return settings


def _instantiation_error(error: Exception) -> Exception:
    """What a user can act on, out of Hydra's wrapping; an error of ours, or the original if it is a
    bug.
    """
    from hydra.errors import HydraException

    if target := re.search(r"Error locating target '([^']+)'", str(error)):
        error = _missing_target(target[1], error)
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, SiameseError):
            return cause
        if isinstance(cause, SyntaxError):
            return ConfigError(
                f"{cause.filename}, line {cause.lineno}: {cause.msg}; correct that file"
            )
        if isinstance(cause, (TypeError, ValueError)):
            reason = first_line(cause).replace(".__init__()", "")
            where = [
                line.split(":", 1)[1].strip()
                for line in str(error).splitlines()
                if line.startswith("full_key:")
            ]
            return ConfigError(
                f"{where[0] if where else 'settings'}: {reason}; see the class's arguments"
            )
        cause = cause.__cause__ or cause.__context__
    return ConfigError(one_line(error)) if isinstance(error, HydraException) else error


def _missing_target(target: str, error: Exception) -> Exception:
    """What is wrong with a ``_target_`` that cannot be found; its file's error if that fails."""
    if "." not in target:
        return ConfigError(f"_target_={target}: a target is MODULE.CLASS, such as mine.{target}")
    parts = target.split(".")
    found: Any = None
    depth = 0
    for end in range(1, len(parts)):  # modules as far as they go, then names in them
        try:
            found, depth = importlib.import_module(".".join(parts[:end])), end
        except ModuleNotFoundError as missing:
            if missing.name == ".".join(parts[:end]):
                break
            return ConfigError(
                f"{target}: its file needs {missing.name!r}, which is not installed; install that"
            )
        except Exception as failed:  # whatever a user's own file raises
            return failed
    if found is None:
        return ConfigError(
            f"{target}: there is no module {parts[0]!r}; if {parts[0]}.py is yours, say where it "
            f"lies: plugins=[{parts[0]}.py], or PYTHONPATH=. before the command"
        )
    for number, name in enumerate(parts[depth:], depth):
        if not hasattr(found, name):
            public = [n for n in dir(found) if not n.startswith("_")]
            return ConfigError(
                f"{target}: {'.'.join(parts[:number])} has no {name}{did_you_mean(name, public)}"
            )
        found = getattr(found, name)
    return error


def one_line(error: Exception) -> str:
    """An error of Hydra's in one line, without what helps nobody."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = "; ".join(
        line.partition(", set env var")[0]
        for line in lines
        if not line.startswith(("object_type", "See https", "Set the environment"))
    )
    return f"{text.replace(':;', ':')}; see siamese train --help" if text else type(error).__name__
