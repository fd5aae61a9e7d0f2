"""A progress bar on standard error, where somebody can see it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator


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
    if not shown:
        yield lambda n: None
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
        yield lambda n: bar.advance(task, n)
