"""BinaryPatterns: histograms of local binary patterns on several scales; they need no training."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from siamese.backbones.layers.mirroring import fold, folded_size
from siamese.backbones.layers.scaling import centre_of

# The 58 uniform patterns, at most two changes between 0 and 1 around the circle, and one bin for
# all others.
PATTERNS = 59
# The eight neighbours of a pixel, in the order of the bits: rows down, columns to the right.
_NEIGHBOURS = ((-1, -1), (-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1))


class PatternScale(NamedTuple):
    """A copy of the image in which patterns are counted.

    Attributes:
        share: of the image's side that the copy shows, around the centre, in (0, 1].
        side: of the copy, pixels.
        cell: side of a cell, pixels.
        radius: distance of a pixel from its neighbours, pixels.
    """

    share: float
    side: int
    cell: int
    radius: int


# From fine to coarse. Cells fill each copy, so that the grids of a mirrored image are mirrored.
SCALES = (
    PatternScale(0.92, 184, 12, 2),
    PatternScale(0.92, 134, 10, 2),
    PatternScale(0.8, 92, 10, 1),
    PatternScale(0.8, 66, 8, 1),
)


class BinaryPatterns(nn.Module):
    """Square roots of histograms of uniform local binary patterns.

    Source: Ahonen, Hadid and Pietikainen, *Face Description with Local Binary Patterns*, PAMI 2006.
    A pixel's pattern says which of its eight neighbours are at least as bright; so it does not
    change with light and contrast. Patterns are counted in the cells of two grids, the second
    moved by half a cell along both axes. With the square root, euclidean distances between
    histograms are Hellinger distances (Arandjelovic and Zisserman, *Three things everyone should
    know to improve object retrieval*, CVPR 2012).

    Args:
        mirror: whether to average over the image and its mirror image, see
            :mod:`siamese.backbones.layers.mirroring`.
        scales: see :class:`PatternScale`.

    Attributes:
        size: numbers per image.
    """

    uniform: Tensor
    mirrored: Tensor

    def __init__(self, mirror: bool = True, scales: Sequence[PatternScale] = SCALES) -> None:
        super().__init__()
        self.mirror, self.scales = mirror, [PatternScale(*scale) for scale in scales]
        self._count = _histograms
        grids = [cells for scale in self.scales for _, cells in _grids(scale)]
        self.size = sum(folded_size(cells, PATTERNS, mirror) for cells in grids)
        uniform = _uniform()
        self.register_buffer("uniform", torch.tensor(uniform), persistent=False)
        self.register_buffer("mirrored", torch.tensor(_mirrored(uniform)), persistent=False)

    def forward(self, grey: Tensor) -> Tensor:
        """(B, 1, H, W) floating point 0..255 -> (B, size) float32."""
        found = []
        for scale in self.scales:
            # Whole numbers: so patterns do not hang on the last bit of a scaled pixel.
            copy = centre_of(grey, scale.share, scale.side).round()[:, 0]
            patterns = self.uniform[_patterns(copy, scale.radius)]
            for first, cells in _grids(scale):
                counts = self._count(patterns[:, first:, first:], scale.cell, cells).sqrt()
                found.append(fold(counts, self.mirrored if self.mirror else None))
        return torch.cat(found, dim=1)

    def fixed(self) -> BinaryPatterns:
        """For exporters: counts by comparing each pixel with every pattern."""
        other = copy.deepcopy(self)
        other._count = _compared_histograms
        return other


def _compared_histograms(patterns: Tensor, cell: int, cells: int) -> Tensor:
    """As :func:`_histograms`, with more work and memory."""
    side = cell * cells
    every = torch.arange(PATTERNS, device=patterns.device)
    is_one = (patterns[:, :side, :side, None] == every).float()
    return is_one.view(-1, cells, cell, cells, cell, PATTERNS).sum(dim=(2, 4))


def _grids(scale: PatternScale) -> list[tuple[int, int]]:
    """First pixel, and cells along each side, of the two grids of a scale."""
    shown = scale.side - 2 * scale.radius
    return [(first, (shown - first) // scale.cell) for first in (0, scale.cell // 2)]


def _patterns(copy: Tensor, radius: int) -> Tensor:
    """(B, h, w) pixels -> (B, h - 2 radius, w - 2 radius) int64 patterns, 0..255."""
    height, width = copy.shape[1] - 2 * radius, copy.shape[2] - 2 * radius
    middle = copy[:, radius : radius + height, radius : radius + width]
    found = torch.zeros_like(middle, dtype=torch.int64)
    for bit, (down, right) in enumerate(_NEIGHBOURS):
        top, left = radius * (1 + down), radius * (1 + right)
        found = found + (copy[:, top : top + height, left : left + width] >= middle) * 2**bit
    return found


def _histograms(patterns: Tensor, cell: int, cells: int) -> Tensor:
    """(B, h, w) pattern numbers -> (B, cells, cells, PATTERNS) float32 counts."""
    images, side = len(patterns), cell * cells
    line = torch.arange(side, device=patterns.device) // cell
    place = line[:, None] * cells + line
    image = torch.arange(images, device=patterns.device)[:, None, None] * cells**2
    keys = (image + place) * PATTERNS + patterns[:, :side, :side]
    counts = torch.bincount(keys.flatten(), minlength=images * cells**2 * PATTERNS)
    return counts.view(images, cells, cells, PATTERNS).float()


def _uniform() -> list[int]:
    """256 numbers: of each pattern's bin."""
    numbers, following = [], 0
    for pattern in range(256):
        bits = [pattern >> bit & 1 for bit in range(8)]
        changes = sum(bits[i] != bits[i - 1] for i in range(8))
        numbers.append(following if changes <= 2 else PATTERNS - 1)
        following += changes <= 2
    return numbers


def _mirrored(uniform: list[int]) -> list[int]:
    """PATTERNS numbers: the bin that each bin's patterns are in when left and right change."""
    swapped = [_NEIGHBOURS.index((down, -right)) for down, right in _NEIGHBOURS]
    found = [0] * PATTERNS
    for pattern in range(256):
        other = sum((pattern >> bit & 1) << swapped[bit] for bit in range(8))
        found[uniform[pattern]] = uniform[other]
    return found
