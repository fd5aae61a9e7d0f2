"""Gallery: people who are enrolled, and whom of them a photograph shows, if anybody."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from siamese.bounds import check_whole
from siamese.distances.verdict import is_match
from siamese.errors import OF_SEVERAL, ConfigError, FaceError, GalleryError, printable
from siamese.inference.gallery import stored
from siamese.inference.gallery.enrolled import Enrolled
from siamese.inference.gallery.enrolling import (
    BLOCK,
    Account,
    Given,
    as_photographs,
    enrol_block,
)
from siamese.inference.gallery.nearest import Nearest, Rows, nearest_people
from siamese.inference.gallery.results import Candidate, Enrolment, Identification
from siamese.inference.gallery.search_threshold import RATE, SearchThreshold
from siamese.inference.gallery.segment import Segment, joined, plain
from siamese.inference.gallery.without_network import erase
from siamese.inference.given_image import ImageLike, hash_of
from siamese.inference.looks import check_jobs
from siamese.progress import progress_bar

if TYPE_CHECKING:
    from siamese.inference.gallery.faiss_index import FaissIndex
    from siamese.inference.verifier import Verifier

# Segments of fewer rows are joined where there are more of them than that: a search goes through
# each, and each change writes one.
_SMALL, _MOST_SMALL = 1 << 15, 8
_LARGEST_EMBEDDING = 1 << 20


class Gallery:
    """Photographs of people who are enrolled, as embeddings, and a search among them.

    A search is exact: it gives the people, and the distances, that comparing with every photograph
    gives. A person is as far as the nearest of the person's photographs. Whether anybody is named
    at all is decided by a threshold for a whole search (:class:`siamese.SearchThreshold`).

    A gallery belongs to one network, and refuses another. Photographs are not kept, but embeddings
    are biometric data: see ``docs/privacy.md``.

    Args:
        verifier: finds faces, embeds them, and measures distances.

    Attributes:
        verifier: the one that was given.
        folder: where it was loaded from or saved to, absolute; None where it is only in memory.

    Raises:
        ConfigError: no verifier, or one with another ``tta`` than its bundle's.
    """

    def __init__(self, verifier: Verifier) -> None:
        if not hasattr(verifier, "embed_faces"):
            raise ConfigError(
                f"a gallery takes a siamese.Verifier, not {verifier!r:.80}; write "
                f"siamese.Gallery(siamese.Verifier.pretrained()), or siamese.Gallery.load(folder)"
            )
        if verifier.tta != verifier.bundle.tta:
            raise ConfigError(
                f"a gallery is searched as its bundle was calibrated, with "
                f"tta={verifier.bundle.tta}, not tta={verifier.tta}; leave tta out"
            )
        self.verifier = verifier
        self.folder: Path | None = None
        self._generation = 0
        self._held = False
        self._index: FaissIndex | None = None
        self._enrolled = Enrolled()

    # --- who is enrolled ---

    @property
    def people(self) -> Mapping[str, int]:
        """Name -> number of photographs, in order of the names."""
        return dict(sorted(self._enrolled.counts.items()))

    @property
    def photographs(self) -> int:
        """Number of embeddings."""
        return sum(self._enrolled.counts.values())

    def __len__(self) -> int:
        """Number of people."""
        return len(self._enrolled.counts)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self._enrolled.shown(name) is not None

    def __repr__(self) -> str:
        where = f", folder={str(self.folder)!r}" if self.folder else ""
        return f"Gallery({len(self):,} people, {self.photographs:,} photographs{where})"

    def enrol(
        self,
        name: str,
        photographs: ImageLike | Iterable[ImageLike],
        *,
        required: bool = True,
        jobs: int | None = None,
    ) -> Enrolment:
        """Add photographs of a person; in memory, until :meth:`save`.

        Of a photograph with several faces the one is taken that the bundle's cropper chooses, and
        the result says so. A photograph that is enrolled already, by its content, is passed over.
        Of many people, :meth:`enrol_people` is faster.

        Args:
            name: of the person. Names that differ only in case or white space at the ends are one
                person's.
            photographs: one or more: paths, PIL images, or arrays (H, W, 3) or (H, W) uint8.
            required: whether it is an error that none of them could be enrolled.
            jobs: processes that look for faces in files; by default as many as pay, up to one per
                core. What is enrolled is the same, bit for bit.

        Raises:
            FaceError: none of the photographs could be enrolled, and one is required; it says why.
            ConfigError: no name, no photographs, or ``jobs`` below 1.
            CacheError: a process that looked for faces was killed.
        """
        shown = self._name(name)
        given = as_photographs(photographs)
        if not given:
            raise ConfigError(f"no photographs of {shown!r} were given; give one or more")
        (made,) = self.enrol_people({shown: given}, jobs=jobs, progress=False)
        if required and not made.added and not made.known:
            reasons = "; ".join(made.left_out.values())
            raise FaceError(
                "",
                f"no photograph of {shown!r} was enrolled: {reasons:.1000}",
                "give others of the same person",
                OF_SEVERAL,
            )
        return made

    def enrol_people(
        self,
        people: Mapping[str, ImageLike | Iterable[ImageLike]],
        *,
        save_every: int | None = None,
        jobs: int | None = None,
        progress: bool = True,
    ) -> list[Enrolment]:
        """Add photographs of many people, in order, as :meth:`enrol` does for each.

        Several processes look for faces, across people. Nobody has to have a photograph that can be
        enrolled.

        Args:
            people: name -> photographs, as for :meth:`enrol`.
            save_every: save (:meth:`save`) after so many photographs, where any of them was added:
                no more is lost where it is stopped; None: only in memory.
            jobs: as for :meth:`enrol`.
            progress: show a progress bar where there is more than one photograph.

        Returns:
            what became of each person's photographs, in order of ``people``.

        Raises:
            ConfigError: no name, no photographs where they should be, or ``save_every`` or ``jobs``
                below 1. Nothing was added then.
            GalleryError: it cannot be saved; of a gallery without a folder nothing was added then.
            CacheError: a process that looked for faces was killed.
        """
        check_jobs(jobs)
        if save_every is not None:
            check_whole("save_every", save_every, 1, 1 << 30)
            if self.folder is None:
                raise GalleryError(
                    "the gallery has no folder yet; save it first, or leave out save_every"
                )
        if not isinstance(people, Mapping):
            raise ConfigError(
                f"enrol_people takes a dictionary of names and photographs, not {people!r:.80}; of "
                f"one person: enrol(name, photographs)"
            )
        accounts = [Account(self._name(name)) for name in people]
        given = [
            Given(account, number, photograph)
            for account, photographs in zip(accounts, people.values(), strict=True)
            for number, photograph in enumerate(as_photographs(photographs), start=1)
        ]
        size = save_every or BLOCK
        with progress_bar("enrolling", len(given), progress and len(given) > 1) as advance:
            for start in range(0, len(given), size):
                before = self.photographs
                try:
                    enrol_block(
                        self.verifier, self._enrolled, given[start : start + size], jobs, advance
                    )
                finally:
                    added = self.photographs - before
                    if added:
                        self._index = None
                if added and save_every is not None:
                    self.save()
        return [account.enrolment() for account in accounts]

    def add_embeddings(
        self, name: str, embeddings: np.ndarray, photographs: Sequence[str] | None = None
    ) -> None:
        """Add embeddings that the gallery's own network made.

        Args:
            name: of the person.
            embeddings: (n, D) floating point, finite; kept as float32.
            photographs: n, where each comes from; by default nothing is known.

        Raises:
            ConfigError: no name, another shape, or numbers that are not finite.
        """
        shown = self._name(name)
        rows = _as_rows(embeddings, f"the embeddings of {shown!r}")
        places = [""] * len(rows) if photographs is None else [str(p) for p in photographs]
        if len(places) != len(rows):
            raise ConfigError(
                f"{len(rows)} embeddings, but {len(places)} photographs; give one each"
            )
        if any(len(plain(place)) > stored.LONGEST_PLACE for place in places):
            raise ConfigError(
                f"a photograph's name has more than {stored.LONGEST_PLACE:,} characters; give "
                f"shorter ones"
            )
        for row, place in zip(rows, places, strict=True):
            content = hashlib.sha256(row.tobytes()).hexdigest()[:16]
            self._enrolled.add(shown, row, place, content)
        self._index = None

    def name_of(self, name: str) -> str:
        """A person's name as the gallery shows it.

        Raises:
            GalleryError: nobody of that name is enrolled.
        """
        return self._enrolled.of(name)

    def remove(self, name: str) -> int:
        """Take a person out; in memory, until :meth:`save`, which takes it out of the files.

        Args:
            name: as for :meth:`enrol`.

        Returns:
            how many photographs were removed.

        Raises:
            GalleryError: nobody of that name is enrolled.
        """
        self._index = None
        return self._enrolled.remove(self.name_of(name))

    # --- who is on a photograph ---

    def search(
        self,
        photograph: ImageLike,
        k: int = 5,
        *,
        rate: float = RATE,
        confidence: float | None = None,
        threshold: float | None = None,
    ) -> list[Identification]:
        """Whom each face on a photograph shows, if anybody who is enrolled.

        Args:
            photograph: a path, a PIL image, or an array (H, W, 3) or (H, W) uint8.
            k: nearest people to give for each face, >= 1.
            rate: of searches for people who are not enrolled, how many may name somebody, 0 < rate
                < 1; see :class:`siamese.SearchThreshold`.
            confidence: with which that is promised for people who were not calibrated on; None for
                no promise, which finds more.
            threshold: a distance instead.

        Returns:
            one result for each face, first that of the face that the bundle's cropper chooses.

        Raises:
            ImageError: the photograph cannot be read.
            FaceError: no face is found on it, or all are refused for their quality.
            ConfigError: numbers out of range.
            CalibrationError: the calibration pairs cannot support the confidence.
            GalleryError: nobody is enrolled.
        """
        limit = self.threshold(rate, threshold, confidence)
        check_whole("k", k, 1, 1 << 20)
        self._check_people()
        faces = self.verifier.faces(photograph)
        found = self.search_embeddings(self.verifier.embed_faces(faces), k, threshold=limit)
        return [
            Identification(
                candidates[0].name if candidates[0].accepted else None,
                candidates,
                limit,
                len(self),
                face.box,
                self.verifier.quality(face),
            )
            for face, candidates in zip(faces, found, strict=True)
        ]

    def search_embeddings(
        self,
        embeddings: np.ndarray,
        k: int = 5,
        *,
        rate: float = RATE,
        threshold: float | SearchThreshold | None = None,
    ) -> list[tuple[Candidate, ...]]:
        """The nearest people of embeddings that the gallery's own network made.

        Args:
            embeddings: (n, D) floating point, finite.
            k, rate, threshold: as for :meth:`search`.

        Returns:
            for each row up to k people, nearest first; of equal ones in order of their names.

        Raises:
            ConfigError: another shape, numbers that are not finite, or out of range.
            GalleryError: nobody is enrolled.
        """
        if not isinstance(threshold, SearchThreshold):
            threshold = self.threshold(rate, threshold)
        check_whole("k", k, 1, 1 << 20)
        self._check_people()
        probes = _as_rows(embeddings, "the embeddings")
        enrolled = self._enrolled
        if probes.shape[1] != enrolled.size:
            raise ConfigError(
                f"the embeddings have {probes.shape[1]} numbers, those of the gallery "
                f"{enrolled.size}; embed with its network"
            )
        names, parts, _ = enrolled.searchable()
        limit = threshold.threshold
        return [
            tuple(
                Candidate(
                    names[code], float(d), enrolled.photograph(row), is_match(float(d), limit)
                )
                for code, row, d in zip(
                    one.codes.tolist(), one.rows.tolist(), one.distances, strict=True
                )
            )
            for one in self._nearest(probes, parts, k)
        ]

    def rows(self) -> tuple[list[str], np.ndarray]:
        """The name and the embedding of every photograph, in order of the names.

        Returns:
            n names, and (n, D) float32, a copy.

        Raises:
            GalleryError: nobody is enrolled.
        """
        self._check_people()
        whole = self._enrolled.whole()
        return whole.names, whole.embeddings

    def is_enrolled(self, name: str, photograph: ImageLike) -> bool:
        """Whether a photograph, by its content, is one of those that were enrolled of a person.

        Raises:
            ImageError: it cannot be read.
        """
        return name in self and self._enrolled.has(name, hash_of(photograph))

    def threshold(
        self,
        rate: float = RATE,
        threshold: float | None = None,
        confidence: float | None = None,
    ) -> SearchThreshold:
        """The threshold of a search, and what is known of it.

        Args:
            rate: of searches for people who are not enrolled, how many may name somebody.
            threshold: a distance instead.
            confidence: as for :meth:`search`.

        Raises:
            ConfigError: a rate, a threshold or a confidence that is none.
            CalibrationError: the calibration pairs cannot support the confidence.
        """
        return SearchThreshold.choose(
            self.verifier.bundle, self.photographs, rate, threshold, confidence
        )

    def approximate(self, lists: int | None = None, probes: int = 16) -> None:
        """Let faiss find the candidates from now on, until somebody is enrolled or removed.

        For some hundred thousand photographs and more. It holds a second copy of all embeddings in
        memory, and may miss the nearest person.

        Args:
            lists, probes: see :class:`siamese.inference.gallery.faiss_index.FaissIndex`.

        Raises:
            MissingDependencyError: faiss is not installed (extra ``faiss``).
            ConfigError: numbers out of range, or a distance that is neither euclidean nor cosine.
            GalleryError: nobody is enrolled.
        """
        from siamese.inference.gallery.faiss_index import FaissIndex

        self._check_people()
        kind = self.verifier.bundle.distance_name
        if kind not in ("euclidean", "cosine"):
            raise ConfigError(f"faiss knows no {kind} distance; search exactly")
        self._index = FaissIndex(self._enrolled.searchable().parts, kind == "cosine", lists, probes)

    # --- in files ---

    def save(self, folder: str | Path | None = None) -> Path:
        """Write what has changed, in one step: a process that is killed leaves the old or the new.

        Embeddings of people who were removed are in no file afterwards. (The files that held them
        are deleted, not overwritten; copies that others made are not known here.)

        Args:
            folder: by default the one it was loaded from.

        Raises:
            GalleryError: no folder, one that holds another gallery or something else, one that
                another process is writing, or has written since it was loaded; or it cannot be
                written.
        """
        target = self.folder if folder is None else Path(folder).expanduser().absolute()
        if target is None:
            raise GalleryError("the gallery has no folder yet; give one: save(folder)")
        held = self._held and target == self.folder
        with contextlib.nullcontext() if held else stored.locked(target):
            self._check_target(target)
            index = stored.Index(
                stored.VERSION,
                self.verifier.bundle.fingerprint,
                self.verifier.bundle.distance_name,
                self._enrolled.size or 1,
                _name_of(self.verifier.source) or "",
                self._generation + 1,
                [],
            )
            segments = _compacted(self._enrolled.segments)
            self._enrolled.replace(stored.write_gallery(target, index, segments).segments)
        self._generation, self.folder = index.generation, target
        return target

    @classmethod
    def load(cls, folder: str | Path, verifier: Verifier | None = None) -> Gallery:
        """Read a gallery; embeddings are mapped from the files, not read. Nothing is executed.

        Args:
            folder: of the gallery.
            verifier: of the network that the gallery was made with; by default that network is
                looked for where it was found then.

        Raises:
            GalleryError: missing, damaged, of a newer version, or of another network.
            BundleError: no bundle where the network was.
        """
        place = Path(folder).expanduser()
        index = stored.read_index(place)
        if verifier is None:
            from siamese.inference.verifier import Verifier

            if not index.bundle:
                raise GalleryError(
                    f"{folder}: it does not say where its network is; give it: "
                    f"Gallery.load(folder, verifier) (--bundle DIR)"
                )
            pretrained = index.bundle == "pretrained"
            verifier = Verifier.pretrained() if pretrained else Verifier.load(index.bundle)
        made = cls(verifier)
        found = stored.read_gallery(place)
        if found.index.fingerprint != verifier.bundle.fingerprint:
            where = f"; it was made with {printable(index.bundle)}" if index.bundle else ""
            raise GalleryError(
                f"{folder}: its embeddings are of another network, or of other crops, than this "
                f"bundle's, and cannot be compared{where}; give that bundle, or enrol anew"
            )
        made.folder, made._enrolled = place.absolute(), Enrolled(found.segments)
        made._generation = found.index.generation
        return made

    @staticmethod
    def erase(folder: str | Path, names: Sequence[str]) -> dict[str, int]:
        """Take people out of a gallery's files; its network is not needed.

        See :func:`siamese.inference.gallery.without_network.erase`.
        """
        return erase(folder, names)

    @contextlib.contextmanager
    def exclusive(self) -> Iterator[None]:
        """Keep other processes from writing the gallery's folder, over several :meth:`save`.

        Raises:
            GalleryError: another process is writing it, or it has no folder.
        """
        if self.folder is None:
            raise GalleryError("the gallery has no folder yet; save it first")
        with stored.locked(self.folder):
            self._held = True
            try:
                self._check_target(self.folder)
                yield
            finally:
                self._held = False

    # --- parts of these ---

    def _name(self, name: Any) -> str:
        """A name as it is shown: as it was first given."""
        shown = plain(name).strip() if isinstance(name, str) else ""
        if not 1 <= len(shown) <= stored.LONGEST_NAME:
            raise ConfigError(
                f"a person's name must be a text of 1 to {stored.LONGEST_NAME:,} characters, not "
                f"{name!r:.80}"
            )
        return self._enrolled.shown(shown) or shown

    def _nearest(self, probes: np.ndarray, parts: list[Rows], k: int) -> list[Nearest]:
        measure = self.verifier.measure
        if self._index is not None:
            most = max(self._enrolled.counts.values())
            return self._index.nearest(probes, parts, k, measure, most)
        kind = self.verifier.bundle.distance_name
        return nearest_people(probes, parts, k, measure, kind=kind)

    def _check_people(self) -> None:
        if not self._enrolled.counts:
            raise GalleryError(
                "nobody is enrolled; enrol somebody first: siamese enrol, or enrol()"
            )

    def _check_target(self, target: Path) -> None:
        """Refuse a folder that holds something else than what this gallery was loaded from."""
        there = (target / stored.INDEX).exists()
        empty = all(path.name == stored.LOCK for path in target.iterdir())
        if target == self.folder and (there or empty):
            # Where somebody has emptied the folder, everything is written again.
            if there and stored.read_index(target).generation != self._generation:
                raise GalleryError(
                    f"{target}: another process has changed the gallery since it was loaded; load "
                    f"it again, and enrol or remove again"
                )
            return
        if not empty:
            what = "another gallery" if there else "something else"
            raise GalleryError(
                f"{target}: holds {what} and is left alone; choose another folder, or load it first"
            )


def _as_rows(embeddings: np.ndarray, what: str) -> np.ndarray:
    """(n, D) float32, a copy; refuses what is not finite in that."""
    given = np.asarray(embeddings)
    if given.ndim == 2 and given.dtype.kind == "f" and 1 <= given.shape[1] <= _LARGEST_EMBEDDING:
        with np.errstate(over="ignore"):
            rows: np.ndarray = given.astype(np.float32)
        if np.isfinite(rows).all():
            return rows
    raise ConfigError(
        f"{what} have shape {given.shape}, {given.dtype}; give (n, D) floating point numbers that "
        f"are finite as float32"
    )


def _compacted(segments: list[Segment]) -> list[Segment]:
    small = [segment for segment in segments if len(segment) < _SMALL]
    if len(small) <= _MOST_SMALL:
        return segments
    return [*(s for s in segments if len(s) >= _SMALL), joined(small)]


def _name_of(source: str | None) -> str | None:
    """Where a bundle lies, for another process with another working folder."""
    if not source or source == "pretrained":
        return source
    return plain(str(Path(source).absolute()))
