"""verify_list: a list of pairs from file to file, each photograph read and embedded once.

Photographs are looked at by several processes, and embedded one at a time by this one, so that
verdicts are those of :meth:`siamese.Verifier.verify`, bit for bit, whatever else is in the list.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from siamese.datasets.pair_list import ListedPair, PairList
from siamese.errors import CalibrationError, ConfigError, FaceError, first_line
from siamese.inference.list_journal import ListJournal, Photograph, Stamp
from siamese.inference.looks import Seen, looks_at
from siamese.inference.pair_verdicts import COLUMNS, PairVerdict, PairVerdicts
from siamese.progress import progress_bar
from siamese.storage import write_whole

if TYPE_CHECKING:
    from siamese.inference.verifier import Verifier

_BLOCK = 4096  # pairs that are measured together
_NO_NUMBER = "not a number"


def verify_list(
    verifier: Verifier,
    pairs: str | Path,
    out: str | Path,
    root: str | Path | None = None,
    *,
    columns: Sequence[str] | None = None,
    jobs: int | None = None,
    overwrite: bool = False,
    progress: bool = True,
) -> PairVerdicts:
    """Compare the pairs of a CSV file, and write it again with a verdict in each row.

    Rows keep their order and their cells; a row that cannot be compared says why, in the column
    ``error``. The file appears whole at the end. Until then the work lies in ``OUT.parts``: where
    it is stopped, in whatever way, the same call goes on, and the file becomes the same, byte for
    byte.

    Args:
        verifier: embeds and judges.
        pairs: a CSV file; see :meth:`siamese.PairList.read`.
        out: the file of verdicts, ``.csv``.
        root: the folder that the files are relative to; by default that of ``pairs``.
        columns: names of the two columns, where others are meant than those that are known.
        jobs: processes that look for faces; by default as many as pay, up to one per core.
        overwrite: whether ``out`` may be replaced.
        progress: show a progress bar.

    Raises:
        DataError: ``pairs`` cannot be read; see there.
        ConfigError: ``out`` exists already, cannot be written, is the list itself, or is being made
            by another program; a column of the list has the name of one of the verdicts'; ``jobs``
            below 1.
    """
    pairs, out = Path(pairs).expanduser(), Path(out).expanduser()
    root = pairs.parent if root is None else Path(root).expanduser()
    _check_out(pairs, out, overwrite)
    if not root.is_dir():
        raise ConfigError(f"--root {root}: no such folder; give the one that the files lie in")
    listed = PairList.read(pairs, root, columns)
    if taken := [name for name in COLUMNS if name in listed.columns]:
        raise ConfigError(
            f"{pairs}: a column is named {taken[0]!r}, as one of those that verdicts get; rename it"
        )
    _check_jobs(jobs)
    with ListJournal(out, verifier.settings) as journal:
        _check_out(pairs, out, overwrite)  # another program may have written it since
        found = verified_pairs(
            verifier, listed.pairs, root, journal=journal, jobs=jobs, progress=progress
        )
        content = listed.written_with(COLUMNS, (pair.cells() for pair in found))
        try:
            write_whole(out, content)
        except OSError as error:
            raise ConfigError(
                f"{out}: cannot be written ({error.strerror or error}); free some space and run it "
                f"again: it goes on"
            ) from error
        journal.remove()
    if listed.header is None:
        return found
    guess = f"the first line of {pairs.name} ({listed.header:.100}) was taken for a header"
    return PairVerdicts(found.pairs, found.photographs, found.found, (guess, *found.notes))


def given_pairs(pairs: Iterable[Any]) -> list[ListedPair]:
    """Pairs as users of Python give them.

    Raises:
        ConfigError: one that is no pair of paths.
    """
    if isinstance(pairs, (str, Path)):
        raise ConfigError(
            f"verify_pairs takes a list of pairs of files; for a CSV file: siamese.verify_list("
            f"verifier, {str(pairs)!r:.100}, 'verdicts.csv')"
        )
    if not isinstance(pairs, Iterable):
        raise ConfigError(f"verify_pairs takes a list of pairs of files, not {pairs!r:.80}")
    found = []
    for row, pair in enumerate(pairs):
        sides = tuple(pair) if isinstance(pair, Iterable) else ()
        if isinstance(pair, (str, Path)) or len(sides) != 2:
            raise ConfigError(f"pair {row} is {pair!r:.100}; give two files")
        if not all(isinstance(side, (str, os.PathLike)) for side in sides):
            raise ConfigError(
                f"pair {row} holds {next(s for s in sides if not isinstance(s, (str, Path)))!r:.60}"
                f": give paths of files (verify compares images in memory)"
            )
        a, b = (os.fspath(side) for side in sides)
        found.append(ListedPair(a, b, None if a and b else "no file named"))
    return found


def verified_pairs(
    verifier: Verifier,
    pairs: Sequence[ListedPair],
    root: str | Path | None = None,
    *,
    journal: ListJournal | None = None,
    jobs: int | None = None,
    progress: bool = True,
) -> PairVerdicts:
    """See :meth:`siamese.Verifier.verify_pairs`; with a journal it goes on where it was stopped."""
    _check_jobs(jobs)
    folder = Path() if root is None else Path(root).expanduser()
    # One file has one name, however it is written, and whatever links lead to it.
    real = {name: _resolved(folder / name) for p in pairs if p.error is None for name in (p.a, p.b)}
    files = list(dict.fromkeys(real.values()))
    table = _Embeddings(len(files))
    stamps = {file: Stamp.of(Path(file)) for file in files}
    kept = {} if journal is None else journal.kept
    found: dict[str, Photograph] = {}
    for file in files:
        if file in kept and kept[file][0] == stamps[file]:
            found[file] = table.add(file, kept[file][1])
    went_on, notes = len(found), () if journal is None or not journal.note else (journal.note,)
    wanted = [file for file in files if file not in found]
    with progress_bar("verifying", len(files), progress and len(files) > 1) as advance:
        advance(went_on)
        for seen in looks_at(wanted, verifier.cropper, jobs):
            photograph = _embedded(verifier, seen)
            found[seen.file] = table.add(seen.file, photograph)
            stamp = stamps[seen.file]
            # What could not be read may be read next time, though the file stays as it is: more
            # memory, a permission, a disk that answers, a package that reads its format.
            if journal is not None and stamp is not None and seen.look is not None:
                journal.keep(seen.file, stamp, photograph)
            advance(1)
    rows = tuple(_judged(verifier, pairs, real, found, table))
    return PairVerdicts(rows, len(files), went_on, notes)


class _Embeddings:
    """The embeddings of n photographs, in one table: small arrays of their own would take more."""

    def __init__(self, n: int) -> None:
        self._n, self._rows = n, np.empty((0, 0), dtype=np.float32)
        self.place: dict[str, int] = {}

    def add(self, file: str, found: Photograph) -> Photograph:
        """Take over a photograph's embedding; the photograph without it."""
        if found.embedding is None:
            return found
        if not self.place:
            self._rows = np.empty((self._n, len(found.embedding)), dtype=np.float32)
        self.place[file] = len(self.place)
        self._rows[self.place[file]] = found.embedding
        return found._replace(embedding=None)

    def of(self, files: Iterable[str]) -> np.ndarray:
        """(n, D) float32 of n files."""
        return self._rows[[self.place[file] for file in files]]


