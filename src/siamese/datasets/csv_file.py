"""A CSV file of images: which identity each one shows, and which groups it belongs to."""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from siamese.errors import DataError, did_you_mean

NEEDED = ("path", "identity")


@dataclass
class Rows:
    """The rows of a CSV file, in its order.

    Attributes:
        files: n file names, relative to the root.
        identities: n names, as they are written.
        groups: column -> n values, outer white space stripped; "" where a cell is empty.
    """

    files: list[str] = field(default_factory=list)
    identities: list[str] = field(default_factory=list)
    groups: dict[str, list[str]] = field(default_factory=dict)


def is_group_column(name: str) -> bool:
    """Whether a column is a property of the images: it is named ``group`` or ``group_...``.

    >>> is_group_column("group_age"), is_group_column("groups")
    (True, False)
    """
    return name == "group" or (name.startswith("group_") and len(name) > len("group_"))


def read_rows(path: Path, root: Path) -> Rows:
    """Read a CSV file with a header and the columns ``path`` and ``identity``.

    Columns named ``group``, or starting with ``group_``, are read too; all others are ignored.

    Args:
        path: the CSV file, UTF-8.
        root: the folder that its paths are relative to.

    Raises:
        DataError: the file cannot be read, lacks a column, has an empty cell, names a column of
            groups twice, has no rows, or lists a file that does not exist.
    """
    rows = Rows()
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream)
            header = reader.fieldnames or []
            _check_header(path, header)
            columns = _group_columns(path, header)
            rows.groups = {column: [] for column in columns}
            for row in reader:
                if not all((row[name] or "").strip() for name in NEEDED):
                    raise DataError(
                        f"{path}, line {reader.line_num}: empty path or identity; fill in both"
                    )
                file = os.path.relpath(root / row["path"].strip(), root)
                rows.files.append(Path(file).as_posix())
                rows.identities.append(row["identity"])
                for column, written in columns.items():
                    rows.groups[column].append((row[written] or "").strip())
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read ({error.strerror}); change its permissions"
        ) from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(
            f"{path}: not a UTF-8 CSV file ({error}); save it as UTF-8 with the columns "
            f"path,identity"
        ) from error
    missing = [f for f in rows.files if not (root / f).exists()]
    if missing:
        raise DataError(
            f"{path}: {len(missing)} of {len(rows.files)} files do not exist below {root}, first "
            f"{missing[0]!r}; correct the paths or give root"
        )
    if not rows.files:
        raise DataError(f"{path}: no rows below the header; list one image per line")
    return rows


def _check_header(path: Path, header: Sequence[str]) -> None:
    """Refuse a header without a needed column."""
    for column in NEEDED:
        if column not in header:
            near = did_you_mean(column, header).replace("did you mean", "did you name it")
            raise DataError(f"{path}: no column {column!r}{near}; the header must be path,identity")


def _group_columns(path: Path, header: Sequence[str]) -> dict[str, str]:
    """Column of groups -> how the header writes it, with white space perhaps."""
    columns: dict[str, str] = {}
    for written in header:
        name = written.strip()
        if not is_group_column(name):
            continue
        if name in columns:
            raise DataError(f"{path}: two columns are named {name!r}; rename or remove one")
        columns[name] = written
    return columns
