"""Identity-disjoint train / calibration / test splits, and the manifest that proves what was in each."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from siamese.errors import ImageError, SplitError
from siamese.faces.crops import hash_files
from siamese.identities import IdentityTable, normalise_identity
from siamese.storage import write_json

SPLITS = ("train", "calibration", "test")
VERSION = 1
_ENTRY = {"file", "identity", "sha256"}


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
        f"or more; it needs two people and a pair of the same person: add data or change data.shares"
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


@dataclass
class SplitManifest:
    """Which files of which people are in which split, with the hash of each file: a run's proof of what it has seen.

    Attributes:
        dataset: name of the data set.
        root: folder that the files are relative to.
        protocol, seed, shares: how the split was made.
        splits: split -> list of ``{"file", "identity", "sha256"}``, sorted by file; sha256 is None for an unreadable file.
        quarantine: file -> reason, for pictures that could not be read (they stay in their split and are never used).
    """

    dataset: str
    root: str
    protocol: str
    seed: int
    shares: list[float]
    splits: dict[str, list[dict[str, Any]]]
    quarantine: dict[str, str] = field(default_factory=dict)
    version: int = VERSION

    def __post_init__(self) -> None:
        self.check()

    @classmethod
    def make(
        cls,
        table: IdentityTable,
        rows: Mapping[str, np.ndarray],
        *,
        protocol: str = "identity_disjoint",
        seed: int = 0,
        shares: Sequence[float] = (),
    ) -> SplitManifest:
        """Write down a split of ``table``, hashing every file."""
        hashes = hash_files(table.paths)
        splits = {
            split: [
                {
                    "file": table.files[r],
                    "identity": table.identities[r],
                    "sha256": None if isinstance(h := hashes[r], ImageError) else h,
                }
                for r in rows[split]
            ]
            for split in rows
        }
        return cls(table.name, str(table.root), protocol, seed, [float(s) for s in shares], splits)

    def check(self) -> None:
        """Assert the form, and the law: no identity and no file is in two splits.

        Raises:
            SplitError: names what is of a wrong type, or the person or file and its two splits.
        """
        for name, kind in (("dataset", str), ("root", str), ("seed", int), ("splits", dict), ("quarantine", dict)):
            if not isinstance(getattr(self, name), kind):
                raise SplitError(f"the manifest's {name} is not a {kind.__name__}: it was altered; make a new split")
        for split, entries in self.splits.items():
            if not isinstance(entries, list) or not all(isinstance(e, dict) and set(e) >= _ENTRY for e in entries):
                raise SplitError(
                    f"the manifest's split {split!r} is no list of file, identity and sha256: it was altered; make a new split"
                )
            for e in entries:
                if not (
                    isinstance(e["file"], str) and isinstance(e["identity"], str) and isinstance(e["sha256"], (str, type(None)))
                ):
                    raise SplitError(
                        f"the manifest's split {split!r} has an entry of a wrong type: it was altered; make a new split"
                    )
        for key in ("identity", "file"):
            seen: dict[str, str] = {}
            for split, entries in self.splits.items():
                for value in {normalise_identity(e[key]) if key == "identity" else e[key] for e in entries}:
                    if seen.setdefault(value, split) != split:
                        raise SplitError(
                            f"{key} {value!r} is in both {seen[value]} and {split}: the manifest was altered; make a new split"
                        )

    def usable(self, split: str) -> list[dict[str, Any]]:
        """The entries of a split that are not in quarantine."""
        return [e for e in self.splits[split] if e["file"] not in self.quarantine]

    def table(self, split: str) -> IdentityTable:
        """The pictures of one split, without those in quarantine."""
        entries = self.usable(split)
        return IdentityTable(
            Path(self.root), tuple(e["file"] for e in entries), tuple(e["identity"] for e in entries), self.dataset
        )

    def hashes(self, split: str) -> list[str]:
        """SHA-256 of each row of ``table(split)``."""
        return [e["sha256"] for e in self.usable(split)]

    def verify_files(self) -> None:
        """Assert that every file is still there with the content it had.

        Raises:
            SplitError: a file is gone or was changed.
        """
        for split in self.splits:
            table = self.table(split)
            for file, was, now in zip(table.files, self.hashes(split), hash_files(table.paths), strict=True):
                if now != was:
                    what = (
                        f"cannot be read ({now.reason})"
                        if isinstance(now, ImageError)
                        else "has changed since the split was made"
                    )
                    raise SplitError(
                        f"{table.root / file}: {what}; restore it, give its new folder (siamese evaluate: --root DIR), or make a new split"
                    )

    def shared_pictures(self) -> list[tuple[str, str]]:
        """Pairs of files in different splits with the very same content (LFW has some, under two people's names)."""
        first: dict[str, tuple[str, str]] = {}
        twins = []
        for split, entries in self.splits.items():
            for e in entries:
                if e["sha256"] is None:
                    continue
                other_split, other_file = first.setdefault(e["sha256"], (split, e["file"]))
                if other_split != split:
                    twins.append((other_file, e["file"]))
        return twins

    def save(self, path: str | Path) -> Path:
        """Write the manifest as JSON; it appears whole or not at all."""
        return write_json(path, asdict(self))

    @classmethod
    def load(cls, path: str | Path, root: str | Path | None = None) -> SplitManifest:
        """Read a manifest and re-assert it.

        Args:
            path: a file that :meth:`save` wrote.
            root: where the data lie now, if they moved.

        Raises:
            SplitError: missing, not a manifest, of a newer version, or in breach of the law.
        """
        try:
            content = json.loads(Path(path).read_text(encoding="utf-8"))
            if content["version"] > VERSION:
                raise SplitError(f"{path}: written by a newer siamese (manifest version {content['version']}); upgrade siamese")
            try:
                manifest = cls(**content)
            except SplitError as error:
                raise SplitError(f"{path}: {error}") from error
        except FileNotFoundError as error:
            raise SplitError(f"{path}: no such manifest; it is called split.json in a run's folder") from error
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise SplitError(f"{path}: not a split manifest ({error}); give the split.json of a run") from error
        if root is not None:
            manifest.root = str(Path(root).expanduser().absolute())
        return manifest
