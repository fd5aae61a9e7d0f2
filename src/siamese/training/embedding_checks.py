"""What is measured of validation embeddings to see that nothing is learned, on pairs at random."""

from __future__ import annotations

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor

from siamese.distances.base import Distance
from siamese.distances.euclidean import EuclideanDistance
from siamese.verification.curves import ThresholdCurve, auc

PAIRS = 4096  # that are drawn of each kind


def median_distance(embeddings: Tensor, labels: Tensor | None) -> float | None:
    """Median euclidean distance of random pairs of different identities; None without one.

    Images of one identity are near each other where all is well, and they lie side by side.

    Args:
        embeddings: (N, D) float32.
        labels: (N,); None where they are not known, and every image counts as an identity.
    """
    left, right = _different(len(embeddings), labels)
    if not len(left):
        return None
    found = EuclideanDistance().between(embeddings, left.numpy(), right.numpy())
    return float(np.median(found))


def scale_of(module: pl.LightningModule, embeddings: Tensor) -> float:
    """What is far: the loss's margin if it is one of distances, else the embeddings' length."""
    margin = getattr(getattr(module, "loss", None), "margin", None)
    distance = getattr(getattr(module, "loss", None), "distance", None)
    if isinstance(margin, (int, float)) and isinstance(distance, EuclideanDistance):
        return float(margin)
    return float(embeddings.norm(dim=1).mean())


def area(module: pl.LightningModule, embeddings: Tensor, labels: Tensor) -> float | None:
    """ROC AUC of random pairs, by the distance of the loss, or the euclidean if it has none.

    Args:
        module: whose ``loss`` sees the embeddings.
        embeddings: (N, D) finite float32.
        labels: (N,).

    Returns:
        in [0, 1]; None where there are no genuine pairs, or no impostor pairs, and for a distance
        with weights, which may lie on another device.
    """
    distance = getattr(getattr(module, "loss", None), "distance", None)
    if not isinstance(distance, Distance):
        distance = EuclideanDistance()
    impostor, genuine = _different(len(embeddings), labels), _alike(labels)
    if distance.learned or not len(impostor[0]) or not len(genuine[0]):
        return None
    left, right = torch.cat([genuine[0], impostor[0]]), torch.cat([genuine[1], impostor[1]])
    measured = distance.between(embeddings, left.numpy(), right.numpy())
    return auc(ThresholdCurve.of(measured, (labels[left] == labels[right]).numpy()))


def _different(n: int, labels: Tensor | None) -> tuple[Tensor, Tensor]:
    """Rows of random pairs of different identities."""
    dice = torch.Generator().manual_seed(0)
    if n < 2:
        nothing = torch.empty(0, dtype=torch.long)
        return nothing, nothing
    left = torch.randint(n, (PAIRS,), generator=dice)
    right = (left + torch.randint(1, n, (PAIRS,), generator=dice)) % n  # another row
    if labels is None:
        return left, right
    different = labels[left] != labels[right]
    return left[different], right[different]


def _alike(labels: Tensor) -> tuple[Tensor, Tensor]:
    """Rows of random pairs of one identity: an image at random, then another of its identity.

    A pair may occur twice: BalancedPairs would take no more impostor pairs than there are genuine
    ones, too few to tell guessing from learning on a dozen identities.
    """
    dice = torch.Generator().manual_seed(1)
    order = torch.argsort(labels, stable=True)
    _, who, sizes = torch.unique(labels[order], return_inverse=True, return_counts=True)
    first = torch.cumsum(sizes, 0) - sizes
    several = torch.nonzero(sizes[who] > 1)[:, 0]
    if not len(several):
        return several, several
    left = several[torch.randint(len(several), (PAIRS,), generator=dice)]
    size = sizes[who[left]]
    step = 1 + (torch.rand(PAIRS, generator=dice, dtype=torch.float64) * (size - 1)).long()
    right = first[who[left]] + (left - first[who[left]] + step) % size
    return order[left], order[right]
