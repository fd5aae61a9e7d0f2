"""Run a network over images: each once, in order, with or without test-time augmentation."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from siamese.backbones.descriptor_cache import descriptors_kept
from siamese.backbones.layers.views import mean_over_views
from siamese.data.dataset import CropDataset
from siamese.data.samplers.base import SequentialBatches
from siamese.data.tta import TestTimeAugmentation
from siamese.processes import together
from siamese.progress import progress_bar

EVAL_BATCH = 64


@torch.no_grad()
def embed(
    model: nn.Module,
    data: CropDataset,
    batch: int = EVAL_BATCH,
    tta: TestTimeAugmentation | None = None,
) -> Tensor:
    """Embed all N images of a data set; fixed descriptors are kept beside its crops.

    Inside :func:`siamese.across_processes` each process embeds some of the batches, whole ones, and
    gets the embeddings of all: the same bits as by one process with as many threads.

    Args:
        model: (B, 3, H, W) uint8 to (B, D); run in evaluation mode on the device it is on, and left
            in the mode it was in.
        data: N crops.
        batch: images at a time. The last bits of an embedding may depend on it, so embeddings that
            must agree exactly must be made with the same number.
        tta: test-time augmentation: changed copies over which each embedding is averaged.

    Returns:
        (N, D) float32 on the CPU.
    """
    was_training = model.training
    model.eval()
    try:
        plans = SequentialBatches(len(data), batch)
        # Copies for test-time augmentation would fill the cache.
        with descriptors_kept(data.cache if tta is None else None):
            return _divided(
                [*plans], lambda plan: embed_batch(model, data[plan]["image"], tta).cpu()
            )
    finally:
        model.train(was_training)


def _divided(plans: Sequence[Any], embedded: Callable[[Any], Tensor]) -> Tensor:
    """The embeddings of all batches in order, each made by one of the processes."""
    processes = together()
    if processes.count == 1:
        with progress_bar("embedding", len(plans), shown=False) as advance:
            found = []
            for plan in plans:
                found.append(embedded(plan))
                advance(1)
        return torch.cat(found)
    # Neighbours, so that the rows of all processes are in order when they are joined.
    ends = [len(plans) * rank // processes.count for rank in range(processes.count + 1)]
    mine = plans[ends[processes.rank] : ends[processes.rank + 1]]
    rows = torch.cat([embedded(plan) for plan in mine]) if mine else None
    width = max(processes.gather(0 if rows is None else rows.shape[1]))
    own = np.zeros((0, width), dtype=np.float32) if rows is None else rows.numpy()
    return torch.from_numpy(processes.join(own))


@torch.no_grad()
def embed_batch(model: nn.Module, images: Tensor, tta: TestTimeAugmentation | None = None) -> Any:
    """Embed a batch, (B, 3, H, W) uint8 on the CPU, by a network in evaluation mode.

    Returns:
        (B, D) float32 on the network's device, averaged over copies where ``tta`` is given. If the
        network's embeddings have unit length (``model.unit_length``), the mean is scaled to it
        again.
    """
    tensors = itertools.chain(model.parameters(), model.buffers())
    device = next((t.device for t in tensors), torch.device("cpu"))

    def embed_view(view: Tensor) -> Tensor:
        found: Tensor = model(view.contiguous().to(device)).float()
        return found

    if tta is None:
        return embed_view(images)
    views = (_augment(images, tta, copy) for copy in range(tta.copies))
    return mean_over_views(embed_view, views, unit_length=getattr(model, "unit_length", False))


def _augment(images: Tensor, tta: TestTimeAugmentation, copy: int) -> Tensor:
    """One changed copy of each image of a batch, all changed alike."""
    arrays = images.permute(0, 2, 3, 1).numpy()
    changed = np.stack([tta(array, copy) for array in arrays])
    return torch.from_numpy(changed).permute(0, 3, 1, 2)