def _embedded(verifier: Verifier, seen: Seen) -> Photograph:
    """A photograph that was looked at, admitted or refused, and embedded."""
    if seen.look is None:
        return Photograph(None, None, None, seen.error, seen.reason)
    look = seen.look
    try:
        verifier.admit("", look)
    except FaceError as error:
        return Photograph(look.faces, None, None, error.without_path, error.kind)
    embedding = verifier.embed_faces([look.face])[0]
    return Photograph(look.faces, verifier.quality(look.face), embedding)


def _judged(
    verifier: Verifier,
    pairs: Sequence[ListedPair],
    real: Mapping[str, str],
    found: Mapping[str, Photograph],
    table: _Embeddings,
) -> Iterator[PairVerdict]:
    """The verdict of each pair, or why there is none, in order."""
    for start in range(0, len(pairs), _BLOCK):
        block = [_refused(pair, real, found) or pair for pair in pairs[start : start + _BLOCK]]
        whole = [pair for pair in block if isinstance(pair, ListedPair)]
        distances: Iterator[float] = iter(())
        if whole:
            a, b = (table.of(real[pair[side]] for pair in whole) for side in (0, 1))  # type: ignore[index]
            distances = iter(verifier.measure(a, b).tolist())
        for pair in block:
            if isinstance(pair, PairVerdict):
                yield pair
                continue
            one, other = found[real[pair.a]], found[real[pair.b]]
            try:
                verdict = verifier.verdict(
                    next(distances), (one.faces, other.faces), (one.quality, other.quality)
                )
            except CalibrationError as error:
                yield PairVerdict(pair.a, pair.b, None, first_line(error), _NO_NUMBER)
                continue
            yield PairVerdict(pair.a, pair.b, verdict)


def _refused(
    pair: ListedPair, real: Mapping[str, str], found: Mapping[str, Photograph]
) -> PairVerdict | None:
    """Why a pair gets no verdict; None for one that gets one."""
    if pair.error is not None:
        return PairVerdict(pair.a, pair.b, None, pair.error, pair.error.partition(" (")[0])
    faults = [
        (f"{name}: {one.error}", one.reason)
        for name in dict.fromkeys((pair.a, pair.b))
        if (one := found[real[name]]).error is not None
    ]
    if not faults:
        return None
    return PairVerdict(pair.a, pair.b, None, " | ".join(text for text, _ in faults), faults[0][1])


def _resolved(path: Path) -> str:
    """The real place of a file, or the name itself where no file can be called so."""
    with contextlib.suppress(OSError, ValueError):
        return os.path.realpath(path)
    return str(path)


def _check_jobs(jobs: int | None) -> None:
    if jobs is not None and (isinstance(jobs, bool) or not isinstance(jobs, int) or jobs < 1):
        raise ConfigError(f"jobs must be a whole number of at least 1, not {jobs!r:.40}")


def _check_out(pairs: Path, out: Path, overwrite: bool) -> None:
    """Refuse a place for verdicts where they would be lost, or others."""
    if out.suffix.lower() != ".csv":
        raise ConfigError(
            f"--out {out}: verdicts are written as CSV; give a name that ends in .csv"
        )
    if not out.parent.is_dir():
        raise ConfigError(f"--out {out}: there is no folder {out.parent}; make it first")
    if out.is_dir() or (out.exists() and pairs.exists() and out.samefile(pairs)):
        raise ConfigError(f"--out {out} is a folder, or the list itself; give another name")
    if out.exists() and not overwrite:
        raise ConfigError(
            f"--out {out} exists: give another name, or replace it (overwrite=True; on the command "
            f"line --overwrite)"
        )
