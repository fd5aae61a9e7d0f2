"""Compared pairs: what a threshold is chosen from and judged by, held (Compared) or streamed (StreamedDistances)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Union

import numpy as np
from torch import Tensor

from siamese.distances.base import DISTANCES
from siamese.distances.base import Distance
from siamese.errors import CalibrationError
from siamese.pairs.all_pairs import AllPairs
from siamese.pairs.balanced_pairs import BalancedPairs
from siamese.pairs.base import PairRule
from siamese.pairs.base import Pairs
from siamese.verification.confusion import Confusion
from siamese.verification.confusion import confusion
from siamese.verification.curves import ThresholdCurve
from siamese.verification.curves import eer
from siamese.verification.policies.base import Policy
from siamese.verification.streaming.stream import StreamedDistances
from siamese.verification.streaming.tiles import longest_row

# Of all pairs, more than these are streamed: their thresholds are the same, and their intervals quicker.
HELD = 500_000


@dataclass(frozen=True)
class HeldDistances:
    """Pairs of one split with their distances.

    Attributes:
        pairs: n pairs of rows.
        distances: (n,) floating point.
        labels: (N,) int64, one number per person, of the rows that the pairs refer to.
        distance: the distance's registered name.
        protocol: how the pairs were chosen.
    """

    pairs: Pairs
    distances: np.ndarray
    labels: np.ndarray
    distance: str
    protocol: Mapping[str, Any]

    @property
    def genuine(self) -> int:
        """Number of pairs of the same person."""
        return self.pairs.genuine

    @property
    def impostor(self) -> int:
        """Number of pairs of different people."""
        return self.pairs.impostor

    def curve(self) -> ThresholdCurve:
        """Exact counts at every distance that occurs."""
        return self._curve

    @cached_property
    def _curve(self) -> ThresholdCurve:
        return ThresholdCurve.of(self.distances, self.pairs.same)

    def choose(self, policy: Policy) -> tuple[float, Confusion]:
        """The policy's threshold among all distances that occur, and the counts there; errors as :meth:`Policy.choose`."""
        policy.check(self.genuine, self.impostor)
        return self.curve().choose(policy)

    def confusion(self, threshold: float) -> Confusion:
        """Counts at any threshold."""
        return confusion(self.distances, self.pairs.same, threshold)

    def eer(self) -> float:
        """The equal error rate; errors as :func:`siamese.verification.eer`."""
        return eer(self.curve())

    def by_identity(self, thresholds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """As :meth:`StreamedDistances.by_identity`, exactly."""
        people, left, right, column = self._placed(thresholds)
        columns, same = len(thresholds) + 1, self.pairs.same

        def count(who: np.ndarray, these: np.ndarray) -> np.ndarray:
            keys = who[these] * columns + column[these]
            return np.bincount(keys, minlength=people * columns).reshape(people, columns)

        return count(left, same), count(left, ~same) + count(right, ~same)

    def by_two_identities(self, thresholds: np.ndarray) -> np.ndarray:
        """As :meth:`StreamedDistances.by_two_identities`, exactly."""
        people, left, right, column = self._placed(thresholds)
        columns, other = len(thresholds) + 1, ~self.pairs.same
        keys = (np.minimum(left, right) * people + np.maximum(left, right)) * columns + column
        return np.bincount(keys[other], minlength=people * people * columns).reshape(people, people, columns)

    def _placed(self, thresholds: np.ndarray) -> tuple[int, np.ndarray, np.ndarray, np.ndarray]:
        """Number of people, the two of each pair, and how many of the thresholds its distance is above."""
        people, person = np.unique(self.labels, return_inverse=True)
        column = np.searchsorted(thresholds, self.distances.astype(np.float64), side="left")
        return len(people), person[self.pairs.left], person[self.pairs.right], column


PairDistances = Union[HeldDistances, StreamedDistances]


def compare(
    embeddings: Tensor, labels: Tensor | np.ndarray, protocol: PairRule, distance: Distance, limit: int | None = None
) -> PairDistances:
    """Choose pairs by the labels and measure their distances.

    Args:
        embeddings: (N, D) floating point, finite.
        labels: (N,) integers, one number per person.
        protocol: which pairs; more than ``limit`` of :class:`AllPairs` are streamed, in bounded memory.
        distance: between embeddings.
        limit: pairs that are held, with their distances; by default 500,000.

    Raises:
        CalibrationError: shapes that do not fit, embeddings that are NaN or infinite, or so large or small that float32 does not hold
            their distances.
    """
    labels = np.asarray(labels.cpu() if isinstance(labels, Tensor) else labels)
    if embeddings.ndim != 2 or labels.shape != (len(embeddings),):
        raise CalibrationError(
            f"embeddings {tuple(embeddings.shape)} and labels {labels.shape} do not fit; give (N, D) embeddings and (N,) labels"
        )
    if not bool(embeddings.isfinite().all()):
        bad = int((~embeddings.isfinite().all(dim=1)).sum())
        raise CalibrationError(
            f"{bad} of {len(embeddings)} embeddings are NaN or infinite: the training diverged; lower the learning rate"
        )
    if isinstance(protocol, AllPairs) and len(labels) * (len(labels) - 1) // 2 > (HELD if limit is None else limit):
        return StreamedDistances(embeddings, labels, distance)
    if distance.squared and len(embeddings):
        longest_row(distance.rows(embeddings), distance)
    pairs = protocol(labels)
    return HeldDistances(
        pairs, distance.between(embeddings, pairs.left, pairs.right), labels, DISTANCES.name(distance), protocol.describe()
    )


def pairs_to_show(compared: PairDistances, count: int, seed: int = 0) -> HeldDistances:
    """Pairs for people to look at: of streamed ones the closest impostor and the farthest genuine pairs, and some at random.

    Args:
        compared: held pairs are given back as they are.
        count: at least so many of each of the four kinds, where there are so many.
        seed: of the random ones.
    """
    if isinstance(compared, HeldDistances):
        return compared
    left, right, distances = compared.extremes(count)
    labels = compared.original_labels
    some = BalancedPairs(count, seed)(labels)
    known = set(zip(left.tolist(), right.tolist(), strict=True))
    sides = zip(np.minimum(some.left, some.right).tolist(), np.maximum(some.left, some.right).tolist(), strict=True)
    new = np.array([pair not in known for pair in sides], dtype=bool)
    left, right = np.concatenate([left, some.left[new]]), np.concatenate([right, some.right[new]])
    distances = np.concatenate([distances, compared.between(some.left[new], some.right[new])])
    pairs = Pairs(left, right, labels[left] == labels[right])
    return HeldDistances(pairs, distances, labels, compared.distance, compared.protocol)
