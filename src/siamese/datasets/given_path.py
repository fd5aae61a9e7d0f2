"""A path that a user gives for a data set: a table of images in a file, or a folder of them."""

from __future__ import annotations

from pathlib import Path

from siamese.datasets.identities import IdentityTable
from siamese.datasets.scanning import is_flat
from siamese.errors import ConfigError

_TABLES = (".csv", ".parquet")  # suffixes of files that list images


def is_table(path: str | Path) -> bool:
    """Whether a path names a CSV or a Parquet file; by its suffix, whether it is there or not."""
    return Path(path).suffix.lower() in _TABLES


def last_part(path: str | Path) -> str:
    """The last part of a path; of one that ends in dots that of the folder it leads to."""
    path = Path(path).expanduser()
    return path.resolve().name if path.name in ("", "..") else path.name


def name_at(path: str | Path) -> str:
    """What the data set of :func:`table_at` is called: a folder by its name, a file by its stem."""
    name = last_part(path)
    return Path(name).stem if is_table(name) else name


def table_at(
    path: str | Path, root: str | Path | None = None, *, flat: bool = False
) -> IdentityTable:
    """The images of a CSV or Parquet file, or of a folder of one folder per identity.

    Args:
        path: of the file or the folder; ``~`` is the user's own folder.
        root: where the images of a file lie; by default in the file's own folder.
        flat: whether a folder may hold files ``<identity>_<number>`` instead of folders, too.

    Raises:
        ConfigError: a ``root`` for a folder.
        DataError: no such file or folder, or one that is not as described.
        MissingDependencyError: a Parquet file, and the package that reads it is not installed.
    """
    place = Path(path).expanduser()
    if is_table(place):
        return IdentityTable.from_file(place, root)
    if root is not None:
        raise ConfigError(
            "--root tells where the images of a CSV or Parquet file, or of a run, lie; leave it "
            "out with a folder"
        )
    if flat and is_flat(place):
        return IdentityTable.from_flat_folder(place)
    return IdentityTable.from_folder(place)
