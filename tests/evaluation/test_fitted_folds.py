"""In a benchmark's folds no fit measures whom it has seen, nor chooses a threshold for them."""

import dataclasses
import warnings
import weakref
from pathlib import Path

import numpy as np
import pytest
import torch

import siamese
from siamese.evaluation.fitted_folds import FoldFits


class Spy(siamese.EuclideanDistance):
    """Its distances tell whom it was fitted to.

    To what is between two rows, below 1, each fit adds an offset of its own, and a bit for each of
    the people that it has seen.
    """

    fits = weakref.WeakSet()
    count = 0

    def __init__(self, seen=()):
        super().__init__()
        self.seen = frozenset(seen)
        if seen:
            self.fits.add(self)
            Spy.count += 1

    @property
    def needs_fit(self):
        return not self.seen

    @property
    def fit_offset(self):
        return float(sum(self.seen))

    def fitted_to(self, embeddings, labels):
        assert torch.equal(embeddings[:, 1], torch.from_numpy(labels).double())
        assert not self.fits, "a fit is kept that is not needed any more"
        return Spy(labels.tolist())

    def between(self, embeddings, left, right):
        mark = sum(2**person for person in self.seen)
        return super().between(embeddings[:, :1], left, right) + np.float32(mark + self.fit_offset)


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


@pytest.mark.parametrize(("tested", "fits"), [((0, 1, 2, 3), 4 + 6), ((2,), 4 + 3)])
def test_nobody_is_measured_by_a_fit_that_has_seen_them(tested, fits):
    people, benchmark = case(tested=tested)
    rows = torch.tensor(np.stack([np.arange(len(people)) / 32, people], axis=1)).double()
    usable = np.ones(len(people), bool)
    usable[2] = False
    rows[2, 1] = -1  # nobody's: were it used, fitted_to would notice
    plain = np.abs(np.diff(rows[:, 0].numpy()[np.stack([benchmark.left, benchmark.right])], axis=0))
    Spy.count = 0
    found = FoldFits(Spy(), rows, usable, benchmark)
    assert Spy.count == fits
    largest = max(sum(p for p in range(8) if p // 2 != k) for k in range(4))

    def expected(fold, *without):
        """As measured by a fit without the people of some folds."""
        mark = sum(2**person for person in range(8) if person // 2 not in without)
        return plain[0][benchmark.fold == fold] + largest + mark

    distances, choosing = found.distances(), found.choosing()
    for k in range(4):
        assert np.array_equal(distances[benchmark.fold == k], expected(k, k))
    for row, k in zip(choosing, tested, strict=True):
        assert np.isnan(row[benchmark.fold == k]).all()
        for j in {0, 1, 2, 3} - {k}:
            assert np.array_equal(row[benchmark.fold == j], expected(j, k, j))


def test_who_is_known_by_genuine_pairs_alone_may_be_in_two_folds():
    """One person whose images no pair links is several, and a fit may know the tested one."""
    people, benchmark = case()
    embeddings = torch.stack([torch.rand(len(people)), torch.from_numpy(people)], 1).double()
    usable = np.ones(len(people), bool)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        FoldFits(Spy(), embeddings, usable, benchmark)
    with pytest.warns(UserWarning, match="nobody is in two folds"):
        FoldFits(Spy(), embeddings, usable, dataclasses.replace(benchmark, identities_known=False))


def test_two_folds_are_too_few():
    _, benchmark = case(2)
    with pytest.raises(siamese.ConfigError, match=r"has 2 folds.*siamese calibrate"):
        siamese.measure_benchmark(torch.nn.Identity(), "plda", siamese.NoCropper(8), benchmark)


def test_fits_to_a_few_people_are_warned_of_once():
    """One fold's people have one usable image each, so fits are to four people or to six."""
    people, benchmark = case()
    rng = np.random.default_rng(0)
    rows = torch.tensor(rng.normal(size=(8, 3))[people] + 0.3 * rng.normal(size=(len(people), 3)))
    usable = (people < 6) | (np.arange(len(people)) % 3 == 0)
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        FoldFits(siamese.PldaDistance(0.5), rows, usable, benchmark)
    (warning,) = (w for w in heard if "PLDA" in str(w.message))
    assert "fitted to 4 identities" in str(warning.message)
