"""Labels are doubted exactly where they were made wrong, on embeddings whose answer is known."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from siamese.distances.cosine import CosineDistance
from siamese.distances.euclidean import EuclideanDistance
from siamese.distances.learned import LearnedDistance
from siamese.evaluation import doubts, suspicions
from siamese.evaluation.suspicions import doubt_labels


def people(n: int = 30) -> tuple[np.ndarray, np.ndarray]:
    """Five embeddings of unit length for each of ``n`` identities, in steps on a great circle.

    Of the ten pairs of one identity four are a step apart: the lower quartile of distances. The
    median is two steps. Identities are far apart.
    """
    centres = np.linalg.qr(np.random.default_rng(0).normal(size=(64, 2 * n)))[0].T
    turn = 0.02 * np.arange(5)[:, None]
    points = [
        np.cos(turn) * one + np.sin(turn) * other
        for one, other in zip(centres[::2], centres[1::2], strict=True)
    ]
    return np.concatenate(points).astype(np.float32), np.repeat(np.arange(n), 5)


@pytest.mark.parametrize("distance", [EuclideanDistance(), CosineDistance()])
def test_right_labels_are_not_doubted(distance):
    points, labels = people()
    found = doubt_labels(points, labels, distance, 0.9)
    assert found.mislabelled == found.two_names == ()
    assert found.very_near < found.near < 0.9


@pytest.mark.parametrize("distance", [EuclideanDistance(), CosineDistance()])
def test_wrong_labels_are_found_and_no_others(distance):
    points, labels = people()
    wrong = {2: 7, 52: 2, 102: 29}  # in the middle of their own
    for row, label in wrong.items():
        labels[row] = label
    found = doubt_labels(points, labels, distance, 0.9)
    assert {s.row for s in found.mislabelled} == set(wrong)
    assert all(s.other_row // 5 == s.row // 5 for s in found.mislabelled)
    assert [s.margin for s in found.mislabelled] == sorted(
        (s.margin for s in found.mislabelled), reverse=True
    )
    assert found.two_names == ()  # a single wrong image makes none


@pytest.mark.parametrize("distance", [EuclideanDistance(), CosineDistance()])
def test_two_names_of_one_person_are_found_and_no_others(distance):
    points, labels = people()
    # Identity 4 keeps its second and third image; between them lie two under a new name.
    between = points[21] + points[22]
    between /= np.linalg.norm(between)
    rows = [row for row in range(150) if row not in (20, 23, 24)]
    points = np.concatenate([points[rows], between[None], between[None]])
    labels = np.concatenate([labels[rows], [30, 30]])
    (two,) = doubt_labels(points, labels, distance, 0.9).two_names
    assert sorted((labels[two.row], labels[two.other_row])) == [4, 30]
    # With one image that is elsewhere and as many that are not, they are still two names; where
    # most are elsewhere, they are none.
    for far, names in ((1, 1), (5, 0)):
        more = np.concatenate([points, points[:far]])
        found = doubt_labels(more, np.concatenate([labels, [30] * far]), distance, 0.9).two_names
        pairs = {tuple(sorted((labels[t.row % 149], labels[t.other_row % 149]))) for t in found}
        assert ((4, 30) in pairs) == bool(names)


def test_distances_are_those_of_the_pair_form(monkeypatch):
    points, labels = people(6)
    labels[2] = 5
    for size in (1, 7, 256):
        monkeypatch.setattr(suspicions, "_BLOCK", size)
        (found,) = doubt_labels(points, labels, EuclideanDistance(), 0.9).mislabelled
        matrix = EuclideanDistance().matrix(points, points).numpy()
        mine = labels == labels[2]
        assert found.row == 2
        assert found.other == pytest.approx(matrix[2][~mine].min(), abs=1e-6)
        mine[2] = False
        assert found.own == pytest.approx(matrix[2][mine].min(), abs=1e-6)


def test_a_distance_without_squares_and_few_images():
    points, labels = (each[[0, 1, 5, 6, 10, 11]] for each in people(3))
    found = doubt_labels(points, labels, LearnedDistance(64), 0.25)
    assert found.near == found.very_near == 0.25  # too few pairs for a median
    alone = doubt_labels(points[:2], np.array([0, 1]), EuclideanDistance(), 9.0)
    assert alone.mislabelled == ()
    assert len(alone.two_names) == 1


def test_a_run_doubts_labels_of_what_it_was_not_trained_on_and_of_what_is_not_large(monkeypatch):
    points, labels = people()
    rows = torch.from_numpy(points)
    labels[7] = 3  # an image of the second identity bears the name of the fourth
    data = {name: SimpleNamespace(labels=labels) for name in ("train", "test")}
    embeddings = dict.fromkeys(data, rows)
    found = doubts.doubts_of(embeddings, EuclideanDistance(), data, 0.5)
    assert list(found) == ["test"]
    assert [suspect.row for suspect in found["test"].mislabelled] == [7]
    assert found["test"].two_names == ()
    monkeypatch.setattr(doubts, "MOST", 19)
    assert doubts.doubts_of(embeddings, EuclideanDistance(), data, 0.5) == {}
