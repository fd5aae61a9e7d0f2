"""The discriminant of descriptors, against the formula written out."""

import numpy as np
import pytest
import torch

from siamese.backbones.layers.discriminant import Discriminant
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
    x, _ = identities()
    with pytest.raises(ConfigError, match="components"):
        Discriminant(12, 13)
    with pytest.raises(ConfigError, match="no identity has two images"):
        Discriminant(12, 4).fit(x, torch.arange(len(x)))
