"""What a run says at its end, where there was nothing to train."""

import pytest
from torch import nn

import siamese
from siamese.backbones.base import ModuleBackbone
from siamese.training.summary import untrained


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: siamese.DescriptorNet(components=4), "it was fitted in closed form"),
        (lambda: ModuleBackbone(nn.Flatten()), "it has no weights"),
        (lambda: ModuleBackbone(nn.Linear(3, 2)).requires_grad_(False), "weights are frozen"),
    ],
)
def test_it_is_said_why_nothing_was_trained(make, said):
    assert said in untrained(make())
