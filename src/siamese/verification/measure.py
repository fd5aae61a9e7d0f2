"""measure_pairs: from embeddings and labels to the distances of chosen pairs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from siamese.distances.base import DISTANCES, Distance, as_distance
from siamese.distances.inputs import (
    as_identities,
    as_tensor,
    infinite_rows,
    numbered,
    rows_and_labels,
)
from siamese.errors import CalibrationError
from siamese.pairs.base import PairRule, as_pair_rule
from siamese.verification.draw_order import draw_keys
from siamese.verification.held import HeldDistances
from siamese.verification.pair_distances import PairDistances
from siamese.verification.streaming.stream import StreamedDistances
from siamese.verification.streaming.tiles import longest_row

# More pairs than this of an exhaustive rule are streamed. Their thresholds are the same, and their
# intervals faster to compute.
HELD = 500_000
_LARGEST = np.uint64(np.iinfo(np.int64).max)


def measure_pairs(
    embeddings: Tensor | np.ndarray | Sequence[Any],
    identities: Tensor | np.ndarray | Sequence[Any],
    pairs: str | PairRule = "all_pairs",
    distance: str | Distance = "euclidean",
    limit: int | None = None,
    *,
    to_be_fitted: bool = False,
    device: str | torch.device | None = None,
) -> PairDistances:
    """Choose pairs by who is on the images and measure their distances.

    Args:
        embeddings: (N, D) floating point, finite, as for :func:`siamese.calibrate`.
        identities: (N,) the identity of each image: numbers, strings, or anything that can be
            compared and sorted.
        pairs: which pairs, a rule or its name; more than ``limit`` of an exhaustive rule
            (:class:`siamese.AllPairs`) are streamed, in bounded memory.
        distance: between embeddings, an object or a name.
        limit: pairs that are held in memory, with their distances; by default 500,000.
        to_be_fitted: whether a distance may be one that is not fitted yet, and measures otherwise
            than it will, as while a network is trained.
        device: where pairs are counted that are streamed, by default where the embeddings are: on
            CUDA with the same counts, bit for bit. Distances of a learned distance, and of pairs
            that are held, do not heed it.

    Raises:
        CalibrationError: shapes that do not fit, embeddings that are NaN or infinite, or so large
            or small that float32, or a file, does not hold their distances.
        ConfigError: an unknown pair rule or distance, or a distance that is not fitted.
    """
    pairs, distance = as_pair_rule(pairs), as_distance(distance, to_be_fitted=to_be_fitted)
    if device is None and isinstance(embeddings, Tensor):
        device = embeddings.device
    labels = as_identities(identities)
    if not isinstance(embeddings, Tensor) or labels.dtype.kind not in "iu":
        embeddings, labels = rows_and_labels(embeddings, labels)
    embeddings = as_tensor(embeddings).detach()
    # Numbers that int64 does not hold get others.
    fits = np.can_cast(labels.dtype, np.int64) or not (labels > _LARGEST).any()
    labels = labels.astype(np.int64) if fits else numbered(labels)
    if embeddings.ndim != 2 or labels.shape != (len(embeddings),):
        raise CalibrationError(
            f"embeddings {tuple(embeddings.shape)} and labels {labels.shape} do not fit; "
            f"give (N, D) embeddings and (N,) labels"
        )
    if bad := infinite_rows(embeddings):
        raise CalibrationError(
            f"{len(bad)} of {len(embeddings)} embeddings are NaN or infinite: the training "
            f"diverged; lower the learning rate"
        )
    if pairs.exhaustive and sum(pairs.counts(labels)) > (HELD if limit is None else limit):
        return StreamedDistances(embeddings, labels, distance, device=device)
    if distance.squared and len(embeddings):
        longest_row(distance.rows(embeddings), distance)
    chosen = pairs(labels)
    distances = distance.between(embeddings, chosen.left, chosen.right)
    return HeldDistances(
        chosen,
        distances,
        labels,
        DISTANCES.name(distance),
        pairs.describe(),
        draw_keys(embeddings, labels)[0],
    )


def trials_of(rule: PairRule, labels: np.ndarray) -> tuple[int, int]:
    """How many identities have genuine pairs by a rule, and how many pairs of two impostor pairs.

    Args:
        rule: which pairs.
        labels: (N,) the identity of each image.
    """
    sizes = np.unique(labels, return_counts=True)[1]
    if rule.exhaustive:
        return int(np.count_nonzero(sizes > 1)), len(sizes) * (len(sizes) - 1) // 2
    pairs = rule(labels)
    one, other = labels[pairs.left], labels[pairs.right]
    two = np.stack([np.minimum(one, other), np.maximum(one, other)])[:, ~pairs.same]
    return len(np.unique(one[pairs.same])), np.unique(two, axis=1).shape[1]
