"""What a process that loads batches does first."""

from __future__ import annotations

import multiprocessing.queues
import os
import signal
from typing import Any

import torch


def begin_worker(_: int) -> None:
    """Keep a DataLoader worker to one thread, let it end by itself, and not wait in vain.

    * It shares the cores with the training itself.
    * Ctrl-C in a terminal goes to all processes of a command; the training then ends after the
      batch that it computes, and needs its batches until then.
    * A batch that cannot be handed on (too many open files) would be dropped with a message, and
      the training would wait for it for ever. So the worker ends, which the training notices.
    """
    import cv2

    cv2.setNumThreads(0)
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    multiprocessing.queues.Queue._on_queue_feeder_error = staticmethod(_give_up)  # type: ignore[attr-defined]


def _give_up(error: BaseException, _: Any) -> None:
    os.write(2, f"note: a process that loads batches cannot hand one on: {error}\n".encode())
    os._exit(1)
