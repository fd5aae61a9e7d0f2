"""From data sets to compared pairs: each split embedded once, or in many augmented copies whose distances are averaged."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from siamese.data.dataset import CropDataset
from siamese.data.embedding import embed
from siamese.datasets.pairs_file import PairsFile
from siamese.data.transforms import Augmentation
from siamese.data.transforms import augmented_copy
from siamese.data.transforms import check_tta
from siamese.distances.base import Distance
from siamese.errors import CalibrationError
from siamese.faces.croppers.base import Cropper
from siamese.faces.crops import crop_files
from siamese.pairs.base import FIXED
from siamese.pairs.fixed_pairs import FixedPairs
from siamese.pairs.base import PairRule
from siamese.pairs.base import Pairs
from siamese.verification.pair_distances import PairDistances
from siamese.verification.pair_distances import HeldDistances
from siamese.verification.folds import FoldedEvaluation
from siamese.verification.policies.max_accuracy import MaxAccuracy
from siamese.verification.policies.base import Policy
from siamese.verification.pair_distances import compare
from siamese.verification.folds import cross_validate


def measure_split(
    model: nn.Module,
    distance: Distance,
    data: CropDataset,
    protocol: PairRule,
    copies: int = 0,
    augmentation: Augmentation | None = None,
) -> PairDistances:
    """Embed a split and measure the distances of its pairs.

    Args:
        model: pictures (B, 3, H, W) to embeddings.
        distance: between them.
        data: N crops.
        protocol: which pairs.
        copies: 0 compares the crops as they are. k >= 1 compares k augmented copies of them and averages the k distances of
            each pair; copy i of every picture is changed in the same way, so the distance stays symmetric. A threshold
            belongs to one number of copies: calibrate with the same.
        augmentation: what changes the copies.

    Raises:
        ConfigError: a negative number of copies, or copies without an augmentation.
        CalibrationError: embeddings that are NaN or infinite.
    """
    check_tta(copies, augmentation)
    if not copies:
        return compare(embed(model, data), data.labels, protocol, distance)
    assert augmentation is not None
    total: np.ndarray | None = None
    one: PairDistances | None = None
    for copy in range(copies):
        # Distances that are averaged must be held; more of them than can be are refused.
        one = compare(embed(model, data, alter=augmented_copy(augmentation, copy)), data.labels, protocol, distance, limit=sys.maxsize)
        assert isinstance(one, HeldDistances)
        total = one.distances.astype(np.float64) if total is None else total + one.distances
    assert total is not None
    assert isinstance(one, HeldDistances)
    mean = (total / copies).astype(one.distances.dtype)
    return HeldDistances(one.pairs, mean, one.labels, one.distance, one.protocol)


def measure_splits(
    model: nn.Module,
    distance: Distance,
    datasets: Mapping[str, CropDataset],
    protocols: Mapping[str, PairRule],
    copies: int = 0,
    augmentation: Augmentation | None = None,
) -> dict[str, PairDistances]:
    """:func:`measure_split` for each split, with its own pairs."""
    return {s: measure_split(model, distance, d, protocols[s], copies, augmentation) for s, d in datasets.items()}


def measure_benchmark(
    model: nn.Module,
    distance: Distance,
    cropper: Cropper,
    pairs: PairsFile,
    *,
    cache: str | Path | None = None,
    bad_images: str = "error",
    progress: bool = True,
) -> BenchmarkDistances:
    """Embed each picture of a file of pairs once, and measure the distance of each pair.

    Args:
        model: pictures (B, 3, H, W) to embeddings.
        distance: between them.
        cropper: from photographs to what the model sees; where it finds no face, its policy says what is compared instead, if anything.
        pairs: which pictures.
        cache, bad_images, progress: as for :func:`siamese.crop_files`.

    Raises:
        DataError, FaceError, CacheError: from cropping.
        CalibrationError: no picture is left, or embeddings are NaN or infinite.
    """
    result = crop_files(pairs.paths, cropper, cache=cache, bad_images=bad_images, progress=progress)
    kept = [row for row, file in enumerate(result.files) if file is not None]
    if not kept:
        raise CalibrationError(f"{pairs.name}: the cropper leaves no picture; set cropper.no_face=whole_image")
    crops = [file for file in result.files if file is not None]
    embeddings = embed(model, CropDataset(crops, np.arange(len(crops))))
    place = np.full(len(pairs.files), -1)
    place[kept] = np.arange(len(kept))
    left, right = place[pairs.left], place[pairs.right]
    refused = (left < 0) | (right < 0)
    everyone = np.arange(len(crops))  # each picture a person of its own: only the distances are wanted
    compared = compare(embeddings, everyone, FixedPairs(left[~refused], right[~refused], pairs.name), distance)
    assert isinstance(compared, HeldDistances)
    distances = np.zeros(len(pairs), dtype=compared.distances.dtype)
    distances[~refused] = compared.distances
    faceless = np.array([faces == 0 for faces in result.faces])
    missing = faceless[pairs.left] | faceless[pairs.right] | refused
    return BenchmarkDistances(pairs, distances, missing, refused, int(faceless.sum()), compared.distance)


@dataclass(frozen=True)
class BenchmarkDistances:
    """A file of pairs with distances.

    Attributes:
        pairs: n pairs.
        distances: (n,) floating point; 0 where ``refused``.
        missing: (n,) bool, pairs that name a picture on which no face was found, or that is left out.
        refused: (n,) bool, pairs that name a picture that is left out: they have no distance.
        faceless: number of pictures on which no face was found.
        distance: the distance's registered name.
    """

    pairs: PairsFile
    distances: np.ndarray
    missing: np.ndarray
    refused: np.ndarray
    faceless: int
    distance: str

    @property
    def compared(self) -> HeldDistances:
        """The pairs that have a distance, as a threshold is chosen from them."""
        kept, p = ~self.refused, self.pairs
        described = {"name": FIXED, "source": p.name}
        return HeldDistances(
            Pairs(p.left[kept], p.right[kept], p.same[kept]), self.distances[kept], p.labels, self.distance, described
        )

    def evaluate(self, policy: str | dict[str, Any] | Policy | float = MaxAccuracy()) -> FoldedEvaluation:  # noqa: B008 - frozen
        """See :func:`siamese.cross_validate`; errors likewise."""
        found = cross_validate(
            self.distances,
            self.pairs.same,
            self.pairs.fold,
            policy=policy,
            tested=self.pairs.tested,
            missing=self.missing,
            refused=self.refused,
            protocol=self.pairs.name,
            names=dict(enumerate(self.pairs.fold_names)),
        )
        return replace(found, pictures=len(self.pairs.files), faceless=self.faceless)
