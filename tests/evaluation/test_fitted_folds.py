"""In a benchmark's folds no fit measures whom it has seen, nor chooses a threshold for them."""

from pathlib import Path

import numpy as np
import pytest
import torch

import siamese
from siamese.evaluation.fitted_folds import FoldFits


class Spy(siamese.EuclideanDistance):
    """Remembers whom it was fitted to; each fit has an offset of its own."""

    used = []  # whom the fits that measured had seen

    def __init__(self, seen=()):
        super().__init__()
        self.seen = frozenset(seen)

    @property
    def needs_fit(self):
        return not self.seen

    @property
    def fit_offset(self):
        return float(sum(self.seen))

    def fitted_to(self, embeddings, labels):
        assert torch.equal(embeddings[:, 1], torch.from_numpy(labels).double())
        return Spy(labels.tolist())

    def between(self, embeddings, left, right):
        people = {int(p) for p in torch.cat([embeddings[left, 1], embeddings[right, 1]])}
        assert not people & self.seen
        self.used.append(self.seen)
        return super().between(embeddings[:, :1], left, right) + np.float32(self.fit_offset)


def case(folds=4, tested=()):
    """Two people of three images in each fold."""
    people = np.repeat(np.arange(2 * folds), 3)
    first = 6 * np.arange(folds)[:, None]
    left, right = ((first + np.array(which)).ravel() for which in ([0, 3, 1, 2], [1, 5, 3, 4]))
    return people, siamese.PairsFile(
        Path("/nowhere"),
        tuple(f"{i}.jpg" for i in range(len(people))),
        left,
        right,
        people[left] == people[right],
        np.repeat(np.arange(folds), 4),
        tuple(f"{p:03d}" for p in people),
        tested=tested,
    )


@pytest.mark.parametrize("tested", [(0, 1, 2, 3), (2,)])
def test_nobody_is_measured_by_a_fit_that_has_seen_them(tested):
    people, benchmark = case(tested=tested)
    rows = torch.tensor(np.stack([np.arange(len(people)) ** 2, people], axis=1)).double()
    usable = np.ones(len(people), bool)
    usable[2] = False
    rows[2, 1] = -1  # nobody's: were it used, fitted_to would notice
    rows_seen = rows.clone()
    fits = FoldFits(Spy(), rows_seen, usable, benchmark)
    rows_seen[2, 1] = 0
    plain = np.abs(np.diff(rows[:, 0].numpy()[np.stack([benchmark.left, benchmark.right])], axis=0))
    largest = max(fit.fit_offset for fit in fits._fits.values())
    assert np.array_equal(fits.distances(), plain[0] + largest)
    Spy.used.clear()
    choosing = fits.choosing()
    used = iter(Spy.used)
    for row, k in zip(choosing, tested, strict=True):
        here = benchmark.fold == k
        assert np.isnan(row[here]).all()
        assert np.array_equal(row[~here], plain[0][~here] + largest)
        for _ in range(3):
            assert not next(used) & {2 * k, 2 * k + 1}
    assert not list(used)


def test_two_folds_are_too_few():
    _, benchmark = case(2)
    with pytest.raises(siamese.ConfigError, match=r"has 2 folds.*siamese calibrate"):
        siamese.measure_benchmark(torch.nn.Identity(), "plda", siamese.NoCropper(8), benchmark)
