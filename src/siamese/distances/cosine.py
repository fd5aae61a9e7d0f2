"""The cosine distance."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from siamese.distances.base import DISTANCES, Distance, widen


@DISTANCES.register("cosine")
class CosineDistance(Distance):
    """``1 - cos(a, b)``, in [0, 2].

    Computed as ``||a/|a| - b/|b|||^2 / 2``, which is exactly 0, without rounding noise, where a
    equals b. A zero vector has no direction; it is at distance 1/2 from every unit vector and 0
    from another zero vector.
    """

    squared = True

    def largest(self, unit_length: bool) -> float:
        return 2.0

    def rows(self, embeddings: Tensor) -> Tensor:
        return directions(super().rows(embeddings))

    def of_squares(self, squares: Tensor) -> Tensor:
        return squares.div_(2)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        with torch.autocast(a.device.type, enabled=False):
            difference = directions(widen(a)) - directions(widen(b))
            return difference.square().sum(dim=-1) / 2


def directions(x: Tensor) -> Tensor:
    """Rows of length 1, zero where a row is zero.

    Rows are divided by their largest component first, so that no square over- or underflows.
    """
    largest = x.detach().abs().amax(dim=-1, keepdim=True)
    return F.normalize(x / torch.where(largest > 0, largest, 1), dim=-1)
