"""From data sets to the distances of their pairs: each image is embedded once."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

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
) -> dict[str, PairDistances]:
    """Embed each split and measure the distances of its pairs.

    Args:
        model: images (B, 3, H, W) to embeddings.
        distance: between them.
        datasets: split -> its crops.
        pair_rules: split -> which pairs.
        tta: changed copies over which each embedding is averaged.

    Raises:
        CalibrationError: embeddings that are NaN or infinite.
    """
    return {
        split: measure_pairs(embed(model, data, tta=tta), data.labels, pair_rules[split], distance)
        for split, data in datasets.items()
    }
