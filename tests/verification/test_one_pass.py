"""Counts by identity from the pass that counts all pairs: those of single pairs, on any tiles."""

import itertools

import numpy as np
import pytest
import torch
from tests.helpers import note_passes
from tests.strategies import crowd

from siamese.distances.cosine import CosineDistance
from siamese.distances.euclidean import EuclideanDistance
from siamese.distances.learned import LearnedDistance
from siamese.pairs.all_pairs import AllPairs
from siamese.verification import bootstrap, grids, pair_distances
from siamese.verification.bootstrap import bootstrap_identities
from siamese.verification.grids import draw_grid, guess_thresholds, is_fine_enough
from siamese.verification.measure import measure_pairs
from siamese.verification.policies.max_f1 import MaxF1
from siamese.verification.streaming import stream
from siamese.verification.streaming.identity_counts import merged
from siamese.verification.streaming.stream import StreamedDistances
from siamese.verification.thresholds import calibrate


@pytest.fixture(autouse=True)
def small_samples(monkeypatch):
    monkeypatch.setattr(stream, "SAMPLE", 120)
    monkeypatch.setattr(stream, "GENUINE", 1000)


@pytest.fixture
def passes(monkeypatch):
    """The places of every pass; () stands for all tiles."""
    found = []
    note_passes(monkeypatch, found)
    return found


def numbers(streamed):
    """(identities,) the number in a stream of each identity as it was given."""
    found = np.empty(streamed.labels[-1] + 1, dtype=int)
    found[streamed.original_labels] = streamed.labels[np.argsort(streamed._tiles.order)]
    return found


@pytest.mark.parametrize(
    "distance", [EuclideanDistance(), CosineDistance(), LearnedDistance(8).eval()]
)
def test_one_pass_counts_what_single_pairs_are_on_any_tiles_and_threads(
    monkeypatch, passes, distance
):
    monkeypatch.setattr(grids, "_LOST", 99)  # so small a sample tells little
    rows, labels = crowd(600, 60, 8)
    labels = np.unique(labels, return_inverse=True)[1]
    held = measure_pairs(rows, labels, AllPairs(), distance, limit=10**9)
    before, seen = torch.get_num_threads(), []
    try:
        cases = ((1, 768, True), (2, 97, True), (3, 30, True), (1, 99, False))
        for threads, tile, expect in cases if distance.squared else cases[1:2]:  # pair by pair
            torch.set_num_threads(threads)
            streamed = StreamedDistances(rows, labels, distance, tile)
            if expect:
                streamed.expect_draws()
            streamed.choose(MaxF1())
            passes.clear()
            grid = draw_grid(streamed.bootstrap_curve())
            found = streamed.by_identity(grid)
            # Of these pairs the grid is not that of all thresholds, so a guess was used.
            assert len(grid) < len(draw_grid(streamed.binned()))
            assert (() in passes) != expect
            seen.append(grid.tolist())
            assert seen[-1] == seen[0]
            for table, expected in zip(found, held.by_identity(grid), strict=True):
                assert (table[numbers(streamed)] == expected).all()
            again = streamed.by_identity(grid)  # now by a pass of its own
            assert all((a == b).all() for a, b in zip(again, found, strict=True))
    finally:
        torch.set_num_threads(before)


def test_a_bad_guess_costs_a_pass_and_changes_nothing(monkeypatch, passes):
    rows, labels = crowd(600, 60, 8)
    monkeypatch.setattr(stream, "guess_thresholds", lambda *_: np.array([1.0, 2.0]))
    bad = StreamedDistances(rows, labels, EuclideanDistance())
    bad.expect_draws()
    curve = bad.bootstrap_curve()
    assert len(curve.thresholds) == len(bad.binned().thresholds)
    assert () not in passes
    assert bootstrap_identities(bad).is_valid
    assert () in passes


