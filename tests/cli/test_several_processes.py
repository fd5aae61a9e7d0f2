"""`siamese train` over several processes: started by the command, or by torchrun."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest
from tests.helpers import write_identities

from siamese.cli.company import wanted_processes
from siamese.cli.main import main
from siamese.errors import ConfigError

SMALL = [
    "data=folder",
    "data/cropper=none",
    "data.cropper.size=16",
    "data.workers=0",
    "data.sampler.identities=5",
    "data.sampler.images=3",
    "module.backbone.widths=[4,8]",
    "module.backbone.depths=[1,1]",
    "module.backbone.learned_size=16",
    "baselines=[]",
    "plots=false",
]


@pytest.fixture
def people(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    write_identities(tmp_path / "people", [5] * 20)
    return tmp_path


def words(*more):
    return ["train", *SMALL, "data.root=people", *more]


def test_one_command_trains_in_two_processes(people, capfd):
    command = words("max_epochs=1", "trainer.devices=2", "hydra.run.dir=two")
    assert main(command) == 0
    said = capfd.readouterr()
    assert said.out.count("next: siamese verify") == 1  # one process speaks
    assert "Traceback" not in said.err
    assert json.loads((people / "two" / "timing.json").read_text())["training_seconds"] > 0
    assert (people / "runs" / "latest" / "bundle").is_dir()


@pytest.mark.slow
def test_a_mistake_is_said_once(people, capfd):
    assert main(words("trainer.devices=2", "module.loss.margin=-1")) == 2
    assert capfd.readouterr().err.strip() == (
        "siamese train: error: margins must satisfy 0 <= positive_margin < margin, not 0.0 and -1"
    )
    assert list((people / "runs").rglob("*.json")) == []


@pytest.mark.parametrize(
    ("trainer", "message"),
    [
        ({"devices": 2, "strategy": "ddp_spawn"}, "trainer.strategy=ddp alone"),
        ({"devices": "two", "strategy": "ddp"}, "Trainer refuses its settings"),
        ({"devices": 2, "num_nodes": 2}, "torchrun --nnodes"),
    ],
)
def test_other_ways_are_refused_with_a_remedy(trainer, message):
    with pytest.raises(ConfigError, match=message):
        wanted_processes(trainer)


def test_how_many_processes_are_wanted(monkeypatch):
    assert wanted_processes({}) == 1
    assert wanted_processes({"devices": 1, "strategy": "ddp"}) == 1
    assert wanted_processes({"accelerator": "cpu", "devices": 3}) == 3
    for name, value in {"RANK": 0, "WORLD_SIZE": 2, "MASTER_ADDR": "h", "MASTER_PORT": 1}.items():
        monkeypatch.setenv(name, str(value))
    assert wanted_processes({"accelerator": "cpu", "devices": 2}) == 1  # they are there


def started(command, **options):
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def children(pid):
    listed = subprocess.run(
        ["ps", "-ww", "-o", "pid=", "-o", "args=", "--ppid", str(pid)], capture_output=True
    )
    lines = listed.stdout.decode().splitlines()
    return [int(line.split()[0]) for line in lines if "spawn_main" in line]


def until(condition, seconds=60):
    end = time.time() + seconds
    while not condition():
        assert time.time() < end
        time.sleep(0.05)


@pytest.mark.slow
def test_a_killed_process_ends_the_run_and_it_goes_on(people):
    run = [sys.executable, "-m", "siamese", *words("max_epochs=400", "trainer.devices=2")]
    process = started([*run, "hydra.run.dir=killed"])
    until((people / "killed" / "checkpoints" / "last.ckpt").exists)
    os.kill(children(process.pid)[1], signal.SIGKILL)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 2
    # Whoever is seen first: the killed one, or the other, which lost its company.
    assert "process 1 of the run was killed (SIGKILL)" in said or "another process of this" in said
    assert re.search(r"go on with resume=\S*killed$", said.strip())
    assert len(said.strip().splitlines()) == 1
    # Ctrl-C reaches the processes through their launcher, once.
    process = started([sys.executable, "-m", "siamese", "train", "resume=killed"])
    before = (people / "killed" / "checkpoints" / "last.ckpt").stat().st_mtime_ns
    last = people / "killed" / "checkpoints" / "last.ckpt"
    until(lambda: last.stat().st_mtime_ns != before)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGINT
    assert "go on with: siamese train resume=killed" in said


PLUGIN = """
import os
import siamese

@siamese.LOSSES.register("failing_loss")
class FailingLoss(siamese.ContrastiveLoss):
    def forward(self, embeddings, labels, pairs=None):
        if os.environ["RANK"] in os.environ["FAILING"]:
            raise {error}
        return super().forward(embeddings, labels, pairs)
"""


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["own", "torchrun"])
@pytest.mark.parametrize("failing", ["1", "01"])
@pytest.mark.parametrize(
    ("error", "message"),
    [
        ('siamese.errors.DataError("the disk is gone")', "error: the disk is gone"),
        ('RuntimeError("a mistake")', "mine.py, line 9, which is no part of siamese"),
    ],
)
def test_an_error_in_a_process_is_said_and_ends_all(
    people, monkeypatch, launcher, failing, error, message
):
    (people / "mine.py").write_text(PLUGIN.format(error=error))
    monkeypatch.setenv("FAILING", failing)
    given = words("max_epochs=1", "plugins=[mine.py]", "module.loss._target_=mine.FailingLoss")
    begin = [sys.executable, "-m", "siamese"]
    if launcher == "torchrun":
        begin = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2"]
        begin += ["-m", "siamese"]
    else:
        given.append("trainer.devices=2")
    process = started([*begin, *given])
    _, said = process.communicate(timeout=100)
    assert process.returncode
    assert message in said


@pytest.mark.slow
def test_a_finished_run_that_torchrun_starts_once_more_is_no_failure(people):
    begin = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "-m", "siamese"]
    run = [*begin, *words("max_epochs=1", "resume=auto", "hydra.run.dir=once")]
    for _ in range(2):
        process = started(run)
        out, said = process.communicate(timeout=100)
        assert process.returncode == 0, said
    assert "is finished" in out


@pytest.mark.slow
def test_a_sweep_starts_processes_for_each_run_and_under_torchrun_it_is_one_sweep(people):
    sweep = words("max_epochs=1", "--multirun", "module.loss.margin=1,1.5")
    for command in (
        [sys.executable, "-m", "siamese", *sweep, "trainer.devices=2", "hydra.sweep.dir=own"],
        [
            *(sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2"),
            *("-m", "siamese", *sweep, "hydra.sweep.dir=torchrun"),
        ],
    ):
        process = started(command)
        out, said = process.communicate(timeout=300)
        assert process.returncode == 0, said
        assert out.count("best by the calibration people's EER") == 1
    for name in ("own", "torchrun"):
        runs = sorted(path.parent.name for path in (people / name).glob("*/timing.json"))
        assert runs == ["0", "1"]
    tables = [(people / name / "sweep.csv").read_text() for name in ("own", "torchrun")]
    figures = [[line.split(",")[2:11] for line in t.splitlines()] for t in tables]
    assert figures[0] == figures[1]


@pytest.mark.parametrize("strategy", ["fsdp", "deepspeed", "dpp"])
def test_a_strategy_is_refused_by_its_name(strategy):
    with pytest.raises(ConfigError, match=f"trainer.strategy={strategy}: .*ddp alone"):
        wanted_processes({"devices": 2, "strategy": strategy})
