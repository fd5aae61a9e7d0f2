"""The whole batch, of which each process has a part: its embeddings, with gradients."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, distributed

SPLIT, JOINED, SEPARATE = "split", "joined", "separate"
# What several processes do with batches; see :class:`siamese.SiameseModule`.
DATA_PARALLEL = (SPLIT, JOINED, SEPARATE)


class _Gather(torch.autograd.Function):
    """Rows of all processes; the gradient of a row comes from the losses of all of them."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, sizes: list[int]) -> Tensor:
        ctx.sizes = sizes
        return gather_rows(rows, sizes)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        # The sum over processes: DistributedDataParallel will take the mean over as many.
        # A copy: what came in may be needed by others.
        gradient = gradient.contiguous().clone()
        distributed.all_reduce(gradient)
        begin = sum(ctx.sizes[: distributed.get_rank()])
        return gradient[begin : begin + ctx.sizes[distributed.get_rank()]], None


def gather_rows(rows: Tensor, sizes: list[int]) -> Tensor:
    """(sum of sizes, ...) rows of all processes, in the order of their ranks, without gradient.

    Args:
        rows: (n, ...) of this process, on the device of its group.
        sizes: how many rows each process has.
    """
    padded = rows.new_zeros(max(sizes), *rows.shape[1:])
    padded[: len(rows)] = rows.detach()
    found = [torch.empty_like(padded) for _ in sizes]
    distributed.all_gather(found, padded)
    return torch.cat([part[:size] for part, size in zip(found, sizes, strict=True)])


def whole_batch(
    embeddings: Tensor, labels: Tensor, pairs: Tensor | None, *, shared: bool
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Embeddings, labels and pairs of all processes, as one process would have them.

    Every process gets the same, and computes the same loss. Where DistributedDataParallel takes the
    mean of the gradients over processes, they are those of one process with the whole batch, but
    for the order in which numbers are added.

    Args:
        embeddings: (B, D) of this process's images, with gradient.
        labels: (B,) integers.
        pairs: (2, n) positions; None for all pairs, in every process.
        shared: whether ``pairs`` are positions in the whole batch, the same in every process; else
            they are positions in this process's batch.

    Returns:
        embeddings (N, D), labels (N,) and pairs (2, m) or None.
    """
    if not (distributed.is_available() and distributed.is_initialized()):
        return embeddings, labels, pairs
    several = pairs is not None and not shared
    counts = labels.new_tensor([len(labels), pairs.shape[1] if several else 0])  # type: ignore[union-attr]
    every = [torch.empty_like(counts) for _ in range(distributed.get_world_size())]
    distributed.all_gather(every, counts)
    sizes, numbers = torch.stack(every).T.tolist()
    whole: Tensor = _Gather.apply(embeddings, sizes)  # type: ignore[no-untyped-call]
    if several:
        assert pairs is not None
        begin = sum(sizes[: distributed.get_rank()])
        pairs = gather_rows((pairs + begin).T.contiguous(), numbers).T
    return whole, gather_rows(labels, sizes), pairs
