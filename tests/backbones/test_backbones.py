"""Backbones keep their contract.

Any size in, (B, D) out, uint8 and float alike, rebuilt from their settings.
"""

import json

import pytest
import torch

from siamese.backbones.base import BACKBONES, standardise
from siamese.backbones.small_res_net import SmallResNet
from siamese.errors import ConfigError


@pytest.mark.parametrize("size", [32, 47, 64, 97, 160])
@pytest.mark.parametrize("stem_stride", [1, 2, 4])
def test_any_size(size, stem_stride):
    net = SmallResNet(
        widths=(8, 16), depths=(1, 2), learned_size=12, stem_stride=stem_stride, gradient_cells=0
    ).eval()
    images = torch.randint(0, 256, (3, 3, size, size), dtype=torch.uint8)
    embeddings = net(images)
    assert embeddings.shape == (3, 12)
    torch.testing.assert_close(net(images.float() / 255), embeddings)


def test_unit_length_only_where_asked():
    images = torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8)
    unit = SmallResNet(
        widths=(8,), depths=(1,), unit_length=True, whiten=False, gradient_cells=0
    ).eval()(images)
    free = SmallResNet(widths=(8,), depths=(1,), whiten=False, gradient_cells=0).eval()(images)
    torch.testing.assert_close(unit.norm(dim=1), torch.ones(4))
    assert (free.norm(dim=1) - 1).abs().max() > 1e-2


def few_sides(**settings):
    torch.manual_seed(0)
    net = SmallResNet(widths=(8,), depths=(1,), learned_size=8, gradient_cells=2, **settings)
    for _ in range(3):
        net(torch.rand(16, 3, 24, 24))
    return net.eval()


def test_an_image_and_its_mirror_image_are_one_at_use_alone():
    images = torch.rand(4, 3, 24, 24)
    plain = few_sides(mirror=False)
    assert not torch.allclose(plain(images), plain(images.flip(-1)), atol=0.05)
    both = few_sides()
    torch.testing.assert_close(both(images), both(images.flip(-1)))
    # Each part is the direction between the two.
    parts = [plain(x).split([8, plain.gradients.size], dim=1) for x in (images, images.flip(-1))]
    found = both(images).split([8, plain.gradients.size], dim=1)
    for one, other, middle in zip(*parts, found, strict=True):
        between = torch.nn.functional.normalize(one + other, dim=1)
        torch.testing.assert_close(middle * 2**0.5, between, atol=1e-5, rtol=1e-5)
    at_use, learned = both.embed_both(images)
    torch.testing.assert_close(at_use, both(images))
    torch.testing.assert_close(learned, plain.embed_both(images)[1])


def test_histograms_are_whitened_by_the_images_that_it_is_fitted_to():
    images = torch.rand(32, 3, 24, 24)
    batches = [images[:20], images[20:]]
    for net in (few_sides(), few_sides(mirror=False)):
        net.fit(batches, torch.arange(32))
        seen = [net.gradients(images)]
        seen += [net.gradients(images.flip(-1))] if net.mirror else []
        expected = torch.cat(seen).mean(dim=0)
        torch.testing.assert_close(net.gradient_whitening.mean, expected, atol=1e-5, rtol=1e-4)
        net.unfit()
        net.train()(images[:9])  # the first batch of a new training replaces it
        first = net.gradients(images[:9]).mean(dim=0)
        torch.testing.assert_close(net.gradient_whitening.mean, first, atol=1e-5, rtol=1e-4)


def test_what_was_written_before_mirroring_does_not_mirror():
    written = BACKBONES.settings(few_sides())
    assert BACKBONES.build(written).mirror
    del written["mirror"]
    assert not BACKBONES.build(written).mirror
    assert BACKBONES.build({"name": "small_res_net", "widths": [8], "depths": [1]}).mirror


def test_standardising_undoes_brightness_and_contrast():
    image = torch.rand(2, 3, 16, 16)
    assert standardise(image).mean().abs() < 1e-5
    assert standardise(image).std() == pytest.approx(1, abs=0.02)
    torch.testing.assert_close(
        standardise(0.3 + 0.5 * image), standardise(image), atol=5e-2, rtol=0
    )
    assert standardise(torch.full((1, 3, 8, 8), 0.7)).isfinite().all()


def test_settings_rebuild_the_same_network():
    net = SmallResNet(
        widths=(8, 16), depths=(1, 1), learned_size=7, unit_length=True, standardise_input=True
    )
    again = BACKBONES.build(json.loads(json.dumps(BACKBONES.settings(net))))
    again.load_state_dict(net.state_dict())
    images = torch.rand(2, 3, 32, 32)
    assert torch.equal(net.eval()(images), again.eval()(images))


def test_parameter_count_by_hand():
    net = SmallResNet(widths=(4, 8), depths=(2, 1), learned_size=6, stem_stride=2, gradient_cells=0)
    stem = 3 * 4 * 5 * 5 + 2 * 4
    # Two convolutions with norms, and a strided shortcut.
    first = 4 * 4 * 9 + 2 * 4 + 4 * 4 * 9 + 2 * 4 + (4 * 4 + 2 * 4)
    second = 4 * 4 * 9 + 2 * 4 + 4 * 4 * 9 + 2 * 4  # the shortcut is the identity
    third = 4 * 8 * 9 + 2 * 8 + 8 * 8 * 9 + 2 * 8 + (4 * 8 + 2 * 8)
    head = 8 * 6 + 6
    assert sum(p.numel() for p in net.parameters()) == stem + first + second + third + head


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ("smal_res_net", "did you mean 'small_res_net'"),
        ({"name": "small_res_net", "width": [3]}, "did you mean 'widths'"),
        ({"name": "small_res_net", "widths": []}, "equally long"),
        ({"name": "os.system", "command": "true"}, "unknown backbone"),
        ({}, "needs a 'name'"),
    ],
)
def test_only_registered_names_are_built(settings, words):
    with pytest.raises(ConfigError, match=words):
        BACKBONES.build(settings)
