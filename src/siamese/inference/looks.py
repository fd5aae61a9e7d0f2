"""Looks: what a cropper finds on many photographs, by several processes, without torch.

A photograph that cannot be read is a result like any other, with the reason.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from siamese.errors import ConfigError, ImageError, first_line
from siamese.faces.crop_jobs import usable_cores
from siamese.faces.croppers.base import CROPPERS, Cropper, Face
from siamese.faces.images import read_image
from siamese.faces.tasks import over_processes
from siamese.plugins import file_of, import_plugin

NO_MEMORY = "needs more memory than there is"
_CHUNK = 8  # photographs of a task: some tenths of a second
# Starting a process and its detector takes about as long as so many photographs.
_WORTH = 64
# Photographs of a process that may be looked at before the first of them is taken. joblib takes new
# tasks as old ones end, whether or not somebody takes what they give: where embedding is slower
# than looking, as with four processes and more, the crops of all photographs would be held.
_AHEAD = 128


class Seen(NamedTuple):
    """What was found on a photograph, or why it could not be read.

    Attributes:
        file: its path.
        faces: number of faces found; None where the cropper looks for none, or it was not read.
        found: the face that the cropper chooses, or every face; None where it could not be read.
        error: why not, to follow the file's name.
        reason: the same in a few words.
    """

    file: str
    faces: int | None
    found: tuple[Face, ...] | None
    error: str | None = None
    reason: str | None = None


def check_jobs(jobs: int | None) -> None:
    """Check a number of processes, None for as many as pay.

    Raises:
        ConfigError: no whole number of at least 1.
    """
    if jobs is not None and (isinstance(jobs, bool) or not isinstance(jobs, int) or jobs < 1):
        raise ConfigError(f"jobs must be a whole number of at least 1, not {jobs!r:.40}")


def looks_at(
    files: Sequence[str], cropper: Cropper, jobs: int | None = None, *, every_face: bool = False
) -> Iterator[Seen]:
    """What is found on photographs, in any order; those of one process in theirs.

    Crops of up to ``_AHEAD`` photographs for each process are held, however many there are.

    Args:
        files: n paths.
        cropper: which looks for what is compared.
        jobs: processes at most; by default as many as pay, up to one per core.
        every_face: give all faces, not only the one that the cropper chooses.

    Raises:
        CacheError: a process was killed.
    """
    wanted = min(usable_cores(), 1 + len(files) // _WORTH) if jobs is None else jobs
    wanted = min(wanted, -(-len(files) // _CHUNK))  # more processes would have nothing to do
    if wanted <= 1:
        for file in files:
            yield from _look_at([file], every_face, cropper)
        return
    work: Callable[..., list[Seen]] = _look_at
    given: tuple[Any, ...] = (every_face, cropper)
    if (plugin := file_of(type(cropper))) is not None:  # the processes do not know that class
        work, given = _look_by_plugin, (every_face, plugin, CROPPERS.settings(cropper))
    for start in range(0, len(files), _AHEAD * wanted):
        some = files[start : start + _AHEAD * wanted]
        chunks = (some[i : i + _CHUNK] for i in range(0, len(some), _CHUNK))
        for part in over_processes(work, ((chunk, *given) for chunk in chunks), workers=wanted):
            yield from part


def _look_by_plugin(
    files: Sequence[str], every_face: bool, plugin: str, settings: dict[str, Any]
) -> list[Seen]:
    import_plugin(plugin)
    return _look_at(files, every_face, CROPPERS.build(settings))


def _look_at(files: Sequence[str], every_face: bool, cropper: Cropper) -> list[Seen]:
    done = []
    for file in files:
        try:
            image = read_image(file)
            if every_face:
                found = tuple(cropper.all_faces(image))
                done.append(Seen(file, len(found), found))
            else:
                look = cropper.look(image)
                done.append(Seen(file, look.faces, (look.face,)))
        except ImageError as error:
            reason = error.reason.partition(" (")[0]
            done.append(Seen(file, None, None, error.without_path, reason))
        except MemoryError:
            done.append(Seen(file, None, None, f"{NO_MEMORY}; scale the image down", NO_MEMORY))
        except ValueError as error:  # a fixed box beside the image
            text = f"{first_line(error)}; give an image like those of the training"
            done.append(Seen(file, None, None, text, "not like the images of the training"))
    return done
