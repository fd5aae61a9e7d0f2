"""Processes that work on one thing together: those of torch.distributed, or this one alone."""

from __future__ import annotations

import atexit
import contextlib
import gc
import os
import pickle
import socket
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from datetime import timedelta
from typing import Any, TypeVar

import numpy as np
import torch
from torch import distributed

from siamese.errors import ProcessError
from siamese.launched import by_torchrun, local_rank

T = TypeVar("T")

# Others may wait while one of them crops for days. Where a process ends, the others learn of it at
# once, from the connection.
PATIENCE = timedelta(days=30)


class Processes:
    """A number of processes, each of which calls the same methods in the same order.

    Numbers and objects travel between CPUs (torch's gloo), wherever the processes compute. What
    they send is trusted: they are one job.

    Args:
        rank: of this process, 0 to count - 1.
        count: of the processes, >= 1.
    """

    def __init__(self, rank: int = 0, count: int = 1) -> None:
        self.rank, self.count = rank, count

    @property
    def first(self) -> bool:
        """Whether this is the process that writes and speaks for all."""
        return self.rank == 0

    def share(self, items: Sequence[T]) -> list[T]:
        """Each count-th item, from this process's rank on: the shares differ by one at most."""
        return list(items[self.rank :: self.count])

    def add_up(self, array: np.ndarray) -> np.ndarray:
        """The sum of the arrays of all processes, which have one shape and one kind of numbers.

        Of integers it is exact; of floating point numbers it depends on the number of processes.
        """
        if self.count == 1:
            return array
        # Unsigned numbers of 64 bits are not known to gloo; sums wrap around alike.
        plain = array.view(np.int64) if array.dtype == np.uint64 else array
        total = torch.from_numpy(np.ascontiguousarray(plain).copy())
        distributed.all_reduce(total, group=_cpu_group())
        found: np.ndarray = total.numpy()
        return found.view(array.dtype).reshape(array.shape)

    def gather(self, value: T) -> list[T]:
        """What each process has given, in the order of their ranks."""
        if self.count == 1:
            return [value]
        found: list[Any] = [None] * self.count
        distributed.all_gather_object(found, value, group=_cpu_group())
        return found

    def join(self, array: np.ndarray) -> np.ndarray:
        """The rows of all processes, (n, ...) of any numbers of rows, in the order of their ranks.

        A process may have no row; shapes of a row and kinds of numbers are alike.
        """
        if self.count == 1:
            return array
        sizes = self.gather(len(array))
        padded = np.zeros((max(sizes), *array.shape[1:]), dtype=array.dtype)
        padded[: len(array)] = array
        sent = torch.from_numpy(padded.reshape(-1).view(np.uint8))
        parts = [torch.empty_like(sent) for _ in sizes]
        if len(sent):
            distributed.all_gather(parts, sent, group=_cpu_group())
        whole = [part.numpy().view(array.dtype).reshape(padded.shape) for part in parts]
        return np.concatenate([part[:size] for part, size in zip(whole, sizes, strict=True)])

    def from_first(self, value: T) -> T:
        """What the first process has given."""
        if self.count == 1:
            return value
        found: list[Any] = [value if self.first else None]
        distributed.broadcast_object_list(found, src=0, group=_cpu_group())
        given: T = found[0]
        return given

    def by_first(self, work: Callable[[], T]) -> T:
        """Let the first process do something; all get what it returns, or its error.

        What only one process did, and failed at, the others would wait for.
        """
        if self.count == 1:
            return work()
        done: tuple[Any, Exception | None] = (None, None)
        if self.first:
            try:
                with apart():  # the others do not call what it calls
                    done = (work(), None)
            except Exception as error:
                self.from_first((None, _sendable(error)))
                raise
        value, failure = self.from_first(done)
        if failure is not None:
            raise failure
        given: T = value
        return given

    def by_some(self, work: Callable[[], object], mine: bool) -> None:
        """Let some processes do something; the others wait, and get the first one's error.

        Args:
            work: what is done.
            mine: whether this process does it.
        """
        failure: Exception | None = None
        if mine:
            try:
                with apart():
                    work()
            except Exception as error:
                failure = error
        every = self.gather(None if failure is None else _sendable(failure))
        if failure is not None:
            raise failure
        for one in every:
            if one is not None:
                raise one

    def leads_machine(self) -> bool:
        """Whether this process is the first one of its machine.

        It has the local rank 0, or, where nobody has set one, is the first of those whose machines
        have the same name.
        """
        names = self.gather(socket.gethostname())
        if "LOCAL_RANK" in os.environ:
            return local_rank() == 0
        return names.index(names[self.rank]) == self.rank

    def any(self, value: bool) -> bool:
        """Whether it is so in one of the processes, at least."""
        return bool(self.add_up(np.array([int(value)]))[0])

    def wait(self) -> None:
        """Go on when all processes have come here."""
        self.any(False)

    def __repr__(self) -> str:
        return f"Processes(rank={self.rank}, count={self.count})"


