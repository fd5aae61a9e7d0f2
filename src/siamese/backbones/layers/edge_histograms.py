"""EdgeHistograms: histograms of signed gradients on several scales; they need no training."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
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

# From a gradient across and down to its strength.
Length = Callable[[Tensor, Tensor], Tensor]


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
        self._add = _sums
        self._length: Length = torch.hypot
        self.size = sum(folded_size(s.side // s.cell, BINS, mirror) for s in self.scales)
        # An angle t becomes 180 degrees - t, and the bins lie at multiples of 360 / BINS.
        mirrored = [(BINS // 2 - bin) % BINS for bin in range(BINS)]
        self.register_buffer("mirrored", torch.tensor(mirrored), persistent=False)

    def forward(self, grey: Tensor) -> Tensor:
        """(B, 1, H, W) floating point 0..255 -> (B, size) float32, 0..``CLIP * WEIGHT``."""
        found = []
        for scale in self.scales:
            part = centre_of(grey, scale.share, scale.side).round()[:, 0]
            cells = self._add(*_votes(part, self._length), scale.cell)
            energy = F.avg_pool2d(
                cells.square().sum(dim=3)[:, None], 3, 1, 1, count_include_pad=False
            )
            normed = cells / (energy[:, 0, :, :, None].sqrt() + 1e-3)
            counts = normed.clamp(max=CLIP) * WEIGHT
            found.append(fold(counts, self.mirrored if self.mirror else None))
        return torch.cat(found, dim=1)

    def fixed(self) -> EdgeHistograms:
        """For exporters: adds up by comparing each pixel with every bin."""
        other = copy.deepcopy(self)
        other._add, other._length = _compared_sums, _length
        return other


def _votes(
    part: Tensor, length: Callable[[Tensor, Tensor], Tensor]
) -> tuple[Tensor, Tensor, Tensor]:
    """(B, side, side) pixels -> of each the lower bin, and its votes for that and for the next.

    Bins are whole numbers of floating point.
    """
    # At the border there is no gradient across it.
    across = F.pad(part[:, :, 2:] - part[:, :, :-2], (1, 1))
    down = F.pad(part[:, 2:] - part[:, :-2], (0, 0, 1, 1))
    strength = length(across, down)
    turn = torch.remainder(torch.atan2(down, across) * (BINS / (2 * math.pi)), BINS)
    lower = turn.floor().clamp(max=BINS - 1)
    upper_share = turn - lower
    return lower, strength * (1 - upper_share), strength * upper_share


def _sums(lower: Tensor, first: Tensor, second: Tensor, cell: int) -> Tensor:
    """:func:`_votes` of pixels -> (B, cells, cells, BINS) float32 of cells."""
    images, side = len(lower), lower.shape[-1]
    cells = side // cell
    line = torch.arange(side, device=lower.device) // cell
    place = (line[:, None] * cells + line) * BINS
    image = torch.arange(images, device=lower.device)[:, None, None] * (cells**2 * BINS)
    base, own = image + place, lower.long()
    found = torch.zeros(images * cells**2 * BINS, device=lower.device)
    found.index_add_(0, (base + own).flatten(), first.flatten())
    found.index_add_(0, (base + (own + 1) % BINS).flatten(), second.flatten())
    return found.view(images, cells, cells, BINS)


def _length(across: Tensor, down: Tensor) -> Tensor:
    """As ``torch.hypot``, for whole numbers of colours."""
    return (across.square() + down.square()).sqrt()


def _compared_sums(lower: Tensor, first: Tensor, second: Tensor, cell: int) -> Tensor:
    """As :func:`_sums`, by comparing each pixel with every bin: more work and memory."""
    cells = lower.shape[-1] // cell
    every = torch.arange(BINS, device=lower.device).to(lower.dtype)
    own = lower[..., None]
    votes = first[..., None] * (own == every) + second[..., None] * (own == (every - 1) % BINS)
    return votes.view(-1, cells, cell, cells, cell, BINS).sum(dim=(2, 4))
