"""PartwiseLoss: each part of an embedding has a loss of its own."""

import pytest
import torch

from siamese.backbones.ensemble_net import EnsembleNet
from siamese.errors import ConfigError
from siamese.losses.base import LOSSES
from siamese.losses.combined import CombinedLoss
from siamese.losses.contrastive import ContrastiveLoss
from siamese.losses.margin_softmax import MarginSoftmaxLoss
from siamese.losses.partwise import PartwiseLoss
from siamese.losses.supervised_contrastive import SupervisedContrastiveLoss
from siamese.training.module import SiameseModule


def test_it_is_the_mean_of_the_loss_over_the_parts():
    x = torch.randn(8, 12, dtype=torch.float64, requires_grad=True)
    labels = torch.arange(8) // 2
    one = SupervisedContrastiveLoss()
    found = PartwiseLoss(one, 3)(x, labels)
    expected = sum(one(x[:, i : i + 4], labels) for i in (0, 4, 8)) / 3
    assert found.item() == pytest.approx(expected.item(), rel=1e-12)
    grads = [torch.autograd.grad(loss, x)[0] for loss in (found, expected)]
    torch.testing.assert_close(*grads)


def test_explicit_pairs_reach_every_part():
    x, labels = torch.randn(6, 4), torch.arange(6) // 2
    pairs = torch.tensor([[0, 1], [2, 3]])
    one = ContrastiveLoss(2.0)
    found = PartwiseLoss(one, 2)(x, labels, pairs)
    expected = (one(x[:, :2], labels, pairs) + one(x[:, 2:], labels, pairs)) / 2
    assert found.item() == pytest.approx(expected.item(), rel=1e-6)


def test_each_part_has_weights_of_its_own():
    loss = PartwiseLoss(CombinedLoss([MarginSoftmaxLoss(), SupervisedContrastiveLoss()]), 2)
    assert not loss.open_set
    loss.bind(4, 10)
    weights = list(loss.parameters())
    assert [tuple(w.shape) for w in weights] == [(4, 5), (4, 5)]
    assert not torch.equal(*weights)
    x = torch.randn(8, 10, requires_grad=True)
    loss(x, torch.arange(8) // 2).backward()
    assert all(w.grad is not None and w.grad.any() for w in weights)


def test_a_checkpoint_can_name_it():
    loss = PartwiseLoss(MarginSoftmaxLoss(margin=0.3), 3)
    again = LOSSES.build(LOSSES.settings(loss))
    assert isinstance(again, PartwiseLoss)
    assert (again.parts, again.loss.margin, len(again.losses)) == (3, 0.3, 3)


def test_the_module_tells_it_how_many_networks_there_are():
    net = EnsembleNet(views=(1.0, 0.5, 0.7), size=32, width=2, learned_size=8)
    loss = CombinedLoss([PartwiseLoss(MarginSoftmaxLoss())])
    SiameseModule(net, loss)
    assert loss.losses[0].parts == len(loss.losses[0].losses) == 3
    SiameseModule(net, loss)  # once more changes nothing
    assert len(loss.losses[0].losses) == 3
    with pytest.raises(ConfigError, match=r"parts=2.*3 networks"):
        SiameseModule(net, PartwiseLoss(MarginSoftmaxLoss(), 2))


def test_parts_must_be_equal():
    with pytest.raises(ConfigError, match="3 equal parts"):
        PartwiseLoss(MarginSoftmaxLoss(), 3).bind(5, 10)
    for parts in (0, 1.5, True):
        with pytest.raises(ConfigError, match="parts"):
            PartwiseLoss(ContrastiveLoss(), parts)
    loss = PartwiseLoss(ContrastiveLoss(), 2)
    assert loss.distance is loss.loss.distance
