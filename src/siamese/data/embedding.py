"""Run a network over a data set: every picture once, in order, unaugmented."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from siamese.data.dataset import CropDataset
from siamese.data.samplers.base import SequentialBatches

EVAL_BATCH = 64


@torch.no_grad()
def embed(
    model: nn.Module,
    data: CropDataset,
    batch: int = EVAL_BATCH,
    alter: Callable[[np.ndarray], np.ndarray] | None = None,
) -> Tensor:
    """Embed all N pictures of a data set.

    Args:
        model: (B, 3, H, W) uint8 to (B, D); run in evaluation mode on the device it is on, and left in the mode it was in.
        data: N crops.
        batch: pictures at a time. The last bits of an embedding may depend on it, so what is to be compared exactly must be
            embedded with the same number.
        alter: applied to each crop, (size, size, 3) uint8, before it is embedded.

    Returns:
        (N, D) float32 on the CPU.
    """
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    was_training = model.training
    model.eval()
    try:
        parts = []
        for plan in SequentialBatches(len(data), batch):
            images = data[plan]["image"]
            if alter is not None:
                images = torch.from_numpy(np.stack([alter(i) for i in images.permute(0, 2, 3, 1).numpy()])).permute(0, 3, 1, 2)
            parts.append(model(images.contiguous().to(device)).float().cpu())
        return torch.cat(parts)
    finally:
        model.train(was_training)
