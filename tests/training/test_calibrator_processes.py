"""The calibrated threshold is the same, bit for bit, in every one of 1, 2 and 3 real processes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.processes import run_in
from tests.training.ddp_run import run

SCRIPT = Path(__file__).with_name("ddp_run.py")


def written(folder, processes):
    ranks = sorted(folder.glob("rank*.json"))
    assert len(ranks) == processes
    return [json.loads(rank.read_text()) for rank in ranks]


def forked(processes, folder):
    """What each process of a run wrote; they are started as torchrun would."""
    folder.mkdir()
    run_in(processes, run, processes, folder)
    return written(folder, processes)


def started(processes, folder, checkpoint):
    """The same, started by Lightning: the script runs once more in each process."""
    folder.mkdir()
    unset = ("LOCAL_RANK", "NODE_RANK", "WORLD_SIZE", "MASTER_PORT", "PYTEST_XDIST_WORKER")
    environment = {k: v for k, v in os.environ.items() if k not in unset} | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(SCRIPT), str(processes), str(folder), str(checkpoint)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    return written(folder, processes)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    folder = tmp_path_factory.mktemp("processes") / "one"
    return folder, forked(1, folder)[0]


def test_alone_it_streams_all_pairs_and_counts_each_row_once(alone):
    _, found = alone
    balanced, fmr, best = found["points"]
    assert [p["images"] for p in found["points"]] == [1100] * 3
    assert (best["genuine"] + best["impostor"], balanced["prevalence"]) == (1100 * 1099 // 2, 0.5)
    assert fmr["fp"] <= 1e-3 * fmr["impostor"]
    assert float(best["threshold"]).hex() == found["threshold"]
    assert found["metric"][0] == found["metric"][1]


@pytest.mark.parametrize("processes", [2, 3])
def test_more_processes_find_the_same_bit_for_bit(alone, tmp_path, processes):
    _, expected = alone
    for found in forked(processes, tmp_path / "more"):
        assert found == expected


def test_a_run_of_one_process_is_resumed_by_two_with_the_same_threshold(alone, tmp_path):
    folder, expected = alone
    for found in started(2, tmp_path / "resumed", folder / "last.ckpt"):
        assert found["epoch"] == 2
        assert found["threshold"] == expected["threshold"]
        assert [p["threshold"] for p in found["points"]] == [
            p["threshold"] for p in expected["points"]
        ]
