"""Sorting: a heap of photographs of unknown people, by person, each face for itself."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from siamese.datasets.identities import IdentityTable
from siamese.distances.arrays import as_threshold
from siamese.distances.base import Distance
from siamese.errors import CalibrationError, DataError
from siamese.faces.align import Box
from siamese.inference.list_journal import ListJournal
from siamese.inference.looks import check_jobs
from siamese.inference.photographs import embedded_photographs, resolved
from siamese.inference.verifier import Verifier
from siamese.progress import progress_bar
from siamese.verification.clustering import check_linkage, cluster_embeddings
from siamese.verification.policies.max_f1 import MaxF1

# The first guess of the share of pairs that show one person, and where guesses end.
_PREVALENCE, _PREVALENCES = 0.01, (1e-4, 0.5)
_ROUNDS, _STAYS = 6, 0.005


@dataclass(frozen=True)
class SortedFace:
    """One face of a heap, and whom it was sorted to.

    Attributes:
        photograph: the file.
        number: of the face on the photograph, from 1: first the one that the bundle's cropper
            chooses, then the largest.
        faces: how many were found on it, those that were refused for their quality among them.
        box: of the face, pixels; None where the bundle looks for no face.
        identity: the name of the cluster ("person_0001", the largest).
        distance: mean distance to the other faces of the cluster; None where there are none.
        warnings: what is poor about the photograph of the face, in sentences.
    """

    photograph: Path
    number: int
    faces: int
    box: Box | None
    identity: str
    distance: float | None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Sorting:
    """A heap of photographs, sorted.

    Attributes:
        faces: every face, in order of the photographs.
        left_out: photograph -> why it has no face in ``faces``.
        threshold: up to which clusters were joined.
        embeddings: (n, D) float32, of the faces.
        found: how many files were there from a run that was stopped.
        notes: what must be known beside it, in sentences.
    """

    faces: tuple[SortedFace, ...]
    left_out: dict[Path, str]
    threshold: float
    embeddings: np.ndarray = field(repr=False)
    found: int = 0
    notes: tuple[str, ...] = ()

    @property
    def clusters(self) -> int:
        """How many people were told apart."""
        return len({face.identity for face in self.faces})

    def __repr__(self) -> str:
        return (
            f"Sorting({len(self.faces):,} faces of {self.clusters:,} people, "
            f"{len(self.left_out):,} photographs left out)"
        )


def photographs_in(folder: str | Path) -> list[Path]:
    """All images in a folder and in its folders, sorted, as `siamese embed` finds them.

    Raises:
        DataError: no such folder, one that cannot be read, or no images in it.
    """
    return [Path(path) for path in IdentityTable.from_heap(folder).paths]


def sort_photographs(
    photographs: str | Path | Iterable[str | Path],
    verifier: Verifier,
    *,
    threshold: float | None = None,
    linkage: str = "average",
    jobs: int | None = None,
    progress: bool = True,
) -> Sorting:
    """Find every face on photographs, and sort them into people nobody has named yet.

    Faces are embedded one at a time, so that the result is the same, bit for bit, however many
    processes look for them. Memory holds embeddings, and the crops of a few hundred photographs.
    :func:`siamese.sort_folder` writes a table, and goes on where it was stopped.

    Args:
        photographs: a folder, searched with all its folders, or a list of files.
        verifier: finds faces, embeds them, and measures distances.
        threshold: distance up to which clusters are joined; by default see
            :func:`sorting_threshold`.
        linkage: see :func:`siamese.cluster_embeddings`.
        jobs: processes that look for faces; by default as many as pay, up to one per core.
        progress: show a progress bar.

    Raises:
        DataError: no photographs, or no face on any of them.
        ConfigError: ``jobs`` below 1.
        CacheError: a process that looked for faces was killed.
        ConfigError, CalibrationError: see :func:`siamese.cluster_embeddings`.
    """
    if isinstance(photographs, (str, Path)):
        files = photographs_in(photographs)
    else:
        files = [Path(path) for path in photographs]
    threshold = check_settings(threshold, linkage, jobs)
    return sorted_photographs(files, verifier, threshold, linkage, jobs=jobs, progress=progress)


def check_settings(threshold: float | None, linkage: str, jobs: int | None) -> float | None:
    """Refuse settings of :func:`sort_photographs` before any work is done.

    Returns:
        the threshold, as a plain number.

    Raises:
        ConfigError: one that is not possible.
        CalibrationError: a threshold that is no number.
    """
    check_linkage(linkage)
    check_jobs(jobs)
    return None if threshold is None else as_threshold(threshold)


def sorted_photographs(
    files: Sequence[Path],
    verifier: Verifier,
    threshold: float | None,
    linkage: str,
    *,
    journal: ListJournal | None = None,
    jobs: int | None = None,
    progress: bool = True,
) -> Sorting:
    """See :func:`sort_photographs`; with a journal it goes on where it was stopped."""
    real = [resolved(path) for path in files]
    different = list(dict.fromkeys(real))
    with progress_bar("looking for faces", len(different), progress) as advance:
        seen = embedded_photographs(
            verifier, different, every_face=True, journal=journal, jobs=jobs, advance=advance
        )
    found: list[SortedFace] = []
    left_out: dict[Path, str] = {}
    for path, file in zip(files, real, strict=True):
        faces, kept, error, *_ = seen[file]
        if error is not None:
            left_out[path] = f"{path}: {error}"
        for face in kept:
            warnings = face.quality.warnings if face.quality else ()
            found.append(SortedFace(path, face.number, faces or 0, face.box, "", None, warnings))
    if not found:
        raise DataError(
            f"no face was found on any of {len(files):,} photographs"
            + (f" (first: {next(iter(left_out.values()))})" if left_out else "")
            + "; give photographs of people, or another bundle"
        )
    embeddings = seen.all_rows(real)
    limit = sorting_threshold(verifier, embeddings) if threshold is None else threshold
    labels = cluster_embeddings(embeddings, limit, _measure(verifier), linkage)
    distances = _to_the_others(embeddings, labels, verifier)
    width = max(4, len(str(int(labels.max()) + 1)))
    named = (
        replace(face, identity=f"person_{label + 1:0{width}}", distance=distance)
        for face, label, distance in zip(found, labels.tolist(), distances, strict=True)
    )
    return Sorting(tuple(named), left_out, float(limit), embeddings, seen.went_on, seen.notes)


def sorting_threshold(verifier: Verifier, embeddings: np.ndarray) -> float:
    """The threshold for a heap: that of the highest F1 at the heap's own prevalence.

    The more people are on a heap, the fewer of its pairs show one person, and the smaller a
    threshold must be for most of the joined pairs to be right. So clusters are made with the
    threshold for one genuine pair in a hundred, the share of pairs within them is taken for the
    prevalence, and the threshold is chosen anew, until it stays.

    Args:
        verifier: whose calibration pairs it is chosen on.
        embeddings: (n, D) float32, of the heap.

    Returns:
        a distance; where the bundle keeps no calibration, the verifier's own threshold.
    """
    kept = verifier.bundle.calibration
    if kept is None or verifier.tta != verifier.bundle.tta or len(embeddings) < 2:
        return verifier.threshold
    prevalence, threshold, known = _PREVALENCE, 0.0, 0.0
    for _ in range(_ROUNDS):
        before = threshold
        threshold = kept.with_policy(MaxF1(prevalence=prevalence, smooth="auto")).threshold
        if abs(threshold - before) < _STAYS * threshold:
            break
        try:
            labels = cluster_embeddings(embeddings, threshold, _measure(verifier))
        except CalibrationError:  # too many hang together: a smaller threshold parts them
            if known:
                return known
            prevalence = max(prevalence / 10, _PREVALENCES[0])
            continue
        known = threshold
        sizes = np.bincount(labels)
        share = (sizes * (sizes - 1)).sum() / (len(labels) * (len(labels) - 1))
        prevalence = float(np.clip(share, *_PREVALENCES))
    return threshold


def _measure(verifier: Verifier) -> Distance | str:
    """The distance of a bundle, or its name where it is run by another engine."""
    found: Distance | str = getattr(verifier.bundle, "distance", verifier.bundle.distance_name)
    return found


def _to_the_others(
    embeddings: np.ndarray, labels: np.ndarray, verifier: Verifier
) -> Sequence[float | None]:
    """Mean distance of each face to the other faces of its cluster; None where there are none."""
    found: list[float | None] = [None] * len(labels)
    for label in np.unique(labels):
        mine = np.flatnonzero(labels == label)
        if len(mine) == 1:
            continue
        for row in mine.tolist():
            others = embeddings[mine[mine != row]]
            repeated = np.repeat(embeddings[row][None], len(others), axis=0)
            found[row] = float(verifier.measure(repeated, others).mean(dtype=np.float64))
    return found
