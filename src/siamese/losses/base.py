"""EmbeddingLoss: the base of all losses, over the labels of a batch or over pairs of its rows."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Tensor, nn

from siamese.distances.base import DISTANCES, Distance
from siamese.errors import ConfigError
from siamese.registry import Registry


class EmbeddingLoss(nn.Module):
    """A loss of an embedding matrix; every image is encoded once, pairs are row numbers.

    A class that is registered in ``LOSSES``, and keeps each constructor argument in an attribute of
    its name, can be built again from a checkpoint alone
    (:meth:`siamese.SiameseModule.load_from_checkpoint`).

    Attributes:
        open_set: whether its value has a meaning for identities that it was not trained on. False
            for a classifier of the training identities: it must not be called on validation
            identities, which are others.
        of_batches: whether its mean over all pairs of a batch is comparable with the training loss.
            False for a loss that is trained on balanced pairs and weighs every pair alike: nearly
            all pairs of a batch are impostors.
    """

    open_set: bool = True
    of_batches: bool = True

    def bind(self, identities: int, embedding_size: int) -> None:
        """Tell the loss what is known only after the data are loaded; by default it ignores it.

        Called before the optimizer is made, since the loss may make its weights here.

        Args:
            identities: number of training identities; their labels are 0..identities - 1.
            embedding_size: D of the embeddings that the loss sees while training.
        """

    def divide(self, parts: int) -> None:
        """Tell the loss that embeddings are several, side by side; by default it ignores it.

        :class:`siamese.SiameseModule` calls it, before :meth:`bind`.

        Args:
            parts: :attr:`siamese.Backbone.trained_parts`.
        """

    def forward(self, embeddings: Tensor, labels: Tensor, pairs: Tensor | None = None) -> Tensor:
        """The loss of a batch.

        Args:
            embeddings: (B, D) floating point.
            labels: (B,) int64, one number per identity.
            pairs: (2, n) int64 row numbers, left above right; by default all B (B - 1) / 2 pairs.

        Returns:
            scalar float32 (float64 for float64 embeddings).
        """
        raise NotImplementedError


class LossRegistry(Registry[EmbeddingLoss]):
    """The registry of losses, whose arguments may be a distance, or other losses."""

    def _described(self, value: Any) -> Any:
        if isinstance(value, Distance):
            return {"distance": DISTANCES.settings(value)}
        if isinstance(value, EmbeddingLoss):
            return {"loss": self.settings(value)}
        if isinstance(value, (list, tuple, nn.ModuleList)):
            return [self._described(v) for v in value]
        return super()._described(value)

    def _restored(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self._restored(v) for v in value]
        if isinstance(value, dict) and value.keys() == {"distance"}:
            return DISTANCES.build(value["distance"])
        if isinstance(value, dict) and value.keys() == {"loss"}:
            return self.build(value["loss"])
        return super()._restored(value)


LOSSES = LossRegistry("loss", "LOSSES", "siamese.losses")


def check_arguments(loss: nn.Module) -> None:
    """See before a training whether a loss can be called as one.

    Raises:
        ConfigError: ``loss.forward`` does not take embeddings, labels and pairs.
    """
    try:
        arguments = inspect.signature(loss.forward)
    except (TypeError, ValueError):  # compiled: it cannot be asked
        return
    try:
        arguments.bind(None, None, None)
    except TypeError:
        name = type(loss).__name__
        raise ConfigError(
            f"a loss is called with embeddings, labels and pairs, and {name}.forward takes "
            f"{arguments}: write forward(self, embeddings, labels, pairs=None) "
            "(docs/extending.md has an example)"
        ) from None


def all_pairs(n: int, device: torch.device | None = None) -> Tensor:
    """(2, n (n - 1) / 2) int64: every pair i < j once."""
    return torch.triu_indices(n, n, offset=1, device=device)


def nothing(embeddings: Tensor) -> Tensor:
    """Scalar 0 with gradient 0 for ``embeddings`` (B, D).

    It is the loss of a batch that there is nothing to learn from.
    """
    zero = embeddings[:0].sum()  # of no rows: 0 times a row would be NaN where the row is infinite
    return zero if zero.dtype == torch.float64 else zero.float()
