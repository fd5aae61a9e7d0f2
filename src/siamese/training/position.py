"""Position: which batch of which epoch a checkpoint was written after, in Lightning's counters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# What Lightning writes for an object of its progress trackers that has done nothing yet.
_NONE = {"ready": 0, "completed": 0, "started": 0, "processed": 0}


@dataclass(frozen=True)
class Position:
    """Where a training was when its checkpoint was written.

    Attributes:
        epoch: the epoch that goes on, from 0; where the one before came to its end, the next one.
        batch: how many of its batches have been trained on.
        whole: whether it begins with this epoch's first batch.
        validating: whether the validation after batch ``batch`` is still to be done, where there is
            one.
        schedules_due: the checkpoint was written before schedules that look at a figure (plateau)
            took their step.
    """

    epoch: int
    batch: int = 0
    whole: bool = True
    validating: bool = False
    schedules_due: bool = False

    @classmethod
    def of(cls, checkpoint: Mapping[str, Any], batches: int | None = None) -> Position | None:
        """Read the counters of a checkpoint of Lightning; None where they are not as known.

        Args:
            checkpoint: its content.
            batches: how many an epoch has; None where that is not known, then the checkpoint says
                whether its last batch was the last one.
        """
        try:
            loop = checkpoint["loops"]["fit_loop"]
            epochs, progress = loop["epoch_progress"]["current"], loop["epoch_loop.batch_progress"]
            done, batch = int(epochs["processed"]), int(progress["current"]["processed"])
            ended = int(epochs["ready"]) == done
            last = bool(progress["is_last_batch"])
            last = last if batches is None else last or batch >= batches
            within = batch > 0 and not last
            validated = progress["current"]["completed"] == progress["current"]["processed"]
            completed, begun = int(epochs["completed"]), epochs["started"] == epochs["ready"]
        except (KeyError, TypeError, ValueError):
            return None
        if not begun:  # an epoch was about to begin
            return cls(done)
        if ended and (not within or batches is None):
            return cls(done, schedules_due=completed == done - 1)
        # Training was ended within an epoch (max_steps, max_time): Lightning counts it as whole.
        epoch = done - 1 if ended else done
        if not batch:
            return cls(epoch)
        return cls(epoch, batch, False, validating=not ended and (last or not validated))


def place_loops(checkpoint: dict[str, Any], position: Position) -> None:
    """Write Lightning's counters so that it goes on at a position."""
    loop = checkpoint["loops"]["fit_loop"]
    _set(loop["epoch_progress"], position.epoch)
    progress = loop["epoch_loop.batch_progress"]
    validation = loop["epoch_loop.val_loop.batch_progress"]
    for part in (validation["total"], validation["current"]):
        part.update(_NONE)
    validation["is_last_batch"] = False
    state = loop["state_dict"]
    if position.whole:
        state.pop("combined_loader", None)
        # Those of the epochs before stay counted.
        progress["current"] = dict(_NONE)
        progress["total"].update(dict.fromkeys(_NONE, progress["total"]["processed"]))
        progress["is_last_batch"] = False
        return
    for part in loop["epoch_progress"].values():
        part.update(ready=part["processed"] + 1, started=part["processed"] + 1)
    _set(progress, position.batch)
    if progress["is_last_batch"]:  # the loader is not asked for another batch of this epoch
        state.pop("combined_loader", None)
    if position.validating:  # Lightning then validates before it trains
        validation["total"].update(ready=1, started=1)
    if position.validating and not progress["is_last_batch"]:
        counted = loop["epoch_loop.state_dict"]
        counted["_batches_that_stepped"] = counted.get("_batches_that_stepped", 0) + 1


def _set(progress: dict[str, Any], number: int) -> None:
    """Set all of a tracker's current counts, and those of all epochs along with them."""
    total, current = progress["total"], progress["current"]
    whole = total["processed"] - current["processed"] + number
    for part, count in ((total, whole), (current, number)):
        part.update(dict.fromkeys(_NONE, count))
