"""Sorting: a heap of photographs of unknown people, by person, each face for itself."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from siamese.datasets.identities import existing_folder
from siamese.datasets.suffixes import image_suffixes
from siamese.errors import DataError, FaceError, ImageError
from siamese.faces.align import Box
from siamese.inference.verifier import Verifier
from siamese.progress import progress_bar
from siamese.verification.clustering import cluster_embeddings


@dataclass(frozen=True)
class SortedFace:
    """One face of a heap, and whom it was sorted to.

    Attributes:
        photograph: the file.
        number: of the face on the photograph, from 1: first the one that the bundle's cropper
            chooses, then the largest.
        faces: how many were found on it.
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
    """

    faces: tuple[SortedFace, ...]
    left_out: dict[Path, str]
    threshold: float
    embeddings: np.ndarray = field(repr=False)

    @property
    def clusters(self) -> int:
        """How many people were told apart."""
        return len({face.identity for face in self.faces})


def photographs_in(folder: str | Path) -> list[Path]:
    """All images in a folder and in its folders, sorted; hidden ones are passed over.

    Raises:
        DataError: no such folder, or no images in it.
    """
    root = existing_folder(folder)
    known = image_suffixes()
    found = sorted(
        path
        for path in root.rglob("*")
        if path.suffix.lower() in known
        and path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(root).parts)
    )
    if not found:
        raise DataError(f"{root}: no images found; give a folder of photographs")
    return found


def sort_photographs(
    photographs: str | Path | Iterable[str | Path],
    verifier: Verifier,
    *,
    threshold: float | None = None,
    linkage: str = "average",
    progress: bool = True,
) -> Sorting:
    """Find every face on photographs, and sort them into people nobody has named yet.

    Args:
        photographs: a folder, searched with all its folders, or a list of files.
        verifier: finds faces, embeds them, and measures distances.
        threshold: distance up to which clusters are joined; by default the verifier's, which was
            calibrated for pairs.
        linkage: see :func:`siamese.cluster_embeddings`.
        progress: show a progress bar.

    Raises:
        DataError: no photographs, or no face on any of them.
        ConfigError, CalibrationError: see :func:`siamese.cluster_embeddings`.
    """
    if isinstance(photographs, (str, Path)):
        files = photographs_in(photographs)
    else:
        files = [Path(path) for path in photographs]
    found: list[SortedFace] = []
    rows: list[np.ndarray] = []
    left_out: dict[Path, str] = {}
    with progress_bar("looking for faces", len(files), progress) as advance:
        for path in files:
            advance(1)
            try:
                faces = verifier.faces(path)
            except (FaceError, ImageError) as error:
                left_out[path] = str(error)
                continue
            for number, face in enumerate(faces, start=1):
                quality = verifier.quality(face)
                warnings = quality.warnings if quality else ()
                found.append(SortedFace(path, number, len(faces), face.box, "", None, warnings))
                rows.append(verifier.embed_faces([face])[0])
    if not found:
        raise DataError(
            f"no face was found on any of {len(files):,} photographs"
            + (f" (first: {next(iter(left_out.values()))})" if left_out else "")
            + "; give photographs of people, or another bundle"
        )
    limit = verifier.threshold if threshold is None else threshold
    embeddings = np.stack(rows)
    measure = getattr(verifier.bundle, "distance", verifier.bundle.distance_name)
    labels = cluster_embeddings(embeddings, limit, measure, linkage)
    distances = _to_the_others(embeddings, labels, verifier)
    width = max(4, len(str(int(labels.max()) + 1)))
    named = (
        replace(face, identity=f"person_{label + 1:0{width}}", distance=distance)
        for face, label, distance in zip(found, labels.tolist(), distances, strict=True)
    )
    return Sorting(tuple(named), left_out, float(limit), embeddings)


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
