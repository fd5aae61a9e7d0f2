"""BatchLoader: a DataLoader that knows which batch it is at, and loads the next ones in a thread.

While a network computes, Python waits; augmentation takes about a sixth of the time of a training
step of a small network. A thread needs no start, and nothing has to be pickled.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from torch.utils.data import DataLoader
from torch.utils.data.distributed import DistributedSampler

from siamese.data.samplers.base import BatchPlan

AHEAD = 2  # batches that are loaded before they are asked for


class _Divided(DistributedSampler[Any]):
    """Tells Lightning that the batches are divided over processes already.

    Otherwise its Trainer would make the batch sampler anew, without its arguments, unless it is
    given ``use_distributed_sampler=False``.
    """


class BatchLoader(DataLoader[dict[str, Any]]):
    """Batches of a data set that loads whole plans, in the order of the plans.

    The plans are drawn where the loop runs, so that a sampler may draw from torch's global random
    numbers; what is done to an image must not, unless ``ahead`` is False.

    It is ``Stateful`` as Lightning understands it: a checkpoint that is written within an epoch
    holds how many of its batches were given out, and a resumed run goes on with the next one. An
    epoch's iterator begins its work with the first batch that is asked for: by then the sampler
    knows the epoch.

    Args:
        ahead: without processes of its own, load the next batches in a thread, before they are
            asked for.
        arguments: as for ``torch.utils.data.DataLoader``, whose worker processes are used where
            there are any.
    """

    def __init__(self, *arguments: Any, ahead: bool = True, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._ahead, self._given = ahead, 0
        # Not by assignment, which a DataLoader refuses. Nothing is drawn from it.
        self.__dict__["sampler"] = _Divided((), num_replicas=1, rank=0)  # type: ignore[arg-type]

    def state_dict(self) -> dict[str, Any]:
        """How many batches of this epoch were given out, and what the sampler must know."""
        known: dict[str, Any] = getattr(self.batch_sampler, "state_dict", dict)()
        return {"batch": self._given} | ({"sampler": known} if known else {})

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Let the next epoch begin after as many batches; Lightning calls it for a begun epoch."""
        self._given = int(state["batch"])
        begin = getattr(self.batch_sampler, "begin_at", None)
        if begin is not None:
            begin(self._given, state.get("sampler"))

    def __iter__(self) -> Any:
        # A batch sampler that cannot begin later begins anew.
        begun = getattr(self.batch_sampler, "begun", 0)
        made = super().__iter__ if self.num_workers or not self._ahead else self._in_a_thread

        def batches() -> Iterator[dict[str, Any]]:
            self._given = begun
            for batch in made():
                self._given += 1
                yield batch

        return batches()

    def _in_a_thread(self) -> Iterator[dict[str, Any]]:
        with ThreadPoolExecutor(1, "siamese-loader") as thread:
            loading: deque[Future[dict[str, Any]]] = deque()
            try:
                for plan in self.batch_sampler:  # type: ignore[union-attr]
                    loading.append(thread.submit(self._load, plan))  # type: ignore[arg-type]
                    if len(loading) > AHEAD:
                        yield loading.popleft().result()
                while loading:
                    yield loading.popleft().result()
            finally:  # the loop may be left early
                thread.shutdown(wait=False, cancel_futures=True)

    def _load(self, plan: BatchPlan) -> dict[str, Any]:
        batch: dict[str, Any] = self.collate_fn(self.dataset[plan])  # type: ignore[arg-type]
        if self.pin_memory:
            batch = {name: part.pin_memory() for name, part in batch.items()}
        return batch
