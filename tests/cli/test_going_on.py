"""`siamese train` that was stopped: how to go on is said, and one command comes to the end."""

import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from tests.helpers import UNTRAINED, write_identities

from siamese.checkpoint_files import read_checkpoint
from siamese.cli.main import main
from siamese.cli.newest_run import newest
from siamese.cli.recorded_paths import leads_outside

TRAINED = [
    *(w for w in UNTRAINED if "backbone" not in w),
    *("module/backbone=small_res_net", "module.backbone.widths=[4]", "module.backbone.depths=[1]"),
    *("data.sampler.identities=4", "data.sampler.images=2", "data.sampler.steps=3"),
]


@pytest.fixture
def words(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return [*TRAINED, f"data.root={write_identities(tmp_path / 'people', [4] * 12)}"]


class Signals:
    """Sends a signal while the batch with a number is planned."""

    def __init__(self, monkeypatch, number, step):
        from siamese.data.samplers.identity_sampler import IdentitySampler

        plan = IdentitySampler.plan

        def planned(self, identities, seed, epoch, at, *rest):
            if (epoch, at) == (step // 3, step % 3):
                monkeypatch.setattr(IdentitySampler, "plan", plan)
                os.kill(os.getpid(), number)
            return plan(self, identities, seed, epoch, at, *rest)

        monkeypatch.setattr(IdentitySampler, "plan", planned)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_stopped_command_says_how_to_go_on_and_does(number, code, words, monkeypatch, capsys):
    Signals(monkeypatch, number, 4)
    assert main(["train", *words, "max_epochs=3"]) == code
    said = capsys.readouterr().err
    (run,) = Path("runs").glob("folder/*")
    assert f"interrupted ({number.name}); go on with: siamese train resume={run}" in said
    assert main(["train", f"resume={run}"]) == 0  # in its own folder
    assert [*Path("runs").glob("folder/*")] == [run]
    assert read_checkpoint(run / "checkpoints" / "last.ckpt")["global_step"] == 9
    assert (run / "bundle").is_dir()


def test_a_folder_with_a_name_that_needs_marks_of_quotation(words, monkeypatch, capsys):
    Signals(monkeypatch, signal.SIGTERM, 4)
    assert main(["train", *words, "max_epochs=3", 'hydra.run.dir="runs/a b,c"']) == 143
    line = capsys.readouterr().err.strip().splitlines()[-1]
    command = shlex.split(line.partition("go on with: siamese ")[2])
    assert main(command) == 0
    assert Path("runs/a b,c/bundle").is_dir()


def test_one_command_comes_to_the_end_of_one_run(words, monkeypatch, capsys):
    command = ["train", *words, "max_epochs=3", "hydra.run.dir=run", "resume=auto"]
    Signals(monkeypatch, signal.SIGTERM, 1)
    assert main(command) == 143
    assert "no unfinished run in run; begins a new one" in capsys.readouterr().out
    Signals(monkeypatch, signal.SIGTERM, 6)
    assert main(command) == 143
    assert "resume=auto: goes on with run" in capsys.readouterr().out
    assert main(command) == 0
    assert main(command) == 0  # nothing is left, and that is no failure
    assert "is finished" in capsys.readouterr().out
    assert read_checkpoint(Path("run/checkpoints/last.ckpt"))["global_step"] == 9


def test_auto_takes_the_newest_unfinished_run(words, monkeypatch, capsys):
    places = {"old": 300, "new": 200, "finished": 100, "../named": 250}
    for name, age in places.items():
        last = Path("runs") / "folder" / name / "checkpoints" / "last.ckpt"
        last.parent.mkdir(parents=True)
        last.write_bytes(b"")
        os.utime(last, (time.time() - age,) * 2)
    Path("runs/folder/finished/timing.json").write_text("{}")
    Path("runs/latest").symlink_to("folder/finished")
    assert newest(Path("runs")) == Path("runs/folder/new")
    os.utime(Path("runs/named/checkpoints/last.ckpt"), (time.time(),) * 2)
    assert newest(Path("runs")) == Path("runs/named")
    os.utime(Path("runs/named/checkpoints/last.ckpt"), (0, 0))
    assert main(["train", "resume=auto"]) == 2
    assert "goes on with runs/folder/new" in capsys.readouterr().out
    assert main(["train", "--multirun", "seed=0,1", "resume=auto"]) == 2
    assert "not with a sweep" in capsys.readouterr().err


def test_other_settings_are_named_and_refused(words, monkeypatch, capsys):
    Signals(monkeypatch, signal.SIGTERM, 4)
    assert main(["train", *words, "max_epochs=3", "hydra.run.dir=run"]) == 143
    changed = ["train", "resume=run", "module.optimizer.lr=0.5", "data.workers=0", "plots=false"]
    before = read_checkpoint(Path("run/checkpoints/last.ckpt"))["global_step"]
    assert main(changed) == 2
    said = capsys.readouterr().err
    assert "module.optimizer.lr: 0.002 -> 0.5; leave" in said
    assert "allow_changes=true" in said
    assert read_checkpoint(Path("run/checkpoints/last.ckpt"))["global_step"] == before
    recorded = yaml.safe_load(Path("run/.hydra/overrides.yaml").read_text())
    assert not any("0.5" in word for word in recorded)  # what was refused is not remembered
    assert main([*changed, "allow_changes=true"]) == 0
    assert "note: goes on with other settings" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("key", "value", "outside"),
    [
        ("data.root", "/photographs", False),
        ("data.csv", "../people.csv", False),
        ("module.backbone.weights", "/weights.dat", False),
        ("data.cache", "RUN/cache", False),
        ("data.cache", "null", False),
        ("max_epochs", "3", False),
        ("module.backbone.widths", "[8,16]", False),
        ("policy", "fmr", False),
        ("data.cache", "/tmp/cache", True),
        ("data.cache", ".ssh", True),
        ("data.cache", "RUN/../cache", True),
        ("trainer.default_root_dir", "elsewhere", True),
        ("trainer.logger.save_dir", "~/x", True),
        ("trainer.anything", "[3,'/etc/x']", True),
        ("trainer.anything", "../../x", True),
        ("trainer.anything", "s3://bucket/x", True),
        ("data.cache", "s3://bucket/x", True),
    ],
)
def test_paths_that_a_record_may_name(key, value, outside, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert leads_outside(key, value.replace("RUN", str(tmp_path / "run")), tmp_path / "run") is (
        outside
    )


def test_a_run_from_elsewhere_may_not_write_elsewhere(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    record = tmp_path / "run" / ".hydra" / "overrides.yaml"
    record.parent.mkdir(parents=True)
    record.write_text(yaml.safe_dump([f"data.cache={tmp_path / 'written'}"]))
    assert main(["train", "resume=run", "max_epochs=9"]) == 2
    assert "names a path outside that run" in capsys.readouterr().err


def test_a_second_interruption_is_at_once(tmp_path, words):
    """In a process of its own, since the first one would be waited for."""
    slow = tmp_path / "slow.py"
    slow.write_text(
        "import os, signal, time\n"
        "from siamese.cli.main import main\n"
        "from siamese.training.module import SiameseModule\n"
        "step = SiameseModule.training_step\n"
        "def slowly(self, batch, batch_idx):\n"
        "    if self.trainer.global_step == 4:\n"
        "        os.kill(os.getpid(), signal.SIGINT)\n"
        "        os.kill(os.getpid(), signal.SIGINT)\n"
        "        time.sleep(600)\n"
        "    return step(self, batch, batch_idx)\n"
        "SiameseModule.training_step = slowly\n"
        "import sys; sys.exit(main(sys.argv[1:]))\n"
    )
    command = [sys.executable, str(slow), "train", *words, "max_epochs=3", "hydra.run.dir=run"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert done.returncode == 130
    assert "go on with: siamese train resume=run" in done.stderr
    assert read_checkpoint(Path("run/checkpoints/last.ckpt"))["global_step"] == 3
