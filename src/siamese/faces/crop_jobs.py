"""Crops as jobs: images are cropped in this process, in others, or on a cluster, a chunk each."""

from __future__ import annotations

import io
import os
import socket
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from siamese.errors import CacheError, ImageError
from siamese.faces.croppers.base import CROPPERS, Cropper
from siamese.faces.files import read_bytes
from siamese.faces.hashing import content_hash
from siamese.faces.images import decode_image
from siamese.faces.packs import packed_crop, packs_of
from siamese.faces.tasks import over_processes, refuse_what_is_here
from siamese.plugins import file_of, import_plugin
from siamese.progress import progress_bar
from siamese.storage import write_whole

LEFT_OUT = -2  # instead of a number of faces
_CHUNK = 32  # images per task: about 0.3 s of work, while sending it takes a millisecond
# Seconds until a crop that another machine has written must be seen here: network file systems
# remember for a while what is not there.
PATIENCE = 60.0


class Job(NamedTuple):
    """An image to be cropped: its row, its file, and the SHA-256 that its content must have."""

    row: int
    path: Path
    content: str


class Jobs(Sequence[Job]):
    """Jobs that are made when they are asked for, since there may be millions of them.

    Args:
        rows: which rows are to be cropped.
        paths: of all rows.
        hashes: of all rows.
    """

    def __init__(self, rows: Sequence[int], paths: Sequence[Path], hashes: Sequence[Any]) -> None:
        self._rows, self._paths, self._hashes = rows, paths, hashes

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, place: Any) -> Any:
        if isinstance(place, slice):
            return [self._job(row) for row in self._rows[place]]
        return self._job(self._rows[place])

    def _job(self, row: int) -> Job:
        return Job(row, Path(self._paths[row]), self._hashes[row])


class CropPaths(Sequence[Path | None]):
    """The crops of N images, None where one is left out; each path is made when it is asked for.

    Args:
        folder: of the cropper's settings.
        digests: (N, 32) uint8, SHA-256 of each image.
        faces: (N,) int32, how many were found; -1 where none were looked for, -2 where the image is
            left out.
    """

    def __init__(self, folder: Path, digests: np.ndarray, faces: np.ndarray) -> None:
        self._folder, self._digests, self._faces = folder, digests, faces

    def __len__(self) -> int:
        return len(self._faces)

    def __getitem__(self, row: Any) -> Any:
        if isinstance(row, slice):
            return CropPaths(self._folder, self._digests[row], self._faces[row])
        found = int(self._faces[row])
        if found == LEFT_OUT:
            return None
        content = self._digests[row].tobytes().hex()
        return crop_path(self._folder, content, None if found < 0 else found)

    @property
    def kept(self) -> np.ndarray:
        """(N,) bool: which rows have a crop."""
        kept: np.ndarray = self._faces != LEFT_OUT
        return kept

    def without_left_out(self) -> CropPaths:
        """Those that have a crop alone."""
        return CropPaths(self._folder, self._digests[self.kept], self._faces[self.kept])


class Done(NamedTuple):
    """A job that has ended.

    Attributes:
        job: which.
        faces: how many were found; None where none were looked for.
        reason: why there is no crop; None where there is one.
    """

    job: Job
    faces: int | None
    reason: str | None


def usable_cores() -> int:
    """Cores this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def crop_path(folder: Path, content: str, faces: int | None) -> Path:
    """Where a crop lies in the folder of its cropper's settings."""
    # The number of faces is part of the name: listing the folders gives all outcomes, and there is
    # no second file that could contradict the crop.
    return folder / content[:2] / f"{content}-{'x' if faces is None else faces}.png"


