"""Triplet loss against naive loops over triplets.

And on points of the plane that can be checked on paper.
"""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.random_cases import random_cases

from siamese.distances.cosine import CosineDistance
from siamese.distances.euclidean import EuclideanDistance
from siamese.distances.learned import LearnedDistance
from siamese.errors import ConfigError
from siamese.losses.triplet import TripletLoss


def naive(embeddings, labels, margin, mining):
    points, who = embeddings.tolist(), labels.tolist()
    n = len(who)

    def cost(anchor, positive, negative):
        gap = math.dist(points[anchor], points[positive]) - math.dist(
            points[anchor], points[negative]
        )
        return math.log1p(math.exp(gap)) if margin is None else max(0.0, gap + margin)

    costs = []
    for a in range(n):
        positives = [p for p in range(n) if p != a and who[p] == who[a]]
        negatives = sorted(
            (m for m in range(n) if who[m] != who[a]), key=lambda m: math.dist(points[a], points[m])
        )
        if not positives or not negatives:
            continue
        if mining == "batch_hard":
            costs.append(max(cost(a, p, m) for p in positives for m in negatives))
        for p in positives:
            if mining == "all":
                costs += [c for m in negatives if (c := cost(a, p, m)) > 0]
            if mining == "semi_hard":
                near = math.dist(points[a], points[p])
                far = math.inf if margin is None else near + margin
                window = [m for m in negatives if near < math.dist(points[a], points[m]) < far]
                costs.append(cost(a, p, (window or negatives)[0]))
    return sum(costs) / max(1, len(costs))


MINING = st.sampled_from(["batch_hard", "semi_hard", "all"])


@random_cases(200)
@given(
    st.integers(0, 12),
    st.integers(1, 4),
    st.sampled_from([None, 0.2, 1.0]),
    MINING,
    st.integers(0, 10_000),
)
def test_equals_the_naive_loop(n, identities, margin, mining, seed):
    generator = torch.Generator().manual_seed(seed)
    embeddings = torch.randn(n, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    labels = torch.randint(0, identities, (n,), generator=generator)
    found = TripletLoss(margin, mining)(embeddings, labels)
    assert found.dtype == torch.float64
    assert found.item() == pytest.approx(naive(embeddings, labels, margin, mining), abs=1e-12)
    found.backward()
    assert embeddings.grad.isfinite().all()


@pytest.mark.parametrize(
    ("mining", "expected"),
    [
        # Points 0, 3 (identity 0) and 4, 10 (identity 1) on a line, margin 2.
        # Distances: 0-3 3, 0-4 4, 0-10 10, 3-4 1, 3-10 7, 4-10 6.
        # Anchor 0: 3 - 4 + 2 = 1; anchor 3: 3 - 1 + 2 = 4; anchor 4: 6 - 1 + 2 = 7;
        # anchor 10: 6 - 7 + 2 = 1.
        ("batch_hard", (1 + 4 + 7 + 1) / 4),
        # Anchor 0: 4 lies within 3..5: 1. Anchor 3: nothing within 3..5, so the nearest: 4.
        # Anchor 4: nothing within 6..8: 7. Anchor 10: 7 lies within 6..8: 1.
        # With one positive each, this is batch_hard again.
        ("semi_hard", (1 + 4 + 7 + 1) / 4),
        # Anchor 0: 1, -5; anchor 3: 4, -2; anchor 4: negatives at 4 and 1: 4, 7;
        # anchor 10: at 10 and 7: -2, 1.
        ("all", (1 + 4 + 4 + 7 + 1) / 5),
    ],
)
def test_on_paper(mining, expected):
    line = torch.tensor([[0.0], [3.0], [4.0], [10.0]])
    value = TripletLoss(2.0, mining)(line, torch.tensor([0, 0, 1, 1]))
    assert value.item() == pytest.approx(expected)


def test_semi_hard_passes_over_a_negative_that_is_nearer_than_the_positive():
    # Anchor 0 with its positive at 3: the negative at 1 is hardest, that at 4 semi-hard; the other
    # anchors are counted alike.
    line, labels = (
        torch.tensor([[0.0], [3.0], [-1.0], [-4.0]], dtype=torch.float64),
        torch.tensor([0, 0, 1, 2]),
    )
    # Anchor 0: 3 - 4 + 2 = 1, not 3 - 1 + 2 = 4; anchor 3: negatives at 4 and 7, within 3..5 the
    # first: 3 - 4 + 2 = 1.
    assert TripletLoss(2.0, "semi_hard")(line, labels).item() == pytest.approx((1 + 1) / 2)
    assert TripletLoss(2.0, "batch_hard")(line, labels).item() == pytest.approx((4 + 1) / 2)


@pytest.mark.parametrize("mining", ["batch_hard", "semi_hard", "all"])
@pytest.mark.parametrize("margin", [None, 0.5])
def test_gradients(mining, margin):
    loss = TripletLoss(margin, mining)
    labels = torch.tensor([0, 0, 0, 1, 1, 2])
    embeddings = torch.randn(
        6, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(2), requires_grad=True
    )
    assert torch.autograd.gradcheck(lambda e: loss(e, labels), embeddings)
    same = torch.ones(6, 3, requires_grad=True)
    loss(same, labels).backward()
    assert same.grad.isfinite().all()


@pytest.mark.parametrize("labels", [[], [0], [0, 0], [0, 1], [0, 0, 0, 0], [0, 1, 2, 3]])
@pytest.mark.parametrize("mining", ["batch_hard", "semi_hard", "all"])
@pytest.mark.parametrize("margin", [None, 0.5])
def test_a_batch_without_a_triplet_costs_nothing(labels, mining, margin):
    embeddings = torch.randn(len(labels), 4, requires_grad=True)
    value = TripletLoss(margin, mining)(embeddings, torch.tensor(labels, dtype=torch.int64))
    value.backward()
    assert value.item() == 0
    assert not embeddings.grad.any()


def test_pairs_are_ignored_and_the_distance_it_was_given_is_used():
    embeddings, labels = torch.randn(6, 4), torch.arange(6) // 2
    loss = TripletLoss(distance=CosineDistance())
    assert torch.equal(loss(embeddings, labels, torch.tensor([[0], [1]])), loss(embeddings, labels))
    assert torch.allclose(loss(embeddings, labels), loss(7 * embeddings, labels), atol=1e-6)
    assert not torch.allclose(
        TripletLoss()(embeddings, labels), TripletLoss()(7 * embeddings, labels)
    )


def test_a_learned_distance_is_trained_not_measured():
    loss = TripletLoss(distance=LearnedDistance(4, 8))
    loss(torch.randn(6, 4), torch.arange(6) // 2).backward()
    assert loss.distance.norm.num_batches_tracked == 1
    assert loss.distance.inner.weight.grad.any()


def test_float32_outside_autocast():
    embeddings, labels = torch.randn(6, 4).bfloat16(), torch.arange(6) // 2
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = TripletLoss(distance=EuclideanDistance())(embeddings, labels)
    assert value.dtype == torch.float32
    assert torch.equal(value, TripletLoss()(embeddings.float(), labels))


@pytest.mark.parametrize(
    "settings", [{"margin": 0.0}, {"margin": -1.0}, {"margin": math.inf}, {"mining": "semihard"}]
)
def test_bad_settings_are_refused(settings):
    with pytest.raises(
        ConfigError,
        match="did you mean 'semi_hard'" if "mining" in settings else "margin must be above 0",
    ):
        TripletLoss(**settings)
