"""A distance fitted anew for every fold of a benchmark, to the people of other folds alone."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
from torch import Tensor

from siamese.datasets.pairs_file import PairsFile
from siamese.distances.base import Distance
from siamese.errors import ConfigError
from siamese.notices import warn_once
from siamese.progress import progress_bar


class FoldFits:
    """Fits of one distance, each without the people of some folds.

    A tested fold is measured by a fit without its people. The threshold that it is judged at comes
    from the other folds; each of these is measured by a fit that has neither its own people nor
    those of the tested fold: distances of people whom a fit has seen would be too small, and nobody
    of the tested fold may have a part in its threshold. That makes ``F (F + 1) / 2`` fits for F
    folds. Each chooses its settings for itself, so that any two folds share a fit. Distances of
    different fits are brought to one :attr:`siamese.Distance.fit_offset`, the largest; then they
    are as comparable as log-likelihood ratios are. A fit is kept only while it measures.

    Args:
        distance: that needs to be fitted.
        embeddings: (N, D) of the benchmark's files; rows that are not ``usable`` may hold anything.
        usable: (N,) bool, the files that a distance may be fitted to.
        benchmark: whose people are in which folds.
        progress: whether to show how far it is.

    Raises:
        ConfigError: fewer than three folds.
        CalibrationError: too few people to fit to.
    """

    def __init__(
        self,
        distance: Distance,
        embeddings: Tensor,
        usable: np.ndarray,
        benchmark: PairsFile,
        progress: bool = False,
    ) -> None:
        check_folds(benchmark)
        if not benchmark.identities_known:
            warn_once(
                f"{benchmark.name} says who is on an image by its genuine pairs alone, so people "
                f"whose images none of them links count as several: the distance may be fitted to "
                f"people of the fold that it is tested on, as if they were different; see that "
                f"nobody is in two folds",
                stacklevel=3,
            )
        self._distance, self._embeddings, self._usable = distance, embeddings, usable
        self._benchmark = benchmark
        labels, sides = benchmark.labels, np.stack([benchmark.left, benchmark.right])
        folds: list[int] = np.unique(benchmark.fold).tolist()
        self._rows = {k: sides[:, benchmark.fold == k] for k in folds}
        self._people = {k: np.isin(labels, labels[rows]) for k, rows in self._rows.items()}
        # (tested fold, measured fold) -> distances; (k, k) for those that are judged.
        self._found: dict[tuple[int, int], np.ndarray] = {}
        self._offsets: dict[tuple[int, int], float] = {}
        pairs = [
            p for p in itertools.combinations(folds, 2) if not set(p).isdisjoint(benchmark.tested)
        ]
        with progress_bar("fits", len(folds) + len(pairs), progress) as advance:
            self._fit(folds, pairs, advance)
        self._offset = max(self._offsets.values())

    def _fit(
        self, folds: list[int], pairs: list[tuple[int, int]], advance: Callable[[int], None]
    ) -> None:
        """Fit and measure: each fold for itself, then each for the thresholds of others."""
        for k in folds:
            self._measure((k,), [(k, k)])
            advance(1)
        for j, k in pairs:
            places = [(j, k), (k, j)]
            self._measure((j, k), [p for p in places if p[0] in self._benchmark.tested])
            advance(1)

    def _measure(self, without: tuple[int, ...], places: list[tuple[int, int]]) -> None:
        """Fit without the people of some folds, and measure these."""
        kept = self._usable & ~np.logical_or.reduce([self._people[k] for k in without])
        fit = self._distance.fitted_to(self._embeddings[kept], self._benchmark.labels[kept])
        for tested, fold in places:
            self._found[tested, fold] = fit.between(self._embeddings, *self._rows[fold])
            self._offsets[tested, fold] = fit.fit_offset

    def distances(self) -> np.ndarray:
        """(n,) float32 distances of the pairs, each by a fit without the people of its fold."""
        found = np.empty(len(self._benchmark), dtype=np.float32)
        for k in self._rows:
            found[self._benchmark.fold == k] = self._aligned(k, k)
        return found

    def choosing(self) -> np.ndarray:
        """(tested folds, n) float32: distances that the threshold of each is chosen from.

        NaN in the tested fold itself.
        """
        tested = self._benchmark.tested
        found = np.full((len(tested), len(self._benchmark)), np.nan, dtype=np.float32)
        for row, k in zip(found, tested, strict=True):
            for j in self._rows:
                if j != k:
                    row[self._benchmark.fold == j] = self._aligned(k, j)
        return found

    def _aligned(self, tested: int, fold: int) -> np.ndarray:
        place = tested, fold
        aligned: np.ndarray = self._found[place].astype(np.float64)
        aligned += self._offset - self._offsets[place]
        return aligned.astype(np.float32)


def check_folds(benchmark: PairsFile) -> None:
    """Check that a distance can be fitted in the folds of a benchmark.

    Raises:
        ConfigError: fewer than three.
    """
    if benchmark.folds < 3:
        raise ConfigError(
            f"{benchmark.name} has {benchmark.folds} folds; to fit a distance, choose a threshold "
            f"and test takes three or more: fit it to other people (siamese calibrate BUNDLE "
            f"--data PATH --distance plda --out DIR) and evaluate that bundle"
        )
