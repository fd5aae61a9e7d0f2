"""Losses over embeddings: ``loss(embeddings, labels)`` or ``loss(embeddings, labels, pairs)`` -> scalar."""

from siamese.losses.base import EmbeddingLoss
from siamese.losses.contrastive import ContrastiveLoss

__all__ = ["ContrastiveLoss", "EmbeddingLoss"]
