"""What the system says when it kills a process that loads batches, or gives it nothing more."""

from __future__ import annotations

import errno
import re

from siamese.errors import LoaderError

# Words of torch's errors -> what happened, and what to do.
_FAULTS = (
    (
        re.compile(r"Too many open files|received \d+ items of ancdata"),
        "too many open files: allow more (ulimit -n 4096), or load with fewer processes "
        "(data.workers=0)",
    ),
    (
        re.compile(r"shared memory|Bus error|shm_open"),
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
    """An error of ours for one of torch or of the system; None for any other error."""
    known = error
    for _ in range(8):  # errors that were raised from others
        number = known.errno if isinstance(known, OSError) else None
        text = f"{type(known).__name__} {errno.errorcode.get(number or 0, '')} {known}"
        if isinstance(known, (RuntimeError, OSError, EOFError)):
            for words, what in _FAULTS:
                if words.search(text) or (number == errno.EMFILE and words is _FAULTS[0][0]):
                    return LoaderError(what)
        following = known.__cause__ or known.__context__
        if following is None:
            return None
        known = following
    return None
