"""EdgeHistograms: histograms of signed gradients on several scales; they need no training."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from siamese.backbones.layers.mirroring import fold, folded_size
from siamese.backbones.layers.scaling import centre_of

BINS = 18  # of the gradient's direction, 0 to 360 degrees
# A cell's largest bin, as a share of the root mean square length of the cells around it: light from
# one side makes few strong edges, which would outweigh all others.
CLIP = 0.4
# Brings the numbers to about those of the square roots of counted patterns, beside which they
# stand.
WEIGHT = 8.0


class EdgeScale(NamedTuple):
    """A copy of the image in which edges are counted.

    Attributes:
        share: of the image's side that the copy shows, around the centre, in (0, 1].
        side: of the copy, pixels; a multiple of ``cell``.
        cell: side of a cell, pixels.
    """

    share: float
    side: int
    cell: int


SCALES = (EdgeScale(0.9, 160, 10), EdgeScale(0.8, 96, 8), EdgeScale(0.9, 64, 8))


class EdgeHistograms(nn.Module):
    """Histograms of oriented gradients, with sign, normalised by the cells around.

    Source: Dalal and Triggs, *Histograms of Oriented Gradients for Human Detection*, CVPR 2005.
    Each pixel votes for the two directions nearest to its gradient's, with the gradient's strength;
    a cell is divided by the root mean square length of the 3 x 3 cells around it and clipped.

    Args:
        mirror: whether to average over the image and its mirror image, see
            :mod:`siamese.backbones.layers.mirroring`.
        scales: see :class:`EdgeScale`.

    Attributes:
        size: numbers per image.
    """

    mirrored: Tensor

    def __init__(self, mirror: bool = True, scales: Sequence[EdgeScale] = SCALES) -> None:
        super().__init__()
        self.mirror, self.scales = mirror, [EdgeScale(*scale) for scale in scales]
        self.size = sum(folded_size(s.side // s.cell, BINS, mirror) for s in self.scales)
        # An angle t becomes 180 degrees - t, and the bins lie at multiples of 360 / BINS.
        mirrored = [(BINS // 2 - bin) % BINS for bin in range(BINS)]
        self.register_buffer("mirrored", torch.tensor(mirrored), persistent=False)

    def forward(self, grey: Tensor) -> Tensor:
        """(B, 1, H, W) floating point 0..255 -> (B, size) float32, 0..``CLIP * WEIGHT``."""
        found = []
        for scale in self.scales:
            copy = centre_of(grey, scale.share, scale.side).round()[:, 0]
            cells = _votes(copy, scale.cell)
            energy = F.avg_pool2d(
                cells.square().sum(dim=3)[:, None], 3, 1, 1, count_include_pad=False
            )
            normed = cells / (energy[:, 0, :, :, None].sqrt() + 1e-3)
            counts = normed.clamp(max=CLIP) * WEIGHT
            found.append(fold(counts, self.mirrored if self.mirror else None))
        return torch.cat(found, dim=1)


def _votes(copy: Tensor, cell: int) -> Tensor:
    """(B, side, side) pixels -> (B, cells, cells, BINS) float32."""
    images, side = len(copy), copy.shape[-1]
    cells = side // cell
    # At the border there is no gradient across it.
    across, down = torch.zeros_like(copy), torch.zeros_like(copy)
    across[:, :, 1:-1] = copy[:, :, 2:] - copy[:, :, :-2]
    down[:, 1:-1] = copy[:, 2:] - copy[:, :-2]
    strength = torch.hypot(across, down)
    turn = torch.remainder(torch.atan2(down, across) * (BINS / (2 * math.pi)), BINS)
    lower = turn.floor().clamp(max=BINS - 1)
    upper_share = turn - lower
    line = torch.arange(side, device=copy.device) // cell
    place = (line[:, None] * cells + line) * BINS
    image = torch.arange(images, device=copy.device)[:, None, None] * (cells**2 * BINS)
    first = lower.long()
    base = image + place
    found = torch.zeros(images * cells**2 * BINS, device=copy.device)
    found.index_add_(0, (base + first).flatten(), (strength * (1 - upper_share)).flatten())
    found.index_add_(0, (base + (first + 1) % BINS).flatten(), (strength * upper_share).flatten())
    return found.view(images, cells, cells, BINS)
