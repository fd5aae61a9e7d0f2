"""What is written of a sorted heap: a table to correct, and folders of people to train on."""

from __future__ import annotations

import csv
import io
import math
import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from siamese.datasets.delimiters import DELIMITERS, said_delimiter
from siamese.datasets.identities import normalise_identity
from siamese.errors import DataError, ImageError
from siamese.evaluation.sorting import Sorting
from siamese.faces.align import Box, crop_to_square
from siamese.faces.images import read_image
from siamese.reading import LARGEST_TEXT, Unreadable, read_bytes
from siamese.storage import write_whole

COLUMNS = (
    "path", "identity", "face", "faces", "left", "top", "right", "bottom", "distance", "note",
)  # fmt: skip
# How far a face that is cut out reaches beyond its box on each side, as a share of it: so far that
# a cropper finds it again, and seldom another one.
_MARGIN = 0.6
_LARGEST_SIDE = 512  # pixels of a face that is cut out
_LONGEST = 150  # bytes of a name; systems take 255, and something may be added


class FaceRow(NamedTuple):
    """A line of the table: a face and whom it shows.

    Attributes:
        path: of the photograph, relative to the heap's folder.
        identity: "" where it shows nobody, or nobody wanted.
        face: its number on the photograph.
        faces: how many are on it.
        box: pixels; None where nothing was looked for.
    """

    path: str
    identity: str
    face: int
    faces: int
    box: Box | None


def write_table(sorting: Sorting, path: str | Path, root: str | Path) -> Path:
    """Write ``people.csv``: a line for each face, and one for each photograph without.

    Args:
        sorting: of a heap.
        path: of the CSV file; an existing one is replaced.
        root: the heap's folder, which paths are relative to.

    Raises:
        DataError: it cannot be written.
    """
    target, home = Path(path).expanduser(), Path(root).expanduser().resolve()
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow(COLUMNS)
    rows: list[tuple[str, tuple[object, ...]]] = [
        (
            _relative(face.photograph, home),
            (
                face.identity,
                face.number,
                face.faces,
                *(("",) * 4 if face.box is None else (round(v) for v in face.box)),
                "" if face.distance is None else f"{face.distance:.4f}",
                "; ".join(face.warnings),
            ),
        )
        for face in sorting.faces
    ]
    rows += [
        (_relative(photo, home), ("", 0, 0, "", "", "", "", "", why))
        for photo, why in sorting.left_out.items()
    ]
    for name, values in sorted(rows, key=lambda row: (row[0], row[1][1])):
        lines.writerow((name, *values))
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        write_whole(target, text.getvalue().encode("utf-8", "surrogateescape"))
    except OSError as error:
        raise DataError(
            f"{target}: cannot be written ({error.strerror or error}); free some space and run it "
            f"again: it goes on"
        ) from error
    return target


def read_table(path: str | Path) -> list[FaceRow]:
    """Read a table of :func:`write_table`, as it was corrected by hand.

    Raises:
        DataError: missing, or not such a table.
    """
    try:
        # Names of files need not be UTF-8; bytes that are not are kept as they are.
        text = read_bytes(path, LARGEST_TEXT).decode("utf-8-sig", "surrogateescape")
        if "\0" in text:
            raise Unreadable("it has a NUL character")
        reader = _reader(text)
        if not set(COLUMNS[:8]) <= set(reader.fieldnames or ()):
            raise ValueError(f"its columns are {reader.fieldnames}")
        return [_row(line) for line in reader if any(line.values())]
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file; write one: siamese cluster FOLDER --out") from error
    except (OSError, Unreadable, csv.Error, LookupError, TypeError, ValueError) as error:
        raise DataError(
            f"{path}: not a table of siamese cluster ({error!r:.200}); leave its columns as they "
            f"are, change the names of identities alone, and save it as CSV, UTF-8"
        ) from error


def _reader(text: str) -> csv.DictReader[str]:
    """Lines of a table; spreadsheets of much of Europe part cells by semicolons, others by tabs."""
    _, text = said_delimiter(text)
    for delimiter in reversed(DELIMITERS):  # last the comma, which names of files hold
        found = csv.DictReader(
            io.StringIO(text, newline=""), delimiter=delimiter, restval="", strict=True
        )
        if len(found.fieldnames or ()) >= 8:
            break
    return found


def _row(line: dict[str, str]) -> FaceRow:
    """A line that was corrected by hand."""
    name = line["identity"].strip()
    if not name:  # nothing becomes of it
        return FaceRow(line["path"], "", 0, 0, None)
    name.encode()  # a ValueError where it is not UTF-8
    sides = [float(line[side]) for side in COLUMNS[4:8]] if line["left"] else None
    if sides is not None and not all(math.isfinite(side) for side in sides):
        raise ValueError(f"the box of {line['path']!r}, {sides}, is none")
    box = None if sides is None else Box(*sides)
    return FaceRow(line["path"], name, int(line["face"]), int(line["faces"]), box)


