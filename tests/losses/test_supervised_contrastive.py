"""Supervised contrastive loss against a loop written from the paper's equation."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.random_cases import random_cases

from siamese.errors import ConfigError
from siamese.losses.supervised_contrastive import SupervisedContrastiveLoss


def naive(z, labels, t):
    z = [[float(v) / math.sqrt(sum(float(w) ** 2 for w in row)) for v in row] for row in z]
    anchors = []
    for i in range(len(z)):
        like = {
            a: sum(x * y for x, y in zip(z[i], z[a], strict=True)) / t
            for a in range(len(z))
            if a != i
        }
        total = math.log(sum(math.exp(v) for v in like.values())) if like else 0.0
        own = [p for p in like if labels[p] == labels[i]]
        if own:
            anchors.append(sum(total - like[p] for p in own) / len(own))
    return sum(anchors) / len(anchors) if anchors else 0.0


@random_cases(150)
@given(
    st.lists(st.integers(0, 3), min_size=1, max_size=10),
    st.integers(0, 10**6),
    st.sampled_from([0.1, 0.5, 2.0]),
)
def test_it_is_the_papers_equation(labels, seed, temperature):
    z = torch.from_numpy(np.random.default_rng(seed).normal(size=(len(labels), 5))).requires_grad_()
    loss = SupervisedContrastiveLoss(temperature)(z, torch.tensor(labels))
    assert float(loss.detach()) == pytest.approx(naive(z.tolist(), labels, temperature), abs=1e-9)
    loss.backward()
    assert bool(z.grad.isfinite().all())


def test_gradients():
    z = torch.from_numpy(np.random.default_rng(0).normal(size=(6, 4))).requires_grad_()
    labels = torch.tensor([0, 0, 1, 1, 1, 2])
    assert torch.autograd.gradcheck(lambda x: SupervisedContrastiveLoss(0.3)(x, labels), z)


def test_two_identities_apart_cost_little_and_mixed_ones_much():
    apart = torch.tensor([[1.0, 0.0], [1.0, 0.0], [-1.0, 0.0], [-1.0, 0.0]])
    loss = SupervisedContrastiveLoss(0.1)
    assert float(loss(apart, torch.tensor([0, 0, 1, 1]))) < 1e-7
    # Each finds its partner opposite, and two strangers: one beside it, one opposite.
    expected = math.log(math.exp(10) + 2 * math.exp(-10)) + 10
    assert float(loss(apart, torch.tensor([0, 1, 0, 1]))) == pytest.approx(expected, rel=1e-5)


def test_half_precision_is_computed_in_float32():
    z = torch.randn(8, 4, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(8) // 2
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = SupervisedContrastiveLoss()(z, labels)
    assert inside.dtype == torch.float32
    assert torch.equal(inside, SupervisedContrastiveLoss()(z, labels))


@pytest.mark.parametrize("temperature", [0.0, -1.0, math.inf, math.nan])
def test_a_temperature_that_cannot_be(temperature):
    with pytest.raises(ConfigError, match="temperature must be above 0"):
        SupervisedContrastiveLoss(temperature)
