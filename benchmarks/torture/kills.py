"""Training that is killed at random moments, and whether its resumption ends bit for bit alike.

    python benchmarks/torture/kills.py [--kills 100] [--disks 10] [--processes 2] [--seed 0]

Each trial gives one command, `siamese train ... resume=auto hydra.run.dir=RUN`, kills it, and gives
it again until it ends; weights, optimizer, threshold, figures and history must equal those of a run
that nothing disturbed, under a constant rate and under the default schedule, which depends on the
length of the run. One trial in five is killed (SIGKILL) while a checkpoint is written, with TMPDIR
on another file system (--tmpdir), one in five within an epoch (SIGTERM, SIGINT or SIGKILL), and the
others at any moment. In `--disks` trials the run's folder lies on a file system that becomes full,
in a mount namespace of its own (`unshare`), and is given more space afterwards. The pictures are
made up. Exits with 1 if any trial fails.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image

from siamese.checkpoint_files import read_checkpoint

EPOCHS, STEPS = 4, 5
SCHEDULES = ("constant", "warmup_cosine")
LIMIT = 300  # seconds for one command
TRIES = 5  # of one command until it ends

# In the killed process: says when a batch or the writing of a checkpoint begins, and waits there,
# so that a kill can fall into it.
SLOWED = """
import os, sys, time
place = os.environ.get("TORTURE_PLACE")
if place:
    number, mark = int(os.environ["TORTURE_NUMBER"]), os.environ["TORTURE_MARK"]
    seen = 0
    def reached():
        global seen
        seen += 1
        if seen == number:
            open(mark, "w").close()
            time.sleep(float(os.environ["TORTURE_WAIT"]))
    def hook():
        if place == "write":
            import siamese.checkpoint_files as files
            fsync = files.os.fsync
            def slow(descriptor):
                reached()
                return fsync(descriptor)
            files.os = type("os", (), dict(vars(os), fsync=staticmethod(slow)))
        else:
            from siamese.training.module import SiameseModule
            step = SiameseModule.training_step
            def slow(self, batch, batch_idx):
                reached()
                return step(self, batch, batch_idx)
            SiameseModule.training_step = slow
    hook()
from siamese.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


class Trial(NamedTuple):
    """What is done to one run."""

    number: int
    schedule: str
    place: str  # "anywhere", "write", "batch", "disk"
    signal: signal.Signals
    moment: float  # 0..1 of the run, or which batch, checkpoint or size


def make_people(root: Path) -> None:
    """Twelve people of four made-up pictures."""
    for person in range(12):
        for picture in range(4):
            random_ = np.random.default_rng((person, picture))
            path = root / f"{person:02d}" / f"{picture}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(random_.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(path)


def command(script: Path, people: Path, run: Path, schedule: str) -> list[str]:
    """The words of one run."""
    return [
        *(sys.executable, str(script), "train", "data=folder", f"data.root={people}"),
        *("data/cropper=none", "data.cropper.size=32", f"data.sampler.steps={STEPS}"),
        *("data.sampler.identities=4", "data.sampler.images=2", "data.workers=0"),
        *("module.backbone.widths=[8]", "module.backbone.depths=[1]", f"max_epochs={EPOCHS}"),
        *(f"module/schedule={schedule}", "baselines=[]", "plots=false", "keep=best"),
        *("resume=auto", f"hydra.run.dir={run}"),
    ]


def outcome(run: Path) -> dict[str, Any]:
    """What must be equal, bit for bit."""
    content = read_checkpoint(run / "checkpoints" / "last.ckpt")
    figures = json.loads((run / "evaluation.json").read_text())
    bundle = json.loads((run / "bundle" / "bundle.json").read_text())
    return {
        "weights": content["state_dict"],
        "optimizer": content["optimizer_states"],
        "figures": figures,
        "point": bundle["operating_point"],
        "bundle's weights": (run / "bundle" / "weights.safetensors").read_bytes(),
        "history": (run / "history.csv").read_text(),
    }


