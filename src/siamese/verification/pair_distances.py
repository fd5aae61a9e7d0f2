"""PairDistances: the distances of chosen pairs, on which a threshold is chosen and evaluated."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from siamese.pairs.base import Pairs
from siamese.verification.confusion import Confusion
from siamese.verification.curves import Choice, ThresholdCurve
from siamese.verification.policies.base import Policy

_WHOLE = 2**24  # float32 has every whole number up to here
_BLOCK = 4096  # identities that are weighed at once: bounds the memory
_FEW = 64  # identities whose pairs are counted two by two


@dataclass(frozen=True, eq=False)
class PairSample:
    """Pairs one by one, for people to look at.

    Attributes:
        pairs: n pairs of rows.
        distances: (n,) floating point.
        distance: the distance's registered name.
        complete: whether these are all the pairs that there are.
    """

    pairs: Pairs
    distances: np.ndarray
    distance: str
    complete: bool = True

    def __repr__(self) -> str:
        return f"PairSample({len(self.pairs):,} pairs)"


class PairDistances(ABC):
    """The distances of the pairs of N images, held one by one or only counted.

    Two classes have this interface, with the same numbers: :class:`HeldDistances` keeps every pair,
    :class:`StreamedDistances` counts all pairs of many images in bounded memory. Code that uses
    them need not know which one it is.

    Attributes:
        labels: (N,) int64, one number per identity, of the images that the pairs refer to; in any
            order.
        distance: the distance's registered name.
        pair_rule: how the pairs were chosen, from :meth:`PairRule.describe`.
        genuine, impostor: numbers of pairs.
        draw_keys: (identities,) uint64, in the order of which identities, numbered as ``np.unique``
            does it with ``original_labels``, are drawn; None for the order of these numbers.
    """

    labels: np.ndarray
    distance: str
    pair_rule: Mapping[str, Any]
    draw_keys: np.ndarray | None = None

    # Read-only here: one class stores them, the other derives them.
    @property
    @abstractmethod
    def genuine(self) -> int:
        """Number of pairs of one identity."""

    @property
    @abstractmethod
    def impostor(self) -> int:
        """Number of pairs of two identities."""

    @property
    def prevalence(self) -> float:
        """Share of genuine pairs, 0..1; there must be a pair."""
        return self.genuine / (self.genuine + self.impostor)

    @property
    def identities(self) -> int:
        """Number of identities."""
        return len(np.unique(self.labels))

    @property
    def images(self) -> int:
        """Number of images."""
        return len(self.labels)

    @property
    def original_labels(self) -> np.ndarray:
        """(N,) ``labels`` in the order in which the images were given."""
        return self.labels

    # --- thresholds and counts ---

    @abstractmethod
    def curve(self, weights: str | None = None) -> ThresholdCurve:
        """Exact counts at the distances that occur, or at some of them 0.1 % apart or less.

        Args:
            weights: of genuine pairs, as a policy has them (:class:`siamese.Policy`). With weights
                streamed pairs of many identities are counted at fewer thresholds.
        """

    @abstractmethod
    def choose(self, policy: Policy) -> Choice:
        """The policy's threshold, with the exact counts there and its gap.

        The policy chooses among all distances that occur; the threshold is the middle between the
        chosen one and the next (:class:`siamese.verification.curves.Choice`).

        Raises:
            CalibrationError: the pairs cannot support the policy.
        """

    @abstractmethod
    def count_verdicts(self, threshold: float) -> Confusion:
        """Exact counts at any threshold.

        Raises:
            CalibrationError: a threshold that is not a number.
        """

    @abstractmethod
    def eer(self) -> float:
        """The equal error rate; errors as :func:`siamese.verification.curves.eer`."""

    @property
    @abstractmethod
    def every_pair(self) -> bool:
        """Whether these are all pairs of the images, each once."""

    @abstractmethod
    def accepted(self, threshold: float, visit: Callable[[np.ndarray, np.ndarray], None]) -> None:
        """Show every pair with distance <= threshold once, in blocks; no block is kept.

        Args:
            threshold: any number; infinite for all pairs.
            visit: gets two (n,) arrays of rows, numbered as the images were given, the pair's two
                sides in either order; it is never called twice at once.

        Raises:
            CalibrationError: a threshold that is not a number.
        """

    # --- identities drawn again (see siamese.verification.bootstrap) ---

    def expect_draws(self) -> None:  # noqa: B027  there is nothing to do for most
        """Say, before anything is asked, that identities will be drawn: it may save a pass."""

    @abstractmethod
    def bootstrap_curve(self) -> ThresholdCurve:
        """The curve whose thresholds a bootstrap uses; its counts must be exact there."""

    def in_tables(self, numbers: np.ndarray) -> np.ndarray:
        """(identities,) numbers in the order in which :meth:`by_identity` has the identities."""
        return numbers

    @abstractmethod
    def by_identity(self, thresholds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """How many pairs of each identity lie between one threshold and the next.

        Args:
            thresholds: (k,) ascending.

        Returns:
            (identities, k + 1) integers, the last column beyond all thresholds: genuine pairs of
            each identity; impostor pairs that each identity takes part in.
        """

    @abstractmethod
    def by_two_identities(self, thresholds: np.ndarray) -> np.ndarray:
        """How many impostor pairs of each two identities lie between one threshold and the next.

        Args:
            thresholds: (k,) ascending.

        Returns:
            (identities, identities, k + 1) int64, the smaller number first, the last column beyond
            all thresholds.
        """

    def count_draws(
        self, thresholds: np.ndarray, times: np.ndarray, own: np.ndarray, others: np.ndarray
    ) -> tuple[np.ndarray, ...]:
        """Weighted genuine and impostor pairs up to each threshold, in each draw of identities.

        Args:
            thresholds: (k,) ascending.
            times: (r, identities) how often each identity is drawn.
            own, others: from :meth:`by_identity` at these thresholds.

        Returns:
            (r, k + 1) and (r, k + 1) float64; the last column counts all pairs.
        """
        genuine = np.cumsum(_weigh(times, own), axis=1)
        if len(own) <= _FEW:
            both = self.by_two_identities(thresholds).astype(np.float64)
            m = times.astype(np.float64)
            parts = (m[:, [i]] * (m @ both[i]) for i in range(len(own)))
            return genuine, np.cumsum(sum(parts, np.zeros((1, 1))), axis=1)
        impostor = np.cumsum(_weigh(times, others), axis=1) - np.cumsum(others.sum(axis=0)) / 2
        return genuine, np.maximum.accumulate(np.maximum(impostor, 0), axis=1)

    @abstractmethod
    def independent_trials(self) -> np.ndarray:
        """Numbers of identities with genuine pairs and of two identities with impostor pairs.

        (2,) int64.
        """

    @abstractmethod
    def largest_share(self) -> float:
        """The largest part of the genuine pairs that one identity has, 0..1."""

    # --- pairs for people and for losses ---

    @abstractmethod
    def pairs_to_show(self, count: int, seed: int = 0) -> PairSample:
        """Pairs for people to look at, the worst mistakes among them.

        Args:
            count: at least so many of each kind, if there are so many.
            seed: of those that are drawn at random.
        """


def _weigh(times: np.ndarray, table: np.ndarray) -> np.ndarray:
    """(r, k) float64 of (r, identities) draws and (identities, k) counts, exactly, in blocks.

    float32 has every whole number up to 2^24. A sum of whole numbers >= 0 that ends below has never
    been above, in whatever order it was added, so it was never rounded. The columns of a block in
    which a sum may have been are weighted again in float64.
    """
    found = np.zeros((len(times), table.shape[1]))
    filled = np.flatnonzero(table.any(axis=1))  # of many identities there is but one image
    for b in range(0, len(filled), _BLOCK):
        every = len(filled) == len(table)  # then nothing need be copied
        which = slice(b, b + _BLOCK) if every else filled[b : b + _BLOCK]
        part, counts = times[:, which], table[which]
        sums = part.astype(np.float32, copy=False) @ counts.astype(np.float32)
        rounded = sums.max(axis=0) >= _WHOLE
        if rounded.any():
            sums = sums.astype(np.float64)
            sums[:, rounded] = part.astype(np.float64) @ counts[:, rounded].astype(np.float64)
        found += sums
    return found
