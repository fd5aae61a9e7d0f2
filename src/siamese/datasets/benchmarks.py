"""Benchmarks by name: pairs in folds that the authors of a data set chose."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from siamese.datasets.lfw import VIEW1, VIEW2, lfw_view1, lfw_view2
from siamese.datasets.pairs_file import PairsFile

# Name -> from the data set's folder to its pairs.
BENCHMARKS: dict[str, Callable[[str | Path], PairsFile]] = {
    "lfw_view1": lfw_view1,
    "lfw_view2": lfw_view2,
}

# Name -> the files that it is read from, which come with the images or beside them.
OFFICIAL_FILES: dict[str, tuple[str, ...]] = {"lfw_view1": VIEW1, "lfw_view2": VIEW2}
