"""Enrolling: photographs of people are looked at together, and added in the order given."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from PIL import Image

from siamese.errors import ConfigError, FaceError, ImageError
from siamese.inference.gallery.enrolled import Enrolled
from siamese.inference.gallery.results import Enrolment
from siamese.inference.given_image import ImageLike, hash_of
from siamese.inference.photograph import KeptFace, Photograph
from siamese.inference.photographs import EmbeddedPhotographs, embedded_photographs

if TYPE_CHECKING:
    from siamese.inference.verifier import Verifier

BLOCK = 200  # photographs that are looked at together


@dataclass
class Account:
    """What becomes of the photographs of a person, while they are enrolled.

    Attributes:
        name: of the person.
        added, known, left_out, notes: see :class:`Enrolment`.
    """

    name: str
    added: int = 0
    known: int = 0
    left_out: dict[str, str] = field(default_factory=dict)
    notes: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def enrolment(self) -> Enrolment:
        """The result."""
        return Enrolment(self.name, self.added, self.known, self.left_out, self.notes)


class Given(NamedTuple):
    """A photograph of a person, the ``number``-th, from 1."""

    account: Account
    number: int
    photograph: ImageLike

    @property
    def file(self) -> str | None:
        """Where it lies; None in memory."""
        return str(self.photograph) if isinstance(self.photograph, (str, Path)) else None

    @property
    def place(self) -> str:
        """What to call it."""
        return self.file or f"<photograph {self.number}>"


def as_photographs(given: ImageLike | Iterable[ImageLike]) -> list[Any]:
    """The photographs of a person, of whom one may be given by itself.

    Raises:
        ConfigError: neither a photograph nor several.
    """
    if isinstance(given, (str, Path, Image.Image)) or hasattr(given, "__array__"):
        return [given]
    if not isinstance(given, Iterable):
        raise ConfigError(f"give one photograph or a list of them, not {given!r:.80}")
    return list(given)


def enrol_block(
    verifier: Verifier,
    enrolled: Enrolled,
    block: Sequence[Given],
    jobs: int | None,
    advance: Callable[[int], None],
) -> None:
    """Add photographs, in order; what became of them stands in their accounts.

    Args:
        verifier: finds faces, and embeds them one at a time.
        enrolled: whom they are added to.
        block: n photographs; embeddings of all of them are held.
        jobs: processes that look for faces in files; by default as many as pay.
        advance: is told how many photographs were done.
    """
    contents: dict[int, str] = {}
    files: dict[str, str] = {}  # content -> where it lies; the same content is looked at once
    for row, given in enumerate(block):
        try:
            content = hash_of(given.photograph)
        except ImageError as error:
            given.account.left_out[given.place] = f"{given.place}: {error.without_path}"
            continue
        contents[row] = content
        if given.file is not None and not enrolled.has(given.account.name, content):
            files.setdefault(content, given.file)
    wanted = list(dict.fromkeys(files.values()))
    advance(len(block) - len(wanted))
    seen = embedded_photographs(verifier, wanted, jobs=jobs, advance=advance)
    for row, content in contents.items():
        given = block[row]
        if enrolled.has(given.account.name, content):
            given.account.known += 1
        else:
            _add(verifier, enrolled, given, content, _found(verifier, given, files, content, seen))


def _found(
    verifier: Verifier,
    given: Given,
    files: dict[str, str],
    content: str,
    seen: EmbeddedPhotographs,
) -> Photograph:
    """What is on a photograph, with its embedding."""
    if given.file is not None:
        file = files[content]
        found = seen[file]
        if not found.kept:
            return found
        (row,) = seen.first_rows([file])
        return found._replace(kept=(found.kept[0]._replace(embedding=row),))
    try:
        look = verifier.look(given.photograph)
    except ImageError as error:
        return Photograph(None, (), error.without_path)
    except FaceError as error:
        return Photograph(None, (), error.without_path, error.kind, error.reason)
    (row,) = verifier.embed_faces([look.face])
    kept = KeptFace(1, look.face.box, verifier.quality(look.face), row)
    return Photograph(look.faces, (kept,))


def _add(
    verifier: Verifier, enrolled: Enrolled, given: Given, content: str, found: Photograph
) -> None:
    account, place = given.account, given.place
    # What to do about a refused face is said for a verdict on two images.
    error = found.refused or found.error or ("no face found" if found.faces == 0 else None)
    if error is not None:
        account.left_out[place] = f"{place}: {error}"
        return
    (face,) = found.kept
    assert face.embedding is not None
    said = list(face.quality.warnings) if face.quality else []
    if found.faces is not None and found.faces > 1:
        said.insert(0, f"{found.faces} faces; one of them was enrolled")
    # Who has the same name in other letters is the same person.
    account.name = shown = enrolled.shown(account.name) or account.name
    if others := enrolled.others(shown, content):
        said.append(f"it is enrolled as {', '.join(map(repr, sorted(others)))}, too")
    if said:
        account.notes[place] = tuple(said)
    enrolled.add(shown, face.embedding, place, content)
    account.added += 1
