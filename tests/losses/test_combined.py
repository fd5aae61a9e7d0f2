"""CombinedLoss is the weighted sum of its parts, and passes on what they need."""

import pytest
import torch

from siamese.distances.cosine import CosineDistance
from siamese.distances.euclidean import EuclideanDistance
from siamese.errors import ConfigError
from siamese.losses.base import EmbeddingLoss
from siamese.losses.combined import CombinedLoss
from siamese.losses.contrastive import ContrastiveLoss
from siamese.losses.margin_softmax import MarginSoftmaxLoss
from siamese.losses.triplet import TripletLoss


@pytest.mark.parametrize(
    ("weights", "a", "b"), [(None, 1, 1), ([0.25, 3], 0.25, 3), ([0, 1], 0, 1)]
)
@pytest.mark.parametrize("explicit", [False, True])
def test_the_weighted_sum(weights, a, b, explicit):
    embeddings, labels = (
        torch.randn(6, 4, dtype=torch.float64, requires_grad=True),
        torch.arange(6) // 2,
    )
    pairs = torch.tensor([[0, 1], [2, 3]]) if explicit else None
    first, second = ContrastiveLoss(2.0), TripletLoss()
    expected = a * first(embeddings, labels, pairs) + b * second(embeddings, labels, pairs)
    found = CombinedLoss([first, second], weights)(embeddings, labels, pairs)
    assert found.item() == pytest.approx(expected.item(), rel=1e-12)
    (gradient,) = torch.autograd.grad(found, embeddings)
    torch.testing.assert_close(gradient, torch.autograd.grad(expected, embeddings)[0])


def test_binding_open_set_and_parameters_come_from_the_parts():
    softmax = MarginSoftmaxLoss()
    both = CombinedLoss([ContrastiveLoss(), softmax], [1.0, 0.1])
    assert (both.open_set, CombinedLoss([ContrastiveLoss()]).open_set) == (False, True)
    both.bind(3, 4)
    assert softmax.weight.shape == (3, 4)
    assert [name for name, _ in both.named_parameters()] == ["losses.1.weight"]
    assert both(torch.randn(6, 4), torch.arange(6) // 2).isfinite()
    ContrastiveLoss().bind(3, 4)  # says nothing to a loss that need not know


def test_the_distance_is_that_of_the_first_part_that_has_one():
    cosine, euclidean = CosineDistance(), EuclideanDistance()
    parts = [MarginSoftmaxLoss(), ContrastiveLoss(distance=cosine), TripletLoss(distance=euclidean)]
    assert CombinedLoss(parts).distance is cosine
    assert CombinedLoss(parts[::-1]).distance is euclidean
    assert CombinedLoss(parts[:1]).distance is None
    assert EmbeddingLoss().open_set


@pytest.mark.parametrize("losses", [0, 1, 2])
def test_bad_settings_are_refused(losses):
    made = [ContrastiveLoss() for _ in range(losses)]
    weights = [[], [-1.0], [1.0]][losses]
    with pytest.raises(ConfigError, match="at least 0" if losses == 1 else "equally many"):
        CombinedLoss(made, weights)