def do_jobs(
    jobs: Sequence[Job],
    cropper: Cropper,
    folder: Path,
    *,
    workers: int | None = None,
    backend: str | None = None,
    progress: bool = True,
) -> Iterator[Done]:
    """Do all jobs, in any order.

    Args:
        jobs: which.
        cropper: with which settings.
        folder: where the crops are written; it exists.
        workers, backend, progress: as for :func:`siamese.crop_files`.

    Raises:
        CacheError: a crop cannot be written, a process was killed, or a worker writes into another
            folder than this process reads.
        DataError: a worker does not see a file that is here.
        ConfigError, MissingDependencyError: from the backend.
    """
    if not jobs:
        return
    # Starting a process and its detector takes about a second: this pays only for more work than
    # that.
    wanted = min(usable_cores(), 1 + len(jobs) // 256) if workers is None else max(1, workers)
    chunks = (jobs[i : i + _CHUNK] for i in range(0, len(jobs), _CHUNK))
    if wanted == 1 and backend is None:
        results: Iterator[list[Done]] = (_crop_chunk(chunk, cropper, folder) for chunk in chunks)
    else:
        results = _in_processes(
            chunks, cropper, folder, wanted if backend is None else workers, backend
        )
    with progress_bar("cropping", len(jobs), progress) as advance:
        for chunk in results:
            advance(len(chunk))
            yield from chunk


def _in_processes(
    chunks: Iterator[Sequence[Job]],
    cropper: Cropper,
    folder: Path,
    workers: int | None,
    backend: str | None,
) -> Iterator[list[Done]]:
    work: Any = _crop_chunk
    given: tuple[Any, ...] = (cropper, folder.absolute())
    if (file := file_of(type(cropper))) is not None:  # the processes do not know that class
        work, given = _crop_chunk_by_plugin, (file, CROPPERS.settings(cropper), folder.absolute())
    # Another process may stand in another folder.
    tasks = (([job._replace(path=job.path.absolute()) for job in c], *given) for c in chunks)
    for chunk in over_processes(work, tasks, workers=workers, backend=backend):
        if backend is not None:
            _check_seen(chunk, folder, backend)
        yield chunk


def _check_seen(chunk: Sequence[Done], folder: Path, backend: str) -> None:
    """Check that what a worker has written is here, and that it saw what it could not read."""
    for done in chunk:
        if done.reason is not None:
            refuse_what_is_here(done.job.path, done.reason, backend)
            continue
        path = crop_path(folder, done.job.content, done.faces)
        until = time.monotonic() + PATIENCE
        while not path.exists() and not _is_packed(path):
            if time.monotonic() > until:
                raise CacheError(
                    f"{path}: a worker of crop_backend={backend} has written this crop, and it is "
                    f"not here: the cache must be a folder that all machines see under the same "
                    f"path (SIAMESE_CACHE, data.cache)"
                )
            time.sleep(0.2)
            os.listdir(path.parent if path.parent.exists() else folder)  # asks the server again


def _is_packed(path: Path) -> bool:
    """Whether a crop is in a pack: somebody packs the cache while the workers write into it."""
    packs_of(path.parents[1], fresh=True)
    return packed_crop(path) is not None


def _crop_chunk_by_plugin(
    jobs: Sequence[Job], file: str, settings: dict[str, Any], folder: Path
) -> list[Done]:
    """As :func:`_crop_chunk`, with a cropper whose class a file of the user's defines."""
    import_plugin(file)
    return _crop_chunk(jobs, CROPPERS.build(settings), folder)


def _crop_chunk(jobs: Sequence[Job], cropper: Cropper, folder: Path) -> list[Done]:
    done: list[Done] = []
    for job in jobs:
        try:
            content = read_bytes(job.path)
            if content_hash(content) != job.content:
                raise ImageError(
                    job.path,
                    "its content has changed since it was hashed for the split",
                    "restore it or make a new split",
                )
            crop = cropper(decode_image(content, job.path))
        except ImageError as error:
            done.append(Done(job, None, error.reason))
            continue
        except MemoryError:
            done.append(Done(job, None, "needs more memory than there is"))
            continue
        except ValueError as error:  # a fixed box beside the image
            done.append(Done(job, None, str(error)))
            continue
        buffer = io.BytesIO()
        Image.fromarray(crop.image).save(buffer, "PNG", compress_level=1)
        path = crop_path(folder, job.content, crop.faces)
        try:
            path.parent.mkdir(exist_ok=True)
            write_whole(path, buffer.getvalue())
        except OSError as error:
            if not folder.exists():  # this process made it, or the one that sent the job
                raise CacheError(
                    f"{folder}: the machine {socket.gethostname()!r} does not see the crop cache: "
                    f"it must be a folder that all machines see under the same path "
                    f"(SIAMESE_CACHE, data.cache)"
                ) from error
            raise cache_error(path.parent, error) from error
        done.append(Done(job, crop.faces, None))
    return done


def cache_error(folder: Path, error: OSError) -> CacheError:
    """That crops cannot be written into a folder of the cache."""
    return CacheError(
        f"{folder}: cannot write crops ({error.strerror or error}); free some space or choose "
        f"another folder (SIAMESE_CACHE, data.cache); what is cropped already is kept"
    )
