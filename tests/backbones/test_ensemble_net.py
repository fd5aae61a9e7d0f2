"""EnsembleNet: what training and use see, and what each network sees."""

import pytest
import torch
from tests.backbones.test_descriptors import images_of

from siamese.backbones.base import BACKBONES
from siamese.backbones.ensemble_net import EnsembleNet
from siamese.errors import ConfigError


def net(**settings):
    torch.manual_seed(0)
    small = {"views": (1.0, 0.5), "size": 32, "width": 4, "learned_size": 8}
    return EnsembleNet(**(small | settings))


def test_training_sees_each_network_at_unit_length_and_use_the_whole():
    (images, _), model = images_of(), net()
    trained = model(images)
    assert trained.shape == (32, model.trained_size) == (32, 16)
    lengths = trained.view(32, 2, 8).norm(dim=2)
    assert torch.allclose(lengths, torch.ones(32, 2), atol=1e-5)  # each network for itself
    used = model.eval()(images)
    assert used.shape == (32, model.embedding_size) == (32, 16)
    assert torch.allclose(used.view(32, 2, 8).norm(dim=2), torch.full((32, 2), 0.5**0.5), atol=1e-5)


def test_each_network_sees_its_own_view():
    images, _ = images_of(2)
    model = net(mirror=False).eval()
    framed = images.clone()
    framed[..., :4, :] = 0
    before, after = model(images), model(framed)
    assert not torch.allclose(before[:, :8], after[:, :8], atol=1e-3)
    assert torch.equal(before[:, 8:], after[:, 8:])


@pytest.mark.parametrize("grey", [True, False])
def test_an_image_and_its_mirror_image_are_one(grey):
    images, _ = images_of(4)
    model = net(grey=grey).eval()
    assert torch.allclose(model(images), model(images.flip(-1)), atol=1e-4)
    plain = net(mirror=False).eval()
    assert not torch.allclose(plain(images), plain(images.flip(-1)), atol=1e-3)


def test_colour_is_seen_unless_grey():
    images, _ = images_of(2)
    red = images.clone()
    red[:, 0] = 255
    for grey in (True, False):
        model = net(grey=grey).eval()
        swapped = images.flip(1)  # blue for red
        assert torch.allclose(model(images), model(swapped), atol=1e-2) is False
        first = next(model.parameters())
        assert first.shape[1] == (1 if grey else 3)


def test_both_embeddings_are_those_of_use_and_of_training():
    (images, _), model = images_of(4), net().eval()
    at_use, learned = model.embed_both(images)
    assert torch.equal(at_use, model(images))
    assert learned.shape == (16, 16)
    assert not model.same_at_use
    # Scaled alike, since the loss looks at one network at a time.
    plain = net(mirror=False).eval()
    assert torch.allclose(plain.embed_both(images)[1] / 2**0.5, plain(images), atol=1e-6)


@pytest.mark.parametrize("mirror", [True, False])
@pytest.mark.parametrize("views", [(1.0,), (1.0, 0.8)])
def test_what_is_called_the_same_at_use_is(views, mirror):
    (images, _), model = images_of(4), net(views=views, mirror=mirror).eval()
    at_use, learned = model.embed_both(images)
    assert model.same_at_use == (at_use.shape == learned.shape and torch.equal(at_use, learned))


def test_settings_and_weights_rebuild_it():
    (images, _), model = images_of(4), net().eval()
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
        ({"learned_size": 0}, "learned_size"),
    ],
)
def test_settings_out_of_range_are_refused(settings, word):
    with pytest.raises(ConfigError, match=word):
        net(**settings)
