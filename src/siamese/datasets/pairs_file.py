"""PairsFile: a benchmark: pairs of images in folds, from LFW's files or your own CSV."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from siamese.datasets.identities import existing_folder
from siamese.errors import DataError, did_you_mean, first_line
from siamese.notices import warn_once
from siamese.reading import exists, read_text

_TRUE = ("1", "true", "yes", "same", "genuine")
_FALSE = ("0", "false", "no", "different", "impostor")
_SUFFIXES = (".jpg", ".jpeg", ".png", ".pgm", ".ppm", ".webp", ".bmp")


@dataclass(frozen=True)
class PairsFile:
    """n pairs of images in folds.

    Attributes:
        root: the folder that ``files`` are relative to.
        files: N image files, each once, with ``/`` between folders.
        left, right: (n,) int64 rows of ``files``.
        same: (n,) bool, True where both show the same identity.
        fold: (n,) int64, 0, 1, ... in the order in which folds appear.
        identities: N names, the identity of each file: LFW's own, or, of a CSV, one for all images
            that genuine pairs link.
        name: what the benchmark is called in reports.
        tested: folds that are tested, each at a threshold chosen on all others; by default every
            fold.
        fold_names: what folds are called, by number; by default their numbers.
        identities_known: whether ``identities`` are the file's own. Those of a CSV are not: an
            identity whose images no genuine pairs link counts as several.

    Raises:
        DataError: no pairs, a tested fold that does not exist, or one whose others hold only
            genuine or only impostor pairs.
    """

    root: Path
    files: tuple[str, ...]
    left: np.ndarray
    right: np.ndarray
    same: np.ndarray
    fold: np.ndarray
    identities: tuple[str, ...]
    name: str = "pairs"
    tested: tuple[int, ...] = ()
    fold_names: tuple[str, ...] = ()
    identities_known: bool = True

    def __post_init__(self) -> None:
        if not len(self.same):
            raise DataError(f"{self.name}: no pairs; list one per line")
        folds = tuple(np.unique(self.fold).tolist())
        if not self.tested:
            object.__setattr__(self, "tested", folds)
        if not self.fold_names:
            object.__setattr__(self, "fold_names", tuple(map(str, range(int(self.fold.max()) + 1))))
        if strange := sorted(set(self.tested) - set(folds)):
            raise DataError(
                f"{self.name}: there is no fold {strange[0]} to test; name some of "
                f"{', '.join(map(str, folds))}"
            )
        for fold in self.tested if len(folds) > 1 else ():
            others = self.same[self.fold != fold]
            if others.all() or not others.any():
                kind = "genuine" if others.all() else "impostor"
                raise DataError(
                    f"{self.name}: outside fold {self.fold_names[fold]} there are only {kind} "
                    f"pairs, so no threshold can be chosen for it; give both kinds"
                )

    def __len__(self) -> int:
        return len(self.same)

    @property
    def paths(self) -> list[Path]:
        """Absolute paths of all N files."""
        return [self.root / file for file in self.files]

    @property
    def labels(self) -> np.ndarray:
        """(N,) int64, one number per identity."""
        return np.unique(self.identities, return_inverse=True)[1].astype(np.int64)

    @property
    def folds(self) -> int:
        """Number of folds; with only one, no threshold can be chosen on others."""
        return len(np.unique(self.fold))

    @classmethod
    def read(
        cls, path: str | Path, root: str | Path | None = None, name: str | None = None
    ) -> PairsFile:
        """Read pairs in LFW's format, or from a CSV file.

        LFW's format: a first line with the number of genuine pairs in a fold, as many impostor ones
        following them, before it the number of folds if there are several; then ``name i j`` for
        images i and j of one identity, ``name i other_name j`` for images of two identities. They
        lie in ``root/name/name_000i.jpg``, or, as those of LFWcrop, in ``root/name_000i.pgm``.

        CSV: a header with ``left``, ``right`` (paths relative to ``root``), ``same`` (1 or 0, true
        or false) and, if thresholds are to be chosen by cross-validation, ``fold`` (any words).
        Images that genuine pairs link show one identity; if one is in several folds, a warning says
        so, since the thresholds are then chosen on identities that are tested.

        Args:
            path: the file, UTF-8.
            root: where the images lie; by default the file's own folder.
            name: by default the file's name without suffix.

        Raises:
            DataError: a file that is missing or of neither format, a line that is wrong, a pair
                listed twice, pairs that contradict each other, or images that do not exist.
        """
        path = Path(path).expanduser()
        try:
            text = read_text(path)
        except OSError as error:
            raise DataError(
                f"{path}: cannot be read ({error.strerror or error}); give a file of pairs"
            ) from error
        except UnicodeDecodeError as error:
            raise DataError(f"{path}: not UTF-8 ({error.reason}); save it as UTF-8") from error
        except (ValueError, MemoryError) as error:
            raise DataError(
                f"{str(path)!r:.200}: no file of pairs ({first_line(error)}); give one"
            ) from error
        folder = existing_folder(root if root is not None else path.absolute().parent)
        header = text.split("\n", 1)[0].split()
        lfw = 0 < len(header) <= 2 and all(map(_is_number, header))
        if not lfw:
            return cls.build(folder, _csv_rows(path, text), name or path.stem)
        rows = _lfw_rows(path, text, folder)
        identities = {
            file: file.rsplit("/", 1)[-1].rsplit("_", 1)[0] for row in rows for file in row[:2]
        }
        return cls.build(folder, rows, name or path.stem, identities)

    @classmethod
    def build(
        cls,
        root: Path,
        rows: Sequence[tuple[str, str, bool, str]],
        name: str,
        identities: Mapping[str, str] | None = None,
    ) -> PairsFile:
        """From rows of (left file, right file, same, fold).

        Args:
            root: the folder that the files are relative to.
            rows: one per pair.
            name: what the benchmark is called in reports.
            identities: file -> identity, if that is known.

        Raises:
            DataError: images that do not exist below ``root``, a pair listed twice, pairs that
                contradict ``identities`` or each other, or see the class.
        """
        known = identities is not None
        identities = _link(rows) if identities is None else identities
        _check_pairs(rows, identities, name)
        files = tuple(sorted({file for left, right, _, _ in rows for file in (left, right)}))
        missing = [file for file in files if not exists(root / file)]
        if missing:
            raise DataError(
                f"{name}: {len(missing)} of {len(files)} images do not exist below {root}, first "
                f"{missing[0]!r:.200}; give the folder they lie in (--data)"
            )
        place = {file: row for row, file in enumerate(files)}
        number = {fold: i for i, fold in enumerate(dict.fromkeys(row[3] for row in rows))}
        left, right, fold = (
            np.array([table[row[column]] for row in rows], dtype=np.int64)  # type: ignore[index]
            for table, column in ((place, 0), (place, 1), (number, 3))
        )
        same = np.array([row[2] for row in rows], dtype=bool)
        found = cls(
            root,
            files,
            left,
            right,
            same,
            fold,
            tuple(identities[file] for file in files),
            name,
            fold_names=tuple(number),
            identities_known=known,
        )
        if not known:
            found._warn_of_shared_identities()
        return found

    def _warn_of_shared_identities(self) -> None:
        who = self.labels[np.concatenate([self.left, self.right])]
        # Each identity with each of its folds once.
        met = np.unique(np.stack([who, np.tile(self.fold, 2)]), axis=1)
        several = int(np.count_nonzero(np.bincount(met[0]) > 1))
        if several:
            warn_once(
                f"{self.name}: {several:,} identities (images that genuine pairs link) are in "
                f"several folds, so thresholds are chosen on identities that are tested, too; give "
                f"each identity one fold",
                stacklevel=4,
            )

    def join(self, other: PairsFile, name: str, tested: tuple[int, ...] = ()) -> PairsFile:
        """The pairs of two files of one fold each, below one root, as two folds of their names."""
        rows = [
            (part.files[a], part.files[b], bool(same), part.name)
            for part in (self, other)
            for a, b, same in zip(part.left, part.right, part.same, strict=True)
        ]
        identities = dict(
            zip(self.files + other.files, self.identities + other.identities, strict=True)
        )
        return replace(PairsFile.build(self.root, rows, name, identities), tested=tested)

    def __repr__(self) -> str:
        return (
            f"PairsFile({self.name!r}: {len(self):,} pairs of {len(self.files):,} images, "
            f"folds: {self.folds})"
        )


def _link(rows: Sequence[tuple[str, str, bool, str]]) -> dict[str, str]:
    """File -> the first file that genuine pairs link it to, directly or through others."""
    found: dict[str, str] = {}

    def first(file: str) -> str:
        while found.setdefault(file, file) != file:
            found[file] = found[found[file]]
            file = found[file]
        return file

    for left, right, same, _ in rows:
        one, other = sorted((first(left), first(right)))
        if same:
            found[other] = one
    return {file: first(file) for file in found}


def _check_pairs(
    rows: Sequence[tuple[str, str, bool, str]], identities: Mapping[str, str], name: str
) -> None:
    """Raise where a pair is listed twice or pairs contradict each other.

    A pair in two folds would help to choose the threshold that it is judged by.
    """
    met = set()
    for left, right, same, _ in rows:
        pair = (left, right) if left < right else (right, left)
        if pair in met:
            raise DataError(f"{name}: {left!r} and {right!r} are paired twice; leave one pair out")
        met.add(pair)
        if same != (identities[left] == identities[right]):
            kind = (
                "one identity, as other pairs or their folders say,"
                if identities[left] == identities[right]
                else "two identities"
            )
            raise DataError(
                f"{name}: {left!r} and {right!r} show {kind} but are listed as "
                f"{'the same' if same else 'different'}; correct one"
            )


def _lfw_rows(path: Path, text: str, root: Path) -> list[tuple[str, str, bool, str]]:
    lines = [line.split() for line in text.splitlines()]
    while lines and not lines[-1]:
        lines.pop()
    header = [int(word) for word in lines[0]]
    folds, pairs = header if len(header) == 2 else (1, header[0])
    if len(lines) - 1 != 2 * folds * pairs:
        raise DataError(
            f"{path}: {len(lines) - 1} pairs, where the first line announces {folds} x 2 x "
            f"{pairs}; copy the file again"
        )
    file = _finder(root)
    rows = []
    for number, words in enumerate(lines[1:], 2):
        fold, place = divmod(number - 2, 2 * pairs)
        same = place < pairs
        numbers = words[1:3] if same else words[1::2]
        if len(words) != (3 if same else 4) or not all(map(_is_number, numbers)):
            form = "name i j" if same else "name i other_name j"
            raise DataError(
                f"{path}, line {number}: {' '.join(words)!r:.120} is not {form!r}; correct it"
            )
        if same and words[1] == words[2]:
            raise DataError(f"{path}, line {number}: an image is paired with itself; correct it")
        left, right = (words[0], numbers[0]), (words[0] if same else words[2], numbers[1])
        rows.append((file(*left), file(*right), same, str(fold + 1)))
    return rows


def _is_number(word: str) -> bool:
    """Whether a word is a whole number that an image, or a count of pairs, may have."""
    return len(word) <= 9 and word.isdecimal()


def _finder(root: Path) -> Callable[[str, str], str]:
    """From a name and a number to the file: LFW's own place and suffix, or others if they exist."""

    def find(name: str, number: str) -> str:
        file = f"{name}_{int(number):04d}"
        places = [stem + suffix for stem in (f"{name}/{file}", file) for suffix in _SUFFIXES]
        return next((place for place in places if exists(root / place)), places[0])

    return find


