"""Worker: one thread that does one thing at a time, and how many may wait for it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from siamese.app.limits import Refused

Result = TypeVar("Result")


class Worker:
    """A thread of its own, since detectors belong to one thread, and memory to one photograph.

    Args:
        most: that are let in at a time: worked on, waiting, or still being sent.
    """

    def __init__(self, most: int) -> None:
        self._thread = ThreadPoolExecutor(1)
        self._places = most

    @contextlib.contextmanager
    def place(self) -> Iterator[None]:
        """Take a place before a body is read, so that bodies do not fill the memory.

        To be called where requests are answered, in one thread.

        Raises:
            Refused: all are taken.
        """
        if not self._places:
            raise Refused(503, "busy with other photographs; try again in some seconds")
        self._places -= 1
        try:
            yield
        finally:
            self._places += 1

    async def run(self, work: Callable[..., Result], *args: Any) -> Result:
        """What ``work(*args)`` gives, in the thread."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, *args)

    def stop(self) -> None:
        """Let go of what has not begun."""
        self._thread.shutdown(wait=False, cancel_futures=True)
