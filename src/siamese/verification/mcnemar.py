"""McNemar's exact test: which of two sets of verdicts on the same pairs is right more often."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from siamese.verification.held import HeldDistances
from siamese.verification.pair_distances import PairDistances


@dataclass(frozen=True)
class McNemar:
    """Verdicts of A and of B on the same independent pairs.

    Where both are right equally often, each pair that one alone has right is as likely A's as B's
    (McNemar, *Note on the sampling error of the difference between correlated proportions or
    percentages*, Psychometrika 1947). The test is exact, by the binomial distribution, without an
    approximation for many pairs.

    Attributes:
        both, only_a, only_b, neither: numbers of pairs, by who has them right.
    """

    both: int
    only_a: int
    only_b: int
    neither: int

    @classmethod
    def of(cls, right_a: np.ndarray, right_b: np.ndarray) -> McNemar:
        """Of (n,) bool each: which verdicts are right."""
        a, b = np.asarray(right_a, dtype=bool), np.asarray(right_b, dtype=bool)
        counts = (a & b, a & ~b, ~a & b, ~a & ~b)
        return cls(*(int(np.count_nonzero(which)) for which in counts))

    @property
    def p(self) -> float:
        """How likely so large a difference, or a larger one, is by chance: two-sided, 0..1.

        1 where no pair is right for one alone.
        """
        n, fewer = self.only_a + self.only_b, min(self.only_a, self.only_b)
        total, term = 1, 1  # whole numbers: binomial coefficients of n, summed up to ``fewer``
        for k in range(fewer):
            term = term * (n - k) // (k + 1)
            total += term
        share: float = 2 * total / 2**n
        return min(1.0, share)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        counts = {"both": self.both, "only_a": self.only_a, "only_b": self.only_b}
        return counts | {"neither": self.neither, "p": self.p}

    def __str__(self) -> str:
        p = f"{self.p:.3f}" if self.p >= 1e-3 else f"{self.p:.1e}"
        return (
            f"only A has {self.only_a:,} pairs right, only B {self.only_b:,} (McNemar's exact "
            f"test: p = {p})"
        )


def pairs_that_share(distances: PairDistances) -> int:
    """How many pairs have an identity that another pair has, too; 0 where pairs are independent."""
    if not isinstance(distances, HeldDistances):  # all pairs of many images
        return distances.genuine + distances.impostor
    pairs = distances.pairs
    left, right = distances.labels[pairs.left], distances.labels[pairs.right]
    who = np.concatenate([left, right[~pairs.same]])  # those of a genuine pair are one
    met, counts = np.unique(who, return_counts=True)
    several = met[counts > 1]
    return int(np.count_nonzero(np.isin(left, several) | np.isin(right, several)))
