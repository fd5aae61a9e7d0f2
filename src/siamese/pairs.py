"""Which pairs are compared: two row numbers of one embedding matrix and whether they show the same person."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from siamese.errors import CalibrationError, ConfigError
from siamese.registry import Registry

# What an operating point calls pairs that no rule can draw again.
FIXED = "fixed_pairs"
# Beyond this, all pairs take gigabytes and their intervals minutes.
MAX_PAIRS = 5_000_000


@dataclass(frozen=True)
class Pairs:
    """n pairs of rows.

    Attributes:
        left, right: (n,) int64 row numbers.
        same: (n,) bool, True for a genuine pair (same person).

    Raises:
        CalibrationError: arrays of different lengths or not one-dimensional.
    """

    left: np.ndarray
    right: np.ndarray
    same: np.ndarray

    def __post_init__(self) -> None:
        shapes = {np.shape(self.left), np.shape(self.right), np.shape(self.same)}
        if len(shapes) != 1 or len(shapes.pop()) != 1:
            raise CalibrationError("left, right and same must be one-dimensional and equally long; give one entry per pair")

    def __len__(self) -> int:
        return len(self.left)

    @property
    def genuine(self) -> int:
        """Number of pairs of the same person."""
        return int(np.count_nonzero(self.same))

    @property
    def impostor(self) -> int:
        """Number of pairs of different people."""
        return len(self) - self.genuine


class PairProtocol:
    """Base of the rules that choose pairs; a pure function of the labels, so that it can be repeated anywhere."""

    def __call__(self, labels: np.ndarray) -> Pairs:
        """Choose pairs.

        Args:
            labels: (N,) integers, one number per person.
        """
        raise NotImplementedError

    def describe(self) -> dict[str, Any]:
        """Name and settings, as they stand in an operating point."""
        return PROTOCOLS.settings(self)


PROTOCOLS: Registry[PairProtocol] = Registry("pair protocol")


def as_protocol(pairs: str | PairProtocol) -> PairProtocol:
    """A pair protocol from itself or its name.

    Raises:
        ConfigError: an unknown name.
    """
    return pairs if isinstance(pairs, PairProtocol) else PROTOCOLS.build(pairs)


@PROTOCOLS.register("all_pairs")
@dataclass(frozen=True)
class AllPairs(PairProtocol):
    """Every pair i < j once: the prevalence is that of the data, usually a few per cent or less."""

    def __call__(self, labels: np.ndarray) -> Pairs:
        n = len(labels)
        if n * (n - 1) // 2 > MAX_PAIRS:
            raise CalibrationError(
                f"all pairs of {n:,} pictures are {n * (n - 1) // 2:,}, more than {MAX_PAIRS:,}: use balanced_pairs"
            )
        left, right = np.triu_indices(n, 1)
        return Pairs(left, right, np.asarray(labels)[left] == np.asarray(labels)[right])


def pair_counts(protocol: PairProtocol, labels: np.ndarray) -> tuple[int, int]:
    """Numbers of genuine and impostor pairs that a protocol chooses, however many all pairs are."""
    if isinstance(protocol, AllPairs):
        sizes = np.unique(labels, return_counts=True)[1].astype(object)  # Python integers
        genuine = int((sizes * (sizes - 1) // 2).sum())
        return genuine, len(labels) * (len(labels) - 1) // 2 - genuine
    pairs = protocol(labels)
    return pairs.genuine, pairs.impostor


@PROTOCOLS.register("ordered_pairs")
@dataclass(frozen=True)
class OrderedPairs(PairProtocol):
    """Every ordered genuine pair (a, b), and for each a random impostor (a, c): prevalence one half.

    Both (a, b) and (b, a) occur, each with an impostor of its own first picture; somebody with n pictures is in n (n - 1)
    genuine pairs, so that who has many decides. Impostors are drawn from all other pictures alike and may repeat. The rule of
    face-similarity-pytorch (2019).

    Args:
        limit: largest number of genuine pairs, >= 1; if there are more, a random part of them.
        seed: the same seed and labels give the same pairs.
    """

    limit: int = 6_000
    seed: int = 0

    def __post_init__(self) -> None:
        if self.limit < 1 or self.seed < 0:
            raise ConfigError(f"ordered_pairs needs limit >= 1 and seed >= 0, not {self.limit} and {self.seed}")

    def __call__(self, labels: np.ndarray) -> Pairs:
        rng = np.random.default_rng([self.seed, 5])
        grouped = Grouped(labels)
        total = grouped.ordered_genuine
        if len(grouped.sizes) < 2 or not total:  # no impostor for anybody, or no genuine pair: the caller says what is missing
            none = np.zeros(0, dtype=np.int64)
            return Pairs(none, none, none.astype(bool))
        if total <= self.limit:
            chosen = np.arange(total)
        elif total <= MAX_PAIRS:
            chosen = np.sort(rng.permutation(total)[: self.limit])
        else:
            chosen = np.sort(rng.choice(total, self.limit, replace=False, shuffle=False))
        first, second = grouped.genuine(chosen)
        impostor = grouped.impostors(first, rng)
        left, right = np.concatenate([first, first]), np.concatenate([second, impostor])
        return Pairs(left, right, np.arange(len(left)) < len(first))


class FixedPairs(PairProtocol):
    """Pairs that were chosen beforehand, as a split protocol or a data set's authors do.

    Args:
        left, right: (n,) int64 row numbers.
        source: where they come from, for the operating point ("image_disjoint").
    """

    def __init__(self, left: np.ndarray, right: np.ndarray, source: str) -> None:
        self.left, self.right, self.source = np.asarray(left, dtype=np.int64), np.asarray(right, dtype=np.int64), source

    def __call__(self, labels: np.ndarray) -> Pairs:
        labels = np.asarray(labels)
        rows = np.concatenate([self.left, self.right])
        if len(rows) and not 0 <= rows.min() <= rows.max() < len(labels):
            raise CalibrationError(
                f"the pairs of {self.source} name row {rows.max()}, but there are {len(labels)} pictures: "
                f"they belong to another table"
            )
        return Pairs(self.left, self.right, labels[self.left] == labels[self.right])

    def describe(self) -> dict[str, Any]:
        """``{"name": "fixed_pairs", "source": ...}``: enough to say which, not to draw them again."""
        return {"name": FIXED, "source": self.source}


class Grouped:
    """Rows grouped by person, with the ordered genuine pairs numbered 0, 1, ... without being written out.

    Args:
        labels: (N,) integers, one number per person.
    """

    def __init__(self, labels: np.ndarray) -> None:
        labels = np.asarray(labels)
        self.order = np.argsort(labels, kind="stable")
        self.starts = np.flatnonzero(np.diff(labels[self.order], prepend=-1 if not len(labels) else labels[self.order[0]] - 1))
        self.sizes = np.diff(np.append(self.starts, len(labels)))
        self.ends = np.cumsum(self.sizes * (self.sizes - 1))  # of each person's ordered genuine pairs
        self.position = np.empty(len(labels), dtype=np.int64)
        self.position[self.order] = np.arange(len(labels))

    @property
    def ordered_genuine(self) -> int:
        """Number of ordered genuine pairs."""
        return int(self.ends[-1]) if len(self.ends) else 0

    def genuine(self, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The two rows of each ordered genuine pair, by number."""
        person = np.searchsorted(self.ends, numbers, side="right")
        size, start = self.sizes[person], self.starts[person]
        first, second = np.divmod(numbers - (self.ends[person] - size * (size - 1)), np.maximum(size - 1, 1))
        second = second + (second >= first)  # skips the pair of a picture with itself
        return self.order[start + first], self.order[start + second]

    def impostors(self, rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """For each row a random row of another person, all alike."""
        person = np.searchsorted(self.starts, self.position[rows], side="right") - 1
        drawn = rng.integers(0, len(self.order) - self.sizes[person])
        others: np.ndarray = self.order[drawn + np.where(drawn >= self.starts[person], self.sizes[person], 0)]
        return others


@PROTOCOLS.register("balanced_pairs")
@dataclass(frozen=True)
class BalancedPairs(PairProtocol):
    """As many impostor pairs as genuine ones: prevalence one half.

    All genuine pairs, if they are at most ``limit``; otherwise ``limit`` different ones, people drawn first and then their
    pictures, so that whoever has 500 photographs does not decide alone. Impostor pairs likewise: two people, then a picture
    of each. No pair occurs twice, order ignored. Where there are fewer impostor pairs than genuine ones, all are taken and
    the genuine ones are thinned to as many.

    Args:
        limit: largest number of genuine pairs, >= 1.
        seed: the same seed and labels give the same pairs.
    """

    limit: int = 10_000
    seed: int = 0

    def __post_init__(self) -> None:
        if self.limit < 1 or self.seed < 0:
            raise ConfigError(f"balanced_pairs needs limit >= 1 and seed >= 0, not {self.limit} and {self.seed}")

    def __call__(self, labels: np.ndarray) -> Pairs:
        labels = np.asarray(labels)
        rng = np.random.default_rng([self.seed, 3])
        order = np.argsort(labels, kind="stable")
        bounds = np.flatnonzero(np.diff(labels[order])) + 1
        rows = np.split(order, bounds)
        sizes = np.array([len(r) for r in rows], dtype=np.int64)
        n_genuine = int((sizes * (sizes - 1) // 2).sum())
        n_impostor = int(len(labels) * (len(labels) - 1) // 2) - n_genuine
        target = min(self.limit, n_genuine, n_impostor)
        several = np.flatnonzero(sizes > 1)

        def genuine_draw(k: int) -> np.ndarray:
            person = rng.choice(several, k)
            a = rng.integers(0, sizes[person])
            b = (a + rng.integers(1, sizes[person])) % sizes[person]
            return np.stack([starts[person] + a, starts[person] + b])

        def impostor_draw(k: int) -> np.ndarray:
            one = rng.integers(0, len(rows), k)
            other = (one + rng.integers(1, len(rows), k)) % len(rows)
            return np.stack([starts[p] + rng.integers(0, sizes[p]) for p in (one, other)])

        starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
        genuine = _distinct(genuine_draw, target, n_genuine, lambda: _all_genuine(starts, sizes), rng)
        impostor = _distinct(impostor_draw, target, n_impostor, lambda: _all_impostor(labels[order]), rng)
        left, right = order[np.concatenate([genuine, impostor], axis=1)]
        same = np.arange(2 * target) < target
        return Pairs(np.minimum(left, right), np.maximum(left, right), same)


def _distinct(draw: Any, target: int, available: int, everything: Any, rng: np.random.Generator) -> np.ndarray:
    """(2, target) different pairs: drawn, or, where nearly all that exist are wanted, a random part of the whole list."""
    if target == available or (2 * target > available and available <= MAX_PAIRS):
        whole: np.ndarray = everything()
        return whole if target == available else whole[:, np.sort(rng.permutation(whole.shape[1])[:target])]
    found = np.zeros((2, 0), dtype=np.int64)
    for _ in range(10_000):
        fresh = np.sort(draw(target), axis=0)
        found = np.concatenate([found, fresh], axis=1)
        _, first = np.unique(found[0] << 32 | found[1], return_index=True)
        found = found[:, np.sort(first)]  # in the order of drawing: cutting off the surplus must not favour small rows
        if found.shape[1] >= target:
            return found[:, :target]
    raise CalibrationError(f"could not draw {target:,} different pairs of {available:,}; lower the limit of balanced_pairs")


def _all_genuine(starts: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    parts = [start + np.stack(np.triu_indices(size, 1)) for start, size in zip(starts, sizes, strict=True)]
    return np.concatenate(parts, axis=1) if parts else np.zeros((2, 0), dtype=np.int64)


def _all_impostor(labels: np.ndarray) -> np.ndarray:
    pairs = np.stack(np.triu_indices(len(labels), 1))
    return pairs[:, labels[pairs[0]] != labels[pairs[1]]]
