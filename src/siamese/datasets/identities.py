"""IdentityTable: which identity each image shows, read from a folder, a CSV or Parquet file."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath

import numpy as np

from siamese.datasets.columns import MANY, CodedColumn, Paths, TextColumn, row_numbers
from siamese.datasets.csv_file import read_rows
from siamese.datasets.parquet_file import read_parquet
from siamese.datasets.scanning import NO_IMAGE, OUTSIDE, UNNUMBERED, scan, scan_flat
from siamese.datasets.suffixes import LeftOut
from siamese.errors import DataError
from siamese.notices import warn_once

MAX_GROUPS = 30  # of a column: more are names rather than groups, and no table shows them


@dataclass(frozen=True)
class IdentityTable:
    """A table of images, one row each: which file, and which identity it shows.

    Attributes:
        root: the folder that ``files`` are relative to.
        files: N file names relative to ``root``, with ``/`` between folders, sorted, no two equal.
        identities: N names, one per file, as :func:`normalise_identity` writes them.
        name: what the data set is called in reports.
        groups: column -> N values, a property of each image (``"group_age"`` -> ``"20-29"``, ...),
            by which figures are stated separately; "" where it is unknown. Empty for folders.
        left_out: reason -> number of files beside these that were met in the folder; a hidden
            folder counts as one. Empty for a file.
        spellings: identity -> its name as it was first written. Empty where that is not known.

    Up to 200,000 rows ``files``, ``identities`` and groups are tuples; above, they are sequences
    that make each value when it is asked for, and take about 40 bytes per row.

    Raises:
        DataError: no rows, lists of different lengths, a group that is not text, more than 30
            groups in a column, or a file listed twice.
    """

    root: Path
    files: Sequence[str]
    identities: Sequence[str]
    name: str = "data"
    groups: Mapping[str, Sequence[str]] = field(default_factory=dict, hash=False)
    left_out: Mapping[str, int] = field(default_factory=dict, hash=False, compare=False)
    spellings: Mapping[str, str] = field(default_factory=dict, hash=False, compare=False)

    def __post_init__(self) -> None:
        if len(self.files) != len(self.identities):
            raise DataError(
                f"{len(self.files)} files but {len(self.identities)} identities: give one "
                f"identity per file"
            )
        for column, values in self.groups.items():
            if len(values) != len(self.files):
                raise DataError(
                    f"{len(self.files)} files but {len(values)} values of {column!r}: give one "
                    f"group per file, empty where it is unknown"
                )
            distinct = set(values.values if isinstance(values, CodedColumn) else values)
            if not all(isinstance(value, str) for value in distinct):
                raise DataError(f"the values of {column!r} must be text: write numbers as '30'")
            if (number := len(distinct - {""})) > MAX_GROUPS:
                raise DataError(
                    f"{column!r} has {number} groups, and at most {MAX_GROUPS} are compared: merge "
                    f"some (ages to 20-29, 30-39, ...), or rename the column if it holds no groups"
                )
        if not self.files:
            raise DataError(
                f"{self.root}: no images found; expected {self.root}/<identity>/<image>.jpg"
            )
        if isinstance(self.files, TextColumn):
            twice = self.files.repeated()
        else:
            twice = next((f for f, n in Counter(self.files).items() if n > 1), None)
        if twice is not None:
            raise DataError(
                f"{self.root}: {twice!r} is listed {self.files.count(twice)} times; list each file "
                f"once"
            )

    def __len__(self) -> int:
        return len(self.files)

    def __hash__(self) -> int:  # of millions of rows not of all
        return hash((self.root, self.name, len(self), self.files[0], self.identities[0]))

    @cached_property
    def distinct_identities(self) -> tuple[str, ...]:
        """The distinct identities, sorted."""
        if isinstance(self.identities, CodedColumn):
            return self.identities.values
        return tuple(sorted(set(self.identities)))

    @cached_property
    def labels(self) -> np.ndarray:
        """(N,) int64: each row's position in ``distinct_identities``."""
        if isinstance(self.identities, CodedColumn):
            return self.identities.codes.astype(np.int64)
        position = {identity: i for i, identity in enumerate(self.distinct_identities)}
        return np.array([position[i] for i in self.identities], dtype=np.int64)

    @cached_property
    def counts(self) -> dict[str, int]:
        """Number of images of each identity."""
        return dict(zip(self.distinct_identities, self.sizes.tolist(), strict=True))

    @cached_property
    def sizes(self) -> np.ndarray:
        """Number of images of each of ``distinct_identities``, int64."""
        return np.bincount(self.labels, minlength=len(self.distinct_identities))

    @property
    def paths(self) -> Sequence[Path]:
        """Absolute paths of all rows."""
        if isinstance(self.files, TextColumn):
            return Paths(self.root, self.files)
        return [self.root / f for f in self.files]

    def select(self, rows: Sequence[int] | np.ndarray) -> IdentityTable:
        """The table of the given rows only: row numbers, or a mask, (N,) bool.

        Raises:
            IndexError: beyond the table.
            DataError: no rows.
        """
        rows = row_numbers(rows, len(self))
        return IdentityTable(
            self.root,
            _taken(self.files, rows),
            _taken(self.identities, rows),
            self.name,
            {column: _taken(values, rows) for column, values in self.groups.items()},
            spellings=self.spellings,
        )

    def spelling(self, row: int) -> str:
        """The identity of an image as it was first written; where that is not known, its name.

        A table that comes from a saved split has no spellings: there the folder tells it, or what
        stands before the number of the file.

        Raises:
            IndexError: beyond the table.
        """
        name = self.identities[row]
        if name in self.spellings:
            return self.spellings[name]
        path = PurePosixPath(self.files[row])
        written = (*path.parts[:-1], path.stem.rpartition("_")[0])
        return next((part for part in written if normalise_identity(part) == name), name)

    @classmethod
    def from_folder(cls, root: str | Path, name: str | None = None) -> IdentityTable:
        """Read ``root/<identity>/**/<image>``: every folder directly in ``root`` is one identity.

        What is an image is told by its suffix (:func:`~siamese.datasets.suffixes.image_suffixes`).
        One warning counts the files in the identities' folders that are none, by their kind;
        another one the images that lie directly in ``root``, since they belong to no identity.
        Anything hidden is ignored.

        Raises:
            DataError: ``root`` is missing, not a folder, or holds no images.
        """
        root = existing_folder(root)
        files, identities, left_out, why = [], [], LeftOut(), Counter[str]()
        for found in scan(root):
            if not found.reason:
                files.append(found.path.relative_to(root).as_posix())
                identities.append(found.identity)
                continue
            why[found.reason] += 1
            if found.reason == NO_IMAGE:
                # What is no picture at all is often there on purpose: a licence, a list of pairs.
                left_out.add(found.path.name, photographs_only=not found.identity)
        strays = why[OUTSIDE]
        if not files:
            hint = (
                f"; the {strays} images lying in it belong in one folder per identity"
                if strays
                else ""
            )
            raise DataError(
                f"{root}: no images found in folders of identities; expected "
                f"{root}/<identity>/<image>.jpg{hint}{left_out.hint()}"
            )
        if strays:
            warn_once(
                f"{root}: images that lie outside any identity's folder are ignored: {strays}",
                stacklevel=2,
            )
        if left_out:
            warn_once(f"{root}: {left_out}", stacklevel=2)
        return cls.build(root, files, identities, name or root.name, left_out=why)

    @classmethod
    def from_flat_folder(cls, root: str | Path, name: str | None = None) -> IdentityTable:
        """Read ``root/<identity>_<number>.<suffix>``: all images lie in one folder.

        The identity is what stands before the last ``_`` and number, as in LFW's
        ``George_W_Bush_0001.pgm``. One warning counts the files that are no images, by their kind,
        and another one the images without such a number, since nothing tells whom they show.
        Folders and anything hidden are ignored.

        Raises:
            DataError: ``root`` is missing, not a folder, or holds no such images.
        """
        root = existing_folder(root)
        files, identities, strays, left_out, why = [], [], [], LeftOut(), Counter[str]()
        for found in scan_flat(root):
            if not found.reason:
                files.append(found.path.name)
                identities.append(found.identity)
                continue
            why[found.reason] += 1
            if found.reason == NO_IMAGE:
                left_out.add(found.path.name)
            elif found.reason == UNNUMBERED:
                strays.append(found.path.name)
        if not files:
            hint = f"; {strays[0]!r} has no number" if strays else ""
            raise DataError(
                f"{root}: no images found that are named <identity>_<number>.jpg; rename them, or "
                f"give a folder with one folder per identity{hint}{left_out.hint()}"
            )
        if strays:
            warn_once(
                f"{root}: {len(strays)} images are not named <identity>_<number> and left out, "
                f"first {strays[0]!r}",
                stacklevel=2,
            )
        if left_out:
            warn_once(f"{root}: {left_out}", stacklevel=2)
        return cls.build(root, files, identities, name or root.name, left_out=why)

    @classmethod
    def from_heap(cls, root: str | Path, name: str | None = None) -> IdentityTable:
        """All images below ``root``, in any folders: nobody has said whom they show.

        Each is an identity of its own, called as its file. One warning counts the files that are no
        images, by their kind. Anything hidden is ignored.

        Raises:
            DataError: ``root`` is missing, not a folder, or holds no images.
        """
        root = existing_folder(root, "a folder of photographs")
        files, left_out, why = [], LeftOut(), Counter[str]()
        for found in scan(root):
            if found.reason in ("", OUTSIDE):
                files.append(found.path.relative_to(root).as_posix())
                continue
            why[found.reason] += 1
            if found.reason == NO_IMAGE:
                left_out.add(found.path.name)
        if not files:
            raise DataError(
                f"{root}: no images found; give a folder of photographs{left_out.hint()}"
            )
        if left_out:
            warn_once(f"{root}: {left_out}", stacklevel=2)
        files.sort()
        many = len(files) >= MANY
        return cls(
            root,
            TextColumn.of(files) if many else tuple(files),
            CodedColumn.of(files) if many else tuple(files),
            name or root.name,
            left_out=why,
        )

    @classmethod
    def from_csv(
        cls, path: str | Path, root: str | Path | None = None, name: str | None = None
    ) -> IdentityTable:
        """Read a CSV file with a header and the columns ``path`` and ``identity``.

        A column named ``group``, or starting with ``group_``, is a property of the images, such as
        ``group_age``, by which figures are stated separately; an empty cell means unknown. Other
        columns are ignored.

        Args:
            path: the CSV file, UTF-8.
            root: the folder that its paths are relative to; by default the CSV's own.

        Raises:
            DataError: the file is missing, lacks a column, has an empty cell, names a column of
                groups twice, or lists a file that does not exist.
        """
        path = Path(path)
        if not path.is_file():
            raise DataError(f"{path}: no such CSV file; give a file with the columns path,identity")
        root = existing_folder(root if root is not None else path.parent)
        rows = read_rows(path, root)
        return cls.build(root, rows.files, rows.identities, name or path.stem, rows.groups)

    @classmethod
    def from_file(cls, path: str | Path, root: str | Path | None = None) -> IdentityTable:
        """Read a CSV or a Parquet file, as :meth:`from_csv` and :meth:`from_parquet`."""
        parquet = Path(path).suffix.lower() == ".parquet"
        return cls.from_parquet(path, root) if parquet else cls.from_csv(path, root)

    @classmethod
    def from_parquet(
        cls, path: str | Path, root: str | Path | None = None, name: str | None = None
    ) -> IdentityTable:
        """Read a Parquet file with the columns ``path`` and ``identity``: for millions of rows.

        Columns of groups are as in :meth:`from_csv`. Identities and groups may be whole numbers.
        Other than there, files are not looked for: that one is missing is known when they are
        hashed, and it is then a bad image (``bad_images``). Extra ``parquet``.

        Args:
            path: the Parquet file.
            root: the folder that its paths are relative to; by default the file's own.

        Raises:
            DataError: the file is missing, no Parquet, lacks a column, has an empty cell or a
                column of another type, or lists a file twice.
            MissingDependencyError: pyarrow is not installed.
        """
        path = Path(path)
        root = existing_folder(root if root is not None else path.parent)
        files, written, groups = read_parquet(path, root)
        spelt = one_spelling(root, written.values, stacklevel=3)
        identities = CodedColumn.merged(written.codes, spelt)
        return cls(root, files, identities, name or path.stem, groups)

    @classmethod
    def build(
        cls,
        root: Path,
        files: Sequence[str],
        identities: Sequence[str],
        name: str,
        groups: Mapping[str, Sequence[str]] | None = None,
        left_out: Mapping[str, int] | None = None,
    ) -> IdentityTable:
        """Normalise the names, sort the rows by file, and warn where two spellings became one."""
        known = dict.fromkeys(identities)  # in the order in which they are met
        normal = dict(zip(known, one_spelling(root, known, stacklevel=4), strict=True))
        spellings = {normal[name]: name.strip() for name in reversed(known)}
        if len(files) >= MANY and len(identities) == len(files):
            places = np.array(sorted(range(len(files)), key=files.__getitem__))
            return cls(
                root,
                TextColumn.of(files).take(places),
                CodedColumn.of(normal[name] for name in identities).take(places),
                name,
                {
                    column: CodedColumn.of(values).take(places)
                    if len(values) == len(files)
                    else (*values,)
                    for column, values in (groups or {}).items()
                },
                dict(left_out or {}),
                spellings,
            )
        order = sorted(range(len(files)), key=lambda i: files[i])
        return cls(
            root,
            tuple(files[i] for i in order),
            tuple(normal[identities[i]] for i in order),
            name,
            {
                column: tuple(values[i] for i in order) if len(values) == len(files) else (*values,)
                for column, values in (groups or {}).items()
            },
            dict(left_out or {}),
            spellings,
        )

    def __repr__(self) -> str:
        return (
            f"IdentityTable({self.name!r}: {len(self):,} images of "
            f"{len(self.distinct_identities):,} identities in {str(self.root)!r})"
        )


