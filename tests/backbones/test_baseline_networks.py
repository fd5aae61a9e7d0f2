"""The networks of the two baselines.

Layer by layer as worked out by hand, refusing other images, and able to learn.
"""

import json

import pytest
import torch
from tests.helpers import assert_says
from torch import nn

from siamese.backbones.base import BACKBONES
from siamese.backbones.face_comparer_net import FaceComparerNet
from siamese.backbones.face_similarity_net import FaceSimilarityNet
from siamese.distances.cosine import CosineDistance
from siamese.distances.learned import LearnedDistance
from siamese.errors import ConfigError
from siamese.losses.contrastive import ContrastiveLoss
from siamese.losses.cross_entropy import PairCrossEntropyLoss


def shapes(net, images, kind):
    """Output shapes (without the batch) of every layer of ``kind``, in the order of the calls."""
    seen = []
    for module in net.modules():
        if isinstance(module, kind):
            module.register_forward_hook(lambda _, __, out: seen.append(tuple(out.shape[1:])))
    net.eval()(images)
    return seen


def count(module):
    return sum(p.numel() for p in module.parameters())


def test_face_comparer_layer_by_layer():
    images = torch.rand(2, 3, 32, 32)
    assert shapes(FaceComparerNet(), images, nn.Conv2d) == [
        (32, 30, 30),
        (32, 28, 28),
        (64, 14, 14),
        (64, 12, 12),
        (128, 6, 6),
        (128, 4, 4),
    ]
    assert shapes(FaceComparerNet(), images, (nn.Linear, nn.BatchNorm1d)) == [(512,), (512,)]
    maps = (
        1 * 32 * 9
        + 32
        + 32 * 32 * 9
        + 32
        + 32 * 64 * 25
        + 64
        + 64 * 64 * 9
        + 64
        + 64 * 128 * 25
        + 128
        + 128 * 128 * 9
        + 128
    )
    assert count(FaceComparerNet()) == maps + 2048 * 512 + 512 + 2 * 512
    assert count(LearnedDistance()) == 512 * 256 + 256 + 2 * 256 + 256 + 1


def test_face_comparer_against_functional_layers():
    net = FaceComparerNet().eval()
    weights = net.state_dict()
    red, green, blue = torch.rand(3, 4, 32, 32)
    x = (0.299 * red + 0.587 * green + 0.114 * blue)[:, None]
    strides = [(1, 0), (1, 0), (2, 2), (1, 0), (2, 2), (1, 0)]
    for layer, (stride, padding) in enumerate(strides):
        x = torch.conv2d(
            x,
            weights[f"maps.{2 * layer}.weight"],
            weights[f"maps.{2 * layer}.bias"],
            stride,
            padding,
        )
        x = torch.maximum(x, 0.33 * x)
    x = x.reshape(4, 2048) @ weights["head.weight"].T + weights["head.bias"]
    # The normalisation of an untrained network only divides by its guard.
    expected = torch.tanh(x / (1 + 1e-5) ** 0.5)
    torch.testing.assert_close(net(torch.stack([red, green, blue], dim=1)), expected)


def test_face_comparer_starts_orthogonal_without_biases():
    for layer in FaceComparerNet().modules():
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            rows = layer.weight.detach().flatten(1)
            rows = rows if rows.shape[0] <= rows.shape[1] else rows.T
            torch.testing.assert_close(rows @ rows.T, torch.eye(len(rows)), atol=1e-4, rtol=0)
            assert not layer.bias.any()


def test_face_similarity_layer_by_layer():
    images = torch.rand(1, 3, 160, 160)
    sides = [(32, 160), (64, 80), (64, 40), (64, 20), (128, 10), (128, 5)]
    assert shapes(FaceSimilarityNet(), images, nn.Conv2d) == [
        (c, side, side) for c, side in sides for _ in range(3)
    ]
    assert shapes(FaceSimilarityNet(), images, nn.Linear) == [(512,), (128,)]
    stages = 0
    for before, after in [(3, 32), (32, 64), (64, 64), (64, 64), (64, 128), (128, 128)]:
        # Three convolutions and their norms.
        stages += 9 * (before * after + 2 * after * after) + 3 * 2 * after
    head = 3200 * 512 + 512 + 2 * 512 + 512 * 128 + 128 + 2 * 128
    assert count(FaceSimilarityNet()) == stages + head


def test_face_similarity_adds_what_its_stages_say():
    stage = FaceSimilarityNet().eval().stages[2]  # after the first stage and a pooling
    x = torch.rand(2, 32, 8, 8)
    first = stage.first(x)
    summed = first + stage.second(first)
    torch.testing.assert_close(stage(x), summed + stage.third(summed))
    names = [type(m).__name__ for m in FaceSimilarityNet().stages]
    assert names == (["_Stage", "MaxPool2d"] * 6)[:-1]
    names = [type(m).__name__ for m in FaceSimilarityNet().head]
    assert names == ["Linear", "ReLU", "BatchNorm1d"] * 2


@pytest.mark.parametrize(("net", "size"), [(FaceComparerNet, 32), (FaceSimilarityNet, 160)])
def test_the_contract(net, size):
    made = net().eval()
    images = torch.randint(0, 256, (2, 3, size, size), dtype=torch.uint8)
    embeddings = made(images)
    assert embeddings.shape == (2, made.embedding_size)
    torch.testing.assert_close(made(images.float() / 255), embeddings)
    again = BACKBONES.build(json.loads(json.dumps(BACKBONES.settings(made)))).eval()
    again.load_state_dict(made.state_dict())
    assert torch.equal(again(images), embeddings)


@pytest.mark.parametrize(
    ("net", "size", "height", "width"),
    [
        (FaceComparerNet, 32, 160, 160),
        (FaceComparerNet, 32, 32, 33),
        (FaceSimilarityNet, 160, 64, 160),
    ],
)
def test_another_size_is_refused_with_the_remedy(net, size, height, width):
    with pytest.raises(ConfigError) as error:
        net()(torch.rand(2, 3, height, width))
    assert_says(
        error.value, f"{height}x{width}", f"data.cropper.size={size}", BACKBONES.name(net())
    )


@pytest.mark.parametrize(
    ("net", "loss", "size", "inert"),
    [
        (
            FaceComparerNet(dropout=0),
            PairCrossEntropyLoss(LearnedDistance(noise=0, dropout=0, hidden_dropout=0)),
            32,
            # Batch normalisation takes what is added before it out again, and differences what is
            # added after it
            {"0.head.bias", "1.distance.inner.bias"},
        ),
        (FaceSimilarityNet(), ContrastiveLoss(0.8, distance=CosineDistance()), 160, set()),
    ],
    ids=["face_comparer", "face_similarity"],
)
def test_every_weight_learns_and_the_loss_falls(net, loss, size, inert):
    torch.manual_seed(0)
    # float64 where a gradient of 0 has to be told from rounding.
    dtype = torch.float64 if inert else torch.float32
    images, labels = torch.rand(6, 3, size, size, dtype=dtype), torch.arange(6) // 2
    both = nn.ModuleList([net, loss]).to(dtype)
    optimizer = torch.optim.Adam(both.parameters(), lr=1e-3)
    values = []
    for _ in range(5):
        optimizer.zero_grad()
        value = loss(net(images), labels)
        value.backward()
        if not values:
            for name, parameter in both.named_parameters():
                assert parameter.grad is not None, name
                assert parameter.grad.isfinite().all(), name
                assert (parameter.grad.abs().max() > 1e-12) == (name not in inert), name
        optimizer.step()
        values.append(value.item())
    assert values[-1] < 0.8 * values[0]
