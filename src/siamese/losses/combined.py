"""CombinedLoss: several losses of the same embeddings, weighted and added."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import cast

from torch import Tensor, nn

from siamese.distances.base import Distance
from siamese.errors import ConfigError
from siamese.losses.base import LOSSES, EmbeddingLoss, nothing


@LOSSES.register("combined_loss")
class CombinedLoss(EmbeddingLoss):
    """``weights[0] * losses[0] + weights[1] * losses[1] + ...``.

    Args:
        losses: at least one.
        weights: >= 0, as many as losses; by default 1 each.

    Attributes:
        open_set, of_batches: whether they hold for all of them.

    Raises:
        ConfigError: no loss, weights of another number, or one below 0.
    """

    def __init__(
        self, losses: Sequence[EmbeddingLoss], weights: Sequence[float] | None = None
    ) -> None:
        super().__init__()
        self.losses = nn.ModuleList(losses)
        self.weights = [1.0] * len(losses) if weights is None else [float(w) for w in weights]
        if not self.losses or len(self.losses) != len(self.weights):
            raise ConfigError(
                f"losses and weights must be equally many and not none, not {len(self.losses)} "
                f"and {len(self.weights)}; give each loss its weight, or no weights at all"
            )
        if not all(0 <= w < math.inf for w in self.weights):
            raise ConfigError(f"weights must be numbers of at least 0, not {self.weights}")
        self.open_set = all(loss.open_set for loss in self._members)
        self.of_batches = all(loss.of_batches for loss in self._members)

    @property
    def distance(self) -> Distance | None:
        """The distance of the first loss that has one; None where none has."""
        own = (getattr(loss, "distance", None) for loss in self.losses)
        return next((distance for distance in own if isinstance(distance, Distance)), None)

    def bind(self, identities: int, embedding_size: int) -> None:
        """Bind every loss, see :meth:`EmbeddingLoss.bind`."""
        for loss in self._members:
            loss.bind(identities, embedding_size)

    def divide(self, parts: int) -> None:
        """Tell every loss, see :meth:`EmbeddingLoss.divide`."""
        for loss in self._members:
            loss.divide(parts)

    def forward(self, embeddings: Tensor, labels: Tensor, pairs: Tensor | None = None) -> Tensor:
        """See :meth:`EmbeddingLoss.forward`; each loss gets ``pairs`` and uses them as usual."""
        total = nothing(embeddings)
        for weight, loss in zip(self.weights, self.losses, strict=True):
            total = total + weight * loss(embeddings, labels, pairs)
        return total

    def extra_repr(self) -> str:
        return f"weights={self.weights}"

    @property
    def _members(self) -> list[EmbeddingLoss]:
        return [cast(EmbeddingLoss, loss) for loss in self.losses]
