"""Contrastive loss (Hadsell, Chopra and LeCun, CVPR 2006)."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from siamese.distances import Distance, EuclideanDistance
from siamese.errors import ConfigError, did_you_mean
from siamese.losses.base import EmbeddingLoss, all_pairs

REDUCTIONS = ("balanced", "mean", "nonzero")


class ContrastiveLoss(EmbeddingLoss):
    """Pull genuine pairs together, push impostor pairs apart until they are ``margin`` away.

    A pair at distance d costs ``max(0, d - positive_margin)^2`` if it is genuine and ``max(0, margin - d)^2`` if not: twice
    equation 4 of Hadsell, Chopra and LeCun, *Dimensionality Reduction by Learning an Invariant Mapping*, CVPR 2006, which
    has a factor 1/2 and no positive margin.

    Args:
        margin: distance beyond which impostor pairs cost nothing, > 0.
        positive_margin: distance below which genuine pairs cost nothing, 0 <= positive_margin < margin.
        reduction: ``"mean"``: over all pairs, as in the paper; ``"balanced"``: the mean over genuine pairs plus the mean over
            impostor pairs, halved, so that either kind has the same weight however rare it is in the batch; ``"nonzero"``: like balanced, each mean over those pairs that cost something.
        distance: by default euclidean.

    Raises:
        ConfigError: a margin out of range or an unknown reduction.
    """

    def __init__(
        self,
        margin: float = 1.0,
        positive_margin: float = 0.0,
        reduction: str = "mean",
        distance: Distance | None = None,
    ) -> None:
        super().__init__()
        if not 0 <= positive_margin < margin:
            raise ConfigError(f"margins must satisfy 0 <= positive_margin < margin, not {positive_margin} and {margin}")
        if reduction not in REDUCTIONS:
            raise ConfigError(f"reduction={reduction!r} is not known{did_you_mean(reduction, REDUCTIONS)}")
        self.margin, self.positive_margin, self.reduction = margin, positive_margin, reduction
        self.distance = distance or EuclideanDistance()

    def forward(self, embeddings: Tensor, labels: Tensor, pairs: Tensor | None = None) -> Tensor:
        """See :meth:`EmbeddingLoss.forward`; 0, with gradient 0, for a batch without pairs."""
        left, right = all_pairs(len(labels), labels.device) if pairs is None else pairs
        distance = self.distance(embeddings[left], embeddings[right])
        genuine = labels[left] == labels[right]
        cost = F.relu(distance - self.positive_margin).square().where(genuine, F.relu(self.margin - distance).square())
        if self.reduction == "mean":
            return cost.sum() / max(1, len(cost))
        counted = cost > 0 if self.reduction == "nonzero" else genuine | ~genuine
        return (_mean(cost, genuine & counted) + _mean(cost, ~genuine & counted)) / 2

    def extra_repr(self) -> str:
        return f"margin={self.margin}, positive_margin={self.positive_margin}, reduction={self.reduction!r}"


def _mean(cost: Tensor, mask: Tensor) -> Tensor:
    """Mean where ``mask`` holds, 0 where it holds nowhere; without a branch on data, which would stall an accelerator."""
    return cost.where(mask, 0).sum() / mask.sum().clamp(min=1)
