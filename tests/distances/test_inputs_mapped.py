"""Embeddings that are mapped from a file: looked at where they lie, and never copied as a whole."""

import warnings

import numpy as np
import pytest
import torch

import siamese
from siamese.distances import inputs
from siamese.distances.inputs import as_tensor, infinite_rows
from siamese.errors import CalibrationError
from siamese.verification import measure
from siamese.verification.streaming import tiles


@pytest.fixture
def made(tmp_path):
    rng, who = np.random.default_rng(0), np.repeat(np.arange(30), 4)
    rows = (rng.normal(size=(30, 6))[who] + 0.4 * rng.normal(size=(120, 6))).astype(np.float32)
    np.save(tmp_path / "rows.npy", rows)
    return rows, who, np.load(tmp_path / "rows.npy", mmap_mode="r")


def test_a_mapped_matrix_is_not_copied_and_nothing_is_said(made):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = as_tensor(made[2])
    assert found.data_ptr() == made[2].ctypes.data
    assert as_tensor(made[0]).data_ptr() != made[0].ctypes.data


@pytest.mark.parametrize(
    "change",
    [lambda m: m[::-1], lambda m: m[3:50], lambda m: m[:, ::2], lambda m: m.T, lambda m: m[:0]],
)
def test_a_part_of_a_map_is_the_same_numbers(made, change):
    assert (as_tensor(change(made[2])).numpy() == change(made[0])).all()


@pytest.mark.parametrize("kind", [">f4", "f2", "i4", "f8"])
def test_numbers_of_other_kinds_are_read(made, tmp_path, kind):
    np.save(tmp_path / "other.npy", made[0].astype(kind))
    found = as_tensor(np.load(tmp_path / "other.npy", mmap_mode="r"))
    assert (found.double().numpy() == made[0].astype(kind)).all()


@pytest.mark.parametrize("distance", ["euclidean", "cosine"])
def test_the_threshold_is_that_of_the_array_in_blocks_of_any_size(made, monkeypatch, distance):
    monkeypatch.setattr(measure, "HELD", 0)
    found = siamese.calibrate(made[0], made[1], distance=distance)
    for size in (1, 7, 1000):
        monkeypatch.setattr(tiles, "BLOCK", size)
        monkeypatch.setattr(inputs, "_BLOCK", size)
        again = siamese.calibrate(made[2], made[1], distance=distance)
        assert again.point == found.point
        assert (again.curve.tp == found.curve.tp).all()
        assert again.band == found.band


def test_rows_that_are_not_finite_are_named_in_any_block(made, tmp_path, monkeypatch):
    monkeypatch.setattr(inputs, "_BLOCK", 7)
    rows = made[0].copy()
    rows[[3, 7, 119]] = np.nan
    np.save(tmp_path / "bad.npy", rows)
    assert infinite_rows(torch.from_numpy(rows)) == [3, 7, 119]
    with pytest.raises(CalibrationError, match="row 3, 7, 119"):
        siamese.calibrate(np.load(tmp_path / "bad.npy", mmap_mode="r"), made[1])
