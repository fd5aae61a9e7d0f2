"""What is evaluated: a bundle, a finished run, or a run that has only a checkpoint so far."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, Union

import msgspec

from siamese.checkpoint_files import read_checkpoint, sizes_of
from siamese.errors import (
    BundleError,
    CheckpointError,
    ConfigError,
    MissingDependencyError,
    SiameseError,
    UnknownNameError,
    first_line,
)
from siamese.evaluation.data import pair_rule_of
from siamese.evaluation.stored_run import VERSION, StoredProcess, read_object_of, read_run
from siamese.inference.bundle import A_SWEEP, PRETRAINED, RUN, SWEEP, Bundle, bundle_in
from siamese.inference.components import Components
from siamese.inference.signature import VARIABLE, wanted_keys
from siamese.pairs.balanced_pairs import BalancedPairs
from siamese.pairs.base import FIXED, PAIR_RULES, PairRule
from siamese.verification.policies.base import Policy, as_policy
from siamese.verification.stored_point import Count, check_settings

# What a description or weights that do not belong together make us, or torch, say.
_DAMAGE = (
    SiameseError,
    AttributeError,
    KeyError,
    TypeError,
    ValueError,
    RuntimeError,
    OSError,
    MemoryError,
    OverflowError,
    IndexError,
)


@dataclass(frozen=True)
class UnfinishedRun:
    """A run without a bundle: interrupted, or still in training.

    Attributes:
        folder: of the run.
        components: with the weights of the last checkpoint; nothing is fitted in closed form yet.
        pair_rule, policy: how its threshold is to be chosen.
        epoch, step: of the checkpoint.
        provenance: facts for the bundle.
    """

    folder: Path
    components: Components
    pair_rule: PairRule
    policy: Policy
    epoch: int
    step: int
    provenance: dict[str, Any]


class HasFolder(Protocol):
    """What :func:`siamese.train` returns: it knows its run's folder."""

    @property
    def folder(self) -> Path:
        """Of the run."""


Source = Union[Bundle, str, Path, HasFolder]


def home_of(run: Source) -> Bundle | str | Path:
    """A bundle as it is; a run by its folder.

    Raises:
        ConfigError: something else.
    """
    if isinstance(run, (Bundle, str, Path)):
        return run
    folder = getattr(run, "folder", None)
    if not isinstance(folder, Path):
        raise ConfigError(
            f"a {type(run).__name__} is neither a run nor a bundle: give what siamese.train "
            f"returned, a siamese.Bundle, a folder, or 'pretrained'"
        )
    return folder


def place_of(run: Source) -> Bundle | str | Path:
    """Where the bundle is: as :func:`home_of`, but for a run whose bundle could not be saved."""
    home = home_of(run)
    if isinstance(home, Bundle) or home == PRETRAINED or bundle_in(Path(home)):
        return home
    made = getattr(getattr(run, "evaluation", None), "bundle", None)
    return made if isinstance(made, Bundle) else home


def describe_run(
    components: Components,
    pair_rule: PairRule,
    policy: Policy,
    provenance: dict[str, Any],
    missing: str | None = None,
) -> dict[str, Any]:
    """The content of ``run.json``, from which and a checkpoint a bundle can be made at any time.

    Args:
        components, pair_rule, policy, provenance: what the bundle will be made of.
        missing: why none can be made; None where one can.
    """
    if missing is not None:
        return {"version": VERSION, "process": process_now(), "missing": missing}
    described = pair_rule.describe()
    return {
        "version": VERSION,
        "process": process_now(),
        **components.describe(),
        "pair_rule": None if described["name"] == FIXED else described,
        "policy": policy.describe(),
        "provenance": provenance,
    }


def process_now() -> dict[str, Any]:
    """Which process on which machine writes a run; pid, host, and when it was started."""
    return {"pid": os.getpid(), "host": platform.node(), "started": _started(os.getpid())}


def _started(pid: int) -> int | None:
    """When a process was started, in ticks since the machine was; None where nobody tells.

    The numbers of processes are given again, in containers soon.
    """
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return None


