"""Labeled Faces in the Wild (LFW), 13,233 images of 5,749 people: from a folder or downloaded."""

from __future__ import annotations

import shutil
import tarfile
from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any, NamedTuple

from siamese.datasets.download import download_file
from siamese.datasets.identities import IdentityTable
from siamese.datasets.pairs_file import PairsFile
from siamese.datasets.scanning import is_flat
from siamese.errors import DataError, first_line
from siamese.notices import warn_once

IMAGES, PEOPLE = 13_233, 5_749
_LAYOUTS = ("lfw-deepfunneled", "lfw_funneled", "lfw-funneled", "lfw")
# Of LFWcrop, whose archives hold all faces in one folder.
_FLAT_LAYOUTS = ("faces", "lfwcrop_grey/faces", "lfwcrop_color/faces")


class _Remote(NamedTuple):
    name: str
    url: str
    sha256: str


# The copies and SHA-256 sums that scikit-learn's fetch_lfw_people uses; the University of
# Massachusetts no longer serves them.
_ARCHIVE = _Remote(
    "lfw-funneled.tgz",
    "https://ndownloader.figshare.com/files/5976015",
    "b47c8422c8cded889dc5a13418c4bc2abbda121092b3533a83306f90d900100a",
)
_PAIRS = (
    _Remote(
        "pairs.txt",
        "https://ndownloader.figshare.com/files/5976006",
        "ea42330c62c92989f9d7c03237ed5d591365e89b3e649747777b70e692dc1592",
    ),
    _Remote(
        "pairsDevTrain.txt",
        "https://ndownloader.figshare.com/files/5976012",
        "1d454dada7dfeca0e7eab6f65dc4e97a6312d44cf142207be28d688be92aabfa",
    ),
    _Remote(
        "pairsDevTest.txt",
        "https://ndownloader.figshare.com/files/5976009",
        "7cb06600ea8b2814ac26e946201cdb304296262aad67d046a16a7ec85d0ff87c",
    ),
)


def load_lfw(root: str | Path) -> IdentityTable:
    """LFW from a folder: ``root/<Name>/<Name>_<nnnn>.jpg``, or a folder that holds such a folder.

    LFWcrop is read as it comes: ``root/faces/<Name>_<nnnn>.pgm`` (``.ppm``), or that folder itself.
    Its faces are cut out already, 64 x 64 pixels: take the cropper ``none``. A part of LFW is
    accepted, with a warning that says how many images there are.

    Sources: Huang, Ramesh, Berg and Learned-Miller, *Labeled Faces in the Wild*, University of
    Massachusetts, Amherst, technical report 07-49, 2007. LFWcrop: Sanderson and Lovell,
    *Multi-Region Probabilistic Histograms for Robust and Scalable Identity Inference*, ICB 2009.

    Raises:
        DataError: there is no such folder, or it holds neither folders of people nor such files.
    """
    folder = _images_folder(root)
    read = IdentityTable.from_flat_folder if is_flat(folder) else IdentityTable.from_folder
    table = read(folder, name="lfw")
    if len(table) != IMAGES or len(table.distinct_identities) != PEOPLE:
        warn_once(
            f"{folder}: {len(table):,} photographs of {len(table.distinct_identities):,} people, "
            f"where the whole of LFW has {IMAGES:,} of {PEOPLE:,}",
            stacklevel=2,
        )
    return table


# The official files of pairs of each view.
VIEW1 = ("pairsDevTrain.txt", "pairsDevTest.txt")
VIEW2 = ("pairs.txt",)


def lfw_view2(root: str | Path) -> PairsFile:
    """LFW's View 2, for final figures only: 10 folds of 300 genuine and 300 impostor pairs.

    No person is in two of the folds (``pairs.txt``).

    Args:
        root: as for :func:`load_lfw`; the file lies in it or beside it.

    Raises:
        DataError: no such folder, no such file, or images that do not exist.
    """
    return PairsFile.read(_official_file(root, *VIEW2), _images_folder(root), "lfw_view2")


