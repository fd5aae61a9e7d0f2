"""PartwiseLoss: one loss for each of several embeddings that lie side by side."""

from __future__ import annotations

import copy
from typing import cast

import torch
from torch import Tensor, nn

from siamese.distances.base import Distance
from siamese.errors import ConfigError
from siamese.losses.base import LOSSES, EmbeddingLoss
from siamese.losses.supervised_contrastive import SupervisedContrastiveLoss


@LOSSES.register("partwise_loss")
class PartwiseLoss(EmbeddingLoss):
    """The mean of a loss over equal parts of the embedding, each with weights of its own.

    For networks that are trained side by side, as those of :class:`siamese.EnsembleNet`: a loss of
    the whole would let each rely on the others.

    Args:
        loss: of one part; by default :class:`siamese.SupervisedContrastiveLoss`.
        parts: how many equal parts, >= 1; None leaves it to :meth:`divide`, which
            :class:`siamese.SiameseModule` calls.

    Attributes:
        open_set, of_batches: as of ``loss``.

    Raises:
        ConfigError: no part, or another number than the backbone has; on a call or from
            :meth:`bind`, embeddings that cannot be divided so.
    """

    def __init__(self, loss: EmbeddingLoss | None = None, parts: int | None = None) -> None:
        super().__init__()
        loss = SupervisedContrastiveLoss() if loss is None else loss
        if parts is not None and (isinstance(parts, bool) or not isinstance(parts, int)):
            raise ConfigError(f"parts must be a whole number of at least 1, not {parts!r}")
        own = getattr(loss, "distance", None)
        if isinstance(own, Distance) and own.learned:
            raise ConfigError(
                f"{type(loss).__name__} learns a distance between whole embeddings, which cannot "
                f"be divided into parts: give it to the module without PartwiseLoss"
            )
        self.parts: int | None = None
        self.losses = nn.ModuleList([loss])
        self.open_set, self.of_batches = loss.open_set, loss.of_batches
        if parts is not None:
            self.divide(parts)

    def divide(self, parts: int) -> None:
        """See :meth:`EmbeddingLoss.divide`; makes a loss for each part."""
        if parts < 1:
            raise ConfigError(f"parts must be a whole number of at least 1, not {parts!r}")
        if self.parts is not None and self.parts != parts:
            raise ConfigError(
                f"the loss has parts={self.parts}, and the backbone {parts} networks: leave out "
                f"parts (module.loss.parts)"
            )
        if self.parts is None:
            self.losses.extend(copy.deepcopy(self.loss) for _ in range(parts - 1))
        self.parts = parts

    @property
    def loss(self) -> EmbeddingLoss:
        """That of the first part."""
        return self._each[0]

    @property
    def distance(self) -> Distance | None:
        """The loss's own distance; None where it has none."""
        own = getattr(self.loss, "distance", None)
        return own if isinstance(own, Distance) else None

    def bind(self, identities: int, embedding_size: int) -> None:
        """Bind each loss to its part, see :meth:`EmbeddingLoss.bind`."""
        for loss in self._each:
            loss.bind(identities, self._width(embedding_size))

    def forward(self, embeddings: Tensor, labels: Tensor, pairs: Tensor | None = None) -> Tensor:
        """See :meth:`EmbeddingLoss.forward`; every part sees the same pairs."""
        parts = torch.split(embeddings, self._width(embeddings.shape[1]), dim=1)
        found = [loss(part, labels, pairs) for loss, part in zip(self._each, parts, strict=True)]
        return torch.stack(found).mean()

    def extra_repr(self) -> str:
        return f"parts={self.parts}"

    def _width(self, size: int) -> int:
        if size % len(self.losses):
            raise ConfigError(
                f"embeddings of {size} numbers cannot be divided into {self.parts} equal parts: "
                f"set parts to the number of networks"
            )
        return size // len(self.losses)

    @property
    def _each(self) -> list[EmbeddingLoss]:
        return [cast(EmbeddingLoss, loss) for loss in self.losses]
