"""The euclidean distance."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from siamese.distances.base import DISTANCES, Distance, widen


@DISTANCES.register("euclidean")
class EuclideanDistance(Distance):
    """``||a - b||_2``, in [0, inf); 0 exactly for equal rows, with gradient 0 there (not NaN).

    Examples:
        >>> import siamese
        >>> import numpy as np
        >>> distance = siamese.EuclideanDistance()
        >>> distance(np.array([[0.0, 0.0]]), np.array([[3.0, 4.0]]))
        tensor([5.], dtype=torch.float64)
    """

    squared = True

    def largest(self, unit_length: bool) -> float:
        return 2.0 if unit_length else math.inf

    def of_squares(self, squares: Tensor) -> Tensor:
        return squares.sqrt_()

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        with torch.autocast(a.device.type, enabled=False):
            length: Tensor = torch.linalg.vector_norm(widen(a) - widen(b), dim=-1)
            return length
