"""Split protocols: which pictures are trained on, which the threshold is chosen on, and which both are tested on."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from siamese.errors import SplitError
from siamese.identities import IdentityTable
from siamese.pairs import BalancedPairs
from siamese.registry import Registry

SPLITS = ("train", "calibration", "test")
ALL_SPLITS = ("train", "calibration", "validation", "test")


@dataclass(frozen=True)
class Split:
    """What a split protocol decided.

    Attributes:
        rows: split name -> (n,) int64 ascending row numbers of the table.
        pairs: split name -> (2, m) int64 positions in ``rows[name]``, left above right, where the protocol itself chooses pairs.
    """

    rows: dict[str, np.ndarray]
    pairs: dict[str, np.ndarray] = field(default_factory=dict)


class SplitProtocol:
    """Base of the rules that split a table: value objects, a pure function of the table and the seed.

    The splits are called train, calibration, validation and test. The threshold is chosen on calibration, or, where a protocol
    makes none, on validation.
    """

    def __call__(self, table: IdentityTable, seed: int = 0) -> Split:
        """Split a table.

        Raises:
            SplitError: the table cannot be split so.
        """
        raise NotImplementedError


SPLIT_PROTOCOLS: Registry[SplitProtocol] = Registry("split protocol")

# Which two splits may show the same person, by protocol; any other pair of splits never does.
MAY_SHARE: dict[str, frozenset[frozenset[str]]] = {
    "identity_disjoint": frozenset(),
    "held_out_people": frozenset({frozenset({"train", "validation"}), frozenset({"calibration", "validation"})}),
    "image_disjoint": frozenset(frozenset(two) for two in itertools.combinations(ALL_SPLITS, 2)),
}


@SPLIT_PROTOCOLS.register("identity_disjoint")
@dataclass(frozen=True)
class IdentityDisjoint(SplitProtocol):
    """Nobody is in two splits, see :func:`identity_disjoint`.

    Args:
        shares: of the people, for train, calibration and test: three numbers > 0 in proportion.
    """

    shares: Sequence[float] = (0.6, 0.2, 0.2)

    def __call__(self, table: IdentityTable, seed: int = 0) -> Split:
        return Split(identity_disjoint(table, self.shares, seed))


@SPLIT_PROTOCOLS.register("held_out_people")
@dataclass(frozen=True)
class HeldOutPeople(SplitProtocol):
    """Some people are held out for test; the pictures of the others are divided into train and validation.

    So validation shows people who are trained on, in other pictures: its figures say nothing about strangers. The protocol of
    face-similarity-pytorch (2019), which chose its threshold there. With ``calibration`` > 0 some people are taken out of train
    altogether, and the threshold is chosen on them; test and validation stay as they were.

    Args:
        test: share of the people held out, in (0, 1).
        validation: share of the other people's pictures, in (0, 1).
        calibration: share of the other people whose remaining pictures go to calibration instead of train, in [0, 1).
    """

    test: float = 0.1
    validation: float = 0.2
    calibration: float = 0.0

    def __post_init__(self) -> None:
        if not (0 < self.test < 1 and 0 < self.validation < 1 and 0 <= self.calibration < 1):
            raise SplitError(
                f"held_out_people needs shares test and validation in (0, 1) and calibration in [0, 1), not {self.test}, "
                f"{self.validation} and {self.calibration}: change data.split"
            )

    def __call__(self, table: IdentityTable, seed: int = 0) -> Split:
        rng = np.random.default_rng([seed, 11])
        people, labels = len(table.people), table.labels
        # As with cards: where few people have several pictures, a deal may leave a split without a genuine pair.
        for _ in range(1000):
            order = rng.permutation(people)
            n_test = max(1, round(self.test * people))
            tested = np.isin(labels, order[:n_test])
            others = rng.permutation(np.flatnonzero(~tested))
            validated = np.zeros(len(labels), dtype=bool)
            validated[others[: round(self.validation * len(others))]] = True
            masks = {"train": ~tested & ~validated, "validation": validated, "test": tested}
            poor = _poor(table, masks)
            if not poor:
                masks = self._calibrated(table, masks, order[n_test:], seed)
                return Split({name: np.flatnonzero(masks[name]) for name in ALL_SPLITS if name in masks})
        raise _refusal(table, poor[0])

    def _calibrated(
        self, table: IdentityTable, masks: dict[str, np.ndarray], others: np.ndarray, seed: int
    ) -> dict[str, np.ndarray]:
        """Some people's pictures moved from train to calibration; whoever they are, validation and test stay."""
        if not self.calibration:
            return masks
        rng, number = np.random.default_rng([seed, 13]), round(self.calibration * len(others))
        for _ in range(1000):
            moved = np.isin(table.labels, others[:number]) & masks["train"]
            dealt = masks | {"train": masks["train"] & ~moved, "calibration": moved}
            poor = _poor(table, dealt)
            if not poor:
                return dealt
            others = rng.permutation(others)
        raise _refusal(table, poor[0])


