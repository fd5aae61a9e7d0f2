"""Cross-entropy over pairs, for a distance that is the output of a network."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from siamese.distances.learned import LearnedDistance
from siamese.errors import ConfigError
from siamese.losses.base import LOSSES, EmbeddingLoss, all_pairs, nothing


@LOSSES.register("pair_cross_entropy_loss")
class PairCrossEntropyLoss(EmbeddingLoss):
    """Binary cross-entropy of "these two are different", averaged over pairs.

    A pair costs ``-log p`` or ``-log (1 - p)``. p is the learned distance, computed from its logit
    l as ``log(1 + exp(-l))`` or ``log(1 + exp(l))``, which neither overflows nor loses the digits
    of a p near 0 or 1. All pairs of a batch are mostly impostors, and every pair counts alike: to
    give both kinds the same weight, give balanced ``pairs``, as face-comparer does.

    Args:
        distance: with ``logits(a, b)``; by default a new :class:`siamese.LearnedDistance`. Its
            weights are trained too.

    Raises:
        ConfigError: a distance without logits.
    """

    of_batches = False

    def __init__(self, distance: LearnedDistance | None = None) -> None:
        super().__init__()
        if distance is not None and not callable(getattr(distance, "logits", None)):
            raise ConfigError(
                f"pair cross-entropy needs a distance that is a probability, and "
                f"{type(distance).__name__} is none; set distance=learned"
            )
        self.distance = distance or LearnedDistance()

    def forward(self, embeddings: Tensor, labels: Tensor, pairs: Tensor | None = None) -> Tensor:
        """See :meth:`EmbeddingLoss.forward`; always float32.

        0, with gradient 0, for a batch without pairs, and, while training, for a single pair: the
        variance that batch normalisation divides by needs two.
        """
        left, right = all_pairs(len(labels), labels.device) if pairs is None else pairs
        if len(left) < (2 if self.distance.training else 1):
            return nothing(embeddings).float()
        different = (labels[left] != labels[right]).float()
        return F.binary_cross_entropy_with_logits(
            self.distance.logits(embeddings[left], embeddings[right]), different
        )
