"""BatchLoader: batches in order from a thread, plans drawn by the loop, nothing left behind."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch

from siamese.data.dataset import collate_as_is
from siamese.data.loader import AHEAD, BatchLoader
from siamese.data.samplers.base import BatchPlan


class Numbers(torch.utils.data.Dataset):
    """Gives the plan's rows, and remembers which thread asked for them."""

    def __init__(self, bad: int = -1) -> None:
        self.bad, self.threads, self.loaded = bad, set(), []

    def __getitem__(self, plan: BatchPlan) -> dict[str, torch.Tensor]:
        self.threads.add(threading.get_ident())
        self.loaded.append(int(plan.indices[0]))
        if plan.indices[0] == self.bad:
            raise RuntimeError(f"no batch {self.bad}")
        return {"index": torch.from_numpy(plan.indices)}


class Plans:
    """Ten batches; remembers which thread drew them."""

    def __init__(self) -> None:
        self.threads = set()

    def __len__(self) -> int:
        return 10

    def __iter__(self):
        for n in range(10):
            self.threads.add(threading.get_ident())
            yield BatchPlan(np.array([n]))


def loader(bad: int = -1) -> BatchLoader:
    return BatchLoader(Numbers(bad), batch_sampler=Plans(), collate_fn=collate_as_is)


def test_batches_come_in_order_in_every_epoch_from_a_thread_that_ends():
    batches = loader()
    before = threading.active_count()
    for _ in range(3):
        assert [int(batch["index"]) for batch in batches] == list(range(10))
        assert threading.active_count() == before
    assert batches.batch_sampler.threads == {threading.get_ident()}
    assert threading.get_ident() not in batches.dataset.threads


def test_the_next_batches_are_loaded_while_the_loop_works():
    batches = loader()
    iterator = iter(batches)
    next(iterator)
    waited = threading.Event()
    for _ in range(500):  # of 10 ms at most
        if len(batches.dataset.loaded) == 1 + AHEAD:
            break
        waited.wait(0.01)
    assert batches.dataset.loaded == list(range(1 + AHEAD))  # these, and no more


def test_a_loop_that_is_left_early_leaves_no_thread():
    before = threading.active_count()
    batches = loader()
    for batch in batches:
        if int(batch["index"]) == 3:
            break
    assert threading.active_count() == before
    assert len(batches.dataset.loaded) <= 4 + AHEAD


def test_an_error_is_raised_in_its_batchs_turn():
    batches = iter(loader(bad=5))
    assert [int(next(batches)["index"]) for _ in range(5)] == [0, 1, 2, 3, 4]
    with pytest.raises(RuntimeError, match="no batch 5"):
        next(batches)
