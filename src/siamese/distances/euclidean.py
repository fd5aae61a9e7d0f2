"""The euclidean distance."""

from __future__ import annotations
import contextlib
from collections.abc import Iterator
from typing import TypeVar, overload
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from siamese.errors import ConfigError
from siamese.registry import Registry
from siamese.distances.base import DISTANCES
from siamese.distances.base import Distance
from siamese.distances.base import widened


@DISTANCES.register("euclidean")
class EuclideanDistance(Distance):
    """``||a - b||_2``, in [0, inf); 0 exactly for equal rows, with gradient 0 there (not NaN)."""

    squared = True

    def of_squares(self, squares: Tensor) -> Tensor:
        return squares.sqrt_()

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        with torch.autocast(a.device.type, enabled=False):
            length: Tensor = torch.linalg.vector_norm(_wide(a) - _wide(b), dim=-1)
            return length
