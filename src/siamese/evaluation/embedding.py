"""From data sets to the distances of their pairs: each image is embedded once."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from siamese.data.dataset import CropDataset
from siamese.data.embedding import embed
from siamese.data.tta import TestTimeAugmentation
from siamese.distances.base import Distance
from siamese.pairs.base import PairRule
from siamese.verification.measure import measure_pairs
from siamese.verification.pair_distances import PairDistances


def measure_splits(
    model: nn.Module,
    distance: Distance,
    datasets: Mapping[str, CropDataset],
    pair_rules: Mapping[str, PairRule],
    tta: TestTimeAugmentation | None = None,
    device: str | torch.device | None = None,
) -> dict[str, PairDistances]:
    """Embed each split and measure the distances of its pairs.

    Args:
        model: images (B, 3, H, W) to embeddings.
        distance: between them.
        datasets: split -> its crops.
        pair_rules: split -> which pairs.
        tta: changed copies over which each embedding is averaged.
        device: where pairs are counted that are streamed (:func:`siamese.measure_pairs`); by
            default on the CPU, where the embeddings are.

    Raises:
        CalibrationError: embeddings that are NaN or infinite.
    """
    embeddings = embed_splits(model, datasets, tta)
    return measure_embedded(embeddings, distance, datasets, pair_rules, device)


def embed_splits(
    model: nn.Module,
    datasets: Mapping[str, CropDataset],
    tta: TestTimeAugmentation | None = None,
) -> dict[str, Tensor]:
    """Split -> (N, D) float32 embeddings; arguments as for :func:`measure_splits`."""
    return {split: embed(model, data, tta=tta) for split, data in datasets.items()}


def measure_embedded(
    embeddings: Mapping[str, Tensor],
    distance: Distance,
    datasets: Mapping[str, CropDataset],
    pair_rules: Mapping[str, PairRule],
    device: str | torch.device | None = None,
) -> dict[str, PairDistances]:
    """Split -> the distances of its pairs; arguments and errors as for :func:`measure_splits`."""
    return {
        split: measure_pairs(
            embeddings[split], data.labels, pair_rules[split], distance, device=device
        )
        for split, data in datasets.items()
    }
