"""Histograms averaged over an image and its mirror image, without counting twice.

In a mirrored image the cells of a row come in reverse order, and each bin's content is in another
bin. So the mirror image's histograms are known from the image's own. Their average is symmetric:
one half of it says all.
"""

from __future__ import annotations

import torch
from torch import Tensor


def fold(counts: Tensor, mirrored: Tensor | None) -> Tensor:
    """Average histograms over an image and its mirror image, and keep one half.

    What is kept once stands for two equal numbers, so it is multiplied by the root of 2: inner
    products are those of the whole averages.

    Args:
        counts: (B, cells, cells, bins) floating point.
        mirrored: (bins,) int64, the bin that each bin's content is in when left and right change;
            None for no average.

    Returns:
        (B, K) floating point, see :func:`folded_size`.
    """
    if mirrored is None:
        return counts.flatten(1)
    average = (counts + counts.flip(2)[..., mirrored]) / 2
    cells = counts.shape[2]
    half = average[:, :, : cells // 2].flatten(1) * 2**0.5
    middle = average[:, :, cells // 2 : cells - cells // 2].flatten(1)
    return torch.cat([half, middle], dim=1)


def folded_size(cells: int, bins: int, mirror: bool) -> int:
    """K, what :func:`fold` keeps of cells x cells histograms."""
    return cells * (cells - cells // 2 if mirror else cells) * bins
