"""EnsembleNet: what training and use see, and what each network sees."""

import pytest
import torch
from tests.backbones.test_descriptors import images_of

from siamese.backbones.base import BACKBONES
from siamese.backbones.ensemble_net import EnsembleNet
from siamese.errors import ConfigError


def net(**settings):
    torch.manual_seed(0)
    small = {"views": (1.0, 0.5), "size": 32, "width": 4, "learned_size": 8, "components": 6}
    return EnsembleNet(**(small | settings))


def test_training_sees_the_networks_and_use_sees_all_at_unit_length():
    (images, labels), model = images_of(), net()
    trained = model(images)
    assert trained.shape == (32, model.trained_size) == (32, 16)
    lengths = trained.view(32, 2, 8).norm(dim=2)
    assert torch.allclose(lengths, torch.ones(32, 2), atol=1e-5)  # each network for itself
    model.eval().fit([images[:20], images[20:]], labels)
    used = model(images)
    assert used.shape == (32, model.embedding_size) == (32, 22)
    assert torch.allclose(used.norm(dim=1), torch.ones(32), atol=1e-5)
    parts = [used[:, :8], used[:, 8:16], used[:, 16:]]
    squares = torch.stack([part.square().sum(dim=1) for part in parts])
    assert torch.allclose(squares, torch.tensor([[0.25], [0.25], [0.5]]).expand(3, 32), atol=1e-4)
    heavy = net(weight=3.0).eval()
    heavy.load_state_dict(model.state_dict())
    assert heavy(images)[0, 16:].square().sum().item() == pytest.approx(0.9, abs=1e-4)


def test_each_network_sees_its_own_view():
    images, _ = images_of(2)
    model = net(components=0, mirror=False).eval()
    framed = images.clone()
    framed[..., :4, :] = 0
    before, after = model(images), model(framed)
    assert not torch.allclose(before[:, :8], after[:, :8], atol=1e-3)
    assert torch.equal(before[:, 8:], after[:, 8:])


@pytest.mark.parametrize("grey", [True, False])
def test_an_image_and_its_mirror_image_are_one(grey):
    images, labels = images_of(4)
    model = net(grey=grey).eval()
    model.fit([images], labels)
    assert torch.allclose(model(images), model(images.flip(-1)), atol=1e-4)
    plain = net(mirror=False, components=0).eval()
    assert not torch.allclose(plain(images), plain(images.flip(-1)), atol=1e-3)


def test_colour_is_seen_unless_grey():
    images, _ = images_of(2)
    red = images.clone()
    red[:, 0] = 255
    for grey in (True, False):
        model = net(grey=grey, components=0).eval()
        swapped = images.flip(1)  # blue for red
        assert torch.allclose(model(images), model(swapped), atol=1e-2) is False
        first = next(model.parameters())
        assert first.shape[1] == (1 if grey else 3)


def test_both_embeddings_are_those_of_use_and_of_training():
    (images, labels), model = images_of(4), net().eval()
    model.fit([images], labels)
    at_use, learned = model.embed_both(images)
    assert torch.equal(at_use, model(images))
    assert learned.shape == (16, 16)
    assert not model.same_at_use
    plain = net(mirror=False, components=0).eval()
    assert plain.same_at_use
    # Scaled alike, since the loss looks at one network at a time.
    assert torch.allclose(plain.embed_both(images)[1] / 2**0.5, plain(images), atol=1e-6)


def test_settings_and_weights_rebuild_it():
    (images, labels), model = images_of(4), net().eval()
    model.fit([images], labels)
    again = BACKBONES.build(BACKBONES.settings(model))
    again.load_state_dict(model.state_dict())
    assert torch.equal(again.eval()(images), model(images))


def test_all_networks_learn():
    images, _ = images_of(2)
    model = net()
    model(images)[:, ::3].sum().backward()
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in model.parameters())


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"views": ()}, "views"),
        ({"views": 0.9}, "views"),
        ({"views": (0.9, 1.2)}, "views"),
        ({"size": 8}, "size"),
        ({"dropout": 1.0}, "dropout"),
        ({"weight": 0.0}, "weight"),
    ],
)
def test_settings_out_of_range_are_refused(settings, word):
    with pytest.raises(ConfigError, match=word):
        net(**settings)
