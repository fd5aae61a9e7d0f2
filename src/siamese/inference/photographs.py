"""What is on many photographs: taken over from a journal, or looked at now and embedded.

Several processes look at photographs; this one embeds, one face at a time, so that each embedding
is that of :meth:`siamese.Verifier.embed_faces`, bit for bit, wherever the work was stopped and
however many processes looked. Memory holds embeddings, and the crops of a few hundred photographs.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from siamese.errors import FaceError
from siamese.faces.croppers.base import Look
from siamese.inference.embedding_rows import EmbeddingRows
from siamese.inference.list_journal import ListJournal, Stamp
from siamese.inference.looks import Seen, looks_at
from siamese.inference.photograph import KeptFace, Photograph

if TYPE_CHECKING:
    from siamese.inference.verifier import Verifier


class EmbeddedPhotographs(Mapping[str, Photograph]):
    """File -> photograph, as :func:`embedded_photographs` finds them.

    Their embeddings are held in one table, since small arrays of their own would take more.

    Attributes:
        went_on: how many of them were there from a run that was stopped.
        notes: what must be known beside it, in sentences.
    """

    def __init__(self, expected: int, journal: ListJournal | None) -> None:
        self._rows = EmbeddingRows(expected)
        self._found: dict[str, Photograph] = {}
        self._places: dict[str, int] = {}
        self.went_on = 0
        self.notes = () if journal is None or not journal.note else (journal.note,)

    def __getitem__(self, file: str) -> Photograph:
        """What was found on a photograph, without its embeddings."""
        return self._found[file]

    def __iter__(self) -> Iterator[str]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)

    def add(self, file: str, found: Photograph) -> None:
        """Take over what was found on a photograph."""
        rows = [face.embedding for face in found.kept if face.embedding is not None]
        if rows:
            self._places[file] = self._rows.add(np.stack(rows))
        kept = tuple(face._replace(embedding=None) for face in found.kept)
        self._found[file] = found._replace(kept=kept)

    def first_rows(self, files: Sequence[str]) -> np.ndarray:
        """(n, D) float32, a copy: the first face's embedding of n photographs, each with a face."""
        return self._rows.take([self._places[file] for file in files])

    def all_rows(self, files: Sequence[str]) -> np.ndarray:
        """(n, D) float32, a copy: the embeddings of all faces of photographs, in their order."""
        counts = ((self._places.get(file, 0), len(self._found[file].kept)) for file in files)
        return self._rows.take([row for start, n in counts for row in range(start, start + n)])


def embedded_photographs(
    verifier: Verifier,
    files: Sequence[str],
    *,
    every_face: bool = False,
    journal: ListJournal | None = None,
    jobs: int | None = None,
    advance: Callable[[int], None] = lambda n: None,
) -> EmbeddedPhotographs:
    """Look at photographs, and embed what is compared of them.

    Args:
        verifier: finds, admits and embeds faces.
        files: n different paths.
        every_face: all faces that are not refused, as :meth:`siamese.Verifier.faces` gives them; by
            default the one that :meth:`siamese.Verifier.look` chooses.
        journal: has what an earlier run did, and gets what this one does; its settings say whether
            it has every face.
        jobs: processes that look for faces; by default as many as pay, up to one per core.
        advance: is told how many photographs were done.

    Raises:
        ConfigError: the disk of the journal is full.
        CacheError: a process was killed.
    """
    done = EmbeddedPhotographs(len(files), journal)
    stamps = {} if journal is None else {file: Stamp.of(Path(file)) for file in files}
    if journal is not None:
        for file in files:
            stamp, found = journal.kept.pop(file, (None, None))  # held once
            if found is not None and stamp == stamps[file]:
                done.add(file, found)
    done.went_on = len(done)
    advance(done.went_on)
    wanted = [file for file in files if file not in done]
    for seen in looks_at(wanted, verifier.cropper, jobs, every_face=every_face):
        photograph = _embedded(verifier, seen, every_face)
        done.add(seen.file, photograph)
        stamp = stamps.get(seen.file)
        # What could not be read may be read next time, though the file stays as it is: more memory,
        # a permission, a disk that answers, a package that reads its format.
        if journal is not None and stamp is not None and seen.found is not None:
            journal.keep(seen.file, stamp, photograph)
        advance(1)
    return done


def resolved(path: Path) -> str:
    """The real place of a file, or the name itself where no file can be called so.

    One file has one name, however it is written, and whatever links lead to it.
    """
    with contextlib.suppress(OSError, ValueError):
        return os.path.realpath(path)
    return str(path)


def _embedded(verifier: Verifier, seen: Seen, every_face: bool) -> Photograph:
    """A photograph that was looked at, admitted or refused, and embedded."""
    if seen.found is None:
        return Photograph(None, (), seen.error, seen.reason)
    try:
        if every_face:
            verifier.admit_any("", seen.found)
        else:
            verifier.admit("", Look(seen.found[0], seen.faces))
    except FaceError as error:
        return Photograph(seen.faces, (), error.without_path, error.kind, error.reason)
    kept = [
        KeptFace(number, face.box, verifier.quality(face), verifier.embed_faces([face])[0])
        for number, face in enumerate(seen.found, start=1)
        if not (every_face and verifier.is_refused(face))
    ]
    return Photograph(seen.faces, tuple(kept))
