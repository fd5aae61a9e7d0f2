"""Wrong labels that are suspected in a run's own splits, by its own network, for its report."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from siamese.data.dataset import CropDataset
from siamese.distances.base import Distance
from siamese.evaluation.suspicions import Suspicions, doubt_labels

# Images of a split whose labels are doubted: the work grows with their square. Distances that are
# no matrix product take ten times as long.
MOST, MOST_SLOW = 10_000, 3_000


def doubts_of(
    embeddings: Mapping[str, Tensor],
    distance: Distance,
    datasets: Mapping[str, CropDataset],
    threshold: float,
) -> dict[str, Suspicions]:
    """Split -> images whose labels its embeddings doubt; large splits are left out.

    The images of training are left out, too: the network was taught their labels.

    Args:
        embeddings: split -> (N, D).
        distance: between them.
        datasets: split -> its crops, with labels.
        threshold: in use.
    """
    most = MOST if distance.squared else MOST_SLOW
    return {
        split: doubt_labels(rows, datasets[split].labels, distance, threshold, two_names=False)
        for split, rows in embeddings.items()
        if split != "train" and len(rows) <= most
    }
