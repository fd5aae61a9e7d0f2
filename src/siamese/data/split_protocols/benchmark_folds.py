"""BenchmarkFolds: the pairs of a benchmark's folds are tested, on people nobody trained with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from siamese.data.split_protocols.base import (
    SPLIT_PROTOCOLS,
    Split,
    SplitProtocol,
    has_both_kinds,
)
from siamese.datasets.benchmarks import BENCHMARKS, OFFICIAL_FILES
from siamese.datasets.identities import IdentityTable
from siamese.datasets.lfw import missing_file
from siamese.datasets.pairs_file import PairsFile
from siamese.errors import SplitError, did_you_mean


@SPLIT_PROTOCOLS.register("benchmark_folds")
@dataclass(frozen=True)
class BenchmarkFolds(SplitProtocol):
    """Some folds of a benchmark are the test split, with their pairs.

    Nobody who is on an image of these folds is in another split, not in other images either. All
    other people of the data set are trained on, but for a share on whom the threshold is chosen.
    This is LFW's protocol "unrestricted, no outside data" for one fold, if all that is learned is
    learned in the training split (Huang and Learned-Miller, *Labeled Faces in the Wild: Updates and
    New Reporting Procedures*, UM-CS-2014-003).

    Args:
        benchmark: ``"lfw_view1"`` for development, or ``"lfw_view2"``; the files lie in the data's
            folder or beside it.
        tested: numbers of the folds, 0, 1, ...; by default those that the benchmark itself tests
            (of View 1 the one of ``pairsDevTest.txt``).
        calibration: share of the other people, in (0, 1).
    """

    is_given: ClassVar[bool] = True

    benchmark: str = "lfw_view1"
    tested: int | Sequence[int] | None = None
    calibration: float = 0.05

    def __post_init__(self) -> None:
        if self.benchmark not in BENCHMARKS:
            raise SplitError(
                f"data.split.benchmark={self.benchmark!r} is not "
                f"known{did_you_mean(self.benchmark, BENCHMARKS)}"
            )
        if not 0 < self.calibration < 1:
            raise SplitError(
                f"benchmark_folds needs a share for calibration in (0, 1), not {self.calibration}: "
                f"change data.split.calibration"
            )

    def __call__(self, table: IdentityTable, seed: int = 0) -> Split:
        self.look_for_files(table.root)
        chosen = BENCHMARKS[self.benchmark](table.root)
        pairs = np.isin(chosen.fold, self._tested(chosen))
        test, place = _rows(table, chosen, np.union1d(chosen.left[pairs], chosen.right[pairs]))
        met = {table.identities[row] for row in test}
        others = [name for name in table.distinct_identities if name not in met]
        if len(others) < 4:
            raise SplitError(
                f"{table.name}: the tested folds leave {len(others)} people to train on; test "
                f"fewer of them, data.split.tested"
            )
        calibrating = self._draw(table, others, seed)
        rows = {
            "train": [r for r, who in enumerate(table.identities) if who not in met | calibrating],
            "calibration": [r for r, who in enumerate(table.identities) if who in calibrating],
            "test": test,
        }
        for name, found in rows.items():
            if not has_both_kinds(table, found):
                raise SplitError(
                    f"the {name} split of {table.name} has no two identities and no pair of the "
                    f"same identity: test fewer folds, or change data.split.calibration"
                )
        sides = np.stack([place[chosen.left[pairs]], place[chosen.right[pairs]]])
        return Split({k: np.array(v, dtype=np.int64) for k, v in rows.items()}, {"test": sides})

    def look_for_files(self, root: Path) -> None:
        """Look for the benchmark's files; see :meth:`SplitProtocol.look_for_files`."""
        if missing := missing_file(root, OFFICIAL_FILES.get(self.benchmark, ())):
            raise SplitError(
                f"{root}: the split benchmark_folds needs LFW's official files, and {missing} lies "
                f"neither in it nor beside it: give the folder of LFW (siamese download lfw lfw "
                f"fetches both); for other pictures add data/split=identity_disjoint"
            )

    def _tested(self, chosen: PairsFile) -> list[int]:
        """The folds' numbers."""
        if self.tested is None and len(chosen.tested) == chosen.folds:
            raise SplitError(
                f"{self.benchmark} tests each of its {chosen.folds} folds in turn, with nobody "
                f"left to train on: name those of this run, data.split.tested=[0]"
            )
        given = (self.tested,) if isinstance(self.tested, int) else self.tested
        wanted = list(chosen.tested if given is None else given)
        if not wanted or not set(wanted) <= set(chosen.fold.tolist()):
            raise SplitError(
                f"data.split.tested={wanted}: {self.benchmark} has the folds 0 to "
                f"{int(chosen.fold.max())}"
            )
        return wanted

    def _draw(self, table: IdentityTable, people: Sequence[str], seed: int) -> set[str]:
        """Those whom the threshold is chosen on: as many images each as the others have."""
        rng = np.random.default_rng([seed, 17])
        shuffled = np.array(people)[rng.permutation(len(people))]
        ordered = shuffled[np.argsort([-table.counts[p] for p in shuffled], kind="stable")]
        number = max(2, round(self.calibration * len(people)))
        places = (np.arange(number) + rng.random()) * len(people) / number
        return set(ordered[places.astype(np.int64).clip(max=len(people) - 1)].tolist())


def _rows(
    table: IdentityTable, chosen: PairsFile, wanted: np.ndarray
) -> tuple[list[int], np.ndarray]:
    """The table's rows of some of the benchmark's files; for each file its place among them."""
    inside = {path: row for row, path in enumerate(table.paths)}
    found = [inside.get(chosen.root / chosen.files[file]) for file in wanted]
    if None in found:
        missing = chosen.files[int(wanted[found.index(None)])]
        raise SplitError(
            f"{table.name} lacks {missing}, which {chosen.name} compares; give the whole data set"
        )
    rows = [row for row in found if row is not None]
    order = np.argsort(rows)
    place = np.full(len(chosen.files), -1)
    place[wanted[order]] = np.arange(len(rows))
    return [rows[i] for i in order], place
