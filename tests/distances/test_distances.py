"""Distances are right against float64, and exact for equal rows.

They do not depend on how many pairs are computed together.
"""

import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.random_cases import random_cases

from siamese.distances.base import DISTANCES
from siamese.distances.cosine import CosineDistance
from siamese.distances.euclidean import EuclideanDistance
from siamese.distances.learned import LearnedDistance
from siamese.distances.plda import PldaDistance
from siamese.distances.verdict import is_match
from siamese.errors import CalibrationError
from siamese.pairs.all_pairs import AllPairs
from siamese.verification.measure import measure_pairs
from siamese.verification.streaming.stream import StreamedDistances
from siamese.verification.thresholds import calibrate

BOTH = [EuclideanDistance(), CosineDistance()]
PLDA = PldaDistance.fit(
    np.random.default_rng(0).normal(size=(60, 3)), np.arange(60) % 20, shrinkage=0.5
)


def reference(name, a, b):
    a, b = a.double().numpy(), b.double().numpy()
    if name == "euclidean":
        return np.sqrt(((a - b) ** 2).sum(-1))
    return 1 - (a * b).sum(-1) / np.sqrt((a**2).sum(-1) * (b**2).sum(-1))


@pytest.mark.parametrize("distance", BOTH)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_against_float64(distance, dtype):
    torch.manual_seed(0)
    a, b = (torch.randn(50, 64) * 10).to(dtype), (torch.randn(50, 64) * 10).to(dtype)
    found = distance(a, b)
    assert found.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    np.testing.assert_allclose(
        found.numpy(), reference(DISTANCES.name(distance), a, b), rtol=2e-6, atol=1e-6
    )


@pytest.mark.parametrize("distance", BOTH)
def test_equal_rows_are_at_distance_zero_exactly_with_finite_gradients(distance):
    a = torch.randn(7, 33, requires_grad=True)
    found = distance(a, a.detach().clone())
    assert (found == 0).all()
    found.sum().backward()
    assert a.grad.isfinite().all()
    zero = torch.zeros(2, 5, requires_grad=True)
    distance(zero, zero.detach().clone()).sum().backward()
    assert zero.grad.isfinite().all()


@pytest.mark.parametrize("distance", BOTH)
@settings(max_examples=60, deadline=None)
@given(
    n=st.integers(1, 40), d=st.sampled_from([1, 2, 3, 7, 64, 128, 130]), seed=st.integers(0, 1000)
)
def test_a_pair_does_not_depend_on_its_company(distance, n, d, seed):
    a, b = torch.randn(2, n, d, generator=torch.Generator().manual_seed(seed))
    for form in (distance, distance.measure):
        together = form(a, b)
        alone = torch.cat([form(a[i : i + 1], b[i : i + 1]) for i in range(n)])
        assert torch.equal(together, alone)
    rows = torch.arange(n)
    embeddings = torch.cat([a, b])
    assert np.array_equal(
        distance.between(embeddings, rows.numpy(), (rows + n).numpy()), together.numpy()
    )
    assert torch.equal(distance.matrix(a, b).diagonal(), together)


@pytest.mark.parametrize("distance", [*BOTH, LearnedDistance(3).eval(), PLDA])
def test_arrays_are_measured_as_tensors_are(distance):
    a, b = np.random.default_rng(0).normal(size=(2, 4, 3)).astype(np.float32)
    rows, others = torch.from_numpy(a), torch.from_numpy(b)
    for form in (distance, distance.measure, distance.matrix):
        assert torch.equal(form(a, b), form(rows, others))
        assert torch.equal(form(a[::-1], others), form(rows.flip(0), others))
        assert torch.equal(form(rows, b[:, ::-1]), form(rows, others.flip(1)))
    pairs = np.array([0, 1]), np.array([2, 2])
    assert np.array_equal(distance.between(a, *pairs), distance.between(rows, *pairs))


def test_what_are_no_numbers_is_refused():
    a = torch.zeros(1, 3)
    for form in (EuclideanDistance(), EuclideanDistance().measure, EuclideanDistance().matrix):
        with pytest.raises(CalibrationError, match="cannot be read as an array"):
            form(a, [["x", "y", "z"]])


@pytest.mark.parametrize("distance", BOTH)
def test_symmetric_and_tiled(distance, monkeypatch):
    a, b = torch.randn(23, 16), torch.randn(31, 16)
    whole = distance.matrix(a, b)
    assert torch.equal(whole, distance.matrix(b, a).T)
    monkeypatch.setattr("siamese.distances.base.BLOCK", 80)
    assert torch.equal(whole, distance.matrix(a, b))
    assert distance.matrix(a[:0], b).shape == (0, 31)


