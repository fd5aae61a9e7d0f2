"""Run a network over a data set: every picture once, in order, unaugmented."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from siamese.data.dataset import CropDataset
from siamese.data.samplers import SequentialBatches

EVAL_BATCH = 64


@torch.no_grad()
def embed(model: nn.Module, data: CropDataset, batch: int = EVAL_BATCH) -> Tensor:
    """Embed all N pictures of a data set.

    Args:
        model: (B, 3, H, W) uint8 to (B, D); run in evaluation mode on the device it is on, and left in the mode it was in.
        data: N crops.
        batch: pictures at a time. The last bits of an embedding may depend on it, so what is to be compared exactly must be
            embedded with the same number.

    Returns:
        (N, D) float32 on the CPU.
    """
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    was_training = model.training
    model.eval()
    try:
        return torch.cat([model(data[plan]["image"].to(device)).float().cpu() for plan in SequentialBatches(len(data), batch)])
    finally:
        model.train(was_training)