def _csv_rows(path: Path, text: str) -> list[tuple[str, str, bool, str]]:
    reader = csv.DictReader(io.StringIO(text, newline=""))
    try:
        _ = reader.fieldnames
    except csv.Error as error:
        raise DataError(f"{path}: not a CSV file ({error}); save it as one") from error
    for column in ("left", "right", "same"):
        if column not in (reader.fieldnames or []):
            columns = [name or "" for name in reader.fieldnames or []]
            near = (
                did_you_mean(column, columns)
                .replace("did you mean", "did you name it")
                .replace("choose one of", "its columns are")
            )
            commas = (
                "separate columns by commas, and "
                if any(";" in name or "\t" in name for name in columns)
                else ""
            )
            raise DataError(
                f"{path}: neither LFW's format nor a CSV with a column {column!r}{near:.300}; "
                f"{commas}let the header be left,right,same or left,right,same,fold"
            )
    rows: list[tuple[str, str, bool, str]] = []
    try:
        for row in reader:
            left, right, same, fold = (
                (row.get(column) or "").strip() for column in ("left", "right", "same", "fold")
            )
            if not left or not right or same.lower() not in (*_TRUE, *_FALSE):
                raise DataError(
                    f"{path}, line {reader.line_num}: left, right or same is missing or not "
                    f"understood ({same!r:.40}); write two paths and 1 or 0"
                )
            # One file has one name: ./a and b/../a are a.
            files = [Path(os.path.normpath(side)).as_posix() for side in (left, right)]
            if files[0] == files[1]:
                raise DataError(
                    f"{path}, line {reader.line_num}: an image is paired with itself; correct it"
                )
            if rows and bool(fold) != bool(rows[-1][3]):
                one, other = ("no fold", "has one") if not fold else ("a fold", "has none")
                raise DataError(
                    f"{path}, line {reader.line_num}: {one}, where the line before {other}; fill "
                    f"in all of them or none"
                )
            rows.append((files[0], files[1], same.lower() in _TRUE, fold))
    except csv.Error as error:
        raise DataError(f"{path}: not a CSV file ({error}); save it as one") from error
    return rows
