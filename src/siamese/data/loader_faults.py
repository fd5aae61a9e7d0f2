"""What the system says when it kills a process that loads batches, or gives it nothing more."""

from __future__ import annotations

import errno
import re
import traceback
from pathlib import Path

from siamese.errors import LoaderError

# Words of torch's errors -> what happened, and what to do.
_FAULTS = (
    (
        re.compile(r"EMFILE|Too many open files|received \d+ items of ancdata"),
        "too many open files: allow more (ulimit -n 4096), or load with fewer processes "
        "(data.workers=0)",
    ),
    (
        re.compile(
            r"unable to (open|allocate|write).* shared memory|insufficient shared memory|shm_open"
        ),
        "the shared memory through which processes hand on batches is full: make /dev/shm larger "
        "(docker run --shm-size=1g), or load without processes (data.workers=0)",
    ),
    (
        # The latter are what is said where it ends while a batch is fetched from it.
        re.compile(
            r"DataLoader worker .*(killed by signal|exited unexpectedly)|ECONN|EPIPE|EOFError", re.S
        ),
        "a process that loads batches was killed or has ended (most often since memory or open "
        "files had run out; what it said, if anything, stands above): load with fewer processes "
        "(data.workers=0)",
    ),
    (
        re.compile(r"Cannot allocate memory|can't allocate memory"),
        "memory has run out: load with fewer processes (data.workers=0), or take smaller batches",
    ),
)


def loader_error(error: BaseException) -> LoaderError | None:
    """An error of ours for one of torch or of the system; None where it is not of a loader.

    It must have come through torch's loader or through ``multiprocessing``.
    """
    known: BaseException | None = error
    for _ in range(8):  # errors that were raised from others
        if known is None:
            return None
        if _through_loader(known) and (what := in_words(known)) is not None:
            return LoaderError(what)
        known = known.__cause__ or known.__context__
    return None


def in_words(error: BaseException) -> str | None:
    """What happened and what to do; None where that is not known."""
    if not isinstance(error, (RuntimeError, OSError, EOFError)):
        return None
    number = error.errno if isinstance(error, OSError) else None
    text = f"{type(error).__name__} {errno.errorcode.get(number or 0, '')} {error}"
    return next((what for words, what in _FAULTS if words.search(text)), None)


def _through_loader(error: BaseException) -> bool:
    for frame in traceback.extract_tb(error.__traceback__):
        path = Path(frame.filename).as_posix()
        if "torch/utils/data" in path or "/multiprocessing/" in path:
            return True
    return False
