"""What torchrun, SLURM and Lightning tell a process that they have started with others."""

from __future__ import annotations

import os

# Of torchrun; SLURM's srun and Lightning set others.
TORCHRUN = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


def by_torchrun() -> bool:
    """Whether torchrun has started this process, with others."""
    return all(name in os.environ for name in TORCHRUN) and _number("WORLD_SIZE") > 1


def by_slurm() -> bool:
    """Whether ``srun`` has started this process as one of several tasks.

    A script of sbatch has the variables of its job, too, but is one process: it is no step.
    """
    step = os.environ.get("SLURM_STEP_ID", "").isdigit()
    several = step and "SLURM_PROCID" in os.environ and _number("SLURM_STEP_NUM_TASKS") > 1
    return several and os.environ.get("SLURM_JOB_NAME") not in ("bash", "interactive")


def follows() -> bool:
    """Whether another process of the same job writes and speaks for this one."""
    if by_torchrun():
        return _number("RANK") > 0
    if by_slurm():
        return _number("SLURM_PROCID") > 0
    # Lightning's ddp, which starts the script once more for each device.
    return _number("LOCAL_RANK") + _number("NODE_RANK") > 0


def local_rank() -> int:
    """The number of this process among those of its machine."""
    return _number("SLURM_LOCALID" if by_slurm() and not by_torchrun() else "LOCAL_RANK")


def on_this_machine() -> int:
    """How many of the processes that torchrun or srun has started are on this machine."""
    if by_torchrun():
        return _number("LOCAL_WORLD_SIZE") or _number("WORLD_SIZE")
    return _number("SLURM_STEP_NUM_TASKS") // max(1, machines()) if by_slurm() else 1


def machines() -> int:
    """Over how many machines torchrun or srun has started processes."""
    if by_torchrun():
        return max(1, _number("WORLD_SIZE") // on_this_machine())
    return max(1, _number("SLURM_STEP_NUM_NODES") or _number("SLURM_NNODES")) if by_slurm() else 1


def _number(name: str) -> int:
    try:
        return int(os.environ.get(name, 0))
    except ValueError:
        return 0
