"""Launchers of sweeps: joblib's, and submitit's on a SLURM that is made up of four scripts."""

import os
import stat
import subprocess
import sys

import pytest
from tests.helpers import UNTRAINED, write_identities

pytest.importorskip("submitit")

# Runs each task of an array on this machine, and answers as sbatch does.
SBATCH = """#!/bin/bash
script="${@: -1}"
cp "$script" "$FAKE/submitted.sh"
export SLURM_JOB_ID=7 SLURM_ARRAY_JOB_ID=7 SLURM_NTASKS=1 SLURM_JOB_NUM_NODES=1
export SLURM_PROCID=0 SLURM_LOCALID=0 SLURM_NODEID=0 SLURM_JOB_NODELIST=localhost
for task in 0 1; do
  SLURM_ARRAY_TASK_ID=$task bash "$script" > "$FAKE/task$task.log" 2>&1 &
done
echo "Submitted batch job 7"
"""
SRUN = """#!/bin/bash
while [[ "$1" == --* ]]; do
  if [[ "$1" == --output || "$1" == --error ]]; then shift; fi
  shift
done
exec "$@"
"""
SACCT = """#!/bin/bash
echo "JobID|State|NodeList"
echo "7_0|RUNNING|localhost"
echo "7_1|RUNNING|localhost"
"""


def command(folder, *words, **environment):
    write_identities(folder / "people", [5] * 20)
    done = subprocess.run(
        [sys.executable, "-m", "siamese", "train", *UNTRAINED, "data.root=people", *words],
        cwd=folder,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_a_sweep_becomes_jobs_of_slurm(tmp_path):
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    for name, text in {"sbatch": SBATCH, "srun": SRUN, "sacct": SACCT, "scontrol": SRUN}.items():
        (bin_folder / name).write_text(text)
        (bin_folder / name).chmod(stat.S_IRWXU)
    out = command(
        tmp_path,
        "--multirun",
        "hydra/launcher=slurm",
        "hydra.launcher.partition=short",
        "hydra.launcher.gpus_per_node=2",
        "hydra.sweep.dir=sweep",
        "data.seed=0,1",
        PATH=f"{bin_folder}:{os.environ['PATH']}",
        FAKE=str(tmp_path),
    )
    assert "best by the calibration people's EER" in out
    assert {p.parent.name for p in (tmp_path / "sweep").glob("*/timing.json")} == {"0", "1"}
    asked = (tmp_path / "submitted.sh").read_text()
    for line in (
        "--array=0-1%2",
        "--ntasks-per-node=1",  # the task starts a process for each device itself
        "--gpus-per-node=2",
        "--cpus-per-task=8",
        "--partition=short",
        "--time=1440",
    ):
        assert f"#SBATCH {line}\n" in asked


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["joblib", "submitit_local"])
def test_several_runs_of_a_sweep_at_once(tmp_path, launcher):
    out = command(
        tmp_path,
        "--multirun",
        f"hydra/launcher={launcher}",
        "hydra.sweep.dir=sweep",
        "data.seed=0,1",
    )
    assert "2 runs" in out
    assert {p.parent.name for p in (tmp_path / "sweep").glob("*/timing.json")} == {"0", "1"}
