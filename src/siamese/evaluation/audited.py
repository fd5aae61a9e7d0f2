"""What is audited: images of a folder, a CSV file, a run or pairs, and the files beside them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from siamese.data.manifest import SplitManifest
from siamese.datasets.given_path import is_table, table_at
from siamese.datasets.identities import IdentityTable
from siamese.datasets.pairs_file import PairsFile
from siamese.datasets.scanning import is_flat, scan, scan_flat
from siamese.errors import ConfigError
from siamese.evaluation.data import manifest_path

UNLISTED = "not listed"


@dataclass(frozen=True)
class Audited:
    """Images, and every other file below their folder.

    Attributes:
        name: of the data set.
        root: the folder.
        files: N file names relative to ``root``.
        identities: on each of them.
        splits: of each; "" where there are none.
        beside: file -> why it is left out, of all other files below ``root``.
    """

    name: str
    root: Path
    files: tuple[str, ...]
    identities: tuple[str, ...]
    splits: tuple[str, ...]
    beside: Mapping[str, str]

    @property
    def paths(self) -> list[Path]:
        """Absolute paths of all N files."""
        return [self.root / file for file in self.files]


def read_data(data: Any, root: str | Path | None = None) -> Audited:
    """The images of what is given; see :func:`siamese.audit_data`.

    Raises:
        ConfigError: a ``root`` for a folder of images.
        DataError, SplitError: no such data.
    """
    if isinstance(data, (str, Path)):
        path = Path(data).expanduser()
        is_run = path.suffix.lower() == ".json" or manifest_path(path) is not None
        if is_run and not is_table(path):
            data = SplitManifest.load(manifest_path(path) or path, root)
        else:
            data = table_at(path, root, flat=True)
    if isinstance(data, PairsFile):
        folds = dict.fromkeys(data.files, "")
        for left, right, fold in zip(data.left, data.right, data.fold, strict=True):
            name = data.fold_names[fold] if data.fold_names else str(fold)
            for row in (left, right):
                folds[data.files[row]] = folds[data.files[row]] or f"fold {name}"
        return _with_others(data.name, data.root, data.files, data.identities, folds)
    if isinstance(data, SplitManifest):
        rows = sorted(
            (entry["file"], entry["identity"], split)
            for split, entries in data.splits.items()
            for entry in entries
        )
        files = tuple(row[0] for row in rows)
        names = tuple(row[1] for row in rows)
        splits = {row[0]: row[2] for row in rows}
        return _with_others(data.dataset, Path(data.root), files, names, splits)
    if not isinstance(data, IdentityTable):
        raise ConfigError(
            f"a {type(data).__name__} cannot be audited: give a folder, a CSV file, a run, a "
            f"siamese.IdentityTable, a siamese.SplitManifest or a siamese.PairsFile"
        )
    return _with_others(data.name, data.root, tuple(data.files), tuple(data.identities), {})


def _with_others(
    name: str,
    root: Path,
    files: tuple[str, ...],
    identities: tuple[str, ...],
    splits: Mapping[str, str],
) -> Audited:
    listed, beside = set(files), {}
    found = scan_flat(root, into_folders=True) if is_flat(root) else scan(root, into_hidden=True)
    for one in found:
        if (file := one.path.relative_to(root).as_posix()) not in listed:
            beside[file] = one.reason or UNLISTED
    return Audited(
        name, root, files, identities, tuple(splits.get(file, "") for file in files), beside
    )


def files_below(root: Path) -> set[str]:
    """All that is no folder below ``root``, by another way than the one that tells images.

    Folders in ``root`` may be links, which are followed; links to folders further below are not,
    and count as files.
    """
    found = set()
    tops = [root, *(p for p in root.iterdir() if p.is_symlink() and _leads_on(p))]
    for top in tops:
        for folder, folders, names in os.walk(top):
            links = [name for name in folders if (Path(folder) / name).is_symlink()]
            if Path(folder) == root:
                links = [name for name in links if not _leads_on(root / name)]
            found |= {(Path(folder) / name).relative_to(root).as_posix() for name in names + links}
    return found


def _leads_on(link: Path) -> bool:
    """Whether a link in the root leads to the folder of an identity."""
    return link.is_dir() and not link.name.startswith(".")
