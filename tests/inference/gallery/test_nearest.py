"""The exact search against measuring every pair."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from siamese.distances.cosine import CosineDistance
from siamese.distances.euclidean import EuclideanDistance
from siamese.inference.gallery import nearest
from siamese.inference.gallery.nearest import Rows, nearest_people, row_norms

DISTANCES = {"euclidean": EuclideanDistance(), "cosine": CosineDistance()}


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """Several blocks and several groups of probes, on few rows."""
    monkeypatch.setattr(nearest, "BLOCK", 16)
    monkeypatch.setattr(nearest, "PROBES", 3)
    monkeypatch.setattr(nearest, "PAIRS", 7)


def measure_by(kind):
    return lambda a, b: DISTANCES[kind].measure(a, b).numpy()


def rows(embeddings, codes):
    order = np.argsort(codes, kind="stable")
    return Rows(embeddings[order], np.asarray(codes)[order], row_norms(embeddings[order]))


def brute_force(probes, parts, k, kind):
    """All distances; the nearest row of each person; people by distance, then by code."""
    embeddings = np.concatenate([part.embeddings for part in parts])
    codes = np.concatenate([part.codes for part in parts])
    distances = DISTANCES[kind].matrix(probes, embeddings).numpy()
    found = []
    for row in distances:
        people = {}
        for code, distance in zip(codes.tolist(), row.tolist(), strict=True):
            people[code] = min(distance, people.get(code, np.inf))
        found.append(sorted((d, code) for code, d in people.items())[:k])
    return found


@given(
    seed=st.integers(0, 10_000),
    kind=st.sampled_from(["euclidean", "cosine"]),
    people=st.integers(1, 40),
    sizes=st.lists(st.integers(1, 60), min_size=1, max_size=3),
    k=st.integers(1, 50),
    scale=st.sampled_from([1.0, 1e-30, 1e-19, 1e-12, 1e12, 1e25]),
    coarse=st.booleans(),
)
def test_people_and_distances_are_those_of_measuring_all(
    seed, kind, people, sizes, k, scale, coarse
):
    random = np.random.default_rng(seed)
    draw = (
        (lambda n: random.integers(-1, 2, (n, 4)))  # ties, equal rows, zero vectors
        if coarse
        else (lambda n: random.normal(size=(n, 4)) * random.choice([1.0, 1e-3], (n, 1)))
    )
    parts = [
        rows((draw(n) * scale).astype(np.float32), random.integers(0, people, n)) for n in sizes
    ]
    probes = (draw(5) * scale).astype(np.float32)
    found = nearest_people(probes, parts, k, measure_by(kind), kind=kind)
    expected = brute_force(probes, parts, k, kind)
    assert [
        list(zip(one.distances.tolist(), one.codes.tolist(), strict=True)) for one in found
    ] == expected


def test_the_row_is_one_of_the_person_at_that_distance():
    random = np.random.default_rng(0)
    parts = [rows(random.normal(size=(50, 8)).astype(np.float32), random.integers(0, 9, 50))]
    probe = random.normal(size=(1, 8)).astype(np.float32)
    (found,) = nearest_people(probe, parts, 9, measure_by("euclidean"))
    for code, row, distance in zip(found.codes, found.rows, found.distances, strict=True):
        assert parts[0].codes[row] == code
        assert measure_by("euclidean")(probe, parts[0].embeddings[row][None])[0] == distance


def test_rows_that_only_float64_tells_apart_are_ordered_right():
    """The matrix product in float32 gives the wrong order here, so that candidates matter."""
    base = np.random.default_rng(1).normal(size=64).astype(np.float32) * 100
    near = np.repeat(base[None], 40, axis=0)
    near[np.arange(40), np.arange(40)] += np.linspace(2e-3, 1e-4, 40, dtype=np.float32)
    squares = (base**2).sum() + (near**2).sum(axis=1) - 2 * near @ base
    exact = np.linalg.norm(near.astype(np.float64) - base, axis=1)
    assert np.argmin(squares) != np.argmin(exact)  # what is found by products alone
    (found,) = nearest_people(base[None], [rows(near, np.arange(40))], 3, measure_by("euclidean"))
    assert found.codes.tolist() == np.argsort(exact)[:3].tolist()


def test_few_pairs_are_measured(monkeypatch):
    monkeypatch.undo()  # blocks of their usual size
    random = np.random.default_rng(2)
    embeddings = random.normal(size=(70_000, 32)).astype(np.float32)
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    pairs = 0

    def measure(a, b):
        nonlocal pairs
        pairs += len(a)
        return DISTANCES["euclidean"].measure(a, b).numpy()

    nearest_people(embeddings[:10], [rows(embeddings, np.arange(70_000))], 5, measure)
    assert pairs < 10 * 50


def test_another_distance_is_measured_for_every_pair():
    random = np.random.default_rng(3)
    part = rows(random.normal(size=(30, 4)).astype(np.float32), random.integers(0, 7, 30))
    probes = random.normal(size=(2, 4)).astype(np.float32)

    def manhattan(a, b):
        return np.abs(a - b).sum(axis=1).astype(np.float32)

    found = nearest_people(probes, [part], 2, manhattan, kind="manhattan")
    for probe, one in zip(probes, found, strict=True):
        every = manhattan(np.repeat(probe[None], 30, axis=0), part.embeddings)
        assert one.distances[0] == every.min()


@pytest.mark.parametrize("most", [1, 150, 1 << 20])
def test_of_another_distance_few_pairs_are_held_at_a_time(most, monkeypatch):
    monkeypatch.setattr(nearest, "_ALL_PAIRS", most)
    held = []
    all_pairs = nearest._all_pairs
    monkeypatch.setattr(
        nearest, "_all_pairs", lambda q, parts: held.append(q) or all_pairs(q, parts)
    )
    random = np.random.default_rng(0)
    rows = random.normal(size=(50, 4)).astype(np.float32)
    part = nearest.Rows(rows, np.arange(50), nearest.row_norms(rows))

    def city_block(a, b):
        return np.abs(a - b).sum(axis=1, dtype=np.float32)

    found = nearest.nearest_people(rows[:9], [part], 1, city_block, kind="city_block")
    assert [one.codes[0] for one in found] == list(range(9))
    assert max(held) * 50 <= max(most, 50)
