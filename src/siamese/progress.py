"""A progress bar on standard error, where somebody can see it, and for who asks to hear of it."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any

_PAUSE = 0.2  # seconds between two changes of a line in a notebook

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
    if in_notebook():
        with _in_a_line(what, total) as moved:
            yield lambda n: (moved(n), tell(n))[1]
        return
    try:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn
    except ImportError:  # an environment for .onnx files has no more than these need
        yield lambda n: None
        return

    console = Console(stderr=True)
    visible = console.is_terminal
    columns = (what, BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not visible) as bar:
        task = bar.add_task(what, total=total)

        def advance(n: int) -> None:
            bar.advance(task, n)
            tell(n)

        yield advance


def in_notebook() -> bool:
    """Whether this is a notebook's kernel, whose outputs can be changed later."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return type(shell).__name__ == "ZMQInteractiveShell"


class NotebookLine:
    """One line of text below a notebook's cell, changed in place.

    rich has none without the package ipywidgets: there every change is another output.
    """

    def __init__(self) -> None:
        self._handle: Any = None
        self._shown = -_PAUSE

    def write(self, text: str, *, now: bool = False) -> None:
        """Show a text instead of the last one.

        Args:
            text: plain text on one line.
            now: show it in any case; otherwise not where the last change was just before.
        """
        if not now and time.monotonic() - self._shown < _PAUSE:
            return
        from IPython import display as outputs

        display: Any = outputs.display  # it has no types
        self._shown, data = time.monotonic(), {"text/plain": text}
        if self._handle is None:
            self._handle = display(data, raw=True, display_id=True)
        else:
            self._handle.update(data, raw=True)


@contextlib.contextmanager
def _in_a_line(what: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """:func:`progress_bar` in a notebook; nothing of it is left at the end."""
    line, done = NotebookLine(), 0
    of = "" if total is None else f" of {total:,}"

    def moved(n: int) -> None:
        nonlocal done
        done += n
        line.write(f"{what} {done:,}{of}")

    yield moved
    if done:
        line.write("", now=True)


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
