"""Clusters against a naive loop, and their figures against counting by hand."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import siamese
from siamese.verification import clustering
from siamese.verification.clustering import cluster_embeddings, evaluate_clusters

MEANS = {"average": np.mean, "complete": np.max, "single": np.min}


def naive(embeddings, threshold, linkage):
    """Join the two nearest clusters until none are within the threshold."""
    distances = siamese.EuclideanDistance().matrix(embeddings, embeddings).numpy().astype(float)
    clusters = [[i] for i in range(len(embeddings))]
    while len(clusters) > 1:
        far, a, b = min(
            (MEANS[linkage](distances[np.ix_(clusters[a], clusters[b])]), a, b)
            for a, b in itertools.combinations(range(len(clusters)), 2)
        )
        if far > threshold:
            break
        clusters[a] += clusters.pop(b)
    return {frozenset(c) for c in clusters}


def as_sets(labels):
    return {frozenset(np.flatnonzero(labels == n).tolist()) for n in np.unique(labels)}


@given(
    st.integers(0, 10_000), st.integers(1, 25), st.floats(0.05, 2.5),
    st.sampled_from(["average", "complete", "single"]),
)  # fmt: skip
def test_clusters_are_those_of_a_naive_loop(seed, n, threshold, linkage):
    embeddings = np.random.default_rng(seed).normal(size=(n, 3))
    found = cluster_embeddings(embeddings, threshold, linkage=linkage)
    assert as_sets(found) == naive(embeddings, threshold, linkage)


def test_the_threshold_is_included():
    points = np.array([[0.0], [1.0], [9.0]])
    assert cluster_embeddings(points, 1.0).tolist() == [0, 0, 1]
    assert cluster_embeddings(points, np.nextafter(1.0, 0)).tolist() == [0, 1, 2]
    three = np.array([[0.0], [1.0], [2.0]])
    assert cluster_embeddings(three, 1.5).tolist() == [0, 0, 0]  # 2 is 1.5 from the mean pair
    assert len(set(cluster_embeddings(three, 1.499).tolist())) == 2


def test_the_largest_cluster_comes_first():
    points = np.array([[9.0], [0.0], [0.1], [5.0], [5.1], [5.2]])
    assert cluster_embeddings(points, 0.5).tolist() == [2, 1, 1, 0, 0, 0]


def test_parts_that_do_not_hang_together_change_nothing(monkeypatch):
    random = np.random.default_rng(0)
    points = np.concatenate([random.normal(size=(30, 4)) + 50 * n for n in range(4)])
    whole = cluster_embeddings(points, 1.5)
    monkeypatch.setattr(clustering, "_NUMBERS", 300)
    np.testing.assert_array_equal(cluster_embeddings(points, 1.5), whole)
    monkeypatch.setattr(clustering, "LARGEST", 40)
    np.testing.assert_array_equal(cluster_embeddings(points, 1.5), whole)
    with pytest.raises(siamese.CalibrationError, match="120 embeddings hang together"):
        cluster_embeddings(points, 1000.0)


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=30))
def test_figures_are_as_counted_by_hand(rows):
    clusters, people = np.array(rows).T
    found = evaluate_clusters(clusters, people)
    pairs = list(itertools.combinations(range(len(rows)), 2))
    same = [people[i] == people[j] for i, j in pairs]
    joined = [clusters[i] == clusters[j] for i, j in pairs]
    both = sum(a and b for a, b in zip(same, joined, strict=True))
    assert found.pairwise_precision == (both / sum(joined) if sum(joined) else 1)
    assert found.pairwise_recall == (both / sum(same) if sum(same) else 1)
    shares = []
    for i in range(len(rows)):
        cluster, person = clusters == clusters[i], people == people[i]
        shares.append(((cluster & person).sum() / cluster.sum(),
                       (cluster & person).sum() / person.sum()))  # fmt: skip
    precision, recall = np.mean(shares, axis=0)
    assert found.bcubed_precision == pytest.approx(precision)
    assert found.bcubed_recall == pytest.approx(recall)
    assert found.bcubed_f1 == pytest.approx(2 * precision * recall / (precision + recall))


def test_what_cannot_be_clustered_is_refused():
    with pytest.raises(siamese.CalibrationError):
        cluster_embeddings(np.zeros((0, 2)), 1.0)
    with pytest.raises(siamese.CalibrationError):
        cluster_embeddings(np.full((1, 2), np.nan), 1.0)
    with pytest.raises(siamese.ConfigError, match="did you mean 'average'"):
        cluster_embeddings(np.zeros((1, 2)), 1.0, linkage="averag")
    with pytest.raises(siamese.CalibrationError):
        evaluate_clusters([1, 2], [1])


def test_an_infinite_threshold_joins_all():
    rows = np.random.default_rng(0).normal(size=(9, 4))
    assert siamese.cluster_embeddings(rows, float("inf")).tolist() == [0] * 9
