"""GradientHistogram: which edge directions each part of an image has; it needs no training."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class GradientHistogram(nn.Module):
    """Histogram of oriented gradients.

    Source: Dalal and Triggs, *Histograms of Oriented Gradients for Human Detection*, CVPR 2005.

    Each pixel votes for the two orientations nearest to its gradient's, with the gradient's
    strength. Votes are summed under overlapping Gaussian windows, one per cell. Each cell is
    brought to about unit length, so that light and contrast count little. All operations are
    differentiable; images may have any size.

    Args:
        cells: g, cells along each side.
        bins: orientations between 0 and 180 degrees.
        softening: gradient strength, as a share of the full range, below which a cell counts as
            flat.
    """

    def __init__(self, cells: int = 8, bins: int = 8, softening: float = 0.12) -> None:
        super().__init__()
        self.cells, self.bins, self.softening = cells, bins, softening
        self.size = bins * cells * cells

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) floating point 0..1 -> (B, bins * cells * cells)."""
        grey = F.pad(images.mean(dim=1, keepdim=True), (1, 1, 1, 1), mode="replicate")
        across = grey[..., 1:-1, 2:] - grey[..., 1:-1, :-2]
        down = grey[..., 2:, 1:-1] - grey[..., :-2, 1:-1]
        strength = torch.sqrt(across.square() + down.square() + 1e-8)
        # In bins; opposite directions are one orientation.
        turn = torch.atan2(down, across) * (self.bins / math.pi)
        bins = torch.arange(self.bins, device=images.device, dtype=images.dtype).view(1, -1, 1, 1)
        apart = torch.remainder(turn - bins, self.bins)
        votes = strength * F.relu(1 - torch.minimum(apart, self.bins - apart))
        rows, columns = (self._windows(n, images) for n in images.shape[-2:])
        pooled = rows @ votes @ columns.T
        return (
            pooled * torch.rsqrt(pooled.square().sum(dim=1, keepdim=True) + self.softening**2)
        ).flatten(1)

    def _windows(self, pixels: int, like: Tensor) -> Tensor:
        """(cells, pixels): Gaussian windows, each summing to 1; their deviation is half a cell."""
        cell = pixels / self.cells
        centres = (
            torch.arange(self.cells, device=like.device, dtype=like.dtype) + 0.5
        ) * cell - 0.5
        offset = torch.arange(pixels, device=like.device, dtype=like.dtype) - centres[:, None]
        windows = torch.exp(-offset.square() / (2 * (cell / 2) ** 2))
        return windows / windows.sum(dim=1, keepdim=True)
