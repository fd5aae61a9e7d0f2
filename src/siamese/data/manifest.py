"""SplitManifest: which files of which identities are in which split, with their hashes."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from importlib.util import find_spec
from pathlib import Path, PurePath
from typing import Any

import numpy as np

from siamese.data.entries import (
    MOST_IN_JSON,
    Entries,
    Hashes,
    files_of,
    read_rows,
    rows_of_equal_content,
    same_images,
    write_rows,
)
from siamese.data.manifest_checks import check_disjoint, check_form, check_pairs
from siamese.data.split_protocols.base import SPLIT_PROTOCOLS, Split, SplitProtocol
from siamese.datasets.columns import TextColumn
from siamese.datasets.identities import IdentityTable
from siamese.datasets.parquet_file import arrow
from siamese.errors import ImageError, SplitError, first_line
from siamese.faces.hashing import each_hash, hash_columns, hash_files
from siamese.reading import read_object
from siamese.storage import write_json

VERSION = 2
IN_COLUMNS = 3  # the version of a manifest whose rows lie in a Parquet file beside it


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
            Of large data sets :class:`siamese.data.entries.Entries` instead of a list.
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
    splits: dict[str, Sequence[dict[str, Any]]]
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
        pairs = {
            name: {"left": p[0].tolist(), "right": p[1].tolist()} for name, p in made.pairs.items()
        }
        given = (table.name, str(table.root), protocol, seed, dict(settings or {}))
        if isinstance(table.files, TextColumn):
            if len(table) > MOST_IN_JSON:
                arrow(f"{table.name}: a manifest of {len(table):,} images")
            whole = Entries.of_table(table, *hash_columns(table.paths, backend))
            return cls(*given, {s: whole.take(r) for s, r in rows.items()}, {}, pairs)
        hashes = hash_files(table.paths, backend)
        splits: dict[str, Sequence[dict[str, Any]]] = {
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
        return cls(*given, splits, {}, pairs)

    def check(self) -> None:
        """Check the form and the rule of the split protocol.

        No file is in two splits, and no identity unless the protocol lets these two splits share
        it.

        Raises:
            SplitError: names what is of a wrong type, or the identity or file and its two splits.
        """
        check_form(self)
        check_pairs(self)
        check_disjoint(self)

    def usable(self, split: str) -> Sequence[dict[str, Any]]:
        """The entries of a split that are not in quarantine."""
        if isinstance(entries := self.splits[split], Entries):
            return entries if not self.quarantine else entries.take(self._kept(split))
        return [e for e in self.splits[split] if e["file"] not in self.quarantine]

    def _kept(self, split: str) -> np.ndarray:
        """(N,) bool: which entries of a split are not in quarantine."""
        files = files_of(self.splits[split])
        return np.fromiter((file not in self.quarantine for file in files), bool, len(files))

    def table(self, split: str) -> IdentityTable:
        """The images of one split, without those in quarantine."""
        return self.table_of(self.usable(split))

    def table_of(self, entries: Sequence[Mapping[str, Any]]) -> IdentityTable:
        """The table of some entries; a group that an entry lacks is unknown, ""."""
        if isinstance(entries, Entries):
            return IdentityTable(
                Path(self.root), entries.files, entries.identities, self.dataset, entries.groups
            )
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

    def hashes(self, split: str) -> Sequence[str]:
        """SHA-256 of each row of ``table(split)``."""
        if isinstance(entries := self.usable(split), Entries):
            return Hashes(entries)
        return [e["sha256"] for e in self.usable(split)]

    def verify_files(self, backend: str | None = None) -> None:
        """Check that every file still exists and is unchanged.

        Args:
            backend: where the files are hashed, as for :func:`siamese.crop_files`.

        Raises:
            SplitError: a file is gone or was changed.
        """
        for split in self.splits:
            table, hashes = self.table(split), self.hashes(split)
            for start, found in each_hash(table.paths, backend):
                for row, now in enumerate(found, start):
                    if now != hashes[row]:
                        what = (
                            f"cannot be read ({now.reason})"
                            if isinstance(now, ImageError)
                            else "has changed since the split was made"
                        )
                        raise SplitError(
                            f"{table.root / table.files[row]}: {what}; restore it, give its new "
                            f"folder (siamese evaluate: --root DIR), or make a new split"
                        )

    @property
    def calibrating(self) -> str:
        """The split that the threshold is chosen on: calibration, or else validation."""
        return "calibration" if "calibration" in self.splits else "validation"

    @property
    def caution(self) -> str:
        """What must stand beside the figures where splits share identities; empty otherwise."""
        return self.protocol_class.caution(self.calibrating)

    @property
    def is_given(self) -> bool:
        """Whether others chose the split, as the folds of a benchmark."""
        return self.protocol_class.is_given

    @property
    def protocol_class(self) -> type[SplitProtocol]:
        """The split protocol's class; of an unknown one the base class, which shares nothing."""
        known = self.protocol in SPLIT_PROTOCOLS
        return SPLIT_PROTOCOLS[self.protocol] if known else SplitProtocol

    def chosen_pairs(self, split: str) -> np.ndarray | None:
        """(2, n) int64 rows of ``table(split)``, where the protocol chose pairs.

        Pairs with an image in quarantine are left out.
        """
        if split not in self.pairs:
            return None
        pairs = self.pairs[split]
        both = np.array([pairs["left"], pairs["right"]], dtype=np.int64)
        return pairs_among(both, self._kept(split))

    def has_split_of(self, other: SplitManifest) -> bool:
        """Whether the same files of the same identities are in the same splits, and the same pairs.

        Groups do not count: an earlier version did not read them.
        """
        if self.splits.keys() != other.splits.keys() or self.pairs != other.pairs:
            return False
        return all(same_images(self.splits[name], other.splits[name]) for name in self.splits)

    def shared_images(self) -> list[tuple[str, str]]:
        """Pairs of files in different splits with exactly the same content.

        The one that stands in the earlier split is first. Those in quarantine do not count.
        """
        first: dict[str, tuple[str, str]] = {}
        twins = []
        usable = {split: self.usable(split) for split in self.splits}
        columns = {split: e for split, e in usable.items() if isinstance(e, Entries)}
        if columns and len(columns) == len(usable):
            usable = dict(rows_of_equal_content(columns))
        for split, entries in usable.items():
            for e in entries:
                if e["sha256"] is None:
                    continue
                other_split, other_file = first.setdefault(e["sha256"], (split, e["file"]))
                if other_split != split:
                    twins.append((other_file, e["file"]))
        return twins

    def save(self, path: str | Path, parquet: bool | None = None) -> Path:
        """Write the manifest as JSON; it appears complete or not at all.

        Args:
            path: of the JSON file.
            parquet: write the entries as Parquet, into a file beside it that the JSON names: for
                large data sets. By default where they are in columns, and pyarrow is installed.

        Raises:
            MissingDependencyError: pyarrow is needed and not installed.
            SplitError: a file name that is not UTF-8, which Parquet does not hold.
            OSError: as from writing.
        """
        path = Path(path)
        if parquet is None:
            many = sum(map(len, self.splits.values())) > MOST_IN_JSON
            columns = any(isinstance(e, Entries) for e in self.splits.values())
            parquet = columns and (many or find_spec("pyarrow") is not None)
        shown = {f.name: getattr(self, f.name) for f in fields(self)}
        if not parquet:
            return write_json(path, shown | {"splits": {s: [*e] for s, e in self.splits.items()}})
        path.parent.mkdir(parents=True, exist_ok=True)
        entries = {split: Entries.of(e) for split, e in self.splits.items()}
        return write_json(
            path,
            shown
            | {
                "version": IN_COLUMNS,
                "splits": {split: len(e) for split, e in entries.items()},
                "rows": write_rows(path.parent, path.stem, entries),
            },
        )

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
            if version == IN_COLUMNS:
                rows = read_rows(Path(path).expanduser().parent, content["rows"], content["splits"])
                content = content | {"version": VERSION, "splits": rows}
                del content["rows"]
            elif version > VERSION:
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
            for file in files_of(entries):
                if ".." in file and PurePath(os.path.normpath(file)).parts[:1] == (os.pardir,):
                    raise SplitError(
                        f"{path}: its file {file!r:.200} lies outside the folder that was "
                        f"given; use the manifest without another root, or make a new split"
                    )

    def __repr__(self) -> str:
        splits = ", ".join(f"{name}: {len(entries):,}" for name, entries in self.splits.items())
        return f"SplitManifest({self.dataset!r}, {self.protocol}, images of {splits})"


def _groups_of(table: IdentityTable, row: int) -> dict[str, Any]:
    """What an entry holds of a row's groups; nothing where the table has none."""
    found = {column: values[row] for column, values in table.groups.items()}
    return {"groups": found} if found else {}


def pairs_among(pairs: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """The pairs whose rows are both kept, in the numbers of the kept rows.

    Args:
        pairs: (2, n) int64 row numbers.
        kept: (N,) bool.
    """
    number = np.cumsum(kept) - 1
    remaining: np.ndarray = number[pairs[:, kept[pairs].all(axis=0)]]
    return remaining
