"""From a split manifest and a cropper to crops: the images of each split that are in use."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from siamese.data.manifest import SplitManifest, pairs_among
from siamese.datasets.identities import IdentityTable
from siamese.errors import SplitError
from siamese.faces.croppers.base import Cropper
from siamese.faces.crops import crop_files, hash_files


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
    crops: list[Path]
    counts: dict[str, int]
    pairs: np.ndarray | None = None


@dataclass(frozen=True)
class PreparedData:
    """All splits, and how many images were cropped now, in how many seconds."""

    splits: dict[str, PreparedSplit]
    computed: int
    seconds: float

    def summary(self) -> dict[str, Any]:
        """Identities and images per split, faces not found, seconds.

        It is printed and saved as ``crops.json``.
        """
        return {
            "splits": {
                name: {"identities": len(s.table.distinct_identities)} | s.counts
                for name, s in self.splits.items()
            },
            "cropped_now": self.computed,
            "seconds": round(self.seconds, 3),
        }


def prepare(
    manifest: SplitManifest,
    cropper: Cropper,
    *,
    cache: str | Path | None = None,
    workers: int | None = None,
    bad_images: str = "error",
    progress: bool = True,
) -> PreparedData:
    """Crop all images of a manifest at once; bad images are entered in its quarantine.

    Arguments as :func:`siamese.faces.crops.crop_files`.

    Raises:
        DataError, FaceError, CacheError: as there.
        SplitError: too little is left of a split.
    """
    names = list(manifest.splits)
    known_bad = {name: len(manifest.splits[name]) - len(manifest.usable(name)) for name in names}
    entries = [(name, entry) for name in names for entry in manifest.usable(name)]
    chosen = {name: pairs for name in names if (pairs := manifest.chosen_pairs(name)) is not None}
    paths = [Path(manifest.root) / entry["file"] for _, entry in entries]
    # A file that could not be hashed has no hash in the manifest: only such a file is read again,
    # to learn the reason.
    hashes = [
        entry["sha256"] or hash_files([path])[0]
        for path, (_, entry) in zip(paths, entries, strict=True)
    ]
    result = crop_files(
        paths,
        cropper,
        cache=cache,
        hashes=hashes,
        workers=workers,
        bad_images=bad_images,
        progress=progress,
    )
    for row, reason in result.bad.items():
        manifest.quarantine[entries[row][1]["file"]] = reason
    prepared, skipped = {}, set(result.skipped)
    for name in names:
        rows = [row for row, (owner, _) in enumerate(entries) if owner == name]
        kept = [row for row in rows if result.files[row] is not None]
        faces = [result.faces[row] for row in rows]
        counts = {
            "images": len(rows) + known_bad[name],
            "kept": len(kept),
            "no_face": sum(n == 0 for n in faces),
            "several_faces": sum(n is not None and n > 1 for n in faces),
            "skipped": sum(row in skipped for row in rows),
            "bad": sum(row in result.bad for row in rows) + known_bad[name],
        }
        identities = Counter(entries[row][1]["identity"] for row in kept)
        if len(identities) < 2 or max(identities.values()) < 2:
            raise SplitError(
                f"of the {name} split {len(kept)} of {counts['images']} images are usable "
                f"({counts['bad']} bad, {counts['skipped']} without a usable face); that leaves no "
                f"pair of the same identity or no second identity: add images, or keep faceless "
                f"ones with cropper.no_face=whole_image"
            )
        table = IdentityTable(
            Path(manifest.root),
            tuple(entries[row][1]["file"] for row in kept),
            tuple(entries[row][1]["identity"] for row in kept),
            manifest.dataset,
        )
        pairs = chosen.get(name)
        if pairs is not None:
            pairs = pairs_among(
                pairs, np.array([result.files[row] is not None for row in rows], dtype=bool)
            )
            same = [table.identities[a] == table.identities[b] for a, b in pairs.T]
            if not any(same) or all(same):
                raise SplitError(
                    f"of the pairs chosen for {name} {len(same)} are left, {sum(same)} of them "
                    f"genuine: too many of their images are bad or without a usable face; keep "
                    f"faceless ones with cropper.no_face=whole_image, or choose more pairs"
                )
        crops = [file for row in kept if (file := result.files[row]) is not None]
        prepared[name] = PreparedSplit(table, crops, counts, pairs)
    return PreparedData(prepared, result.computed, result.seconds)
