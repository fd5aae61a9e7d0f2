"""A run in several processes: started here, or by torchrun; the others follow the first one."""

from __future__ import annotations

import contextlib
import json
import logging
import multiprocessing
import os
import signal
import sys
import tempfile
import threading
import time
import traceback
import uuid
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from siamese import errors
from siamese.cli.unexpected import as_note, explain
from siamese.errors import ProcessError, SiameseError
from siamese.launched import by_torchrun

if TYPE_CHECKING:
    from omegaconf import DictConfig

# A job: its settings, Hydra's own, and the folder of the run.
Job = tuple["DictConfig", "DictConfig", str]
TOLD = 2  # the exit code of a process that has left its error in a file
ALIKE = 60.0  # seconds within which processes fail that fail alike
_LEFT = "SIGQUIT"  # what torch's launcher may do with signals as it likes
_FAILURES = "siamese/failures"  # in the store of the processes


def wanted_processes(trainer: Mapping[str, Any]) -> int:
    """How many processes of this machine the settings of a Trainer ask for, 1 or more.

    1 in a process that torchrun has started: all are there.

    Raises:
        ConfigError: several machines, whose processes torchrun must start.
    """
    trainer = {name: value for name, value in trainer.items() if value is not None}
    one = trainer.get("devices", 1) in (1, "1")
    if by_torchrun() or (one and trainer.get("num_nodes", 1) in (1, "1")):
        return 1
    if trainer.get("num_nodes", 1) not in (1, "1"):
        from siamese.training.trainer import several_machines

        raise errors.ConfigError(several_machines(trainer["num_nodes"]))
    from siamese.training.trainer import count_devices

    return count_devices(trainer)


def run_in_processes(count: int, job: Job) -> float:
    """Run a job in processes of this machine, by torch's elastic launcher, as torchrun would.

    They end with the job: the next one of a sweep gets new ones.

    Returns:
        what a sweep looks at; see :func:`siamese.cli.job.objective`.

    Raises:
        SiameseError: that of the job, or that one of the processes was killed.
        TrainingStoppedError: a signal stopped it.
    """
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    settings = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=count,
        run_id=uuid.uuid4().hex,
        rdzv_backend="c10d",
        rdzv_endpoint="127.0.0.1:0",
        local_addr="127.0.0.1",
        max_restarts=0,
        monitor_interval=0.2,
        start_method="spawn",
    )
    if hasattr(settings, "signals_to_handle"):  # torch 2.4 reads the variable alone
        settings.signals_to_handle = _LEFT
    with tempfile.TemporaryDirectory() as reports, _threads(count), _signals_passed_on(), _quiet():
        try:
            given = elastic_launch(settings, _work)(job, reports)
            return float(given[0])
        except ChildFailedError as failed:
            told = _reported(Path(reports))
            if told is None or isinstance(told, ProcessError):  # an echo of what happened
                told = _of_killed(failed, job[2]) or told
            raise told or ProcessError("a process of the run has ended") from failed


def _work(job: Job, reports: str) -> float:
    """What each of the processes does."""
    # Ctrl-C in a terminal goes to the whole group of processes; these are told by their launcher.
    with contextlib.suppress(OSError, AttributeError):
        os.setpgid(0, 0)
    warnings.formatwarning = as_note
    told: dict[str, Any] = {}
    try:
        with _quiet():
            return in_company(job)
    except (SiameseError, KeyboardInterrupt) as error:
        told = {"kind": type(error).__name__, "text": str(error)}
        if (number := getattr(error, "signal", None)) is not None:
            told |= {"signal": int(number), "folder": getattr(error, "folder", None)}
    except Exception as error:
        text, expected = explain(error)
        told = {"kind": "", "text": text, "traceback": "" if expected else traceback.format_exc()}
    told["time"] = time.time()
    report = Path(reports) / f"{os.environ['RANK']}.json"
    report.write_text(json.dumps(told, default=str), encoding="utf-8")
    os._exit(TOLD)  # the launcher would print where the error was raised


def in_company(job: Job) -> float:
    """Run a job as one of the processes that torch.distributed joins."""
    from hydra.core.hydra_config import HydraConfig
    from hydra.core.utils import setup_globals

    from siamese.cli.job import objective, train_as_told

    config, hydra, folder = job
    setup_globals()
    HydraConfig.instance().set_config(hydra)
    return objective(train_as_told(config, Path(folder)))


def lead(job: Job) -> float:
    """Do a job with the processes that torchrun has started; they wait in :func:`follow`."""
    from siamese.processes import all_processes

    all_processes().from_first(job)
    try:
        return in_company(job)
    except SiameseError:
        _count_failure()
        raise


def dismiss() -> None:
    """Tell them that nothing is left to be done."""
    from siamese.processes import all_processes

    all_processes().from_first(None)