def lfw_view1(root: str | Path) -> PairsFile:
    """LFW's View 1, for development: 2,200 pairs for a threshold and 1,000 others to test it.

    The files are ``pairsDevTrain.txt`` and ``pairsDevTest.txt``. Half of the pairs of each are
    genuine, and no person is in both. It is not independent of View 2: 2,465 of its 3,095 people,
    and 758 of its 3,200 pairs, are there too. Arguments and errors as :func:`lfw_view2`.
    """
    images = _images_folder(root)
    train, test = (
        PairsFile.read(_official_file(root, name), images, name.removesuffix(".txt"))
        for name in VIEW1
    )
    return train.join(test, "lfw_view1", tested=(1,))


def _images_folder(root: str | Path) -> Path:
    """The folder of folders of people, or, of LFWcrop, of all images."""
    folder = Path(root).expanduser()
    if not folder.exists():
        raise DataError(
            f"{root}: no such folder; give the folder of LFW, or download it: siamese download "
            f"lfw {root}"
        )
    places = [folder / layout for layout in _LAYOUTS if (folder / layout).is_dir()]
    places += [folder / layout for layout in _FLAT_LAYOUTS if is_flat(folder / layout)]
    return places[0] if places else folder


def missing_file(root: str | Path, names: Sequence[str]) -> str | None:
    """The first of some official files that is not where :func:`lfw_view2` would look for it.

    None where all are there; and where there is no such folder, which is another mistake.
    """
    if not Path(root).expanduser().exists():
        return None
    return next((name for name in names if _find_official(root, name) is None), None)


def _find_official(root: str | Path, name: str) -> Path | None:
    """One of the official files: where LFW is, where its images are, or beside either.

    Whether the folder of LFW is given or that of its images, the same places are searched.
    """
    folder, images = Path(root).expanduser().absolute(), _images_folder(root).absolute()
    # The folders that could be given in place of the images' own.
    above = takewhile(lambda f: _images_folder(f) == images, images.parents)
    places = dict.fromkeys(p for f in (folder, images, *above) for p in (f, f.parent))
    return next((p / name for p in places if (p / name).is_file()), None)


def _official_file(root: str | Path, name: str) -> Path:
    """One of the official files, as :func:`_find_official` finds it.

    Raises:
        DataError: no such folder, or no such file.
    """
    if found := _find_official(root, name):
        return found
    raise DataError(
        f"{root}: {name} lies neither in it nor beside it; give the folder of LFW with its "
        f"official files (siamese download lfw lfw fetches both)"
    )


def download_lfw(root: str | Path) -> Path:
    """Download LFW (funnelled, 233 MB) and its official pairs files into ``root``.

    It continues where an earlier try stopped.

    Returns:
        the folder to give to :func:`load_lfw`.

    Raises:
        DataError: no connection, a checksum that does not match, or no space.
    """
    root = Path(root).expanduser()
    target = root / "lfw_funneled"
    for remote in _PAIRS:
        download_file(remote.url, root / remote.name, remote.sha256)
    if target.is_dir():
        return target
    archive = download_file(_ARCHIVE.url, root / _ARCHIVE.name, _ARCHIVE.sha256)
    unpacking = root / ".unpacking"
    shutil.rmtree(unpacking, ignore_errors=True)
    try:
        with tarfile.open(archive) as tar:
            _unpack(tar, unpacking)
        (unpacking / "lfw_funneled").rename(target)  # the folder appears whole or not at all
    except (OSError, EOFError, tarfile.TarError) as error:
        raise DataError(
            f"{archive}: cannot be unpacked ({first_line(error)}); free some space or "
            f"delete it and download again"
        ) from error
    finally:
        shutil.rmtree(unpacking, ignore_errors=True)
    archive.unlink()
    return target


def _unpack(tar: tarfile.TarFile, folder: Path) -> None:
    """Unpack files and folders, but refuse any that would lie outside ``folder``."""
    # The standard filter came with Python 3.11.4; the checks below do not depend on it.
    options: dict[str, Any] = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
    inside = folder.resolve()
    for member in tar:
        if not (member.isfile() or member.isdir()) or not (
            folder / member.name
        ).resolve().is_relative_to(inside):
            raise tarfile.TarError(f"{member.name!r} is no plain file of its own folder")
        tar.extract(member, folder, **options)
