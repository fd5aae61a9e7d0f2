"""Run a function in several processes that torch.distributed joins, as torchrun would."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import socket
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from siamese.processes import meet, part


def run_in(count: int, function: Callable[..., Any], *arguments: Any) -> list[Any]:
    """What a function returns in each of ``count`` processes, in the order of their ranks.

    The processes are forks of this one: they start in milliseconds, with torch imported. Each has
    the variables of torchrun and has joined the others by gloo.

    Raises:
        AssertionError: one of them failed; its traceback is in the message.
    """
    context = multiprocessing.get_context("fork")
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        started = [
            context.Process(target=_work, args=(rank, count, port, folder, function, arguments))
            for rank in range(count)
        ]
        for process in started:
            process.start()
        for process in started:
            process.join(120)
        late = [p for p in started if p.is_alive()]
        for process in late:
            process.kill()
        files = [Path(folder) / f"{rank}" for rank in range(count)]
        found = [pickle.loads(file.read_bytes()) if file.exists() else None for file in files]
    problems = [
        f"rank {r}: {x[1] if x else 'no answer'}"
        for r, x in enumerate(found)
        if x is None or x[0] != "done"
    ]
    assert not problems, "\n".join(problems)
    return [value for _, value in found]


def _work(
    rank: int,
    count: int,
    port: int,
    folder: str,
    function: Callable[..., Any],
    arguments: tuple[Any, ...],
) -> None:
    os.environ |= {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(count),
        "LOCAL_WORLD_SIZE": str(count),
        "GROUP_RANK": "0",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "TORCHELASTIC_RUN_ID": "test",
    }
    torch.set_num_threads(1)  # a fork has no thread pool
    try:
        meet()
        answer = ("done", function(*arguments))
        part()
    except BaseException:
        answer = ("failed", traceback.format_exc())
    written = Path(folder) / f"{rank}.part"
    written.write_bytes(pickle.dumps(answer))
    written.rename(Path(folder) / f"{rank}")
    os._exit(0)  # not through what pytest has registered


def free_port() -> int:
    """A port that nothing listens at, just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
