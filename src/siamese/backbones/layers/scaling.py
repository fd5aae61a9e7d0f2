"""Views of an image: the part around its centre, grey or in colour, at another size."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

# Of red, green and blue in grey (ITU-R BT.601).
_LUMA = (0.299, 0.587, 0.114)


def grey_of(pixels: Tensor) -> Tensor:
    """(B, 3, H, W) floating point -> (B, 1, H, W)."""
    red, green, blue = (pixels[:, i : i + 1] for i in range(3))
    return red * _LUMA[0] + green * _LUMA[1] + blue * _LUMA[2]


def centre_of(images: Tensor, share: float, side: int) -> Tensor:
    """The part around the centre, scaled.

    Args:
        images: (B, C, H, W) floating point or uint8; squares.
        share: of the image's side, in (0, 1].
        side: of the result, pixels.

    Returns:
        (B, C, side, side) of the same kind; each pixel is an average over all that it covers (no
        aliasing).
    """
    size = images.shape[-1]
    border = round(size * (1 - share) / 2)
    part = images[..., border : size - border, border : size - border]
    if part.shape[-1] == side:
        return part
    if part.dtype != torch.uint8:  # in this order in memory the scaling is fastest
        part = part.contiguous()
    with torch.autocast(images.device.type, enabled=False):
        return F.interpolate(part, (side, side), mode="bilinear", antialias=True)


def centre_as_whole_numbers(images: Tensor, share: float, side: int) -> Tensor:
    """What :func:`centre_of` gives of uint8 images, computed in floating point: for exporters.

    As torch scales them: along the rows first, each direction rounded to whole colours. About one
    pixel in 300 differs by one, where torch's own fractions are coarser.

    Args:
        images: (B, C, H, W) uint8; squares.
        share, side: as for :func:`centre_of`.

    Returns:
        (B, C, side, side) float32, whole numbers 0..255.
    """
    size = images.shape[-1]
    border = round(size * (1 - share) / 2)
    part = images[..., border : size - border, border : size - border].float()
    for shape in ((size - 2 * border, side), (side, side)):
        if part.shape[-2:] != shape:
            part = F.interpolate(part, shape, mode="bilinear", antialias=True).round()
    return part