def test_half_precision_squares_do_not_overflow_under_autocast():
    a = torch.full((1, 4), 300.0, dtype=torch.float16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert EuclideanDistance()(a, -a).item() == pytest.approx(1200.0)


@given(st.floats(0, 2, width=32), st.floats(0, 2, width=32))
def test_the_comparator_accepts_up_to_and_including_the_threshold(distance, threshold):
    expected = not distance > threshold
    assert is_match(distance, threshold) is expected
    assert bool(is_match(np.array([distance], dtype=np.float32), threshold)[0]) is expected
    assert bool(is_match(torch.tensor([distance]), threshold)[0]) is expected


@random_cases(1000)
@given(
    st.floats(0, 4, width=32),
    st.one_of(st.floats(-1, 5), st.sampled_from([0.1, 1e300, -1e300, math.inf, 1e-320])),
)
def test_arrays_are_compared_as_numbers_are_with_thresholds_that_float32_does_not_hold(
    distance, threshold
):
    expected = (
        Fraction(distance) <= Fraction(threshold) if math.isfinite(threshold) else threshold > 0
    )
    found = [
        is_match(distance, threshold),
        is_match(np.array([distance], dtype=np.float32), threshold)[0],
        is_match(np.float32(distance), threshold),
        is_match(np.array([distance]), threshold)[0],
        is_match(torch.tensor([distance]), threshold)[0],
        is_match(torch.tensor([distance], dtype=torch.float64), threshold)[0],
    ]
    assert [bool(f) for f in found] == [expected] * 6


def test_a_threshold_that_float32_rounds_up_gives_the_same_counts_everywhere():
    # float32(0.1) is more than 0.1.
    rows, labels = torch.tensor([[0.0], [0.1], [5.0], [5.3]]), np.array([0, 0, 1, 1])
    every = [
        measure_pairs(rows, labels, AllPairs(), EuclideanDistance()),
        StreamedDistances(rows, labels, EuclideanDistance()),
    ]
    assert [c.count_verdicts(0.1).tp for c in every] == [0, 0]
    assert [c.count_verdicts(float(np.float32(0.1))).tp for c in every] == [1, 1]
    assert calibrate(rows, labels).with_policy(0.1).confusion.tp == 0


@pytest.mark.parametrize("distance", BOTH)
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_what_verdicts_compare_is_the_true_distance_rounded_once(distance, dtype):
    torch.manual_seed(1)
    a, b = torch.randn(500, 64).to(dtype), torch.randn(500, 64).to(dtype)
    found = distance.measure(a.requires_grad_(), b)
    assert found.dtype == torch.float32
    assert not found.requires_grad
    # One rounding: half a unit in the last place. The reference of cosine, 1 - cos, cancels: it is
    # good to 1e-16 / distance.
    true = reference(DISTANCES.name(distance), a.detach(), b)
    assert (np.abs(found.numpy() - true) <= 0.501 * np.spacing(found.numpy())).all()


def test_neither_layout_nor_company_nor_threads_change_a_long_rows_last_bit(monkeypatch):
    """Looked at in float64: rounding to float32 hides such a bit nearly always, but not always."""
    seen = []
    monkeypatch.setattr(
        EuclideanDistance,
        "of_squares",
        lambda self, squares: (seen.append(squares.clone()), squares)[1],
    )

    def squares(a, b):
        seen.clear()
        EuclideanDistance().measure(a, b)
        return seen[0]

    a, b = torch.randn(
        2, 6, 40_000, dtype=torch.float64, generator=torch.Generator().manual_seed(2)
    )
    together = squares(a, b)
    assert together.dtype == torch.float64
    before = torch.get_num_threads()
    try:
        for threads in (1, 4):
            torch.set_num_threads(threads)
            assert torch.equal(
                together, torch.cat([squares(a[i : i + 1], b[i : i + 1]) for i in range(6)])
            )
            assert torch.equal(together, squares(a.T.contiguous().T, b.T.contiguous().T))
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("scale", [1e-30, 1e-12, 1e30])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_cosine_of_tiny_and_huge_rows_is_that_of_their_directions(scale, dtype):
    a, b = torch.randn(2, 20, 16, dtype=dtype, generator=torch.Generator().manual_seed(3))
    scaled = (a * scale).requires_grad_()
    for form in (CosineDistance(), CosineDistance().measure):
        assert torch.allclose(form(scaled, b * scale), form(a, b), rtol=0, atol=1e-6)
    CosineDistance()(scaled, b).sum().backward()
    plain = a.clone().requires_grad_()
    CosineDistance()(plain, b).sum().backward()
    assert torch.allclose(scaled.grad * scale, plain.grad, atol=1e-5)
    found = CosineDistance().measure(torch.zeros(1, 3), torch.tensor([[0.0, 2.0, 0.0]]))
    assert found.item() == 0.5
