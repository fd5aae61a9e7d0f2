"""DividedBatches: each batch of one process, divided over several."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from siamese.data.adapters import TorchBatches
from siamese.data.samplers.base import BatchPlan, PlannedBatches


class DividedBatches:
    """The batches that one process would have; of each, this process loads its part.

    Args:
        batches: of one process.
        rank, world: of this process, and how many there are.
    """

    def __init__(self, batches: PlannedBatches | TorchBatches, rank: int, world: int) -> None:
        self._batches, self._rank, self._world = batches, rank, world
        self.sampler = self  # where Lightning looks for set_epoch

    @property
    def epoch(self) -> int:
        """The epoch that is drawn next."""
        return self._batches.epoch

    @property
    def begun(self) -> int:
        """The step that the next epoch begins with."""
        return self._batches.begun

    def set_epoch(self, epoch: int) -> None:
        self._batches.set_epoch(epoch)

    def begin_at(self, step: int, state: Any = None) -> None:
        """See :meth:`PlannedBatches.begin_at`."""
        self._batches.begin_at(step, state)

    def state_dict(self) -> dict[str, Any]:
        """Of the batches, where they have one."""
        known: dict[str, Any] = getattr(self._batches, "state_dict", dict)()
        return known

    def __len__(self) -> int:
        return len(self._batches)

    def __iter__(self) -> Iterator[BatchPlan]:
        return (plan.part(self._rank, self._world) for plan in self._batches)
