"""PairList: pairs of files to be compared, out of a CSV file; nobody has said who they show.

Bad rows stay where they are, with the reason, so that whatever is written about a list has its
rows. (:mod:`siamese.datasets.pairs_file` reads pairs with labels, and refuses bad ones.)
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from siamese.datasets.delimiters import DELIMITERS, said_delimiter
from siamese.datasets.suffixes import is_image
from siamese.errors import DataError, did_you_mean, first_line
from siamese.reading import LARGEST_TEXT, exists, read_bytes, read_text

_BOM = b"\xef\xbb\xbf"
# How the two columns are called: a, b, left, right, photo_1, image_a, "File 2", ...
_WHAT = r"(?:photo|photograph|picture|image|img|file|filename|path|face)"
_ENDS = (("a", "b"), ("1", "2"), ("left", "right"), ("one", "two"), ("one", "other"))
_ALONE = (
    ("a", "b"),
    ("left", "right"),
    ("first", "second"),
    ("one", "other"),
    ("probe", "gallery"),
)


class ListedPair(NamedTuple):
    """Two files, as the list names them; or why the row is no pair.

    Attributes:
        a, b: file names, outer white space stripped; "" where there is none.
        error: why the row is none; None where it is one.
    """

    a: str
    b: str
    error: str | None = None


@dataclass(frozen=True)
class PairList:
    """The rows of a list, in its order.

    Attributes:
        columns: names of all columns; made up where the file has no header.
        cells: n rows, each with a cell for every column, as they are written.
        pairs: n pairs.
        delimiter: what parts cells.
        has_bom: whether the file begins with a byte order mark, as spreadsheets write it.
        header: the header as it was taken, where that was a guess; None otherwise.
    """

    columns: tuple[str, ...]
    cells: list[list[str]]
    pairs: list[ListedPair]
    delimiter: str = ","
    has_bom: bool = False
    header: str | None = None

    def __len__(self) -> int:
        return len(self.pairs)

    @classmethod
    def read(
        cls, path: str | Path, root: str | Path | None = None, columns: Sequence[str] | None = None
    ) -> PairList:
        """Read a list of pairs: a CSV file (UTF-8; commas, semicolons or tabs) of two columns.

        A header is known by its names: ``a,b``, ``left,right``, ``photo_1,photo_2``, ``image_a``
        and the like, in any columns; all other columns are carried through. Another first line is a
        header where neither of its first two cells names a file or ends like one; then the first
        two columns are taken, and ``header`` says so.

        Args:
            path: the file.
            root: what its files are relative to, to tell a header from a pair; by default the
                folder of the list.
            columns: names of the two columns, where others are meant.

        Raises:
            DataError: it cannot be read, is no CSV file, has no rows, or lacks one of ``columns``.
        """
        path = Path(path).expanduser()
        root = path.parent if root is None else Path(root).expanduser()
        rows, delimiter, has_bom = _rows(path, columns)
        first = [cell.strip() for cell in rows[0]]
        guessed = None
        if columns is not None:
            places = _named(path, first, columns)
        elif (known := _known(first)) is not None:
            places = known
        else:
            places = (0, 1)
            if _is_header(first, root):
                guessed = delimiter.join(first)
        has_header = columns is not None or guessed is not None or _known(first) is not None
        body = rows[1:] if has_header else rows
        if not body:
            raise DataError(f"{path}: no pairs below the header; list one pair in each line")
        width = max(2, *map(len, rows))
        names = [*first] if has_header else ["a", "b"]
        names += [f"column_{place + 1}" for place in range(len(names), width)]
        expected = len(first) if has_header else width
        pairs = [_pair(row, places, expected) for row in body]
        cells = [row + [""] * (width - len(row)) for row in body]
        return cls(tuple(names), cells, pairs, delimiter, has_bom, guessed)

    def written_with(self, columns: Sequence[str], values: Iterable[Sequence[str]]) -> bytes:
        """The list with further columns behind its own, as a CSV file of the same kind.

        Args:
            columns: their names.
            values: n rows.
        """
        text = io.StringIO(newline="")
        writer = csv.writer(text, delimiter=self.delimiter, lineterminator="\n")
        writer.writerow([*self.columns, *columns])
        for row, more in zip(self.cells, values, strict=True):
            writer.writerow([*row, *more])
        content = text.getvalue().encode("utf-8", "surrogateescape")
        return _BOM + content if self.has_bom else content

    def __repr__(self) -> str:
        return f"PairList({len(self):,} pairs)"


def _rows(path: Path, columns: Sequence[str] | None) -> tuple[list[list[str]], str, bool]:
    """All rows up to the last that is not empty, the delimiter, and whether there is a mark."""
    try:
        has_bom = read_bytes(path, LARGEST_TEXT).startswith(_BOM)
        text = read_text(path)
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read ({error.strerror or error}); give a CSV file of pairs"
        ) from error
    except (ValueError, MemoryError) as error:
        raise DataError(
            f"{str(path)!r:.200}: no UTF-8 CSV file ({first_line(error)}); save it as one"
        ) from error
    said, text = said_delimiter(text)
    start = next((line for line in text.splitlines() if line.strip()), "")
    delimiter = said or _delimiter(start, columns)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    rows: list[list[str]] = []
    line = 1
    try:
        for row in reader:
            rows.append(row)
            line = reader.line_num + 1
    except (csv.Error, MemoryError) as error:
        raise DataError(
            f"{path}: not a CSV file: line {line} ({first_line(error)}); save it as one, with a "
            f"quotation mark at either end of a name that holds commas"
        ) from error
    while rows and not any(cell.strip() for cell in rows[-1]):
        rows.pop()
    if not rows:
        raise DataError(f"{path}: empty; list two files in each line")
    return rows, delimiter, has_bom


def _delimiter(line: str, columns: Sequence[str] | None) -> str:
    """What parts the cells of a first line.

    The first that parts two cells, unless another one parts names of columns that are known.
    """
    parted = {d: found for d in DELIMITERS if len(found := _cells(line, d)) > 1}
    for delimiter, found in parted.items():
        header = [cell.strip() for cell in found]
        if _known(header) if columns is None else set(columns) <= set(header):
            return delimiter
    return next(iter(parted), ",")


def _cells(line: str, delimiter: str) -> list[str]:
    try:
        return next(csv.reader([line], delimiter=delimiter), [])
    except csv.Error:
        return []


def _pair(row: list[str], places: tuple[int, int], expected: int) -> ListedPair:
    """The pair of a row, or why there is none."""
    a, b = (row[place].strip() if place < len(row) else "" for place in places)
    if not any(cell.strip() for cell in row):
        return ListedPair(a, b, "empty row")
    if len(row) <= max(places):
        return ListedPair(a, b, "too few columns")
    if len(row) > expected:
        return ListedPair(a, b, "too many columns (quote names that hold the delimiter)")
    if not a or not b:
        return ListedPair(a, b, "no file named")
    return ListedPair(a, b)


def _known(header: Sequence[str]) -> tuple[int, int] | None:
    """Where the two columns are, if a header has names that are known."""
    names = [re.sub(r"[\s_-]+", "_", name.lower()) for name in header]
    for ends in _ALONE:
        if all(names.count(end) == 1 for end in ends):
            return names.index(ends[0]), names.index(ends[1])
    for one, other in _ENDS:
        found = []
        for end in (one, other):
            form = re.compile(rf"{_WHAT}_?{end}|{end}_{_WHAT}")
            found.append([place for place, name in enumerate(names) if form.fullmatch(name)])
        if len(found[0]) == len(found[1]) == 1:
            return found[0][0], found[1][0]
    return None


def _named(path: Path, header: Sequence[str], columns: Sequence[str]) -> tuple[int, int]:
    places = []
    for name in columns:
        if header.count(name) != 1:
            why = "two columns are named" if name in header else "no column"
            near = "" if name in header else did_you_mean(name, header)
            raise DataError(f"{path}: {why} {name!r}{near}; name two columns of its first line")
        places.append(header.index(name))
    if len(places) != 2 or places[0] == places[1]:
        raise DataError(f"{path}: a pair is in two columns; name two different ones")
    return places[0], places[1]


def _is_header(first: Sequence[str], root: Path) -> bool:
    """Whether a first line with unknown names names no files."""
    cells = first[:2]
    if len(cells) < 2 or not all(cells):
        return False
    return not any(is_image(cell) or Path(cell).suffix or exists(root / cell) for cell in cells)
