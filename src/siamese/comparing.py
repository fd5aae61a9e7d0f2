"""From data sets to compared pairs: each split embedded once, or in many augmented copies whose distances are averaged."""

from __future__ import annotations

import functools
import sys
from collections.abc import Mapping

import numpy as np
from torch import nn

from siamese.data.dataset import CropDataset
from siamese.data.embed import embed
from siamese.data.transforms import Augmentation
from siamese.distances import Distance
from siamese.errors import ConfigError
from siamese.pairs import PairProtocol
from siamese.verification import AnyCompared, Compared, compare

# First number of the seeds of augmented copies: not one that training can draw.
COPY = 1_000_003


def compare_split(
    model: nn.Module,
    distance: Distance,
    data: CropDataset,
    protocol: PairProtocol,
    copies: int = 0,
    augmentation: Augmentation | None = None,
) -> AnyCompared:
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
    check_copies(copies, augmentation)
    if not copies:
        return compare(embed(model, data), data.labels, protocol, distance)
    assert augmentation is not None
    total: np.ndarray | None = None
    one: AnyCompared | None = None
    for copy in range(copies):
        # Distances that are averaged must be held; more of them than can be are refused.
        one = compare(embed(model, data, alter=altered(augmentation, copy)), data.labels, protocol, distance, limit=sys.maxsize)
        assert isinstance(one, Compared)
        total = one.distances.astype(np.float64) if total is None else total + one.distances
    assert total is not None
    assert isinstance(one, Compared)
    mean = (total / copies).astype(one.distances.dtype)
    return Compared(one.pairs, mean, one.labels, one.distance, one.protocol)


def compare_splits(
    model: nn.Module,
    distance: Distance,
    datasets: Mapping[str, CropDataset],
    protocols: Mapping[str, PairProtocol],
    copies: int = 0,
    augmentation: Augmentation | None = None,
) -> dict[str, AnyCompared]:
    """:func:`compare_split` for each split, with its own pairs."""
    return {s: compare_split(model, distance, d, protocols[s], copies, augmentation) for s, d in datasets.items()}


def altered(augmentation: Augmentation, copy: int) -> functools.partial[np.ndarray]:
    """What makes augmented copy number ``copy`` of a crop."""
    return functools.partial(augmentation, seed=(COPY, copy))


def check_copies(copies: int, augmentation: Augmentation | None) -> None:
    """Raise :class:`ConfigError` where the copies cannot be made."""
    if copies < 0:
        raise ConfigError(f"copies must be at least 0, not {copies}")
    if copies and (augmentation is None or not augmentation.changes):
        raise ConfigError(
            "there is no augmentation to make copies with: the run was trained without, or with a function of its own; leave out copies"
        )
