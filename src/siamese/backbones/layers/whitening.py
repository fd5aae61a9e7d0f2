"""Whitening of embeddings at use: afterwards all directions count alike."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


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
    """

    mean: Tensor
    covariance: Tensor
    batches: Tensor

    def __init__(self, size: int, shrinkage: float = 0.1, momentum: float = 0.02) -> None:
        super().__init__()
        if not shrinkage > 0 or not 0 < momentum <= 1:
            raise ValueError(
                f"shrinkage must be above 0 and momentum between 0 and 1, not {shrinkage} and "
                f"{momentum}"
            )
        self.shrinkage, self.momentum = shrinkage, momentum
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("covariance", torch.eye(size))
        self.register_buffer("batches", torch.zeros((), dtype=torch.int64))
        self._transform: tuple[tuple[int, ...], Tensor] | None = None

    def forward(self, embeddings: Tensor) -> Tensor:
        """(B, D) -> (B, D): unchanged while training, else whitened to unit length."""
        if self.training:
            self._observe(embeddings.detach())
            return embeddings
        with torch.autocast(embeddings.device.type, enabled=False):
            return F.normalize((embeddings.float() - self.mean) @ self._matrix(), dim=1)

    @torch.no_grad()
    def _observe(self, embeddings: Tensor) -> None:
        embeddings = embeddings.float()
        if len(embeddings) < 2:
            return
        self.batches += 1
        # An average over the first batches, a moving one later: the initial values leave no trace.
        weight = (1 / self.batches.float()).clamp(min=self.momentum)
        offset = embeddings - self.mean
        self.mean += weight * offset.mean(dim=0)
        centred = embeddings - self.mean
        self.covariance += weight * (centred.T @ centred / len(embeddings) - self.covariance)

    def _matrix(self) -> Tensor:
        # Computed again only after the covariance has changed: in place, by training, or by loading
        # weights.
        key = (self.covariance._version, self.covariance.data_ptr())
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
