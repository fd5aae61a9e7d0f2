"""Names of monitored values: ``eer`` for the calibrating split's, whatever that split is called."""

from __future__ import annotations

MONITORS = ("eer", "auc", "f1", "accuracy", "loss", "train/loss")


def short_monitor(monitor: str) -> str:
    """``eer`` for ``calibration/eer``, ``validation/eer`` and, as it was once called, ``val/eer``.

    What is measured on the training split keeps its name.
    """
    split, _, figure = monitor.rpartition("/")
    return figure if split in ("calibration", "validation", "val") else monitor


def full_monitor(monitor: str, split: str) -> str:
    """The name under which a monitored value is logged.

    Args:
        monitor: short, or with the name that the split has in some protocol.
        split: that is calibrated on.
    """
    short = short_monitor(monitor)
    return f"{split}/{short}" if short in MONITORS and "/" not in short else monitor
