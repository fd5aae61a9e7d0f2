"""What every loss shares: one call, over the labels of a batch or over explicit pairs of its rows."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class EmbeddingLoss(nn.Module):
    """A loss of an embedding matrix; every image is encoded once, pairs are row numbers."""

    def forward(self, embeddings: Tensor, labels: Tensor, pairs: Tensor | None = None) -> Tensor:
        """The loss of a batch.

        Args:
            embeddings: (B, D) floating point.
            labels: (B,) int64, one number per person.
            pairs: (2, n) int64 row numbers, left above right; by default all B (B - 1) / 2 pairs.

        Returns:
            scalar float32 (float64 for float64 embeddings).
        """
        raise NotImplementedError


def all_pairs(n: int, device: torch.device | None = None) -> Tensor:
    """(2, n (n - 1) / 2) int64: every pair i < j once."""
    return torch.triu_indices(n, n, offset=1, device=device)
