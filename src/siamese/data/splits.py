"""Identity-disjoint train / calibration / test splits, and the manifest that proves what was in each."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from siamese.errors import ImageError, SplitError
from siamese.faces.crops import hash_files
from siamese.identities import IdentityTable
from siamese.storage import write_json

SPLITS = ("train", "calibration", "test")
VERSION = 1


def identity_disjoint(table: IdentityTable, shares: Sequence[float] = (0.6, 0.2, 0.2), seed: int = 0) -> dict[str, np.ndarray]:
    """Deal people, not pictures, to train, calibration and test, alike in the numbers of pictures per person.

    People are sorted by their number of pictures, equals in random order; along that list the three splits take turns in
    proportion to their shares, in random order within each turn. So each split gets its part of the people with many, few
    and single pictures, and no person is favoured by rank.

    Args:
        table: who is on which picture.
        shares: of the people, for train, calibration and test: three numbers > 0, fractions or numbers of people.
        seed: the same seed and people give the same split, whatever the files are called.

    Returns:
        split name -> (n,) int64 ascending row numbers of ``table``.

    Raises:
        SplitError: too few people, or a split without two pictures of one person or without a second person.
    """
    if len(shares) != len(SPLITS) or any(not s > 0 for s in shares):
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
    people = np.array(table.people)[rng.permutation(len(table.people))]
    # Most pictures first, so that those who can form genuine pairs are dealt evenly, whatever comes after them.
    people = people[np.argsort([-table.counts[p] for p in people], kind="stable")]
    owner = dict(zip(people.tolist(), _turns(len(people), shares, rng), strict=True))
    rows: dict[str, list[int]] = {split: [] for split in SPLITS}
    for row, person in enumerate(table.identities):
        rows[owner[person]].append(row)
    for split in SPLITS:
        counts = Counter(table.identities[r] for r in rows[split])
        if len(counts) < 2 or max(counts.values()) < 2:
            raise SplitError(
                f"the {split} split of {table.name} got {len(counts)} people, {sum(n > 1 for n in counts.values())} of them with "
                f"two pictures or more; it needs two people and a pair of the same person: add data or change data.shares"
            )
    return {split: np.array(r, dtype=np.int64) for split, r in rows.items()}


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
    period = max(1, round(1 / share.min()))
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
        quarantine: file -> reason, for pictures that cannot be read (they stay in their split and are never used).
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
        quarantine = {table.files[r]: h.reason for r, h in enumerate(hashes) if isinstance(h, ImageError)}
        return cls(table.name, str(table.root), protocol, seed, [float(s) for s in shares], splits, quarantine)

    def check(self) -> None:
        """Assert the law: no identity and no file is in two splits.

        Raises:
            SplitError: names the person or file and its two splits.
        """
        for key in ("identity", "file"):
            seen: dict[str, str] = {}
            for split, entries in self.splits.items():
                for value in {e[key] for e in entries}:
                    if seen.setdefault(value, split) != split:
                        raise SplitError(
                            f"{key} {value!r} is in both {seen[value]} and {split}: the manifest was altered; make a new split"
                        )

    def table(self, split: str) -> IdentityTable:
        """The pictures of one split, without those in quarantine."""
        entries = [e for e in self.splits[split] if e["file"] not in self.quarantine]
        return IdentityTable(
            Path(self.root), tuple(e["file"] for e in entries), tuple(e["identity"] for e in entries), self.dataset
        )

    def hashes(self, split: str) -> list[str]:
        """SHA-256 of each row of ``table(split)``."""
        return [e["sha256"] for e in self.splits[split] if e["file"] not in self.quarantine]

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
                        f"{table.root / file}: {what}; restore it, give its new folder as root, or make a new split"
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
            manifest = cls(**content)
        except FileNotFoundError as error:
            raise SplitError(f"{path}: no such manifest; it is called split.json in a run's folder") from error
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise SplitError(f"{path}: not a split manifest ({error}); give the split.json of a run") from error
        if root is not None:
            manifest.root = str(Path(root).expanduser().absolute())
        return manifest