def follow() -> int:
    """Do what the first process tells, until nothing is left; returns 0.

    Raises:
        ProcessError: the first process has ended.
        SiameseError: that of a job which other processes have not failed at; they wait for this
            one, and learn of its end.
    """
    from siamese.processes import all_processes

    here, failures = all_processes(), 0
    while True:
        try:
            job: Job | None = here.from_first(None)
        except RuntimeError as error:
            raise ProcessError("the first process has ended") from error
        if job is None:
            return 0
        try:
            in_company(job)
        except SiameseError:
            failures += 1
            if not _all_have_failed(failures * here.count):
                raise
            # The first one says it, and ends or goes on.


def _count_failure() -> int:
    """Note that this process has failed at a job; how often that happened in all processes."""
    from torch.distributed import distributed_c10d

    return int(distributed_c10d._get_default_store().add(_FAILURES, 1))


def _all_have_failed(wanted: int) -> bool:
    """Whether all processes fail at the job that this one has failed at; waits a minute for it."""
    from torch.distributed import distributed_c10d

    found, end = _count_failure(), time.monotonic() + ALIKE
    while found < wanted and time.monotonic() < end:
        time.sleep(0.1)
        found = int(distributed_c10d._get_default_store().add(_FAILURES, 0))
    return found >= wanted


def _reported(reports: Path) -> BaseException | None:
    """The first error that a process has left, before those that are echoes of it."""
    every = [json.loads(path.read_text(encoding="utf-8")) for path in reports.iterdir()]
    if not every:
        return None
    one = min(every, key=lambda told: (told["kind"] == ProcessError.__name__, told["time"]))
    if shown := one.get("traceback"):
        print(shown, end="", file=sys.stderr)
    if "signal" in one:
        from siamese.training.stopping import TrainingStoppedError

        return TrainingStoppedError(one["signal"], one["folder"] and Path(one["folder"]))
    if one["kind"] == KeyboardInterrupt.__name__:
        return KeyboardInterrupt(one["text"])
    kind = getattr(errors, one["kind"], SiameseError)
    error = SiameseError(one["text"])
    with contextlib.suppress(TypeError):  # some take several arguments
        error = kind(one["text"])
    return error if str(error) == one["text"] else SiameseError(one["text"])


def _of_killed(failed: Any, folder: str) -> SiameseError | None:
    """What to say of a process that left no error of ours; None where all have."""
    from siamese.training.folder import unfinished

    ended = {rank: one for rank, one in failed.failures.items() if one.exitcode != TOLD}
    if not ended:
        return None
    rank, failure = min(ended.items(), key=lambda item: (item[1].timestamp, item[0]))
    code = failure.exitcode
    if code < 0:
        with contextlib.suppress(ValueError):
            code = signal.Signals(-code).name
        what = f"was killed ({code})"
    else:
        message = failure.message
        last = message.strip().splitlines()[-1:] if isinstance(message, str) else []
        what = f"ended with exit code {code}{': ' if last else ''}{''.join(last):.200}"
    kept = unfinished(Path(folder))
    remedy = f"; what was trained is kept: go on with resume={os.path.relpath(folder)}"
    return ProcessError(
        f"process {rank} of the run {what}, and the others were ended{remedy if kept else ''}"
    )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the launcher's own report of failures off the console: its first line says nothing."""
    names = ("torch.distributed.elastic", "torch.multiprocessing.spawn")
    loggers = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@contextlib.contextmanager
def _threads(count: int) -> Iterator[None]:
    """Divide the cores: processes that use all of them at once slow one another tenfold."""
    from siamese.faces.crop_jobs import usable_cores

    name = "OMP_NUM_THREADS"
    given = os.environ.get(name)
    os.environ.setdefault(name, str(max(1, usable_cores() // count)))
    try:
        yield
    finally:
        if given is None:
            os.environ.pop(name, None)


@contextlib.contextmanager
def _signals_passed_on() -> Iterator[None]:
    """Hand SIGTERM and Ctrl-C on to the processes, which end their batch and leave a checkpoint.

    torch's launcher would give them 30 seconds, and kill them.
    """
    name, numbers = "TORCHELASTIC_SIGNALS_TO_HANDLE", (signal.SIGTERM, signal.SIGINT)
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    given, before = os.environ.get(name), {number: signal.getsignal(number) for number in numbers}
    others = (signal.SIGHUP, signal.SIGQUIT)
    before |= {number: signal.getsignal(number) for number in others}
    os.environ[name] = _LEFT

    def pass_on(number: int, frame: FrameType | None) -> None:
        for process in multiprocessing.active_children():
            with contextlib.suppress(OSError):
                os.kill(process.pid, number)  # type: ignore[arg-type]

    try:
        for number in numbers:
            signal.signal(number, pass_on)
        yield
    finally:
        for number, handler in before.items():
            with contextlib.suppress(ValueError, TypeError):
                signal.signal(number, handler)
        os.environ.pop(name)
        if given is not None:
            os.environ[name] = given