def rows_of(sorting: Sorting, root: str | Path) -> list[FaceRow]:
    """The lines of the table that have a face."""
    home = Path(root).expanduser().resolve()
    return [
        FaceRow(_relative(f.photograph, home), f.identity, f.number, f.faces, f.box)
        for f in sorting.faces
    ]


def link_people(rows: Iterable[FaceRow], root: str | Path, folder: str | Path) -> dict[str, int]:
    """Make a folder for each person, as training and calibration read them.

    A photograph with one face is linked. Of one with several, each face is cut out, with as much
    around it as a cropper needs to find it again: a link would show the other people too.

    The folders appear when all are made; where that fails, nothing does.

    Args:
        rows: faces, from :func:`rows_of` or :func:`read_table`; those without an identity are
            passed over.
        root: the heap's folder.
        folder: a new or an empty one, outside the heap.

    Returns:
        identity -> number of images.

    Raises:
        DataError: the folder holds something, or cannot be written; a photograph is missing.
    """
    home, target = Path(root).expanduser().resolve(), Path(folder).expanduser()
    check_free(target, home)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        temporary.mkdir(parents=True)
        counts = _linked(rows, home, temporary)
        if target.exists():
            target.rmdir()
        temporary.rename(target)
    except (OSError, ImageError, ValueError) as error:  # ValueError: a box beside the photograph
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{target}: people's folders cannot be made ({reason})") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return counts


def _linked(rows: Iterable[FaceRow], home: Path, target: Path) -> dict[str, int]:
    """Fill a new folder; arguments and result as for :func:`link_people`."""
    counts: dict[str, int] = {}
    spelling: dict[str, str] = {}
    for row in rows:
        if not row.identity:
            continue
        name = spelling.setdefault(normalise_identity(row.identity), row.identity)
        person = target / _safe(name)
        if name not in counts and person.exists():
            raise DataError(f"{name!r} and another name give one folder, {person.name}; rename one")
        person.mkdir(exist_ok=True)
        source = home / row.path
        if not source.is_file():
            raise DataError(f"{source}: no such photograph; give the folder that was sorted")
        number = "" if row.faces <= 1 else f"_face{row.face}"
        stem = _safe(row.path.rpartition(".")[0].replace("/", "__"))
        alone = row.faces <= 1 or row.box is None
        place = _free(person, stem + number, source.suffix if alone else ".png")
        if row.box is None or alone:
            _link(source, place)
        else:
            _cut(source, row.box, place)
        counts[name] = counts.get(name, 0) + 1
    return counts


def check_free(folder: str | Path, heap: str | Path | None = None) -> None:
    """Refuse a folder that holds something, or that lies in a heap of photographs.

    Args:
        folder: to be made.
        heap: the folder of the photographs; None where it does not matter.

    Raises:
        DataError: it is not empty, no folder, or in the heap.
    """
    target = Path(folder).expanduser()
    if heap is not None and target.resolve().is_relative_to(Path(heap).expanduser().resolve()):
        raise DataError(
            f"{target}: lies in the folder of the photographs, which would then be there twice; "
            f"choose another folder"
        )
    if target.exists() and not target.is_dir():
        raise DataError(f"{target}: is a file and is left alone; choose another folder")
    if target.exists() and any(target.iterdir()):
        raise DataError(f"{target}: is not empty and is left alone; choose another folder")


def _free(folder: Path, stem: str, suffix: str) -> Path:
    """A file that is not there yet: photographs of two folders may have one name."""
    place, number = folder / f"{stem}{suffix}", 1
    while os.path.lexists(place):
        number += 1
        place = folder / f"{stem}_{number}{suffix}"
    return place


def _link(source: Path, place: Path) -> None:
    """A symbolic link, or a copy where the system makes none."""
    try:
        place.symlink_to(source)
    except OSError:
        shutil.copyfile(source, place)


def _cut(source: Path, box: Box, place: Path) -> None:
    wide = box.grown(_MARGIN)
    side = min(_LARGEST_SIDE, max(8, round(max(wide.width, wide.height))))
    Image.fromarray(crop_to_square(read_image(source), wide, side, "edge")).save(place)


def _relative(path: Path, root: Path) -> str:
    whole = path.expanduser().absolute()
    try:
        return whole.resolve().relative_to(root).as_posix()
    except ValueError:
        return str(whole)


def _safe(name: str) -> str:
    """A name that is one folder on every system."""
    kept = "".join("_" if c in '/\\:*?"<>|' or ord(c) < 32 else c for c in name).strip(". ")
    while len(os.fsencode(kept)) > _LONGEST:
        kept = kept[:-1].rstrip(". ")
    return kept or "_"
