"""How the processes of a run find each other, and what each has to do before they train."""

from __future__ import annotations

import contextlib
import io
import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any, TypeVar

import pytorch_lightning as pl
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment

from siamese.data.datamodule import ImageDataModule
from siamese.errors import ConfigError, first_line
from siamese.launched import (
    by_slurm,
    by_torchrun,
    follows,
    machines,
    on_this_machine,
)
from siamese.processes import Processes, across_processes, meet

T = TypeVar("T")


def join_run() -> Processes:
    """The processes that torchrun or srun has started; else this one alone.

    Those that Lightning's ``ddp`` starts meet later, when the training begins: until then each is
    alone, and all but the first (:func:`siamese.launched.follows`) write nothing.

    Raises:
        ConfigError: tasks of SLURM that are not asked for as Lightning understands them.
    """
    speak_as_torchrun()
    return meet()


def speak_as_torchrun() -> None:
    """Give a process that srun has started the variables that torchrun would have given.

    Raises:
        ConfigError: tasks of SLURM that are not asked for as Lightning understands them.
    """
    if by_slurm() and not by_torchrun():
        on_machine = on_this_machine()
        try:
            slurm = SLURMEnvironment()
        except RuntimeError as error:
            raise ConfigError(f"SLURM: {first_line(error)}") from error
        os.environ |= {
            "MASTER_ADDR": slurm.main_address,
            "MASTER_PORT": str(slurm.main_port),
            "RANK": str(slurm.global_rank()),
            "LOCAL_RANK": str(slurm.local_rank()),
            "WORLD_SIZE": str(slurm.world_size()),
            "LOCAL_WORLD_SIZE": str(on_machine),
        }


def started_devices() -> dict[str, Any]:
    """Arguments of Lightning's Trainer that fit the processes that torchrun has started."""
    if not by_torchrun():
        return {}
    return {"devices": on_this_machine(), "num_nodes": machines(), "strategy": "ddp"}


def lead(here: Processes, work: Callable[[], T]) -> T | None:
    """Let the process that writes do something; where the others have joined, they wait for it.

    An error is raised in all that have joined.
    """
    if here.count > 1:
        return here.by_first(work)
    return None if follows() else work()


def set_up(data: ImageDataModule, here: Processes) -> None:
    """Split and crop: one process first, or one of each machine, then the others from the cache.

    Lightning's ``data.prepare_data_per_node`` tells which: True, its default, where machines have a
    cache of their own.
    """
    if here.count > 1:
        mine = here.leads_machine() if data.prepare_data_per_node else here.first
        here.by_some(data.setup, mine)
    data.setup()


@contextlib.contextmanager
def one_speaks() -> Iterator[None]:
    """Inside, a process that follows another prints nothing, and warns of nothing."""
    if not follows():
        yield
        return
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def shared(trainer: pl.Trainer) -> AbstractContextManager[object]:
    """Inside, the processes of a Trainer divide what can be divided, such as tiles of pairs."""
    return across_processes() if trainer.world_size > 1 else contextlib.nullcontext()


def asks_for_several(settings: Mapping[str, Any]) -> bool:
    """Whether settings of a Trainer may mean more than one process."""
    return any(settings.get(name, 1) not in (1, "1", None) for name in ("devices", "num_nodes"))
