"""Likeness: how similar an image is to each of many training identities."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# Of the softmax over cosines: at 10 an image is like a few identities, not like one or like all.
SHARPNESS = 10.0


class Likeness(nn.Module):
    """The square root of a softmax over an embedding's cosines to known identities.

    Each of the ``identities`` known identities is represented by its mean direction. After the
    simile classifiers of Kumar, Berg, Belhumeur and Nayar, *Attribute and Simile Classifiers for
    Face Verification*, ICCV 2009. The euclidean distance between two such vectors is the Hellinger
    distance of two distributions (times the root of 2), in 0..1.42: two images are near if they are
    similar to the same identities.

    Args:
        size: D, length of an embedding.
        identities: how many identities are remembered, those with most images, >= 1.

    Attributes:
        directions: (identities, D), of unit length; zero for places that are not taken.
        taken: () int64 buffer, how many are; 0 until :meth:`fit`.
    """

    directions: Tensor
    taken: Tensor

    def __init__(self, size: int, identities: int) -> None:
        super().__init__()
        self.identities = identities
        self.register_buffer("directions", torch.zeros(identities, size))
        self.register_buffer("taken", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def fit(self, embeddings: Tensor, labels: Tensor) -> None:
        """Remember the identities with most images, of those with two or more.

        Identities with equally many are taken in the order of their labels.

        Args:
            embeddings: (N, D), of unit length.
            labels: (N,) int64, one number per identity.
        """
        _, identity, number = torch.unique(
            labels.to(embeddings.device), return_inverse=True, return_counts=True
        )
        total = torch.zeros(len(number), embeddings.shape[1], device=embeddings.device).index_add_(
            0, identity, embeddings.float()
        )
        order = torch.argsort(number, descending=True, stable=True)
        chosen = order[number[order] > 1][: self.identities]
        self.directions.zero_()
        self.directions[: len(chosen)] = F.normalize(total[chosen], dim=1)
        self.taken.fill_(len(chosen))

    def forward(self, embeddings: Tensor) -> Tensor:
        """(B, D) of unit length -> (B, identities) of unit length; zero before :meth:`fit`."""
        cosines = embeddings @ self.directions.T
        free = torch.arange(self.identities, device=cosines.device) >= self.taken
        weight = torch.exp(SHARPNESS * (cosines - 1)).masked_fill(free, 0.0)
        return F.normalize(weight.sqrt(), dim=1)
