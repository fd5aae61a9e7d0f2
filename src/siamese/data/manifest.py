"""SplitManifest: which files of which identities are in which split, with their hashes."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePath
from typing import Any

import numpy as np

from siamese.data.split_protocols.base import SPLIT_PROTOCOLS, Split, SplitProtocol
from siamese.datasets.identities import IdentityTable, normalise_identity
from siamese.errors import ImageError, SplitError, first_line
from siamese.faces.hashing import hash_files
from siamese.reading import read_object
from siamese.storage import write_json

VERSION = 2
_ENTRY = {"file", "identity", "sha256"}


@dataclass
class SplitManifest:
    """Which files of which identities are in which split, with the hash of each file.

    It proves what a run has seen.

    Attributes:
        dataset: name of the data set.
        root: folder that the files are relative to.
        protocol, seed, settings: how the split was made: its protocol's name, its seed and its
            other settings.
        splits: split -> list of ``{"file", "identity", "sha256"}``, sorted by file; sha256 is None
            for an unreadable file. Where the data set has groups, ``"groups"`` is column -> value.
        quarantine: file -> reason, for images that could not be read, or are the same as one in an
            earlier split (they stay in their split and are never used).
        pairs: split -> ``{"left": [...], "right": [...]}``, positions in ``splits[split]``, where
            the protocol chooses pairs.
    """

    dataset: str
    root: str
    protocol: str
    seed: int
    settings: dict[str, Any]
    splits: dict[str, list[dict[str, Any]]]
    quarantine: dict[str, str] = field(default_factory=dict)
    pairs: dict[str, dict[str, list[int]]] = field(default_factory=dict)
    version: int = VERSION

    def __post_init__(self) -> None:
        self.check()

    @classmethod
    def make(
        cls,
        table: IdentityTable,
        split: Split | Mapping[str, np.ndarray],
        *,
        protocol: str = "identity_disjoint",
        seed: int = 0,
        settings: Mapping[str, Any] | None = None,
        backend: str | None = None,
    ) -> SplitManifest:
        """Write down a split of ``table`` (or split name -> row numbers), hashing every file.

        Args:
            table, split: what is divided, and how.
            protocol, seed, settings: as the attributes.
            backend: where the files are hashed, as for :func:`siamese.crop_files`.
        """
        made = split if isinstance(split, Split) else Split(dict(split))
        rows = made.rows
        hashes = hash_files(table.paths, backend)
        splits = {
            split: [
                {
                    "file": table.files[r],
                    "identity": table.identities[r],
                    "sha256": None if isinstance(h := hashes[r], ImageError) else h,
                }
                | _groups_of(table, r)
                for r in rows[split]
            ]
            for split in rows
        }
        pairs = {
            name: {"left": p[0].tolist(), "right": p[1].tolist()} for name, p in made.pairs.items()
        }
        return cls(
            table.name, str(table.root), protocol, seed, dict(settings or {}), splits, {}, pairs
        )

    def check(self) -> None:
        """Check the form and the rule of the split protocol.

        No file is in two splits, and no identity unless the protocol lets these two splits share
        it.

        Raises:
            SplitError: names what is of a wrong type, or the identity or file and its two splits.
        """
        for name, kind in (
            ("dataset", str),
            ("root", str),
            ("protocol", str),
            ("seed", int),
            ("splits", dict),
            ("quarantine", dict),
            ("pairs", dict),
            ("settings", dict),
        ):
            value = getattr(self, name)
            if not isinstance(value, kind) or isinstance(value, bool):
                raise SplitError(
                    f"the manifest's {name} is not a {kind.__name__}: it was altered; make a new "
                    f"split"
                )
        for split, entries in self.splits.items():
            if not split.isprintable():
                raise SplitError(
                    f"the manifest's split {split!r:.80} has a name that cannot be printed: it was "
                    f"altered; make a new split"
                )
            if not isinstance(entries, list) or not all(
                isinstance(e, dict) and set(e) >= _ENTRY for e in entries
            ):
                raise SplitError(
                    f"the manifest's split {split!r} is no list of file, identity and sha256: it "
                    f"was altered; make a new split"
                )
            for e in entries:
                if not (
                    isinstance(e["file"], str)
                    and isinstance(e["identity"], str)
                    and isinstance(e["sha256"], (str, type(None)))
                    and _can_be_named(e["file"])
                    and _are_groups(e.get("groups", {}))
                ):
                    raise SplitError(
                        f"the manifest's split {split!r} has an entry of a wrong type: it was "
                        f"altered; make a new split"
                    )
        if not all(isinstance(word, str) for words in self.quarantine.items() for word in words):
            raise SplitError(
                "the manifest's quarantine is not file -> reason: it was altered; make a new split"
            )
        self._check_pairs()
        self._check_disjoint()

    def _check_pairs(self) -> None:
        for split, pairs in self.pairs.items():
            rows = (
                [pairs.get(side) for side in ("left", "right")] if isinstance(pairs, dict) else []
            )
            n = len(self.splits.get(split, []))
            if not (
                len(rows) == 2
                and all(
                    isinstance(r, list) and all(type(i) is int and 0 <= i < n for i in r)
                    for r in rows
                )
                and len(rows[0] or []) == len(rows[1] or [])
            ):
                raise SplitError(
                    f"the manifest's pairs of {split!r} are not row numbers of that split: it was "
                    f"altered; make a new split"
                )

    def _check_disjoint(self) -> None:
        may_share = self._protocol.may_share
        for key in ("identity", "file"):
            seen: dict[str, set[str]] = {}
            for split, entries in self.splits.items():
                for value in {
                    normalise_identity(e[key]) if key == "identity" else e[key] for e in entries
                }:
                    for other in sorted(seen.setdefault(value, set())):
                        if key == "file" or frozenset((other, split)) not in may_share:
                            raise SplitError(
                                f"{key} {value!r:.200} is in both {other:.80} and {split:.80}: "
                                f"the manifest was altered; make a new split"
                            )
                    seen[value].add(split)

    def usable(self, split: str) -> list[dict[str, Any]]:
        """The entries of a split that are not in quarantine."""
        return [e for e in self.splits[split] if e["file"] not in self.quarantine]

    def table(self, split: str) -> IdentityTable:
        """The images of one split, without those in quarantine."""
        return self.table_of(self.usable(split))

    def table_of(self, entries: Sequence[Mapping[str, Any]]) -> IdentityTable:
        """The table of some entries; a group that an entry lacks is unknown, ""."""
        columns = dict.fromkeys(column for e in entries for column in e.get("groups", ()))
        return IdentityTable(
            Path(self.root),
            tuple(e["file"] for e in entries),
            tuple(e["identity"] for e in entries),
            self.dataset,
            {
                column: tuple(e.get("groups", {}).get(column, "") for e in entries)
                for column in columns
            },
        )

    def hashes(self, split: str) -> list[str]:
        """SHA-256 of each row of ``table(split)``."""
        return [e["sha256"] for e in self.usable(split)]

    def verify_files(self, backend: str | None = None) -> None:
        """Check that every file still exists and is unchanged.

        Args:
            backend: where the files are hashed, as for :func:`siamese.crop_files`.

        Raises:
            SplitError: a file is gone or was changed.
        """
        for split in self.splits:
            table = self.table(split)
            for file, was, now in zip(
                table.files, self.hashes(split), hash_files(table.paths, backend), strict=True
            ):
                if now != was:
                    what = (
                        f"cannot be read ({now.reason})"
                        if isinstance(now, ImageError)
                        else "has changed since the split was made"
                    )
                    raise SplitError(
                        f"{table.root / file}: {what}; restore it, give its new folder (siamese "
                        f"evaluate: --root DIR), or make a new split"
                    )

    @property
    def calibrating(self) -> str:
        """The split that the threshold is chosen on: calibration, or else validation."""
        return "calibration" if "calibration" in self.splits else "validation"

    @property
    def caution(self) -> str:
        """What must stand beside the figures where splits share identities; empty otherwise."""
        return self._protocol.caution(self.calibrating)

    @property
    def is_given(self) -> bool:
        """Whether others chose the split, as the folds of a benchmark."""
        return self._protocol.is_given

    @property
    def _protocol(self) -> type[SplitProtocol]:
        """The split protocol's class; of an unknown one the base class, which shares nothing."""
        known = self.protocol in SPLIT_PROTOCOLS
        return SPLIT_PROTOCOLS[self.protocol] if known else SplitProtocol

    def chosen_pairs(self, split: str) -> np.ndarray | None:
        """(2, n) int64 rows of ``table(split)``, where the protocol chose pairs.

        Pairs with an image in quarantine are left out.
        """
        if split not in self.pairs:
            return None
        kept = np.array([e["file"] not in self.quarantine for e in self.splits[split]], dtype=bool)
        return pairs_among(
            np.array([self.pairs[split]["left"], self.pairs[split]["right"]], dtype=np.int64), kept
        )

    def has_split_of(self, other: SplitManifest) -> bool:
        """Whether the same files of the same identities are in the same splits, and the same pairs.

        Groups do not count: an earlier version did not read them.
        """
        mine, others = (
            {s: [{k: e[k] for k in _ENTRY} for e in entries] for s, entries in m.splits.items()}
            for m in (self, other)
        )
        return mine == others and self.pairs == other.pairs

    def shared_images(self) -> list[tuple[str, str]]:
        """Pairs of files in different splits with exactly the same content.

        The one that stands in the earlier split is first. Those in quarantine do not count.
        """
        first: dict[str, tuple[str, str]] = {}
        twins = []
        for split in self.splits:
            for e in self.usable(split):
                if e["sha256"] is None:
                    continue
                other_split, other_file = first.setdefault(e["sha256"], (split, e["file"]))
                if other_split != split:
                    twins.append((other_file, e["file"]))
        return twins

    def save(self, path: str | Path) -> Path:
        """Write the manifest as JSON; it appears complete or not at all."""
        return write_json(path, asdict(self))

    @classmethod
    def load(cls, path: str | Path, root: str | Path | None = None) -> SplitManifest:
        """Read a manifest and check it again.

        Args:
            path: a file that :meth:`save` wrote.
            root: where the data lie now, if they moved; every file must then lie below it.
                Otherwise the manifest itself says where they lie, and whoever wrote it chose that.
                Files are only ever read as pictures, and links are followed.

        Raises:
            SplitError: missing, not a manifest, of a newer version, breaking the rule of
                :meth:`check`, or files that lie outside ``root``.
        """
        try:
            content = read_object(Path(path).expanduser())
            version = content["version"]
            if type(version) is not int:
                raise TypeError(f"its version is no whole number but {version!r:.40}")
            if version > VERSION:
                raise SplitError(
                    f"{path}: written by a newer siamese (manifest version {version}); upgrade "
                    f"siamese"
                )
            if version == 1:  # had one protocol only, with shares
                content = content | {"version": VERSION, "settings": {"shares": content["shares"]}}
                del content["shares"]
            renamed = SPLIT_PROTOCOLS.renamed  # protocols that had another name once
            if not isinstance(content["protocol"], str):
                raise TypeError("its protocol has no name")
            content |= {"protocol": renamed.get(content["protocol"], content["protocol"])}
            try:
                manifest = cls(**content)
            except SplitError as error:
                raise SplitError(f"{path}: {error}") from error
        except FileNotFoundError as error:
            raise SplitError(
                f"{path}: no such manifest; it is called split.json in a run's folder"
            ) from error
        except (OSError, ValueError, KeyError, TypeError, MemoryError) as error:
            raise SplitError(
                f"{path}: not a split manifest ({first_line(error)}); give the split.json of a run"
            ) from error
        if root is not None:
            manifest.root = str(Path(root).expanduser().absolute())
            manifest._check_below_root(path)
        return manifest

    def _check_below_root(self, path: str | Path) -> None:
        for entries in self.splits.values():
            for e in entries:
                if PurePath(os.path.normpath(e["file"])).parts[:1] == (os.pardir,):
                    raise SplitError(
                        f"{path}: its file {e['file']!r:.200} lies outside the folder that was "
                        f"given; use the manifest without another root, or make a new split"
                    )

    def __repr__(self) -> str:
        splits = ", ".join(f"{name}: {len(entries):,}" for name, entries in self.splits.items())
        return f"SplitManifest({self.dataset!r}, {self.protocol}, images of {splits})"


def _groups_of(table: IdentityTable, row: int) -> dict[str, Any]:
    """What an entry holds of a row's groups; nothing where the table has none."""
    found = {column: values[row] for column, values in table.groups.items()}
    return {"groups": found} if found else {}


def _are_groups(value: Any) -> bool:
    """Whether a value of a manifest is a dictionary from column to group."""
    return isinstance(value, dict) and all(
        isinstance(word, str) for words in value.items() for word in words
    )


def _can_be_named(file: str) -> bool:
    """Whether a file may stand in a manifest: relative to the root, and no NUL in it."""
    return bool(file) and "\0" not in file and not PurePath(file).is_absolute()


def pairs_among(pairs: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """The pairs whose rows are both kept, in the numbers of the kept rows.

    Args:
        pairs: (2, n) int64 row numbers.
        kept: (N,) bool.
    """
    number = np.cumsum(kept) - 1
    remaining: np.ndarray = number[pairs[:, kept[pairs].all(axis=0)]]
    return remaining
