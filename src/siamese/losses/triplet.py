"""Triplet loss: an anchor should be nearer to its own identity than to any other, by a margin."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from siamese.distances.base import Distance
from siamese.distances.euclidean import EuclideanDistance
from siamese.errors import ConfigError, did_you_mean
from siamese.losses.base import LOSSES, EmbeddingLoss, all_pairs, nothing

MININGS = ("batch_hard", "semi_hard", "all")


@LOSSES.register("triplet_loss")
class TripletLoss(EmbeddingLoss):
    """Triplets within a batch: an anchor, a positive and a negative.

    The positive shows the anchor's identity, the negative another one.

    A triplet costs ``max(0, d(anchor, positive) - d(anchor, negative) + margin)``, or, without a
    margin, ``log(1 + exp(d(anchor, positive) - d(anchor, negative)))`` (Hermans, Beyer and Leibe,
    *In Defense of the Triplet Loss for Person Re-Identification*, 2017). The distance is not
    squared. A ``mining`` says which triplets count:

    * ``"batch_hard"``: per anchor, the farthest positive and the nearest negative (Hermans et al.,
      equation 5); the mean over anchors that have both.
    * ``"semi_hard"``: per anchor and positive, the nearest of the negatives that are farther than
      the positive, but by less than the margin (Schroff, Kalenichenko and Philbin, *FaceNet: A
      Unified Embedding for Face Recognition and Clustering*, CVPR 2015, equation 4); where there is
      none, the nearest negative of all. Without a margin every negative that is farther than the
      positive qualifies. The mean over pairs of a positive with an anchor that has a negative.
    * ``"all"``: the mean over those triplets that cost something; memory grows with B^3.

    Args:
        margin: in the unit of the distance, > 0; None for the soft margin.
        mining: see above.
        distance: by default euclidean.

    Raises:
        ConfigError: a margin out of range or an unknown mining.
    """

    def __init__(
        self,
        margin: float | None = 0.2,
        mining: str = "batch_hard",
        distance: Distance | None = None,
    ) -> None:
        super().__init__()
        if margin is not None and not 0 < margin < math.inf:
            raise ConfigError(f"margin must be above 0, or null for a soft one, not {margin}")
        if mining not in MININGS:
            raise ConfigError(f"mining={mining!r} is not known{did_you_mean(mining, MININGS)}")
        self.margin, self.mining = margin, mining
        self.distance = distance or EuclideanDistance()

    def forward(self, embeddings: Tensor, labels: Tensor, pairs: Tensor | None = None) -> Tensor:
        """See :meth:`EmbeddingLoss.forward`; ``pairs`` is ignored.

        0, with gradient 0, for a batch without a triplet.
        """
        if len(labels) < 3:
            return nothing(embeddings)
        distances = self._matrix(embeddings)
        same = labels[:, None] == labels[None, :]
        positive = same & ~torch.eye(len(labels), dtype=torch.bool, device=labels.device)
        negative = ~same
        # Where there is no negative the nearest is infinitely far, which costs 0, with gradient 0;
        # so does a missing positive, which only has to be left out of the count. No branch depends
        # on data: it would make an accelerator wait.
        nearest = distances.where(negative, math.inf).amin(dim=1)
        if self.mining == "batch_hard":
            farthest = distances.where(positive, -math.inf).amax(dim=1)
            return _mean(self._cost(farthest - nearest), positive.any(dim=1))
        triplets = positive[:, :, None] & negative[:, None, :]
        gap = distances[:, :, None] - distances[:, None, :]  # (anchor, positive, negative)
        if self.mining == "all":
            cost = self._cost(gap)
            return _mean(cost, triplets & (cost > 0))
        farther = triplets & (gap < 0) & (gap > -(math.inf if self.margin is None else self.margin))
        chosen = distances[:, None, :].where(farther, math.inf).amin(dim=2)
        chosen = chosen.where(farther.any(dim=2), nearest[:, None])
        return _mean(self._cost(distances - chosen), triplets.any(dim=2))

    def extra_repr(self) -> str:
        return f"margin={self.margin}, mining={self.mining!r}"

    def _cost(self, gap: Tensor) -> Tensor:
        return F.softplus(gap) if self.margin is None else F.relu(gap + self.margin)

    def _matrix(self, embeddings: Tensor) -> Tensor:
        """(B, B) distances with gradient, each pair computed once.

        The distance is used in its own mode: a learned one is trained here.
        """
        left, right = all_pairs(len(embeddings), embeddings.device)
        values: Tensor = self.distance(embeddings[left], embeddings[right])
        half = values.new_zeros(len(embeddings), len(embeddings)).index_put((left, right), values)
        return half + half.T


def _mean(cost: Tensor, mask: Tensor) -> Tensor:
    """Mean where ``mask`` holds, 0 where it holds nowhere."""
    return cost.where(mask, 0).sum() / mask.sum().clamp(min=1)
