"""Whitening of embeddings at use: afterwards all directions count alike."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

FIRST = 16  # batches that are always tracked, whatever `every` is


class Whitening(nn.Module):
    """Subtract the mean, scale principal directions to equal variance, and scale to unit length.

    While training, embeddings pass unchanged and their mean and covariance are tracked, as batch
    normalisation does; in evaluation mode they are whitened. Few directions dominate the distance
    between raw embeddings; after whitening all that training found count alike (Jegou and Chum,
    *Negative evidences and co-occurrences in image retrieval: the benefit of PCA and whitening*,
    ECCV 2012). Directions of little variance are shrunk, not enlarged.

    Args:
        size: D, length of an embedding.
        shrinkage: added to every variance, as a share of their mean, > 0.
        momentum: weight of a new batch in the running mean and covariance, 0..1.
        every: after the first 16 batches, one of so many is tracked, >= 1. For embeddings that are
            dear and that training does not change.

    Raises:
        ValueError: an argument out of range.
    """

    mean: Tensor
    covariance: Tensor
    batches: Tensor

    def __init__(
        self, size: int, shrinkage: float = 0.1, momentum: float = 0.02, every: int = 1
    ) -> None:
        super().__init__()
        if not shrinkage > 0 or not 0 < momentum <= 1 or every < 1:
            raise ValueError(
                f"shrinkage must be above 0, momentum between 0 and 1 and every at least 1, not "
                f"{shrinkage}, {momentum} and {every}"
            )
        self.shrinkage, self.momentum, self.every = shrinkage, momentum, every
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("covariance", torch.eye(size))
        self.register_buffer("batches", torch.zeros((), dtype=torch.int64))
        self._transform: tuple[tuple[int, ...], Tensor] | None = None
        self._counted: tuple[tuple[int, ...], int] | None = None

    def forward(self, embeddings: Tensor) -> Tensor:
        """(B, D) -> (B, D): unchanged while training, else whitened to unit length."""
        if self.training:
            self.track(len(embeddings), embeddings.detach)
            return embeddings
        with torch.autocast(embeddings.device.type, enabled=False):
            return F.normalize((embeddings.float() - self.mean) @ self._matrix(), dim=1)

    @torch.no_grad()
    def track(self, n: int, embed: Callable[[], Tensor]) -> None:
        """Count a training batch and, if it is its turn, track its mean and covariance.

        Args:
            n: B, images in the batch; of a single one nothing can be said.
            embed: gives the (B, D) embeddings; called only if it is the batch's turn.
        """
        if n < 2:
            return
        every = self.every
        if torch.compiler.is_compiling():  # a choice between batches would break the graph
            self.batches += 1
            every = 1
        elif (count := self._count()) > FIRST and (count - FIRST) % every:
            return
        embeddings = embed().float()
        # An average over the first batches, a moving one later: the initial values leave no trace.
        tracked = self.batches.clamp(max=FIRST) + (self.batches - FIRST).clamp(min=0) // every
        weight = (1 / tracked.float()).clamp(min=self.momentum)
        offset = embeddings - self.mean
        self.mean += weight * offset.mean(dim=0)
        centred = embeddings - self.mean
        self.covariance += weight * (centred.T @ centred / len(embeddings) - self.covariance)

    @torch.no_grad()
    def fit(self, embeddings: Iterable[Tensor]) -> None:
        """Take mean and covariance of all of these instead.

        Args:
            embeddings: blocks, each (B, D); of fewer than two rows in all nothing is taken.
        """
        size = len(self.mean)
        count, total = 0, torch.zeros(size, dtype=torch.float64)
        squares = torch.zeros(size, size, dtype=torch.float64)
        for block in embeddings:
            x = block.detach().cpu().double()
            count, total, squares = count + len(x), total + x.sum(dim=0), squares + x.T @ x
        if count < 2:
            return
        mean = total / count
        self.mean.copy_(mean)
        self.covariance.copy_(squares / count - mean.outer(mean))

    @torch.no_grad()
    def reset(self) -> None:
        """Count batches from 0 again: the first one replaces what is known and stays until then."""
        self.batches.zero_()

    def fixed(self) -> FixedWhitening:
        """What it does in evaluation mode now, without what training tracks: for exporters."""
        return FixedWhitening(self.mean.detach().clone(), self._matrix().clone())

    def _count(self) -> int:
        """The number of this batch, from 1 on; an accelerator is not asked for it each time."""
        if self._counted is None or self._counted[0] != _state(self.batches):
            self._counted = (), int(self.batches)  # of weights that were loaded
        count = self._counted[1] + 1
        self.batches += 1
        self._counted = _state(self.batches), count
        return count

    def _matrix(self) -> Tensor:
        # Computed again only after the covariance has changed: in place, by training, or by loading
        # weights.
        key = _state(self.covariance)
        if self._transform is None or self._transform[0] != key:
            # A plain tensor even if inference needs it first, since training may continue from
            # there; on the CPU, since not every accelerator has float64.
            with torch.inference_mode(False), torch.no_grad():
                variance, directions = torch.linalg.eigh(self.covariance.detach().cpu().double())
                variance = variance.clamp(min=0)
                scale = torch.rsqrt(variance + self.shrinkage * variance.mean() + 1e-12)
                # Turned back into the original axes: so the matrix is unique, whatever signs the
                # solver gave the directions.
                matrix = ((directions * scale) @ directions.T).to(self.covariance)
            self._transform = (key, matrix)
        return self._transform[1]


class FixedWhitening(nn.Module):
    """:class:`Whitening` in evaluation mode, as a product with one matrix.

    Args:
        mean: (D,) float32.
        matrix: (D, D) float32.
    """

    mean: Tensor
    matrix: Tensor

    def __init__(self, mean: Tensor, matrix: Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("matrix", matrix)

    def forward(self, embeddings: Tensor) -> Tensor:
        """(B, D) -> (B, D), of unit length."""
        return F.normalize((embeddings.float() - self.mean) @ self.matrix, dim=1)


def _state(buffer: Tensor) -> tuple[int, ...]:
    """Another one whenever a tensor's numbers may have changed, without reading them."""
    return buffer._version, buffer.data_ptr()
