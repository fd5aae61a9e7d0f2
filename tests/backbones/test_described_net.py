"""DescribedNet: a network beside fixed descriptors, in training, at use, and in a file."""

import pytest
import torch
from tests.backbones.test_descriptors import images_of
from torch import nn

from siamese.backbones.base import BACKBONES
from siamese.backbones.described_net import DescribedNet
from siamese.backbones.descriptor_net import DescriptorNet
from siamese.backbones.ensemble_net import EnsembleNet
from siamese.backbones.small_res_net import SmallResNet
from siamese.errors import ConfigError


def small():
    torch.manual_seed(0)
    return SmallResNet(widths=(4,), depths=(1,), learned_size=8, whiten=False, gradient_cells=0)


def test_training_sees_the_network_and_use_sees_both_at_unit_length():
    (images, labels), model = images_of(), DescribedNet(small(), components=6, weight=2.0)
    assert torch.equal(model(images), small()(images))
    assert (model.trained_size, model.embedding_size) == (8, 14)
    model.eval()
    assert not model(images)[:, 8:].any()  # not fitted yet
    model.fit([images[:20], images[20:]], labels)
    used = model(images)
    assert torch.allclose(used.norm(dim=1), torch.ones(32), atol=1e-5)
    lengths = [used[:, :8].norm(dim=1), used[:, 8:].norm(dim=1)]
    assert torch.allclose(lengths[1], 2 * lengths[0], atol=1e-4)
    alone = DescriptorNet(6)
    alone.fit([images], labels)
    apart = torch.nn.functional.normalize(small().eval()(images), dim=1)
    fixed = alone(images)
    expected = torch.cdist(apart, apart).square() + 4 * torch.cdist(fixed, fixed).square()
    # The network has passed one batch in training mode: back to its first statistics.
    model.inner.load_state_dict(small().state_dict())
    used = model(images)
    assert torch.allclose(torch.cdist(used, used).square() * 5, expected, atol=1e-3)


def test_both_are_fitted():
    images, labels = images_of()

    class Fitted(SmallResNet):
        def fit(self, batches, labels):
            self.met = sum(len(batch) for batch in batches)

    net = Fitted(widths=(4,), depths=(1,), learned_size=8, whiten=False, gradient_cells=0)
    model = DescribedNet(net, components=6)
    model.fit([images[:20], images[20:]], labels)
    assert net.met == 32
    assert model.descriptors.discriminant.fitted
    again = DescribedNet(net, components=6)
    with pytest.raises(ConfigError, match=r"given 0 images and 32 labels.*passed through again"):
        again.fit(iter([images[:20], images[20:]]), labels)
    with pytest.raises(ConfigError, match="given 40 images and 32 labels"):
        again.fit([images[:20], images[:20]], labels)


@pytest.mark.parametrize("given", ["small", "plain", "ensemble"])
def test_settings_and_weights_rebuild_it(given):
    images, labels = images_of(4)

    @BACKBONES.register("described_test_net")
    class Plain(nn.Module):
        embedding_size = 5

        def __init__(self):
            super().__init__()
            self.layers = nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(12, 5))

        def forward(self, x):
            return self.layers(x)

    ensemble = EnsembleNet(views=(0.9, 0.5), size=32, width=2, learned_size=4)
    network = {"small": small, "plain": Plain, "ensemble": lambda: ensemble}[given]()
    model = DescribedNet(network, components=6).eval()
    model.fit([images], labels)
    assert model.network is network
    settings = BACKBONES.settings(model)
    again = BACKBONES.build(settings)
    again.load_state_dict(model.state_dict())
    assert torch.equal(again.eval()(images), model(images))
    assert BACKBONES.settings(again) == settings
    assert again.trained_parts == (2 if given == "ensemble" else 1)


def test_only_the_network_learns():
    model = DescribedNet(small(), components=6)
    assert len(list(model.learning_rates())) == len(list(small().parameters()))
    assert len(list(model.parameters())) == len(list(small().parameters()))


def test_what_cannot_be_built_says_why():
    pixels = nn.Sequential(nn.Flatten())
    with pytest.raises(ConfigError, match=r"Sequential has no .*network\.embedding_size = D"):
        DescribedNet(pixels)
    pixels.embedding_size = 3 * 32 * 32  # as the message says
    assert DescribedNet(pixels, components=4).embedding_size == 3 * 32 * 32 + 4
    with pytest.raises(ConfigError, match="weight"):
        DescribedNet(small(), weight=0)
