"""HybridNet and its discriminant.

Closed forms against a written-out oracle, and what training and use see.
"""

import numpy as np
import pytest
import torch
from tests.helpers import random_image

from siamese.backbones.base import BACKBONES
from siamese.backbones.hybrid_net import HybridNet
from siamese.backbones.layers.discriminant import Discriminant
from siamese.backbones.layers.likeness import Likeness
from siamese.errors import ConfigError


def identities(n=30, each=6, size=12, seed=0):
    """Identities differ along some axes; along one nuisance axis each varies much in itself."""
    rng = np.random.default_rng(seed)
    who = np.repeat(np.arange(n), each)
    x = rng.normal(size=(n, size))[who] + 0.3 * rng.normal(size=(n * each, size))
    x[:, 0] += 4 * rng.normal(size=n * each)
    return torch.from_numpy(x).float(), torch.from_numpy(who)


def naive(x, labels, shrinkage):
    """The same with numpy in float64, step by step, all components kept."""
    x = x.double().numpy()
    mean = x.mean(axis=0)
    _, strength, directions = np.linalg.svd(x - mean, full_matrices=False)
    z = (x - mean) @ directions.T / (strength / len(x) ** 0.5)
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    scatter, degrees = np.zeros((z.shape[1],) * 2), 0
    for identity in np.unique(labels):
        mine = z[labels.numpy() == identity]
        if len(mine) > 1:
            scatter += np.cov(mine.T) * (min(len(mine), 8) - 1)
            degrees += min(len(mine), 8) - 1
    within = scatter / degrees
    variance, axes = np.linalg.eigh(
        within + shrinkage * np.trace(within) / len(within) * np.eye(len(within))
    )
    out = (z - z.mean(axis=0)) @ (axes / np.sqrt(variance)) @ axes.T
    return out / np.linalg.norm(out, axis=1, keepdims=True)


@pytest.mark.parametrize("each", [2, 6, 20])
def test_the_discriminant_is_what_the_formula_says(each):
    x, labels = identities(each=each)
    labels[-1] = 99  # somebody with one image counts for nothing within
    found = Discriminant(12, 12, 0.3)
    found.fit(x, labels)
    # Principal directions are unique up to their sign, which changes the axes and no distance.
    ours, theirs = found(x).double().numpy(), naive(x, labels, 0.3)
    assert np.allclose(ours @ ours.T, theirs @ theirs.T, atol=1e-4)


def test_distances_ignore_what_varies_within_identities():
    x, labels = identities()
    d = Discriminant(12, 12, 0.01)
    d.fit(x, labels)
    fresh, who = identities(seed=1)

    def gap(z):
        distance = torch.cdist(z, z)
        same = who[:, None] == who[None]
        return float(
            distance[~same].mean() / distance[same & ~torch.eye(len(who), dtype=torch.bool)].mean()
        )

    assert gap(d(fresh)) > 1.15 * gap(torch.nn.functional.normalize(fresh - x.mean(dim=0), dim=1))


def test_fitting_is_repeatable_and_leaves_the_random_state_alone():
    x, labels = identities(size=40, n=60)
    torch.manual_seed(5)
    state = torch.random.get_rng_state()
    one, other = Discriminant(40, 8), Discriminant(40, 8)
    one.fit(x, labels)
    assert torch.equal(torch.random.get_rng_state(), state)
    torch.manual_seed(6)
    other.fit(x, labels)
    assert all(
        torch.equal(a, b)
        for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    )


def test_what_cannot_be_fitted_says_so():
    x, labels = identities()
    with pytest.raises(ConfigError, match="components"):
        Discriminant(12, 13)
    with pytest.raises(ConfigError, match="add images"):
        Discriminant(12, 12).fit(x[:10], labels[:10])
    with pytest.raises(ConfigError, match="no identity has two images"):
        Discriminant(12, 4).fit(x, torch.arange(len(x)))


def net(**settings):
    torch.manual_seed(0)
    return HybridNet(
        **(
            {
                "widths": (8, 8),
                "depths": (1, 1),
                "learned_size": 16,
                "components": 10,
                "likenesses": 12,
            }
            | settings
        )
    )


def random_images(n=24, size=48):
    return torch.from_numpy(np.stack([random_image(i, size, size) for i in range(n)])).permute(
        0, 3, 1, 2
    )


def test_training_sees_the_network_and_use_sees_both_at_unit_length():
    model, images = net(), random_images()
    assert model(images).shape == (24, model.trained_size) == (24, 16)
    model.eval()
    before = model(images)
    assert before.shape == (24, model.embedding_size) == (24, 38)
    assert torch.equal(before[:, 16:], torch.zeros(24, 22))  # not fitted yet
    model.fit([images[:10], images[10:]], torch.arange(24) // 3)
    after = model(images)
    assert torch.allclose(after.norm(dim=1), torch.ones(24), atol=1e-5)
    assert torch.allclose(after[:, :16], before[:, :16])
    assert torch.allclose(
        after[:, 16:26].norm(dim=1) / after[:, :16].norm(dim=1),
        torch.full((24,), model.weight),
        atol=1e-4,
    )
    assert torch.allclose(after[:, 26:].norm(dim=1), after[:, :16].norm(dim=1), atol=1e-5)


def test_an_image_and_its_mirror_image_are_one():
    model, images = net().eval(), random_images()
    model.fit([images], torch.arange(24) // 3)
    assert torch.allclose(model(images), model(images.flip(-1)), atol=1e-5)
    plain = net(mirror=False).eval()
    assert not torch.allclose(plain(images)[:, :16], plain(images.flip(-1))[:, :16], atol=1e-3)


def test_settings_and_weights_rebuild_it():
    model, images = net(), random_images()
    model.fit([images], torch.arange(24) // 3)
    again = BACKBONES.build(BACKBONES.settings(model))
    again.load_state_dict(model.state_dict())
    assert torch.equal(again.eval()(images), model.eval()(images))


def test_it_learns_and_the_histograms_do_not():
    model, images = net(), random_images()
    model(images).square().sum(dim=1)[0].backward()
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in model.parameters())
    assert len(list(net(components=0, likenesses=0).parameters())) == len(list(model.parameters()))
    assert net(components=0, likenesses=0).eval()(images).shape == (24, 16)


def test_likeness_is_the_root_of_a_softmax_over_the_best_known_identities():
    rng = np.random.default_rng(0)
    labels = np.repeat([5, 2, 9, 7, 1], [3, 6, 1, 2, 4])  # 9 has one image: nobody to remember
    x = rng.normal(size=(len(labels), 6))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    for places, expected in ((3, [2, 1, 5]), (8, [2, 1, 5, 7])):
        likeness = Likeness(6, places)
        likeness.fit(torch.from_numpy(x), torch.from_numpy(labels))
        fresh = rng.normal(size=(4, 6))
        fresh /= np.linalg.norm(fresh, axis=1, keepdims=True)
        means = np.stack([x[labels == identity].sum(axis=0) for identity in expected])
        cosines = fresh @ (means / np.linalg.norm(means, axis=1, keepdims=True)).T
        share = np.exp(10 * cosines) / np.exp(10 * cosines).sum(axis=1, keepdims=True)
        found = likeness(torch.from_numpy(fresh).float()).numpy()
        assert np.allclose(found[:, : len(expected)], np.sqrt(share), atol=1e-5)
        assert not found[:, len(expected) :].any()