def is_at_work(folder: Path, elsewhere: bool = True) -> bool:
    """Whether another process may be writing the run of a folder now.

    That of this machine may if it lives; of another machine nobody knows.

    Args:
        folder: of the run.
        elsewhere: what to say of a process of another machine.
    """
    try:
        process = read_object_of(folder / RUN)["process"]
        stored = msgspec.convert(process, StoredProcess)
    except (OSError, ValueError, KeyError):
        return False
    pid, host = stored.pid, stored.host
    if host != platform.node():
        return elsewhere
    if pid == os.getpid() or (stored.started and stored.started != _started(pid)):
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it is somebody else's
        pass
    return True


def open_source(run: Bundle | str | Path) -> Bundle | UnfinishedRun:
    """The bundle that is meant; where a run has none yet, the run as far as it came.

    Args:
        run: a bundle, its folder, or the folder of a run.

    Raises:
        BundleError: no bundle, or a damaged one.
        ConfigError: a folder that is no run.
    """
    if isinstance(run, Bundle):
        return run
    if run == PRETRAINED:
        return Bundle.load(run)
    folder = Path(run).expanduser()
    if bundle_in(folder):
        return Bundle.load(folder)
    if (folder / RUN).is_file():
        return _from_checkpoint(folder)
    if (folder / ".hydra").is_dir():
        raise ConfigError(f"{run}: the run was stopped before training began; train again")
    if (folder / SWEEP).is_file():
        raise ConfigError(f"{run}: {A_SWEEP}")
    if folder.is_dir() and not (folder / "bundle").exists():
        raise ConfigError(
            f"{run}: not the folder of a run; to evaluate a run on these images: --data {run}"
        )
    return Bundle.load(folder)  # which says what is missing


def pair_rule_at(run: Bundle | str | Path) -> PairRule:
    """Which pairs a run, or the threshold of a bundle, was calibrated on.

    Raises:
        BundleError: neither a bundle nor a run, or a damaged one.
    """
    if not isinstance(run, Bundle):
        folder = Path(run).expanduser()
        if not bundle_in(folder) and (folder / RUN).is_file():
            try:
                return _described_rule(read_object_of(folder / RUN)["pair_rule"])
            except _DAMAGE as error:
                raise BundleError(
                    f"{folder / RUN}: does not describe a run ({first_line(error)}); train again"
                ) from error
        run = Bundle.load(folder)
    return pair_rule_of(None, run.operating_point)


def _described_rule(settings: Any) -> PairRule:
    if not settings:
        return BalancedPairs()
    check_settings(settings, "pair_rule")
    return PAIR_RULES.build(settings)


def _from_checkpoint(folder: Path) -> UnfinishedRun:
    checkpoint = folder / "checkpoints" / "last.ckpt"
    if wanted_keys(None) is not None:
        raise BundleError(
            f"{folder}: the run has a checkpoint and no bundle yet, and a checkpoint cannot be "
            f"signed; unset {VARIABLE} to evaluate a run of your own"
        )
    try:
        content = read_checkpoint(checkpoint)
        weights = content["state_dict"]
        sizes = sizes_of(weights)
        epoch, step = (msgspec.convert(content[k], Count) for k in ("epoch", "global_step"))
    except FileNotFoundError as error:
        raise BundleError(
            f"{folder}: the run has neither a bundle nor a checkpoint yet; wait for the end of its "
            f"first epoch, or, if it was killed, train again"
        ) from error
    except CheckpointError as error:
        raise BundleError(f"{error}; resume the run, or train again") from error
    except (OSError, KeyError, ValueError, MemoryError) as error:
        reason = f"no {error}" if isinstance(error, KeyError) else first_line(error)
        raise BundleError(
            f"{checkpoint}: not a checkpoint ({reason:.120}); resume the run, or train again"
        ) from error
    try:
        stored = read_run(folder / RUN)
        components = Components.build(msgspec.structs.asdict(stored), sizes)
        components.load_tensors(weights)
        components.distance.eval()
        rule = _described_rule(stored.pair_rule)
        policy = as_policy(stored.policy)
    except (BundleError, MissingDependencyError):
        raise
    except UnknownNameError as error:
        raise BundleError(f"{folder / RUN}: {error}") from error
    except _DAMAGE as error:
        reason = first_line(error)
        raise BundleError(
            f"{folder / RUN}: does not describe this run ({reason:.300}); resume the run, or train "
            f"again"
        ) from error
    return UnfinishedRun(folder, components, rule, policy, epoch, step, stored.provenance)
