"""HeldDistances: pairs that are kept in memory with their distances."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from siamese.distances.verdict import is_match
from siamese.pairs.all_pairs import AllPairs
from siamese.pairs.base import Pairs
from siamese.verification.confusion import Confusion, count_verdicts
from siamese.verification.curves import Choice, ThresholdCurve, eer
from siamese.verification.pair_distances import PairDistances, PairSample
from siamese.verification.policies.base import Policy
from siamese.verification.weights import pair_weights

# Up to so many pairs are counted one by one in every draw of identities; more are counted as
# streamed ones are.
COUNTED_SINGLY = 25_000


@dataclass(frozen=True, eq=False)
class HeldDistances(PairDistances):
    """n pairs with their distances; see :class:`PairDistances`.

    Attributes:
        pairs: n pairs of rows.
        distances: (n,) floating point.
        labels: (N,) int64, one number per identity, of the rows that the pairs refer to.
        distance: the distance's registered name.
        pair_rule: how the pairs were chosen.
        draw_keys: see :class:`PairDistances`.
    """

    pairs: Pairs
    distances: np.ndarray
    labels: np.ndarray
    distance: str
    pair_rule: Mapping[str, Any]
    draw_keys: np.ndarray | None = None

    @property
    def genuine(self) -> int:
        return self.pairs.genuine

    @property
    def impostor(self) -> int:
        return self.pairs.impostor

    def curve(self, weights: str | None = None) -> ThresholdCurve:
        """Exact counts at every distance that occurs."""
        if weights is None:
            return self._curve
        same, who = self.pairs.same, np.unique(self.labels, return_inverse=True)[1]
        owner = who[self.pairs.left]
        each = pair_weights(np.bincount(owner[same], minlength=len(who)))
        return ThresholdCurve.of(self.distances, same, each[owner])

    @cached_property
    def _curve(self) -> ThresholdCurve:
        return ThresholdCurve.of(self.distances, self.pairs.same)

    def choose(self, policy: Policy) -> Choice:
        policy.check(self.genuine, self.impostor)
        return self.curve(policy.weights).choose(policy)

    def count_verdicts(self, threshold: float) -> Confusion:
        return count_verdicts(self.distances, self.pairs.same, threshold)

    @property
    def every_pair(self) -> bool:
        n = len(self.labels)
        return self.pair_rule == AllPairs().describe() and len(self.pairs) == n * (n - 1) // 2

    def accepted(self, threshold: float, visit: Callable[[np.ndarray, np.ndarray], None]) -> None:
        match = is_match(self.distances, threshold)
        visit(self.pairs.left[match], self.pairs.right[match])

    def eer(self) -> float:
        return eer(self.curve())

    def bootstrap_curve(self) -> ThresholdCurve:
        return self.curve()

    def by_identity(self, thresholds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """See :meth:`PairDistances.by_identity`; exact at any thresholds."""
        identities, left, right, column = self._place(thresholds)
        columns, same = len(thresholds) + 1, self.pairs.same

        def count(who: np.ndarray, these: np.ndarray) -> np.ndarray:
            keys = who[these] * columns + column[these]
            return np.bincount(keys, minlength=identities * columns).reshape(identities, columns)

        return count(left, same), count(left, ~same) + count(right, ~same)

    def by_two_identities(self, thresholds: np.ndarray) -> np.ndarray:
        """See :meth:`PairDistances.by_two_identities`; exact at any thresholds."""
        identities, left, right, column = self._place(thresholds)
        columns, other = len(thresholds) + 1, ~self.pairs.same
        both = np.minimum(left, right) * identities + np.maximum(left, right)
        found = np.bincount((both * columns + column)[other], minlength=identities**2 * columns)
        return found.reshape(identities, identities, columns)

    def count_draws(
        self, thresholds: np.ndarray, times: np.ndarray, own: np.ndarray, others: np.ndarray
    ) -> tuple[np.ndarray, ...]:
        """See :meth:`PairDistances.count_draws`; few pairs are weighted one by one, exactly."""
        if len(self.distances) > COUNTED_SINGLY:
            return super().count_draws(thresholds, times, own, others)
        _, left, right, column = self._place(thresholds)
        same, columns = self.pairs.same, len(thresholds) + 1
        mine, lefts, rights = left[same], left[~same], right[~same]
        genuine, impostor = (np.empty((len(times), columns)) for _ in range(2))
        for row, m in enumerate(times.astype(np.float64)):
            genuine[row] = np.bincount(column[same], m[mine], minlength=columns)
            impostor[row] = np.bincount(column[~same], m[lefts] * m[rights], minlength=columns)
        return np.cumsum(genuine, axis=1), np.cumsum(impostor, axis=1)

    def independent_trials(self) -> np.ndarray:
        left, right = self.labels[self.pairs.left], self.labels[self.pairs.right]
        same = self.pairs.same
        two = np.stack([np.minimum(left, right)[~same], np.maximum(left, right)[~same]])
        return np.array([len(np.unique(left[same])), np.unique(two, axis=1).shape[1]])

    def largest_share(self) -> float:
        genuine = self.pairs.left[self.pairs.same]
        own = np.unique(self.labels[genuine], return_counts=True)[1]
        return float(own.max(initial=0) / max(1, own.sum()))

    def pairs_to_show(self, count: int, seed: int = 0) -> PairSample:
        return PairSample(self.pairs, self.distances, self.distance)

    def _place(self, thresholds: np.ndarray) -> tuple[int, np.ndarray, np.ndarray, np.ndarray]:
        """Number of identities, the two of each pair, and how many thresholds are below it."""
        identities, number = np.unique(self.labels, return_inverse=True)
        column = np.searchsorted(thresholds, self.distances.astype(np.float64), side="left")
        return len(identities), number[self.pairs.left], number[self.pairs.right], column

    def __repr__(self) -> str:
        return (
            f"HeldDistances({self.distance}, {self.genuine:,} genuine and {self.impostor:,} "
            f"impostor pairs)"
        )
