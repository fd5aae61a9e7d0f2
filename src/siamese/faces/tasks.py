"""Tasks over processes: joblib's own on this machine, or any of its backends, such as Dask."""

from __future__ import annotations

import contextlib
import importlib.util
import itertools
import os
import re
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from siamese.errors import (
    CacheError,
    ConfigError,
    DataError,
    MissingDependencyError,
    did_you_mean,
    first_line,
)
from siamese.reading import exists

T = TypeVar("T")
WAIT_FOR_WORKERS = 300  # seconds: a queue of a cluster may start them later than this process
_ADDRESS = re.compile(r"(\w+://)?[^/\s]+:\d+|inproc://\S+")
_DASK = "dask"
_ASK = 5.0  # seconds after which the scheduler is asked for its workers, where nothing ends
_LOOK = 1.0  # seconds between two looks at whether the process that started this one runs
_AHEAD = 4  # tasks per worker, so that none waits for its next one


def over_processes(
    work: Callable[..., T],
    tasks: Iterable[tuple[Any, ...]],
    *,
    workers: int | None = None,
    backend: str | None = None,
) -> Iterator[T]:
    """What ``work(*task)`` gives for each task, in the order in which they end.

    Tasks are taken from the iterable when they are needed, four per worker ahead: there may be
    millions of them. On a Dask cluster a task whose worker is killed is done again by another one.

    Args:
        work: a function that the processes can import, and that may be called twice for one task.
        tasks: its arguments, which can be pickled.
        workers: processes; with a backend all that it has by default.
        backend: see :func:`check_backend`.

    Raises:
        ConfigError: the backend is not known, does not answer, or has no workers for five minutes.
        MissingDependencyError: it is not installed.
        CacheError: a process was killed, or the scheduler of a cluster is lost.
    """
    check_backend(backend)
    if backend is None:
        yield from _joblib(work, tasks, workers)
    elif backend.partition(":")[0] == _DASK:
        with _dask_client(backend) as client:
            yield from _dask(work, tasks, client, backend)
    else:
        from joblib import parallel_config

        with parallel_config(backend=backend):
            yield from _joblib(work, tasks, -1 if workers is None else workers)


def check_backend(backend: str | None) -> None:
    """Check the name of a backend, without asking it anything.

    Args:
        backend: None for processes of this machine; ``"dask:tcp://host:8786"`` for the Dask cluster
            of that scheduler; ``"dask"`` for the one that this program is connected to, or that the
            variable ``DASK_SCHEDULER_ADDRESS`` names; or any other backend that is registered with
            joblib (``"ray"``, after ``ray.util.joblib.register_ray()``).

    Raises:
        ConfigError: no backend is registered under that name.
        MissingDependencyError: Dask is not installed.
    """
    from joblib.parallel import BACKENDS, EXTERNAL_BACKENDS

    if backend is None:
        return
    if not isinstance(backend, str):
        raise ConfigError(f"crop_backend must be a name such as 'dask', not {backend!r:.80}")
    name, _, address = backend.partition(":")
    if name not in (known := {*BACKENDS, *EXTERNAL_BACKENDS}):
        raise ConfigError(
            f"crop_backend={backend!r:.80} is not registered with joblib"
            f"{did_you_mean(name, known)}; Ray's is after ray.util.joblib.register_ray()"
        )
    # Without a port distributed would leave threads behind that keep the process from ending.
    if address and name == _DASK and not _ADDRESS.fullmatch(address):
        raise ConfigError(
            f"crop_backend={backend!r:.80}: a scheduler's address is HOST:PORT, such as "
            f"dask:tcp://127.0.0.1:8786"
        )
    if address and name != _DASK:
        raise ConfigError(f"crop_backend={backend!r:.80}: only dask takes an address")
    if name == _DASK and importlib.util.find_spec("distributed") is None:
        raise MissingDependencyError(
            f"crop_backend={backend}: Dask is not installed: pip install 'siamese-lightning[dask]'"
        )


def _joblib(
    work: Callable[..., T], tasks: Iterable[tuple[Any, ...]], workers: int | None
) -> Iterator[T]:
    # joblib's processes neither fork a process that has threads nor import the user's script again,
    # as `spawn` would.
    from joblib import Parallel, delayed
    from joblib.externals.loky.process_executor import TerminatedWorkerError
    from joblib.parallel import BACKENDS, get_active_backend

    here = isinstance(get_active_backend()[0], BACKENDS["loky"])
    of_its_own = {"initializer": _end_with, "initargs": (os.getpid(),)} if here else {}
    parallel = Parallel(
        n_jobs=workers,
        return_as="generator_unordered",
        batch_size=1,
        pre_dispatch="4*n_jobs",
        **of_its_own,
    )
    found = parallel(delayed(work)(*task) for task in tasks)
    try:
        for one in found:  # noqa: UP028 (`yield from` would close it before what follows)
            yield one
    except TerminatedWorkerError as error:
        raise CacheError(
            "a process that looked at images was killed, probably for memory; run again with fewer "
            "of them (workers, jobs, --jobs): what was kept until then is used"
        ) from error
    finally:
        with warnings.catch_warnings():  # joblib's advice to who wants no more results
            warnings.simplefilter("ignore")
            found.close()