def same(one: Any, other: Any) -> bool:
    """Equality in every bit, of nested values and tensors."""
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other) or bool((one.isnan() & other.isnan()).all())
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[k], other[k]) for k in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


class Torture:
    """Runs trials and compares them with undisturbed runs."""

    def __init__(self, home: Path, tmpdir: Path) -> None:
        self.home, self.tmpdir = home, tmpdir
        self.people, self.script = home / "people", home / "slowed.py"
        make_people(self.people)
        self.script.write_text(SLOWED)
        self.environment = os.environ | {
            "OMP_NUM_THREADS": "1",
            "SIAMESE_CACHE": str(home / "cache"),
            "TMPDIR": str(tmpdir),
        }
        self.wanted: dict[str, dict[str, Any]] = {}
        self.seconds = 0.0
        for schedule in SCHEDULES:
            start = time.perf_counter()
            run = home / f"whole-{schedule}"
            self._finish(schedule, run)
            self.seconds = time.perf_counter() - start
            self.wanted[schedule] = outcome(run)

    def _finish(self, schedule: str, run: Path) -> None:
        words = command(self.script, self.people, run, schedule)
        done = subprocess.run(
            words,
            env=self.environment,
            cwd=self.home,
            capture_output=True,
            text=True,
            timeout=LIMIT,
        )
        if done.returncode:
            raise RuntimeError(f"exit {done.returncode}: {done.stderr[-400:]}")

    def __call__(self, trial: Trial) -> str:
        """What came of a trial: "equal", or what went wrong."""
        run = self.home / f"run-{trial.number}"
        try:
            if trial.place == "disk":
                return self._full_disk(trial, run)
            killed = self._kill(trial, run)
            self._finish(trial.schedule, run)
            wrong = self._differences(trial.schedule, run)
            left = [path.name for path in (run / "checkpoints").glob(".*")]
            if left:
                wrong.append(f"left behind: {left}")
            return f"differs in {wrong}" if wrong else f"equal ({killed})"
        except (OSError, RuntimeError, subprocess.SubprocessError, Exception) as error:
            return f"failed: {type(error).__name__}: {' '.join(str(error).split())}"
        finally:
            shutil.rmtree(run, ignore_errors=True)

    def _differences(self, schedule: str, run: Path) -> list[str]:
        found = outcome(run)
        return [name for name, part in self.wanted[schedule].items() if not same(part, found[name])]

    def _kill(self, trial: Trial, run: Path) -> str:
        mark = self.home / f"mark-{trial.number}"
        environment = dict(self.environment)
        if trial.place != "anywhere":
            environment |= {
                "TORTURE_PLACE": trial.place,
                "TORTURE_NUMBER": str(int(trial.moment)),
                "TORTURE_MARK": str(mark),
                "TORTURE_WAIT": "1.0",
            }
        words = command(self.script, self.people, run, trial.schedule)
        process = subprocess.Popen(
            words,
            env=environment,
            cwd=self.home,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        start = time.perf_counter()
        while process.poll() is None and time.perf_counter() - start < LIMIT:
            due = (
                mark.exists()
                if trial.place != "anywhere"
                else time.perf_counter() - start > trial.moment * self.seconds
            )
            if due:
                process.send_signal(trial.signal)
                break
            time.sleep(0.005)
        code = process.wait(timeout=LIMIT)
        return "ended before" if code == 0 else f"exit {code}"

    def _full_disk(self, trial: Trial, run: Path) -> str:
        """A file system of a few hundred kilobytes, and then of enough."""
        run.mkdir(parents=True)
        words = command(self.script, self.people, run / "run", trial.schedule)
        size = int(trial.moment)
        shell = (
            f"mount -t tmpfs -o size={size}k tmpfs {run} && "
            f"({subprocess.list2cmdline(words)}) 2>{run}.err; echo $? >{run}.code; "
            f"ls -a {run}/run/checkpoints >{run}.left 2>&1; "
            f"mount -o remount,size=64m {run} && {subprocess.list2cmdline(words)} >/dev/null && "
            f"cp -r {run}/run {run}.out"
        )
        done = subprocess.run(
            ["unshare", "-rm", "bash", "-c", shell],
            env=self.environment,
            cwd=self.home,
            capture_output=True,
            text=True,
            timeout=LIMIT,
        )
        said = Path(f"{run}.err").read_text().strip().splitlines() if done.returncode == 0 else []
        if done.returncode:
            return f"failed: {done.stderr[-300:]}"
        code = Path(f"{run}.code").read_text().strip()
        wrong = self._differences(trial.schedule, Path(f"{run}.out"))
        shutil.rmtree(f"{run}.out", ignore_errors=True)
        if wrong:
            return f"differs in {wrong}"
        last = said[-1][:300] if said else ""
        if code == "0":
            return "equal (enough space)"
        one_line = "error:" in last and "bug" not in last
        named = "full" in last or "No space left" in last or "space" in last
        return "equal (full disk, named)" if one_line and named else f"not named: {code} {last}"


def trials(kills: int, disks: int, seed: int) -> list[Trial]:
    """A fifth while a checkpoint is written, a fifth within an epoch, the others anywhere."""
    drawn = random.Random(seed)
    found = []
    for number in range(kills):
        schedule = SCHEDULES[number % 2]
        sort = number % 10 // 2
        if sort == 0:
            # Two flushes a checkpoint (file and folder), a best and a last one an epoch.
            moment = drawn.randint(1, 2 * (EPOCHS + 2))
            found.append(Trial(number, schedule, "write", signal.SIGKILL, moment))
        elif sort == 1:
            which = drawn.choice((signal.SIGTERM, signal.SIGINT, signal.SIGKILL))
            moment = drawn.randint(1, EPOCHS * STEPS)
            found.append(Trial(number, schedule, "batch", which, moment))
        else:
            which = drawn.choice((signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT))
            found.append(Trial(number, schedule, "anywhere", which, drawn.uniform(0.3, 1)))
    for number in range(disks):
        size = drawn.randint(60, 900)  # kilobytes; a whole run takes about a thousand
        found.append(
            Trial(kills + number, SCHEDULES[number % 2], "disk", signal.SIGKILL, float(size))
        )
    return found


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--disks", type=int, default=10)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--place", choices=("anywhere", "write", "batch", "disk"), help="only these"
    )
    parser.add_argument("--tmpdir", type=Path, default=Path("/dev/shm"), help="another file system")
    args = parser.parse_args(argv)
    start = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="torture") as home:
        torture = Torture(Path(home).resolve(), args.tmpdir)
        elsewhere = args.tmpdir.stat().st_dev != Path(home).stat().st_dev
        print(
            f"{EPOCHS} epochs of {STEPS} batches, {torture.seconds:.1f} s a run; TMPDIR on "
            f"{'another' if elsewhere else 'THE SAME'} file system"
        )
        planned = trials(args.kills, args.disks, args.seed)
        planned = [trial for trial in planned if args.place in (None, trial.place)]
        with ThreadPoolExecutor(args.processes) as pool:
            came = list(pool.map(torture, planned))
    counts: Counter[tuple[str, str, str]] = Counter()
    for trial, what in zip(planned, came, strict=True):
        name = "a disk of some kB" if trial.place == "disk" else trial.signal.name
        counts[trial.place, name, what.split(" (")[0]] += 1
        if not what.startswith("equal"):
            print(f"trial {trial.number}, {trial.schedule}, {trial.place}, {name}: {what}")
    detail = Counter((t.place, w) for t, w in zip(planned, came, strict=True))
    for (place, name, what), number in sorted(counts.items()):
        print(f"{place:9s} {name:18s} {what:12s} {number:4d}")
    for (place, what), number in sorted(detail.items()):
        print(f"  {place}: {what}: {number}")
    good = sum(what.startswith("equal") for what in came)
    print(f"{good} of {len(came)} equal, in {time.perf_counter() - start:.0f} s")
    return good != len(came)


if __name__ == "__main__":
    sys.exit(main())
