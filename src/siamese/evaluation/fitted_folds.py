"""A distance fitted anew for every fold of a benchmark, to the people of other folds alone."""

from __future__ import annotations

import itertools

import numpy as np
from torch import Tensor

from siamese.datasets.pairs_file import PairsFile
from siamese.distances.base import Distance
from siamese.errors import ConfigError


class FoldFits:
    """Fits of one distance, each without the people of some folds.

    A tested fold is measured by a fit without its people. The threshold that it is judged at comes
    from the other folds; each of these is measured by a fit that has neither its own people nor
    those of the tested fold: distances of people whom a fit has seen would be too small, and nobody
    of the tested fold may have a part in its threshold. That makes ``F (F + 1) / 2`` fits for F
    folds. Distances of different fits are brought to one :attr:`siamese.Distance.fit_offset`, the
    largest; then they are as comparable as log-likelihood ratios are.

    Args:
        distance: that needs to be fitted.
        embeddings: (N, D) of the benchmark's files; rows that are not ``usable`` may hold anything.
        usable: (N,) bool, the files that a distance may be fitted to.
        benchmark: whose people are in which folds.

    Raises:
        ConfigError: fewer than three folds.
        CalibrationError: too few people to fit to.
    """

    def __init__(
        self, distance: Distance, embeddings: Tensor, usable: np.ndarray, benchmark: PairsFile
    ) -> None:
        check_folds(benchmark)
        folds = np.unique(benchmark.fold).tolist()
        self._embeddings, self._benchmark = embeddings, benchmark
        labels, sides = benchmark.labels, np.stack([benchmark.left, benchmark.right])
        self._rows = {k: sides[:, benchmark.fold == k] for k in folds}
        people = {k: np.isin(labels, labels[rows]) for k, rows in self._rows.items()}
        self._fits: dict[frozenset[int], Distance] = {}
        own = [frozenset([k]) for k in folds]
        pairs = itertools.combinations(folds, 2)
        both = [frozenset(p) for p in pairs if set(p) & set(benchmark.tested)]
        for without in own + both:
            kept = usable & ~np.logical_or.reduce([people[k] for k in without])
            self._fits[without] = distance.fitted_to(embeddings[kept], labels[kept])
        self._offset = max(fit.fit_offset for fit in self._fits.values())

    def distances(self) -> np.ndarray:
        """(n,) float32 distances of the pairs, each by a fit without the people of its fold."""
        found = np.empty(len(self._benchmark), dtype=np.float32)
        for k in self._rows:
            found[self._benchmark.fold == k] = self._measured(k, frozenset([k]))
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
                    row[self._benchmark.fold == j] = self._measured(j, frozenset([j, k]))
        return found

    def _measured(self, fold: int, without: frozenset[int]) -> np.ndarray:
        fit = self._fits[without]
        measured = fit.between(self._embeddings, *self._rows[fold]).astype(np.float64)
        aligned: np.ndarray = measured + (self._offset - fit.fit_offset)
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
