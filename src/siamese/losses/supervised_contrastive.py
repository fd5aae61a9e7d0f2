"""Supervised contrastive loss: each image against all others of the batch."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from siamese.errors import ConfigError
from siamese.losses.base import LOSSES, EmbeddingLoss, nothing


@LOSSES.register("supervised_contrastive_loss")
class SupervisedContrastiveLoss(EmbeddingLoss):
    """``L_out`` of Khosla et al., *Supervised Contrastive Learning*, NeurIPS 2020, equation 2.

    For an anchor i with the other images P(i) of its identity, the mean over p in P(i) of
    ``-log(exp(z_i . z_p / t) / sum over all a other than i of exp(z_i . z_a / t))``, z being the
    embeddings brought to unit length; averaged over the anchors that have another image of their
    identity in the batch. All images of other identities serve as impostors at once, the near ones
    most; so it learns fast from few images. It measures directions: verify with the cosine
    distance, or with a backbone whose embeddings have unit length.

    Args:
        temperature: t, > 0; the lower, the more the nearest impostors count.

    Raises:
        ConfigError: a temperature out of range.
    """

    def __init__(self, temperature: float = 0.1) -> None:
        super().__init__()
        if not 0 < temperature < math.inf:
            raise ConfigError(f"temperature must be above 0, not {temperature}")
        self.temperature = temperature

    def forward(self, embeddings: Tensor, labels: Tensor, pairs: Tensor | None = None) -> Tensor:
        """See :meth:`EmbeddingLoss.forward`; ``pairs`` is ignored.

        Every image of the batch is compared with every other. 0, with gradient 0, for a batch in
        which no identity has two images.
        """
        itself = torch.eye(len(labels), dtype=torch.bool, device=labels.device)
        others = (labels[:, None] == labels[None]) & ~itself
        number = others.sum(dim=1)
        if not len(labels) or not bool(number.any()):
            return nothing(embeddings)
        with torch.autocast(embeddings.device.type, enabled=False):
            wide = embeddings if embeddings.dtype == torch.float64 else embeddings.float()
            z = F.normalize(wide, dim=1)
            likeness = (z @ z.T / self.temperature).masked_fill(itself, -math.inf)
            log_share = likeness - torch.logsumexp(likeness, dim=1, keepdim=True)
            # Not a product with the mask: that would make 0 times minus infinity of the diagonal.
            per_anchor = -log_share.where(others, log_share.new_zeros(())).sum(
                dim=1
            ) / number.clamp(min=1)
            return per_anchor[number > 0].mean()

    def extra_repr(self) -> str:
        return f"temperature={self.temperature}"