def _poor(table: IdentityTable, masks: dict[str, np.ndarray]) -> list[str]:
    """The splits without a genuine or without an impostor pair."""
    return [name for name, mask in masks.items() if not _has_both_kinds([table.identities[i] for i in np.flatnonzero(mask)])]


def _refusal(table: IdentityTable, poor: str) -> SplitError:
    return SplitError(
        f"the {poor} split of {table.name} ({len(table.people)} people, {len(table)} pictures) has no two people and no pair of "
        f"the same person: add data, or change data.split.{'test' if poor == 'train' else poor}"
    )


@SPLIT_PROTOCOLS.register("image_disjoint")
@dataclass(frozen=True)
class ImageDisjoint(SplitProtocol):
    """Pairs are picked, and no picture is in the pairs of two splits; people may be, so the figures are not those of strangers.

    Validation is picked first, then test, then calibration, then train from all that is left, each half genuine and half
    impostor, people drawn first and then their pictures, no pair twice: picked early, a split is hardly skewed towards the few
    people with many pictures. The protocol of face-comparer (2016), but that it picks test last, has no
    calibration split, and judges by a fixed threshold.
    Train keeps all pictures that are left, whether or not they are in its pairs.

    Args:
        train, validation, test: numbers of pairs, even, >= 2.
        calibration: likewise, or 0: then the threshold is chosen on validation.
    """

    train: int = 40_000
    validation: int = 256
    test: int = 256
    calibration: int = 0

    def __post_init__(self) -> None:
        for name in ALL_SPLITS:
            number = getattr(self, name)
            if not isinstance(number, int) or number % 2 or number < (0 if name == "calibration" else 2):
                raise SplitError(
                    f"image_disjoint needs even numbers of pairs of at least 2, not {name}={number}: change data.split.{name}"
                )

    def __call__(self, table: IdentityTable, seed: int = 0) -> Split:
        left = np.arange(len(table))
        rows: dict[str, np.ndarray] = {}
        pairs: dict[str, np.ndarray] = {}
        for turn, name in enumerate(("validation", "test", "calibration", "train")):
            wanted = getattr(self, name)
            if not wanted:
                continue
            own_seed = int(np.random.SeedSequence([seed, 12, turn]).generate_state(1)[0])
            drawn = BalancedPairs(wanted // 2, own_seed)(table.labels[left])
            if len(drawn) < wanted:
                before = ", ".join(f"data.split.{n}" for n in rows) or f"data.split.{name}"
                enough = name == "train" and len(drawn) >= 2
                remedy = f"set data.split.train={len(drawn)}" if enough else f"lower {before}"
                raise SplitError(
                    f"{table.name} has {len(drawn):,} different balanced pairs left for {name}, not {wanted:,}: add pictures or {remedy}"
                )
            both = np.stack([drawn.left, drawn.right])
            used = np.arange(len(left)) if name == "train" else np.unique(both)
            rows[name], pairs[name] = left[used], np.searchsorted(used, both)
            left = np.delete(left, used)
        return Split({n: rows[n] for n in ALL_SPLITS if n in rows}, {n: pairs[n] for n in ALL_SPLITS if n in pairs})


def identity_disjoint(table: IdentityTable, shares: Sequence[float] = (0.6, 0.2, 0.2), seed: int = 0) -> dict[str, np.ndarray]:
    """Deal people, not pictures, to train, calibration and test, alike in the numbers of pictures per person.

    People are sorted by their number of pictures, equals in random order; along that list the three splits take turns in
    proportion to their shares, in random order within each turn. So each split gets its part of the people with many, few
    and single pictures, and no person is favoured by rank.

    Args:
        table: who is on which picture.
        shares: of the people, for train, calibration and test: three numbers > 0 in proportion, (0.6, 0.2, 0.2) or (24, 8, 8).
        seed: the same seed and people give the same split, whatever the files are called.

    Returns:
        split name -> (n,) int64 ascending row numbers of ``table``.

    Raises:
        SplitError: too few people, or a split without two pictures of one person or without a second person.
    """
    if len(shares) != len(SPLITS) or any(not 0 < s < math.inf for s in shares):
        raise SplitError(f"shares must be three numbers above 0 (train, calibration, test), not {tuple(shares)}")
    several = sum(n > 1 for n in table.counts.values())
    if len(table.people) < 2 * len(SPLITS):
        raise SplitError(
            f"{table.name} has {len(table.people)} {'person' if len(table.people) == 1 else 'people'}; a split into train, "
            f"calibration and test needs at least 6 people, two in each: add people"
        )
    if several < len(SPLITS):
        raise SplitError(
            f"{table.name} has {several} people with two pictures or more; a split needs at least 3, one in each of train, "
            f"calibration and test, to form pairs of the same person: add pictures"
        )
    rng = np.random.default_rng(seed)
    numbers = _numbers(len(table.people), shares)
    # Where few people have several pictures, a deal may leave a split without any: then the cards are dealt again.
    for _ in range(1000):
        rows = _deal(table, numbers, rng)
        poor = [split for split in SPLITS if not _has_both_kinds([table.identities[r] for r in rows[split]])]
        if not poor:
            return {split: np.array(r, dtype=np.int64) for split, r in rows.items()}
    got = Counter(table.identities[r] for r in rows[poor[0]])
    raise SplitError(
        f"the {poor[0]} split of {table.name} got {len(got)} people, {sum(n > 1 for n in got.values())} of them with two pictures "
        f"or more; it needs two people and a pair of the same person: add data or change data.split.shares"
    )


def _numbers(people: int, shares: Sequence[float]) -> list[int]:
    """People per split: the shares by largest remainder, then two each for those that would get one: alone nobody forms an impostor pair."""
    exact = [people * s / sum(shares) for s in shares]
    numbers = [int(x) for x in exact]
    for i in sorted(range(len(exact)), key=lambda i: numbers[i] - exact[i])[: people - sum(numbers)]:
        numbers[i] += 1
    for i, number in enumerate(exact):
        if number >= 1 and numbers[i] < 2 and max(numbers) > 2:
            numbers[numbers.index(max(numbers))] -= 1
            numbers[i] += 1
    return numbers


def _deal(table: IdentityTable, numbers: Sequence[int], rng: np.random.Generator) -> dict[str, list[int]]:
    people = np.array(table.people)[rng.permutation(len(table.people))]
    # Most pictures first, so that those who can form genuine pairs are dealt evenly, whatever comes after them.
    people = people[np.argsort([-table.counts[p] for p in people], kind="stable")]
    owner = dict(zip(people.tolist(), _turns(len(people), numbers, rng), strict=True))
    rows: dict[str, list[int]] = {split: [] for split in SPLITS}
    for row, person in enumerate(table.identities):
        rows[owner[person]].append(row)
    return rows


def _has_both_kinds(identities: Sequence[str]) -> bool:
    counts = Counter(identities)
    return len(counts) > 1 and max(counts.values()) > 1


def _turns(n: int, shares: Sequence[float], rng: np.random.Generator) -> list[str]:
    """Whose turn it is, n times: whole turns keep the exact shares, the order within a turn is random."""
    share = np.array(shares, dtype=float) / sum(shares)
    dealt = np.zeros(len(SPLITS))
    order = []
    for i in range(n):
        behind = share * (i + 1) - dealt
        turn = int(np.argmax(behind.round(9)))
        dealt[turn] += 1
        order.append(turn)
    period = max(1, round(1 / share[share > 0].min()))
    for start in range(0, n, period):
        rng.shuffle(view := np.array(order[start : start + period]))
        order[start : start + period] = view.tolist()
    return [SPLITS[turn] for turn in order]
