"""A progress bar on standard error, where somebody can see it, and for who asks to hear of it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar

# Of this thread: called with the word, how much is done, and where it ends.
Listener = Callable[[str, int, int | None], None]
_listener: ContextVar[Listener | None] = ContextVar("listener", default=None)


@contextlib.contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Inside the ``with`` block, in this thread, progress is told to a function, too.

    Args:
        listener: called with what is done, how much of it, and where it ends (None where that is
            not known); also where no bar is shown.
    """
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


@contextlib.contextmanager
def progress_bar(
    what: str, total: int | None, shown: bool = True
) -> Iterator[Callable[[int], None]]:
    """Inside the ``with`` block, ``advance(n)`` moves the bar on by n.

    Args:
        what: the word beside it.
        total: where it ends; None where that is not known.
        shown: whether there is one at all; there is none where standard error is no terminal and no
            notebook.
    """
    tell = _told(what, total)
    if not shown:
        yield tell
        return
    try:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn
    except ImportError:  # an environment for .onnx files has no more than these need
        yield lambda n: None
        return

    console = Console(stderr=True)
    visible = console.is_terminal or console.is_jupyter
    columns = (what, BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not visible) as bar:
        task = bar.add_task(what, total=total)

        def advance(n: int) -> None:
            bar.advance(task, n)
            tell(n)

        yield advance


def _told(what: str, total: int | None) -> Callable[[int], None]:
    """What tells the listener, if there is one."""
    listener, done = _listener.get(), 0
    if listener is None:
        return lambda n: None
    listener(what, 0, total)

    def tell(n: int) -> None:
        nonlocal done
        done += n
        listener(what, done, total)

    return tell
