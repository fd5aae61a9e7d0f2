"""A warning is said once in a process, not at every call that meets its cause."""

from __future__ import annotations

import threading
import warnings

from siamese.launched import follows

_said: set[str] = set()
_lock = threading.Lock()


def warn_once(text: str, stacklevel: int = 1, *, about: str | None = None) -> None:
    """Warn, unless these very words were said before, or another process says them for all.

    Python's own rule for that is undone by every ``warnings.catch_warnings`` that a library enters.

    Args:
        text: what to know, and what to do.
        stacklevel: whose line is named, as for ``warnings.warn``: 1 for that of the caller.
        about: what is said once even in other words, such as with another number; by default the
            words themselves.
    """
    cause = text if about is None else about
    with _lock:
        if cause in _said or follows():
            return
    warnings.warn(text, stacklevel=stacklevel + 1)  # may be an error, if the user wants it so
    with _lock:
        _said.add(cause)


def forget_what_was_said() -> None:
    """Say everything once more, for tests."""
    with _lock:
        _said.clear()