ALONE = Processes()
_together: ContextVar[Processes] = ContextVar("together", default=ALONE)
_groups: dict[Any, Any] = {}  # the default group -> one of the same processes over gloo


def all_processes() -> Processes:
    """Those of torch.distributed, where it has begun; else this one alone."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return ALONE
    return Processes(distributed.get_rank(), distributed.get_world_size())


@contextlib.contextmanager
def across_processes() -> Iterator[Processes]:
    """Inside, what can be divided is divided over the processes of torch.distributed.

    All of them must call the same functions with the same arguments, and get the same results: bit
    for bit those of one process. Embedding divides its batches, exhaustive pairs their tiles::

        torch.distributed.init_process_group("gloo")  # under torchrun
        with siamese.across_processes():
            calibration = siamese.calibrate(embeddings, identities, pairs="all_pairs")

    Without torch.distributed nothing changes.
    """
    token = _together.set(all_processes())
    try:
        yield _together.get()
    finally:
        _together.reset(token)


def together() -> Processes:
    """Those that :func:`across_processes` divides the work over; by default this one alone."""
    return _together.get()


@contextlib.contextmanager
def apart() -> Iterator[None]:
    """Inside, this process works by itself, though it is within :func:`across_processes`."""
    token = _together.set(ALONE)
    try:
        yield
    finally:
        _together.reset(token)


def meet() -> Processes:
    """Begin torch.distributed where torchrun has started this process with others."""
    if by_torchrun() and not distributed.is_initialized():
        # For both kinds of devices: a run may be told to use the CPUs of a machine with GPUs.
        several = torch.cuda.is_available() and distributed.is_nccl_available()
        if several and local_rank() < torch.cuda.device_count():
            torch.cuda.set_device(local_rank())
        backend = "cpu:gloo,cuda:nccl" if several else "gloo"
        distributed.init_process_group(backend, timeout=PATIENCE)
        atexit.register(part)
    return all_processes()


def part() -> None:
    """End torch.distributed, if it has begun.

    What still holds its groups, such as a network that was trained, is let go before: threads of
    gloo that outlive the interpreter abort the process, now and then.
    """
    _groups.clear()
    if distributed.is_available() and distributed.is_initialized():
        gc.collect()
        distributed.destroy_process_group()
        gc.collect()


def _sendable(error: Exception) -> Exception:
    """The error as another process can read it; of one that cannot be sent, what it says."""
    try:
        if str(pickle.loads(pickle.dumps(error))) == str(error):
            return error
    except Exception:  # pickling calls code of any kind
        pass
    return ProcessError(f"{type(error).__name__}: {error}")


def _cpu_group() -> Any:
    """A group of all processes whose messages are on CPUs; made when first needed, by all."""
    world = distributed.group.WORLD
    if distributed.get_backend() == "gloo":
        return world
    if world not in _groups:
        _groups.clear()
        _groups[world] = distributed.new_group(backend="gloo", timeout=PATIENCE)
    return _groups[world]