def _end_with(parent: int) -> None:
    """End this process soon after the one that started it, also where that one was killed.

    Else it would wait for ever: for a lock, or for somebody who reads what it found.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_LOOK)
        os._exit(1)

    threading.Thread(target=watch, name="end_with_parent", daemon=True).start()


def _dask(
    work: Callable[..., T], tasks: Iterable[tuple[Any, ...]], client: Any, backend: str
) -> Iterator[T]:
    """As :func:`over_processes`, on a Dask cluster.

    joblib's own backend for Dask waits for ever where a task has killed its workers too often: it
    does not hear of errors of the cluster itself (joblib 1.6).
    """
    from distributed import CancelledError, KilledWorker, as_completed
    from distributed.client import ClosedClientError
    from distributed.comm.core import CommClosedError

    try:
        client.submit(int, pure=False).result(timeout=WAIT_FOR_WORKERS)
        left = iter(tasks)
        # Results are fetched as soon as they are there: they are lost with their worker.
        ended = as_completed(loop=client.loop, with_results=True)
        ahead = _AHEAD * sum(client.nthreads().values())
        for count in itertools.count():
            if count:
                if ended.is_empty():
                    return
                _wait(ended, client)
                future, result = next(ended)
                if future.cancelled():  # with its scheduler; that is not raised
                    raise CancelledError(future.key)
                yield result
            if not count % 100:  # workers come and go
                ahead = _AHEAD * max(1, sum(client.nthreads().values()))
            for task in itertools.islice(left, max(0, ahead - ended.count())):
                ended.add(client.submit(work, *task, pure=False))
    except TimeoutError as error:
        raise ConfigError(
            f"crop_backend={backend}: no worker was there for {WAIT_FOR_WORKERS} s; start some "
            f"(dask worker ADDRESS) and run again (what is cropped already is kept)"
        ) from error
    except (CancelledError, ClosedClientError, CommClosedError) as error:
        raise CacheError(
            f"crop_backend={backend}: the connection to the Dask scheduler was lost: it has ended, "
            f"or cannot be reached any more; start it and its workers and run again (what is "
            f"cropped already is kept)"
        ) from error
    except KilledWorker as error:
        raise CacheError(
            f"crop_backend={backend}: workers were killed again and again over the same images, "
            f"probably for memory; run again with workers that have more of it (what is cropped "
            f"already is kept)"
        ) from error
    except ImportError as error:
        raise ConfigError(
            f"crop_backend={backend}: a worker cannot import what it needs ({first_line(error)}); "
            f"install the same version of siamese there, with the same extras"
        ) from error


def _wait(ended: Any, client: Any) -> None:
    """Until a task has ended.

    Raises:
        TimeoutError: the cluster had no worker for ``WAIT_FOR_WORKERS`` seconds.
    """
    asked = seen = time.monotonic()
    while not ended.has_ready():
        time.sleep(0.01)
        if (now := time.monotonic()) - asked > _ASK:
            asked = now
            if client.nthreads():
                seen = now
            elif now - seen > WAIT_FOR_WORKERS:
                raise TimeoutError


@contextlib.contextmanager
def _dask_client(backend: str) -> Iterator[Any]:
    """A connection to the scheduler; one that the program has already stays open."""
    import dask
    from distributed import Client, get_client

    address = backend.partition(":")[2] or dask.config.get("scheduler-address", None)
    if not address:
        try:
            yield get_client()
        except ValueError as error:
            raise ConfigError(
                f"crop_backend={backend}: this program is connected to no Dask cluster; name its "
                f"scheduler, crop_backend=dask:tcp://HOST:8786, or make a distributed.Client first"
            ) from error
        return
    try:
        client = Client(address, set_as_default=False)
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"crop_backend={backend}: no Dask scheduler answers at {address} "
            f"({first_line(error)}); start one (dask scheduler), or correct the address"
        ) from error
    with client:
        yield client


def refuse_what_is_here(path: Path, reason: str, backend: str) -> None:
    """Refuse to take a file for a missing one that a worker alone does not find.

    Args:
        path: an image.
        reason: why the worker could not read it.
        backend: of the worker.

    Raises:
        DataError: it is not there for the worker, but it is here.
    """
    if "no such file" in reason and exists(path):
        raise DataError(
            f"{path}: this file is here, and a worker of crop_backend={backend} does not find it; "
            f"put the images into a folder that all machines see under the same path, or leave "
            f"crop_backend out"
        )
