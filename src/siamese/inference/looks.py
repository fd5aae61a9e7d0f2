"""Looks: what a cropper finds on many photographs, by several processes, without torch.

A photograph that cannot be read is a result like any other, with the reason.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from siamese.errors import ImageError, first_line
from siamese.faces.crop_jobs import usable_cores
from siamese.faces.croppers.base import CROPPERS, Cropper, Look
from siamese.faces.images import read_image
from siamese.faces.tasks import over_processes
from siamese.plugins import file_of, import_plugin

NO_MEMORY = "needs more memory than there is"
_CHUNK = 8  # photographs of a task: some tenths of a second
# Starting a process and its detector takes about as long as so many photographs.
_WORTH = 64


class Seen(NamedTuple):
    """What was found on a photograph, or why it could not be read."""

    file: str
    look: Look | None
    error: str | None = None
    reason: str | None = None


def looks_at(files: Sequence[str], cropper: Cropper, jobs: int | None = None) -> Iterator[Seen]:
    """What is found on photographs, in any order; those of one process in theirs.

    Args:
        files: n paths.
        cropper: which looks for what is compared.
        jobs: processes; by default as many as pay, up to one per core.

    Raises:
        CacheError: a process was killed.
    """
    wanted = min(usable_cores(), 1 + len(files) // _WORTH) if jobs is None else jobs
    if wanted == 1:
        for file in files:
            yield from _look_at([file], cropper)
        return
    work: Callable[..., list[Seen]] = _look_at
    given: tuple[Any, ...] = (cropper,)
    if (plugin := file_of(type(cropper))) is not None:  # the processes do not know that class
        work, given = _look_by_plugin, (plugin, CROPPERS.settings(cropper))
    chunks = (files[i : i + _CHUNK] for i in range(0, len(files), _CHUNK))
    for part in over_processes(work, ((chunk, *given) for chunk in chunks), workers=wanted):
        yield from part


def _look_by_plugin(files: Sequence[str], plugin: str, settings: dict[str, Any]) -> list[Seen]:
    import_plugin(plugin)
    return _look_at(files, CROPPERS.build(settings))


def _look_at(files: Sequence[str], cropper: Cropper) -> list[Seen]:
    done = []
    for file in files:
        try:
            done.append(Seen(file, cropper.look(read_image(file))))
        except ImageError as error:
            text = f"{error.reason}; {error.remedy}"
            done.append(Seen(file, None, text, error.reason.partition(" (")[0]))
        except MemoryError:
            done.append(Seen(file, None, f"{NO_MEMORY}; scale the image down", NO_MEMORY))
        except ValueError as error:  # a fixed box beside the image
            text = f"{first_line(error)}; give an image like those of the training"
            done.append(Seen(file, None, text, "not like the images of the training"))
    return done
