"""Losses over embeddings: ``loss(embeddings, labels)`` or ``loss(embeddings, labels, pairs)`` -> scalar."""

from siamese.losses.base import EmbeddingLoss
from siamese.losses.combined import CombinedLoss
from siamese.losses.contrastive import ContrastiveLoss
from siamese.losses.cross_entropy import PairCrossEntropyLoss
from siamese.losses.margin_softmax import MarginSoftmaxLoss
from siamese.losses.supervised_contrastive import SupervisedContrastiveLoss
from siamese.losses.triplet import TripletLoss

__all__ = [
    "CombinedLoss",
    "ContrastiveLoss",
    "EmbeddingLoss",
    "MarginSoftmaxLoss",
    "PairCrossEntropyLoss",
    "SupervisedContrastiveLoss",
    "TripletLoss",
]
