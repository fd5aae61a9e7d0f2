"""Audit of a data set: where every file is, doubtful names, duplicates, images of somebody else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from siamese.data.accounts import Accounts
from siamese.data.dataset import CropDataset
from siamese.data.duplicates import equal_groups, near_pairs
from siamese.data.embedding import embed
from siamese.data.fingerprints import SIDE, Fingerprint, take_fingerprints
from siamese.datasets.identities import normalise_identity
from siamese.datasets.names import look_alikes, merged
from siamese.evaluation.audited import Audited, files_below, read_data
from siamese.evaluation.suspicions import doubt_labels
from siamese.faces.cache_folder import default_cache
from siamese.faces.crops import crop_files, kind_of
from siamese.inference.bundle import Bundle
from siamese.inference.no_face import with_no_face

# Of 256 bits. In LFW all pairs of two people's images up to it show one photograph; the next pair
# that does not differs in 40.
NEAR_BITS = 32
_TRIES = 5  # to list a folder while nothing in it changes


@dataclass(frozen=True)
class Doublet:
    """Images that are the same.

    Attributes:
        files: two or more.
        identities: on each of them.
        splits: of each; "" where there are none.
        bits: in which perceptual hashes differ; None where the images are equal.
    """

    files: tuple[str, ...]
    identities: tuple[str, ...]
    splits: tuple[str, ...]
    bits: int | None = None

    @property
    def is_across(self) -> bool:
        """Whether they are under two identities, or in two splits."""
        return len(set(self.identities)) > 1 or len(set(self.splits)) > 1

    def __str__(self) -> str:
        places = [
            f"{file} ({split})" if split else file
            for file, split in zip(self.files, self.splits, strict=True)
        ]
        return " = ".join(places) + ("" if self.bits is None else f" ({self.bits} bits)")


@dataclass(frozen=True)
class Doubt:
    """Two images whose labels are doubted.

    Attributes:
        file, other_file: the image, and the nearest one of another identity.
        distance: between them.
        own: of a doubted image, distance to the nearest one of its own identity; of two names, the
            median of all distances between their images.
    """

    file: str
    other_file: str
    distance: float
    own: float


@dataclass(frozen=True)
class Audit:
    """What is to be known of a data set before it is used.

    Attributes:
        name: of the data set.
        identities: number of them.
        accounts: every file below its folder, used or left out for a reason, counted.
        left_out: file -> why it is left out, of each that is; first the images of the data set,
            then what lies beside them.
        spellings: groups of names that are taken for one identity.
        look_alikes: groups of identities whose names look alike.
        same_files: images of the same bytes.
        same_pixels: images of the same pixels in different files.
        near: images that look the same; () without the package for it.
        mislabelled: images nearer to another identity, most doubtful first.
        two_names: identities that look like one person, likest first.
        notes: what was not looked for, and why.
    """

    name: str
    identities: int
    accounts: Accounts
    left_out: Mapping[str, str] = field(default_factory=dict)
    spellings: tuple[tuple[str, ...], ...] = ()
    look_alikes: tuple[tuple[str, ...], ...] = ()
    same_files: tuple[Doublet, ...] = ()
    same_pixels: tuple[Doublet, ...] = ()
    near: tuple[Doublet, ...] = ()
    mislabelled: tuple[Doubt, ...] = ()
    two_names: tuple[Doubt, ...] = ()
    notes: tuple[str, ...] = field(default=())

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "name": self.name,
            "identities": self.identities,
            "accounts": self.accounts.to_dict(),
            "left_out": dict(self.left_out),
            "spellings": [list(group) for group in self.spellings],
            "look_alikes": [list(group) for group in self.look_alikes],
            **{
                kind: [
                    {
                        "files": list(d.files),
                        "identities": list(d.identities),
                        "splits": list(d.splits),
                        "bits": d.bits,
                    }
                    for d in getattr(self, kind)
                ]
                for kind in ("same_files", "same_pixels", "near")
            },
            **{
                kind: [
                    {
                        "file": d.file,
                        "other_file": d.other_file,
                        "distance": round(d.distance, 4),
                        own: round(d.own, 4),
                    }
                    for d in getattr(self, kind)
                ]
                for kind, own in (("mislabelled", "own_distance"), ("two_names", "median"))
            },
            "notes": list(self.notes),
        }

    def __repr__(self) -> str:
        return f"Audit({self.name!r}: {self.accounts})"


def audit_data(
    data: Any,
    *,
    root: str | Path | None = None,
    bundle: Bundle | None = None,
    near_bits: int = NEAR_BITS,
    cache: str | Path | None = None,
    device: str = "cpu",
    progress: bool = True,
) -> Audit:
    """Read all images of a data set and say what is doubtful about it.

    Args:
        data: a folder of one folder per identity, or of files ``<identity>_<number>``; a CSV file;
            a run's folder or its ``split.json``, whose splits are then known; a table or a
            manifest.
        root: where the images of a CSV file, or of a run, lie now.
        bundle: whose network compares images; without one no labels are doubted.
        near_bits: in how many of the 256 bits of their perceptual hashes two images may differ that
            count as the same.
        cache: of crops.
        device: where the network runs.
        progress: show progress bars.

    Raises:
        DataError, SplitError, ConfigError: no such data.
        CacheError: crops cannot be written.
        AssertionError: a file was lost from the accounts, which is a fault of the library.
    """
    found, below = _listed(data, root)
    prints = take_fingerprints(found.paths, progress=progress)
    reasons = {
        file: one.reason for file, one in zip(found.files, prints, strict=True) if one.reason
    }
    notes = []
    made = Audit(found.name, len(set(found.identities)), Accounts(0, 0, {}))
    made = replace(made, **_names(found), **_same(found, prints))
    if any(one.look is not None for one in prints):
        made = replace(made, near=_near(found, prints, near_bits))
    else:
        notes.append(
            "images that look the same are not looked for: pip install 'siamese-lightning[audit]'"
        )
    if bundle is None:
        notes.append("labels are not doubted, and no faces looked for, without a bundle")
    else:
        doubted, faceless = _doubted(found, prints, bundle, cache, device, progress)
        made = replace(made, **doubted)
        reasons |= faceless
    if changed := _changed(found.root, below, cache):
        notes.append(
            f"files changed meanwhile: {changed:,} came or went; what came later is not looked at"
        )
    return replace(
        made,
        accounts=_accounts(found, below, reasons),
        left_out=dict(sorted(reasons.items())) | dict(sorted(found.beside.items())),
        notes=tuple(notes),
    )


def _listed(data: Any, root: str | Path | None) -> tuple[Audited, set[str]]:
    """What is audited, and all files below its folder, listed in two ways at nearly one time."""
    before: set[str] = set()
    for _ in range(_TRIES):
        found = read_data(data, root)
        below = files_below(found.root)
        counted = set(found.beside) | (below & set(found.files))
        odd = below ^ counted
        # What is odd twice was not changed between the two, but lost: the accounts will say so.
        if not odd or odd == before:
            return found, below
        before = odd
    return found, counted  # something writes there all the time


def _changed(root: Path, below: set[str], cache: str | Path | None) -> int:
    """How many files came or went since; those of the cache are our own."""
    home = (Path(cache).expanduser() if cache else default_cache()).resolve()
    try:
        differ = below ^ files_below(root)
    except OSError:  # the folder itself has gone
        return len(below)
    return sum(not (root / file).resolve().is_relative_to(home) for file in differ)


def _accounts(found: Audited, below: set[str], reasons: Mapping[str, str]) -> Accounts:
    """Every file that lay below the folder or is listed: counted twice, each time in another way.

    Raises:
        AssertionError: the two counts differ.
    """
    elsewhere = {file for file in found.files if file not in below} if below else set()
    used = [file for file in found.files if file not in reasons]
    left_out = [*map(kind_of, reasons.values()), *found.beside.values()]
    return Accounts.of(len(below) + len(elsewhere), len(used), left_out)


def _names(found: Audited) -> dict[str, Any]:
    """Names that are one already, and those that look alike."""
    # A folder's name is how its identity is written.
    written = [
        folder
        for file, identity in zip(found.files, found.identities, strict=True)
        if normalise_identity(folder := file.split("/")[0]) == identity
    ]
    return {
        "spellings": tuple(merged(written)),
        "look_alikes": tuple(look_alikes(found.identities)),
    }


def _same(found: Audited, prints: Sequence[Fingerprint]) -> dict[str, Any]:
    """Images of the same bytes, and of the same pixels in different bytes."""
    files = equal_groups([one.content for one in prints])
    pixels = [
        group
        for group in equal_groups([one.pixels for one in prints])
        if len({prints[row].content for row in group}) > 1
    ]
    return {
        "same_files": _doublets(found, files),
        "same_pixels": _doublets(found, pixels),
    }


def _doublets(found: Audited, groups: Sequence[Sequence[int]]) -> tuple[Doublet, ...]:
    """Those across identities or splits first."""
    made = [_doublet(found, group) for group in groups]
    return tuple(sorted(made, key=lambda d: (not d.is_across, d.files)))


def _doublet(found: Audited, rows: Sequence[int], bits: int | None = None) -> Doublet:
    """Some rows as a :class:`Doublet`."""
    return Doublet(
        tuple(found.files[row] for row in rows),
        tuple(found.identities[row] for row in rows),
        tuple(found.splits[row] for row in rows),
        bits,
    )


def _near(found: Audited, prints: Sequence[Fingerprint], most: int) -> tuple[Doublet, ...]:
    """Pairs that look the same and differ in pixels; an image without any detail is none."""
    rows = [row for row, one in enumerate(prints) if one.look is not None and one.look.any()]
    bits = np.array([prints[row].look for row in rows], dtype=bool).reshape(-1, SIDE**2)
    made = [
        _doublet(found, (rows[a], rows[b]), differ)
        for a, b, differ in near_pairs(bits, most)
        if prints[rows[a]].pixels != prints[rows[b]].pixels
    ]
    return tuple(sorted(made, key=lambda d: (not d.is_across, d.bits, d.files)))


def _doubted(
    found: Audited,
    prints: Sequence[Fingerprint],
    bundle: Bundle,
    cache: str | Path | None,
    device: str,
    progress: bool,
) -> tuple[dict[str, Any], dict[str, str]]:
    """Doubtful labels; and file -> why no face was compared."""
    rows = [row for row, one in enumerate(prints) if not one.reason]
    looks = hasattr(bundle.cropper, "no_face")
    cropped = crop_files(
        [found.paths[row] for row in rows],
        with_no_face(bundle.cropper, "skip" if looks else None),
        cache=cache,
        hashes=[prints[row].content for row in rows],
        bad_images="quarantine",
        progress=progress,
    )
    why = {found.files[rows[at]]: reason for at, reason in cropped.bad.items()}
    for at in cropped.skipped:
        why[found.files[rows[at]]] = "several faces" if cropped.faces[at] else "no face"
    kept = [(row, crop) for row, crop in zip(rows, cropped.files, strict=True) if crop is not None]
    if len({found.identities[row] for row, _ in kept}) < 2:
        return {}, why
    labels = np.unique([found.identities[row] for row, _ in kept], return_inverse=True)[1]
    crops = CropDataset([crop for _, crop in kept], labels.astype(np.int64), in_memory=False)
    network = bundle.backbone.for_inference().to(device)
    embeddings = embed(network, crops)
    doubts = doubt_labels(embeddings, labels, bundle.distance, bundle.operating_point.threshold)
    files = [found.files[row] for row, _ in kept]
    return {
        "mislabelled": tuple(
            Doubt(files[s.row], files[s.other_row], s.other, s.own) for s in doubts.mislabelled
        ),
        "two_names": tuple(
            Doubt(files[t.row], files[t.other_row], t.nearest, t.median) for t in doubts.two_names
        ),
    }, why