def test_a_calibration_with_intervals_counts_all_pairs_once(monkeypatch, passes):
    monkeypatch.setattr("siamese.verification.measure.HELD", 0)
    rows, labels = crowd(2000, 300)
    found = calibrate(rows, labels)
    assert found.band[0] < found.threshold < found.band[1]
    assert () not in passes


@pytest.mark.parametrize("power", [1, 4, 20])
@pytest.mark.parametrize("genuine_share", [0.1, 0.9])
def test_what_a_sample_tells_is_nearly_as_fine_as_what_all_pairs_tell(power, genuine_share):
    """Distances whose rates rise as a power, and of which a sample has one in a hundred."""
    rng = np.random.default_rng(0)
    n = 200_000
    impostor = rng.random(n) ** (1 / power)
    genuine = genuine_share * rng.random(n // 10) ** (1 / power)
    d, same = np.append(genuine, impostor), np.arange(n + n // 10) < n // 10
    curve = pair_distances.ThresholdCurve.of(d.astype(np.float32), same)
    guess = guess_thresholds(
        np.sort(rng.choice(genuine, 4096)), np.sort(rng.choice(impostor, n // 100)), n
    )
    assert len(guess) < stream.MOST_COLUMNS
    which = np.unique(np.searchsorted(curve.thresholds, guess, side="right") - 1)
    which = np.unique(np.append([0, len(curve.thresholds) - 1], which[which >= 0]))
    some, few = (
        pair_distances.ThresholdCurve(curve.thresholds[k], curve.tp[k], curve.fp[k])
        for k in (which, which[::8])
    )
    assert is_fine_enough(some, curve)
    assert not is_fine_enough(few, curve)


@pytest.mark.parametrize("kind", [np.int32, np.int64])
def test_merged_columns_are_sums(kind):
    table = np.random.default_rng(0).integers(0, 9, (7, 12)).astype(kind)
    for ends in ([0, 3, 3, 12], [1], [11], [0], [2, 5, 6]):
        bounds = [0, *ends, 12]
        expected = [table[:, a:b].sum(axis=1) for a, b in itertools.pairwise(bounds)]
        assert (merged(table.copy(), np.array(ends)) == np.stack(expected, axis=1)).all()


@pytest.mark.parametrize("some", [False, True])
def test_draws_are_weighed_exactly_also_where_float32_rounds(monkeypatch, some):
    """Where all identities have pairs, and where only some have."""
    rng = np.random.default_rng(0)
    monkeypatch.setattr(pair_distances, "_BLOCK", 1024)
    times = rng.poisson(1, (50, 2100)).astype(np.float32)
    table = rng.integers(0, 30, (2100, 6)) * np.array([1, 1, 10**3, 10**5, 2**31 + 1, 1])
    table[:, 1] = 0
    if some:
        table[rng.random(2100) < 0.5] = 0
    else:
        table[:, 5] += 1
    table[7, 5], times[:, 7] = 2**24 + 1, rng.integers(0, 2, 50)
    exact = times.astype(np.int64) @ table
    assert (exact > 2**24).any(axis=0).tolist() == [False, False, True, True, True, True]
    assert (pair_distances._weigh(times, table) == exact).all()


def test_identities_are_drawn_with_replacement():
    """Sums, means and covariances of multinomial numbers; how often none is drawn, (1 - 1/n)^n."""
    n = 40
    times = bootstrap._draws(np.random.default_rng(0), n).astype(np.float64)
    assert times.shape == (bootstrap.DRAWS, n)
    assert (times.sum(axis=1) == n).all()
    # Four standard errors, and more for the largest of 40 and of 780.
    assert times.mean(axis=0) == pytest.approx(1, abs=5 / np.sqrt(len(times)))
    covariance = np.cov(times.T)
    assert np.diag(covariance).mean() == pytest.approx(1 - 1 / n, abs=0.03)
    assert covariance[~np.eye(n, dtype=bool)].mean() == pytest.approx(-1 / n, abs=0.002)
    assert (times == 0).mean() == pytest.approx((1 - 1 / n) ** n, abs=0.01)