def one_spelling(root: Path, written: Iterable[str], stacklevel: int) -> list[str]:
    """Each name as :func:`normalise_identity` writes it; warns where two became one."""
    spelling: dict[str, str] = {}
    normal = []
    for name in written:
        normal.append(normalise_identity(name))
        first = spelling.setdefault(normal[-1], name)
        if first != name:
            warn_once(
                f"{root}: {first!r} and {name!r} are taken for the same identity; rename one if "
                f"not",
                stacklevel=stacklevel,
            )
    return normal


def _taken(values: Sequence[str], rows: np.ndarray) -> Sequence[str]:
    """Some rows, (n,) int64, of a column."""
    if isinstance(values, (TextColumn, CodedColumn)):
        return values.take(rows)
    return tuple(values[i] for i in rows.tolist())


def normalise_identity(name: str) -> str:
    """One spelling per identity: Unicode NFC, case-folded, outer white space stripped.

    >>> normalise_identity(" Zoe\\u0308 ") == normalise_identity("ZO\\u00cb")
    True
    """
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold()).strip()


def existing_folder(
    path: str | Path, wanted: str = "the folder that holds one folder per identity"
) -> Path:
    """``path`` as an absolute folder.

    Args:
        path: of it.
        wanted: what to give, for the message.

    Raises:
        DataError: there is no such folder; says what is there instead.
    """
    folder = Path(path).expanduser().absolute()
    if not folder.exists():
        raise DataError(f"{path}: no such folder; give {wanted}")
    if not folder.is_dir():
        raise DataError(f"{path}: a file, not a folder; give {wanted}")
    return folder
