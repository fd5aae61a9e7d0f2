"""What the variables of torchrun, SLURM and Lightning say of a process."""

import pytest

from siamese import launched

NAMES = (
    *("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "LOCAL_RANK", "LOCAL_WORLD_SIZE"),
    *("NODE_RANK", "SLURM_PROCID", "SLURM_NTASKS", "SLURM_JOB_NAME", "SLURM_LOCALID"),
    *("SLURM_NNODES", "SLURM_STEP_ID", "SLURM_STEP_NUM_TASKS", "SLURM_STEP_NUM_NODES"),
)
STEP = {"SLURM_STEP_ID": 0, "SLURM_STEP_NUM_TASKS": 4, "SLURM_NTASKS": 4}
# Who: variables, and then what is known: by_torchrun, by_slurm, follows, local_rank, machines.
CASES = {
    "alone": ({}, (False, False, False, 0, 1)),
    "torchrun, one process": (
        {"RANK": 0, "WORLD_SIZE": 1, "MASTER_ADDR": "h", "MASTER_PORT": 1, "LOCAL_RANK": 0},
        (False, False, False, 0, 1),
    ),
    "torchrun, the sixth of two machines with four each": (
        {
            "RANK": 5,
            "WORLD_SIZE": 8,
            "MASTER_ADDR": "h",
            "MASTER_PORT": 1,
            "LOCAL_RANK": 1,
            "LOCAL_WORLD_SIZE": 4,
        },
        (True, False, True, 1, 2),
    ),
    "srun, the first of four": (
        {"SLURM_PROCID": 0, "SLURM_LOCALID": 0, "SLURM_NNODES": 2, **STEP},
        (False, True, False, 0, 2),
    ),
    "srun, the last of four": (
        {"SLURM_PROCID": 3, "SLURM_LOCALID": 1, "SLURM_NNODES": 2, **STEP},
        (False, True, True, 1, 2),
    ),
    "a shell of SLURM, in which one starts things": (
        {"SLURM_PROCID": 0, "SLURM_JOB_NAME": "bash", **STEP},
        (False, False, False, 0, 1),
    ),
    "a script of sbatch with four tasks, before any srun": (
        {"SLURM_PROCID": 0, "SLURM_NTASKS": 4, "SLURM_JOB_NAME": "train.sh"},
        (False, False, False, 0, 1),
    ),
    "a step of one task": (
        {"SLURM_PROCID": 0, "SLURM_STEP_ID": 0, "SLURM_STEP_NUM_TASKS": 1},
        (False, False, False, 0, 1),
    ),
    "the first of Lightning's second machine": ({"NODE_RANK": 1}, (False, False, True, 0, 1)),
    "Lightning's first": (
        {"LOCAL_RANK": 0, "NODE_RANK": 0, "WORLD_SIZE": 2, "MASTER_ADDR": "h", "MASTER_PORT": 1},
        (False, False, False, 0, 1),
    ),
    "Lightning's second": (
        {"LOCAL_RANK": 1, "NODE_RANK": 0, "WORLD_SIZE": 2, "MASTER_ADDR": "h", "MASTER_PORT": 1},
        (False, False, True, 1, 1),
    ),
    "nonsense": ({"LOCAL_RANK": "first", "WORLD_SIZE": "many"}, (False, False, False, 0, 1)),
}


@pytest.mark.parametrize("case", CASES)
def test_who_started_a_process_and_whether_it_leads(monkeypatch, case):
    variables, expected = CASES[case]
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, str(value))
    found = (
        launched.by_torchrun(),
        launched.by_slurm(),
        launched.follows(),
        launched.local_rank(),
        launched.machines(),
    )
    assert found == expected
