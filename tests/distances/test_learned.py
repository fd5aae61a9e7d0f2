"""The learned distance is right against numpy, and symmetric.

It does not depend on its company, and is quiet when it measures.
"""

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.helpers import assert_says

from siamese.distances.base import DISTANCES
from siamese.distances.cosine import CosineDistance
from siamese.distances.euclidean import EuclideanDistance
from siamese.distances.learned import LearnedDistance
from siamese.errors import ConfigError
from siamese.losses.cross_entropy import PairCrossEntropyLoss


def used(size=64, hidden=32, seed=0):
    """A distance with weights and statistics of which none is 0 or 1, in evaluation mode."""
    generator = torch.Generator().manual_seed(seed)
    distance = LearnedDistance(size, hidden)
    with torch.no_grad():
        for name, value in distance.state_dict().items():
            if value.is_floating_point():
                value.copy_(torch.randn(value.shape, generator=generator) / value.shape[-1] ** 0.5)
                if name == "norm.running_var":
                    value.abs_().add_(0.1)
    return distance.eval()


def naive(distance, a, b):
    w = {name: value.double().numpy() for name, value in distance.state_dict().items()}
    x = np.abs(a.double().numpy() - b.double().numpy()) @ w["inner.weight"].T + w["inner.bias"]
    x = (x - w["norm.running_mean"]) / np.sqrt(w["norm.running_var"] + 1e-5) * w["norm.weight"] + w[
        "norm.bias"
    ]
    x = np.where(x > 0, x, 0.33 * x)
    return (x @ w["outer.weight"].T + w["outer.bias"])[:, 0]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_against_numpy(dtype):
    distance = used()
    a, b = torch.randn(2, 50, 64, generator=torch.Generator().manual_seed(1)).to(dtype)
    expected = naive(distance, a, b)
    assert np.ptp(expected) > 0.5  # not one constant
    logits, values = distance.logits(a, b), distance(a, b)
    assert logits.dtype == values.dtype == torch.float32
    np.testing.assert_allclose(logits.detach().numpy(), expected, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(values.detach().numpy(), 1 / (1 + np.exp(-expected)), rtol=1e-6)
    assert values.min() >= 0
    assert values.max() <= 1


@settings(max_examples=60, deadline=None)
@given(
    n=st.integers(1, 70),
    size=st.sampled_from([1, 3, 64, 130]),
    hidden=st.sampled_from([1, 5, 32]),
    seed=st.integers(0, 999),
)
def test_a_pair_depends_neither_on_its_company_nor_on_its_order(n, size, hidden, seed):
    distance = used(size, hidden, seed)
    a, b = torch.randn(2, n, size, generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        for measure in (distance, distance.logits):
            together = measure(a, b)
            assert torch.equal(together, measure(b, a))
            assert torch.equal(
                together, torch.cat([measure(a[i : i + 1], b[i : i + 1]) for i in range(n)])
            )
        rows = torch.arange(n)
        assert torch.equal(distance.matrix(a, b).diagonal(), distance(a, b))
        assert np.array_equal(
            distance.between(torch.cat([a, b]), rows.numpy(), (rows + n).numpy()),
            distance(a, b).numpy(),
        )


def test_tiled_in_bounded_memory(monkeypatch):
    distance = used()
    a, b = torch.randn(23, 64), torch.randn(31, 64)
    whole = distance.matrix(a, b)
    assert torch.equal(whole, distance.matrix(b, a).T)
    largest = []
    monkeypatch.setattr("siamese.distances.base.BLOCK", 5 * 64)
    distance.inner.register_forward_hook(lambda *_: pytest.fail("the head of training"))
    monkeypatch.setattr(
        LearnedDistance,
        "_exact_distance",
        lambda self, x, old=LearnedDistance._exact_distance: largest.append(len(x)) or old(self, x),
    )
    assert torch.equal(whole, distance.matrix(a, b))
    assert max(largest) == 5
    assert distance.matrix(a[:0], b).shape == (0, 31)


def test_measuring_leaves_no_noise_and_puts_the_mode_back():
    distance = used()
    a, b = torch.randn(7, 64), torch.randn(9, 64)
    left, right = np.arange(7), np.arange(7, 0, -1) % 7
    matrix, between, before = (
        distance.matrix(a, b),
        distance.between(a, left, right),
        {k: v.clone() for k, v in distance.state_dict().items()},
    )
    distance.train()
    distance.norm.eval()  # somebody has frozen the statistics: that, too, stays as it was
    assert torch.equal(distance.matrix(a, b), matrix)
    assert np.array_equal(distance.between(a, left, right), between)
    assert (distance.training, distance.inner.training) == (True, True)
    assert not distance.norm.training
    assert all(torch.equal(value, before[name]) for name, value in distance.state_dict().items())
    with pytest.raises(ConfigError):
        distance.matrix(a[:, :3], b[:, :3])
    assert distance.training


def test_training_adds_noise_drops_and_learns_statistics():
    torch.manual_seed(0)
    a, b = torch.randn(400, 64), torch.randn(400, 64)
    plain = {"noise": 0.0, "dropout": 0.0, "hidden_dropout": 0.0}
    for which in plain:
        distance = LearnedDistance(64, 32, **(plain | {which: 0.5})).train()
        assert not torch.equal(distance(a, b), distance(a, b)), which
    distance = LearnedDistance(64, 32, **plain).train()
    assert torch.equal(distance(a, b), distance(a, b))
    assert distance.norm.num_batches_tracked == 2
    for _ in range(200):  # the running statistics come to those of the batch
        distance(a, b)
    torch.testing.assert_close(distance(a, b), distance.eval()(a, b), atol=1e-3, rtol=0)


def test_the_noise_has_the_deviation_it_is_given():
    seen = []
    distance = LearnedDistance(64, 32, noise=0.7, dropout=0).train()
    distance.inner.register_forward_pre_hook(lambda _, x: seen.append(x[0]))
    a = torch.randn(2000, 64)
    distance(a, a)
    assert seen[0].std().item() == pytest.approx(0.7, rel=0.02)


@pytest.mark.parametrize("training", [True, False])
def test_float32_outside_autocast(training):
    distance = used().train(training)
    a, b = torch.randn(2, 8, 64)
    distance.noise = distance.dropout = distance.hidden_dropout = 0.0
    plain = distance.logits(a, b)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(distance.logits(a, b), plain)


def test_only_a_learned_distance_has_weights():
    assert LearnedDistance(8).learned
    assert not EuclideanDistance().learned
    assert not CosineDistance().learned


def test_gradients_reach_embeddings_and_weights_in_evaluation_mode_too():
    distance = used()
    a = torch.randn(5, 64, requires_grad=True)
    distance(a, a.flip(0)).sum().backward()
    assert a.grad.isfinite().all()
    assert a.grad.any()
    assert all(p.grad is not None and p.grad.any() for p in distance.parameters())


def test_settings_and_weights_rebuild_it():
    distance = used(8, 4)
    again = DISTANCES.build(json.loads(json.dumps(DISTANCES.settings(distance)))).eval()
    again.load_state_dict(distance.state_dict())
    a, b = torch.randn(2, 6, 8)
    assert torch.equal(distance(a, b), again(a, b))


def test_what_does_not_fit_is_refused_with_the_remedy():
    with pytest.raises(ConfigError) as error:
        LearnedDistance(8)(torch.rand(3, 6), torch.rand(3, 6))
    assert_says(error.value, 8, "distance.embedding_size=6")
    for bad in (
        {"embedding_size": 0},
        {"hidden": 0},
        {"noise": -1.0},
        {"dropout": 1.0},
        {"hidden_dropout": -0.1},
    ):
        with pytest.raises(ConfigError, match="at least"):
            LearnedDistance(**bad)


@pytest.mark.parametrize("explicit", [False, True])
def test_cross_entropy_against_a_naive_loop(explicit):
    distance = used(6, 4)
    embeddings, labels = torch.randn(7, 6), torch.tensor([0, 0, 1, 1, 2, 2, 2])
    pairs = (
        torch.tensor([[0, 2, 4], [1, 5, 6]]) if explicit else torch.combinations(torch.arange(7)).T
    )
    p = 1 / (1 + np.exp(-naive(distance, embeddings[pairs[0]], embeddings[pairs[1]])))
    costs = [
        -np.log(q if labels[i] != labels[j] else 1 - q)
        for q, i, j in zip(p, *pairs.tolist(), strict=True)
    ]
    found = PairCrossEntropyLoss(distance).eval()(embeddings, labels, pairs if explicit else None)
    assert found.item() == pytest.approx(np.mean(costs), rel=1e-5)


def test_cross_entropy_does_not_overflow():
    distance = used(6, 4)
    with torch.no_grad():
        distance.outer.bias.fill_(1000.0)
    embeddings = torch.randn(2, 6, requires_grad=True)
    value = PairCrossEntropyLoss(distance).eval()(embeddings, torch.tensor([3, 3]))
    assert value.item() == pytest.approx(1000, rel=0.1)
    value.backward()
    assert embeddings.grad.isfinite().all()


@pytest.mark.parametrize("identities", [[], [0], [0, 1]])
def test_too_few_pairs_to_train_on_cost_nothing(identities):
    embeddings = torch.full((len(identities), 6), torch.inf, requires_grad=True)
    value = PairCrossEntropyLoss(LearnedDistance(6))(
        embeddings, torch.tensor(identities, dtype=torch.int64)
    )
    value.backward()
    assert value.item() == 0
    assert value.dtype == torch.float32
    assert not embeddings.grad.any()


def test_a_single_pair_counts_where_nothing_is_trained():
    assert PairCrossEntropyLoss(used(6, 4)).eval()(torch.randn(2, 6), torch.tensor([0, 1])) > 0


def test_a_distance_without_logits_is_refused_with_the_remedy():
    with pytest.raises(ConfigError, match=r"EuclideanDistance.*distance=learned"):
        PairCrossEntropyLoss(EuclideanDistance())
    assert isinstance(PairCrossEntropyLoss().distance, LearnedDistance)
