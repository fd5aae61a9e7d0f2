"""Pairs that are counted on a device: the same bits as on the CPU."""

import numpy as np
import pytest
import torch
from tests.strategies import crowd
from tests.verification.test_divided import case, everything, plain

import siamese
from siamese.distances.cosine import CosineDistance
from siamese.distances.euclidean import EuclideanDistance
from siamese.distances.learned import LearnedDistance
from siamese.verification import measure
from siamese.verification.policies.max_f1 import MaxF1
from siamese.verification.streaming import tiles
from siamese.verification.streaming.device_tiles import DeviceTile
from siamese.verification.streaming.stream import StreamedDistances
from siamese.verification.streaming.tile import Tile

on_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")


@pytest.fixture
def as_on_a_device(monkeypatch):
    """What would run on a device runs on the CPU, by the same code."""
    monkeypatch.setattr(tiles, "COUNT_AS_ON_A_DEVICE", True)


def made_tiles(monkeypatch):
    """The kinds of the tiles that are made."""
    kinds, work = set(), tiles.Tiles._work

    def noted(self, done, waiting):
        work(self, lambda tile: (kinds.add(type(tile)), done(tile)), waiting)

    monkeypatch.setattr(tiles.Tiles, "_work", noted)
    return kinds


@pytest.mark.parametrize("number", range(3))
def test_all_that_can_be_asked_is_the_same(number, monkeypatch):
    expected = everything(number)
    monkeypatch.setattr(tiles, "COUNT_AS_ON_A_DEVICE", True)
    kinds = made_tiles(monkeypatch)
    found = everything(number)
    assert kinds == {DeviceTile}
    for name in expected:
        assert found[name] == expected[name], name


@pytest.mark.parametrize("scale", [1.0, 1e-12, 1e8])
@pytest.mark.parametrize("shift", [0.0, 1000.0])
@pytest.mark.parametrize("distance", [EuclideanDistance(), CosineDistance()])
def test_pairs_of_uncertain_bins_are_where_measure_puts_them(
    as_on_a_device, scale, shift, distance
):
    """Far from the origin, or nearly equal, a product's error hides the distances."""
    rng = np.random.default_rng(0)
    rows = torch.from_numpy((rng.integers(-2, 3, size=(60, 3)) / 4 + shift) * scale)
    labels = np.arange(60) // 3
    streamed = StreamedDistances(rows, labels, distance, tile=25)
    i, j = np.triu_indices(60, 1)
    exact = distance.measure(rows[i], rows[j]).numpy()
    for threshold in np.unique(exact)[::7]:
        counts = streamed.count_verdicts(float(threshold))
        assert counts.tp == np.sum((exact <= threshold) & (labels[i] == labels[j]))
        assert counts.fp == np.sum((exact <= threshold) & (labels[i] != labels[j]))


def test_a_learned_distance_stays_on_the_cpu(as_on_a_device, monkeypatch):
    rows, labels = crowd(60, 12, 8)
    kinds = made_tiles(monkeypatch)
    StreamedDistances(rows, labels, LearnedDistance(8).eval(), device="meta").choose(MaxF1())
    assert kinds == {Tile}


@on_cuda
@pytest.mark.parametrize("number", range(6))
def test_on_cuda_all_counts_are_those_of_the_cpu(number):
    rows, who, distance, _ = case(number)
    there = StreamedDistances(rows.cuda(), who, distance)
    here = StreamedDistances(rows, who, distance)
    assert there._tiles.device.type == "cuda"
    for ask in (
        lambda pairs: pairs.choose(MaxF1()),
        lambda pairs: pairs.curve(),
        lambda pairs: pairs.extremes(9),
        lambda pairs: pairs.by_identity(np.array([0.5, 1.0])),
    ):
        assert plain(ask(there)) == plain(ask(here))


@on_cuda
def test_on_cuda_a_calibration_is_that_of_the_cpu(monkeypatch):
    monkeypatch.setattr(measure, "HELD", 0)
    rows, labels = crowd(3000, 400)
    found, expected = siamese.calibrate(rows.cuda(), labels), siamese.calibrate(rows, labels)
    again = siamese.calibrate(rows, labels, device="cuda")
    assert plain(found.curve) == plain(expected.curve) == plain(again.curve)
    assert found.point == expected.point == again.point
