"""Every file below a folder of identities: an image of one, or left out for a stated reason."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from siamese.datasets.suffixes import is_image, is_litter
from siamese.errors import DataError

HIDDEN = "hidden"
LITTER = "litter of a file manager"
NO_IMAGE = "no image by its suffix"
OUTSIDE = "outside any identity's folder"
UNNUMBERED = "not named <identity>_<number>"
FOLDER = "in a folder, where all images lie in one"
LINKED = "a link to a folder, which is not followed"
_NUMBERED = re.compile(r"(.+)_[0-9]+")  # greedy: the last number counts


class Found(NamedTuple):
    """A file that was found.

    Attributes:
        path: of the file.
        identity: the name of the folder in the root that it lies in; "" for none.
        reason: why it is left out; "" for an image of that identity.
    """

    path: Path
    identity: str
    reason: str


def scan(root: Path, *, into_hidden: bool = False) -> Iterator[Found]:
    """All files below ``root``, whose folders are identities; nothing is opened.

    A folder in ``root`` may be a link; one further below may not, since it could lead round in a
    circle.

    Args:
        root: the folder.
        into_hidden: whether also to list what lies in hidden folders, file by file; otherwise each
            of them is one entry.

    Raises:
        DataError: a folder that may not be read.
    """
    for entry in entries_of(root):
        path = Path(entry.path)
        if entry.name.startswith("."):
            yield from _hidden(entry, "", into_hidden)
        elif _is_folder(entry):
            yield from _of_identity(path, entry.name, into_hidden)
        else:
            yield Found(path, "", _why(entry.name) or OUTSIDE)


def scan_flat(root: Path, *, into_folders: bool = False) -> Iterator[Found]:
    """All files in ``root``, named after the identities they show: ``<identity>_<number>``.

    Args:
        root: the folder.
        into_folders: whether also to list what lies in folders in it, file by file, hidden or not.

    Raises:
        DataError: a folder that may not be read.
    """
    for entry in entries_of(root):
        path = Path(entry.path)
        if entry.name.startswith("."):
            yield from _hidden(entry, "", into_folders)
        elif _is_folder(entry):
            if into_folders and not entry.is_symlink():
                yield from (Found(found.path, "", FOLDER) for found in _hidden(entry, "", True))
            continue
        elif (why := _why(entry.name)) or not (number := _NUMBERED.fullmatch(path.stem)):
            yield Found(path, "", why or UNNUMBERED)
        else:
            yield Found(path, number[1], "")


def is_flat(folder: Path) -> bool:
    """Whether images named ``<identity>_<number>`` lie in ``folder`` and none in folders in it."""
    return (
        folder.is_dir()
        and any(not found.reason for found in scan_flat(folder))
        and all(found.reason for found in scan(folder))
    )


def entries_of(folder: Path) -> list[os.DirEntry[str]]:
    """What lies in a folder, by name.

    Raises:
        DataError: it may not be read.
    """
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except PermissionError as error:
        raise DataError(
            f"{folder}: may not be read; change its permissions (chmod u+rx)"
        ) from error


def _of_identity(folder: Path, identity: str, into_hidden: bool) -> Iterator[Found]:
    for entry in entries_of(folder):
        path = Path(entry.path)
        if entry.name.startswith("."):
            yield from _hidden(entry, identity, into_hidden)
        elif entry.is_dir(follow_symlinks=False):
            yield from _of_identity(path, identity, into_hidden)
        else:
            yield Found(path, identity, LINKED if _is_folder(entry) else _why(entry.name))


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether it is a folder, or a link to one; a link to itself is none."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def _why(name: str) -> str:
    """Why a file of that name is no image; "" for one."""
    return "" if is_image(name) else LITTER if is_litter(name) else NO_IMAGE


def _hidden(entry: os.DirEntry[str], identity: str, into_hidden: bool) -> Iterator[Found]:
    if not into_hidden or not entry.is_dir(follow_symlinks=False):
        yield Found(Path(entry.path), identity, HIDDEN)
        return
    for inner in entries_of(Path(entry.path)):
        yield from _hidden(inner, identity, into_hidden)
