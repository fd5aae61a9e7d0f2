"""A command in several processes, as torchrun starts them: one of them speaks for all.

    torchrun --nproc-per-node 2 -m siamese calibrate ...

The processes work in :func:`siamese.processes.across_processes`. What they print is the same, so
the first one prints it and writes the files. An error may occur in one process alone, and then ends
the others, whose connection is gone: the first process that fails says why, the others are silent.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from siamese.launched import by_slurm, by_torchrun

# Commands that divide their work.
DIVIDED = ("train", "evaluate", "calibrate", "embed")
_FAILED = "siamese/failed"  # in the processes' store: which of them says why


@contextlib.contextmanager
def one_speaker(command: str) -> Iterator[None]:
    """Join the processes that torchrun started with this one, silence all but the first.

    Without torchrun, or for a command that is not divided, nothing changes.

    Raises:
        SystemExit: with code 2, where the command failed and another process says why.
    """
    if command in DIVIDED and by_slurm():
        from siamese.training.joining import speak_as_torchrun

        speak_as_torchrun()
    if command not in DIVIDED or not by_torchrun():
        yield
        return
    from siamese.processes import meet, part

    rank, before = os.environ["RANK"], (sys.stdout, sys.stderr)
    with Path(os.devnull).open("w") as nowhere:
        if rank != "0":
            sys.stdout = sys.stderr = nowhere
        try:
            meet()
            yield
            part()
        except (Exception, KeyboardInterrupt):
            if not _is_first_to_fail(rank):
                raise SystemExit(2) from None
            raise
        finally:
            sys.stdout, sys.stderr = before


def _is_first_to_fail(rank: str) -> bool:
    """Whether no other process has failed before, so that this one must say why."""
    from torch.distributed import distributed_c10d

    try:
        store = distributed_c10d._get_default_store()
        said: bytes = store.compare_set(_FAILED, "", rank)
    except (RuntimeError, ValueError):  # the processes have not met, or the first one is gone
        return rank == "0"
    return said.decode() == rank
