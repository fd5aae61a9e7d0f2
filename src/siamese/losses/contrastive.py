"""Contrastive loss (Hadsell, Chopra and LeCun, CVPR 2006)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from siamese.distances.base import Distance
from siamese.distances.euclidean import EuclideanDistance
from siamese.errors import ConfigError, did_you_mean
from siamese.losses.base import LOSSES, EmbeddingLoss, all_pairs

REDUCTIONS = ("balanced", "mean", "nonzero")


@LOSSES.register("contrastive_loss")
class ContrastiveLoss(EmbeddingLoss):
    """Pull genuine pairs together, push impostor pairs apart until they are ``margin`` away.

    A pair at distance d costs ``max(0, d - positive_margin)^2`` if it is genuine and
    ``max(0, margin - d)^2`` if not: twice equation 4 of Hadsell, Chopra and LeCun, *Dimensionality
    Reduction by Learning an Invariant Mapping*, CVPR 2006, which has a factor 1/2 and no positive
    margin.

    Args:
        margin: distance beyond which impostor pairs cost nothing, > 0.
        positive_margin: distance below which genuine pairs cost nothing, 0 <= positive_margin <
            margin.
        reduction: ``"mean"``: over all pairs, as in the paper; ``"balanced"``: the mean over
            genuine pairs plus the mean over impostor pairs, halved, so that either kind has the
            same weight however rare it is in the batch; ``"nonzero"``: like balanced, each mean
            over those pairs that cost something.
        distance: by default euclidean.
        hardest: share of the impostor pairs of a batch that counts, the closest ones, 0 < hardest
            <= 1, rounded, but at least one pair: online hard example mining (Shrivastava, Gupta and
            Girshick, CVPR 2016) among impostor pairs, most of which are far apart already. The
            others are as if they were not in the batch.

    Raises:
        ConfigError: a margin or ``hardest`` out of range, or an unknown reduction.

    Examples:
        >>> import siamese
        >>> import torch
        >>> loss = siamese.ContrastiveLoss(margin=1.0)
        >>> embeddings, labels = torch.tensor([[0.0], [0.5], [0.75]]), torch.tensor([1, 1, 2])
        >>> loss(embeddings, labels)  # (0.5 ** 2 + (1 - 0.75) ** 2 + (1 - 0.25) ** 2) / 3
        tensor(0.2917)
    """

    def __init__(
        self,
        margin: float = 1.0,
        positive_margin: float = 0.0,
        reduction: str = "mean",
        distance: Distance | None = None,
        hardest: float = 1.0,
    ) -> None:
        super().__init__()
        if not 0 <= positive_margin < margin:
            raise ConfigError(
                f"margins must satisfy 0 <= positive_margin < margin, not {positive_margin} and "
                f"{margin}"
            )
        if reduction not in REDUCTIONS:
            raise ConfigError(
                f"reduction={reduction!r} is not known{did_you_mean(reduction, REDUCTIONS)}"
            )
        if not 0 < hardest <= 1:
            raise ConfigError(
                f"hardest must be a share above 0 and at most 1, not {hardest}; 1 takes every "
                f"impostor pair"
            )
        self.hardest = hardest
        self.margin, self.positive_margin, self.reduction = margin, positive_margin, reduction
        self.distance = distance or EuclideanDistance()

    def forward(self, embeddings: Tensor, labels: Tensor, pairs: Tensor | None = None) -> Tensor:
        """See :meth:`EmbeddingLoss.forward`; 0, with gradient 0, for a batch without pairs."""
        left, right = all_pairs(len(labels), labels.device) if pairs is None else pairs
        distance = self.distance(embeddings[left], embeddings[right])
        genuine = labels[left] == labels[right]
        cost = (
            F.relu(distance - self.positive_margin)
            .square()
            .where(genuine, F.relu(self.margin - distance).square())
        )
        counted = self._hard(distance.detach(), genuine)
        if self.reduction == "mean":
            return _mean(cost, counted)
        if self.reduction == "nonzero":
            counted = counted & (cost > 0)
        return (_mean(cost, genuine & counted) + _mean(cost, ~genuine & counted)) / 2

    def extra_repr(self) -> str:
        return (
            f"margin={self.margin}, positive_margin={self.positive_margin}, "
            f"reduction={self.reduction!r}, hardest={self.hardest}"
        )

    def _hard(self, distance: Tensor, genuine: Tensor) -> Tensor:
        """(n,) bool: the genuine pairs and the closest impostor pairs; without a branch on data."""
        if self.hardest == 1:
            return genuine | ~genuine
        # Of equally close pairs the first ones count.
        order = distance.where(~genuine, torch.inf).argsort(stable=True)
        place = torch.empty_like(order).scatter_(
            0, order, torch.arange(len(order), device=order.device)
        )
        return genuine | (place < ((~genuine).sum() * self.hardest).round().clamp(min=1))


def _mean(cost: Tensor, mask: Tensor) -> Tensor:
    """Mean where ``mask`` holds, 0 where it holds nowhere.

    It has no branch on data, since that would make an accelerator wait.
    """
    return cost.where(mask, 0).sum() / mask.sum().clamp(min=1)
