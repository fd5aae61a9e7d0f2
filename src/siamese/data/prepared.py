"""From a split manifest and a cropper to crops: the images of each split that are in use."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

from siamese.data.accounts import Accounts
from siamese.data.entries import Entries, Hashes, joined
from siamese.data.manifest import SplitManifest, pairs_among
from siamese.datasets.columns import Paths
from siamese.datasets.identities import IdentityTable
from siamese.datasets.other_data import split_in_sentence, split_in_words
from siamese.errors import ImageError, SplitError
from siamese.faces.crop_jobs import CropPaths
from siamese.faces.croppers.base import Cropper
from siamese.faces.crops import CropResult, crop_files, kind_of
from siamese.faces.hashing import hash_files


@dataclass(frozen=True)
class PreparedSplit:
    """A split ready for loading.

    Attributes:
        table: the N images in use.
        crops: N crop files.
        counts: numbers of images: images, kept, no_face, several_faces, skipped, bad.
        pairs: (2, n) int64 rows of ``table``, where the split protocol chose pairs; those with an
            image out of use are gone.
    """

    table: IdentityTable
    crops: Sequence[Path]
    counts: dict[str, int]
    pairs: np.ndarray | None = None

    def __repr__(self) -> str:
        return f"PreparedSplit({self.table!r}, {self.counts})"


@dataclass(frozen=True)
class PreparedData:
    """All splits, how many images were cropped now, in how many seconds, and where all files are.

    Attributes:
        splits: by name.
        computed, seconds: images cropped now, and how long it took.
        accounts: every file that was met, in use or left out for a reason.
    """

    splits: dict[str, PreparedSplit]
    computed: int
    seconds: float
    accounts: Accounts | None = None

    def summary(self) -> dict[str, Any]:
        """Identities and images per split, faces not found, seconds.

        It is printed and saved as ``crops.json``.
        """
        return {
            "splits": {
                name: {"identities": len(s.table.distinct_identities)} | s.counts
                for name, s in self.splits.items()
            },
            "accounts": None if self.accounts is None else self.accounts.to_dict(),
            "cropped_now": self.computed,
            "seconds": round(self.seconds, 3),
        }

    def called(self, split: str) -> str:
        """A split as it is called in what is printed and drawn: :func:`split_in_words`."""
        part = "all" if len(self.splits) == 1 else "the other"
        return split_in_words(split, self.splits[split].table.name, part)

    def __repr__(self) -> str:
        splits = ", ".join(f"{name}: {len(s.crops):,}" for name, s in self.splits.items())
        return f"PreparedData(crops of {splits})"


def prepare(
    manifest: SplitManifest,
    cropper: Cropper,
    *,
    cache: str | Path | None = None,
    workers: int | None = None,
    bad_images: str = "error",
    progress: bool = True,
    beside: Mapping[str, int] | None = None,
    backend: str | None = None,
) -> PreparedData:
    """Crop all images of a manifest at once; bad images are entered in its quarantine.

    Arguments as :func:`siamese.faces.crops.crop_files`, and ``beside``, reason -> number of files
    that were met and are in no split, for the accounts.

    Raises:
        DataError, FaceError, CacheError: as there.
        SplitError: too little is left of a split.
    """
    entries = {name: manifest.usable(name) for name in manifest.splits}
    pairs = {name: manifest.chosen_pairs(name) for name in entries}
    every, paths, hashes = _all_files(manifest, entries)
    result = crop_files(
        paths,
        cropper,
        cache=cache,
        hashes=hashes,
        workers=workers,
        bad_images=bad_images,
        progress=progress,
        backend=backend,
    )
    for row, reason in result.bad.items():
        manifest.quarantine[every[row]["file"]] = reason
    why = [kind_of(reason) for reason in manifest.quarantine.values()]
    why += ["no face" if not result.faces[row] else "several faces" for row in result.skipped]
    why += [reason for reason, n in (beside or {}).items() for _ in range(n)]
    in_splits = sum(len(of_split) for of_split in manifest.splits.values())
    accounts = Accounts.of(in_splits + sum((beside or {}).values()), _number_kept(result), why)
    prepared, start = {}, 0
    for name, of_split in entries.items():
        rows = range(start, start + len(of_split))
        start = rows.stop
        prepared[name] = _prepare_split(manifest, name, of_split, rows, result, pairs[name])
    return PreparedData(prepared, result.computed, result.seconds, accounts)


def _all_files(
    manifest: SplitManifest, entries: Mapping[str, Sequence[dict[str, Any]]]
) -> tuple[Sequence[dict[str, Any]], Sequence[Path], Sequence[str | ImageError]]:
    """The entries of all splits, one after the other, their paths and their hashes.

    A file that could not be hashed has no hash in the manifest: only such a file is read again, to
    learn the reason.
    """
    root = Path(manifest.root)
    columns = [part for part in entries.values() if isinstance(part, Entries)]
    if columns and len(columns) == len(entries):
        every = joined(columns)
        paths = Paths(root, every.files)
        again = {row: hash_files([paths[row]])[0] for row in np.flatnonzero(~every.known).tolist()}
        return every, paths, Hashes(every, again)
    listed = [entry for part in entries.values() for entry in part]
    places = [root / entry["file"] for entry in listed]
    return (
        listed,
        places,
        [e["sha256"] or hash_files([path])[0] for path, e in zip(places, listed, strict=True)],
    )


def _number_kept(result: CropResult) -> int:
    files = result.files
    return int(files.kept.sum()) if isinstance(files, CropPaths) else sum(map(bool, files))


def _prepare_split(
    manifest: SplitManifest,
    name: str,
    entries: Sequence[dict[str, Any]],
    rows: range,
    result: CropResult,
    pairs: np.ndarray | None,
) -> PreparedSplit:
    """What is left of one split.

    Args:
        manifest: of all splits.
        name: of the split.
        entries: its n files, but for those that were in quarantine before.
        rows: where they stand in ``result``.
        result: of cropping all splits.
        pairs: (2, m) int64 positions in ``entries``, where the split protocol chose pairs.
    """
    files, faces = result.files[rows.start : rows.stop], result.faces[rows.start : rows.stop]
    used = np.array([file is not None for file in files], dtype=bool)
    if isinstance(files, CropPaths):
        used, files = files.kept, files.without_left_out()
    if isinstance(entries, Entries):
        kept: Sequence[dict[str, Any]] = entries.take(used)
    else:
        kept = [entry for entry, use in zip(entries, used.tolist(), strict=True) if use]
    known_bad = len(manifest.splits[name]) - len(entries)
    counts = {
        "images": len(manifest.splits[name]),
        "kept": len(kept),
        "no_face": sum(n == 0 for n in faces),
        "several_faces": sum(n is not None and n > 1 for n in faces),
        "skipped": sum(row in rows for row in result.skipped),
        "bad": sum(row in rows for row in result.bad) + known_bad,
    }
    if isinstance(kept, Entries):
        identities = Counter(dict(enumerate(kept.identities.sizes.tolist())))
    else:
        identities = Counter(entry["identity"] for entry in kept)
    if len(identities) < 2 or max(identities.values()) < 2:
        lacking = (
            "all show one identity, so that there is no pair of two"
            if len(identities) == 1
            else "no identity has two"
        )
        lost = len(kept) < counts["images"]
        raise SplitError(
            f"of {split_in_sentence(name, manifest.dataset)} {len(kept)} of {counts['images']} "
            f"images are usable ({counts['bad']} bad, {counts['skipped']} without a usable face), "
            f"and {lacking}: add images, of two identities or more, at least two of each"
            f"{', or keep faceless ones with cropper.no_face=whole_image' if lost else ''}"
        )
    table = manifest.table_of(kept)
    if pairs is not None:
        pairs = pairs_among(pairs, used)
        _check_pairs(name, table, pairs)
    if not isinstance(files, CropPaths):
        files = [file for file in files if file is not None]
    crops = cast("Sequence[Path]", files)  # none is left out any more
    return PreparedSplit(table, crops, counts, pairs)


def _check_pairs(name: str, table: IdentityTable, pairs: np.ndarray) -> None:
    """Refuse what is left of chosen pairs, if it is of one kind only."""
    same = [table.identities[a] == table.identities[b] for a, b in pairs.T]
    if not any(same) or all(same):
        raise SplitError(
            f"of the pairs chosen for {name} {len(same)} are left, {sum(same)} of them genuine: "
            f"too many of their images are bad or without a usable face; keep faceless ones with "
            f"cropper.no_face=whole_image, or choose more pairs"
        )
