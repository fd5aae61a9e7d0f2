"""Whitening: right against numpy, silent while training, remembered by weights."""

import numpy as np
import pytest
import torch

from siamese.backbones.layers.whitening import Whitening
from siamese.backbones.small_res_net import SmallResNet


def correlated(n=4000, size=6, seed=0):
    rng = np.random.default_rng(seed)
    mixing = rng.normal(size=(size, size)) * np.array([10, 3, 1, 1, 0.3, 0.1])[:size]
    return torch.tensor(rng.normal(size=(n, size)) @ mixing.T + 5, dtype=torch.float32)


def trained(embeddings, batch=50, **settings):
    whitening = Whitening(embeddings.shape[1], **settings)
    for part in embeddings.split(batch):
        assert torch.equal(whitening(part), part)  # nothing changes while training
    return whitening.eval()


def test_against_numpy():
    embeddings = correlated()
    # A plain average over all batches.
    whitening = trained(embeddings, shrinkage=1e-6, momentum=1e-9)
    x = embeddings.double().numpy()
    # The oracle: Mahalanobis distance, which is euclidean distance after whitening.
    precision = np.linalg.inv(np.cov(x.T, bias=True))
    with torch.no_grad():
        raw = (embeddings - whitening.mean) @ whitening._matrix()
    expected = np.sqrt(np.einsum("ij,jk,ik->i", x[:50] - x[50:100], precision, x[:50] - x[50:100]))
    # The mean moves a little while it is learnt.
    np.testing.assert_allclose((raw[:50] - raw[50:100]).norm(dim=1).numpy(), expected, rtol=0.08)
    np.testing.assert_allclose(np.cov(raw.double().numpy().T), np.eye(6), atol=0.08)


def test_unit_length_and_shrinkage():
    embeddings = correlated()
    whitened = trained(embeddings)(embeddings)
    torch.testing.assert_close(whitened.norm(dim=1), torch.ones(len(embeddings)))
    # A direction that never varied is not blown up.
    flat = embeddings.clone()
    flat[:, 0] = 1.0
    whitening = trained(flat)
    moved = flat[:5].clone()
    moved[:, 0] += 1e-3
    assert (whitening(moved) - whitening(flat[:5])).norm(dim=1).max() < 0.01
    assert trained(torch.ones(100, 4))(torch.ones(2, 4)).isfinite().all()


def test_the_running_average_follows_the_embeddings():
    whitening = trained(torch.cat([correlated() * 3, correlated(20_000, seed=1)]), momentum=0.02)
    recent = correlated(20_000, seed=1).double().numpy()
    np.testing.assert_allclose(whitening.mean.numpy(), recent.mean(axis=0), atol=3)
    np.testing.assert_allclose(
        whitening.covariance.diagonal().numpy(), recent.var(axis=0), rtol=0.5
    )


def test_weights_carry_it_and_the_matrix_is_renewed():
    torch.manual_seed(0)
    net, other = (SmallResNet(widths=(8,), depths=(1,), learned_size=8) for _ in range(2))
    images = torch.rand(6, 3, 32, 32)
    for _ in range(3):
        net(images)
    before = other.eval()(images)
    other.load_state_dict(net.state_dict())
    after = other(images)
    assert torch.equal(after, net.eval()(images))
    assert not torch.allclose(before, after)
    net.train()(images * 0.5)
    assert not torch.equal(net.eval()(images), after)


def test_training_can_go_through_it_after_inference():
    whitening = trained(correlated())
    with torch.inference_mode():
        whitening(correlated(5))
    embeddings = correlated(5).requires_grad_()
    whitening(embeddings)[:, 0].sum().backward()
    assert embeddings.grad.isfinite().all()


def test_one_of_several_batches_is_tracked_after_the_first_16():
    batches = correlated(71 * 50).split(50)
    tracked = []
    seldom = Whitening(6, every=5, momentum=0.05)
    for number, batch in enumerate(batches, 1):
        if number == 30:  # goes on from its weights, as a resumed run does
            weights = seldom.state_dict()
            seldom = Whitening(6, every=5, momentum=0.05)
            seldom.load_state_dict(weights)
        seldom.track(50, lambda x=batch, n=number: tracked.append(n) or x)
    assert tracked == [*range(1, 17), *range(21, 72, 5)]
    # As if the others had not been there.
    often = trained(torch.cat([batches[n - 1] for n in tracked]), momentum=0.05)
    assert torch.equal(seldom.mean, often.mean)
    assert torch.equal(seldom.covariance, often.covariance)
    seldom.track(1, lambda: pytest.fail("nothing can be said of one image"))
    assert seldom.batches == len(batches)


def test_fitted_it_knows_all_of_them_and_nothing_else():
    x = correlated(300) + 5
    fitted = trained(torch.rand(100, 6))
    fitted.fit([x[:7], x[7:100], x[100:]])
    assert np.allclose(fitted.mean, x.mean(dim=0), atol=1e-5)
    assert np.allclose(fitted.covariance, np.cov(x.T.numpy(), bias=True), atol=1e-4)
    before = fitted.mean.clone()
    fitted.fit([x[:1]])  # one says nothing
    assert torch.equal(fitted.mean, before)
    fitted.reset()
    assert torch.equal(fitted.mean, before)  # who is not trained further goes on to be whitened
    fresh = Whitening(6)
    for whitening in (fitted, fresh):
        whitening.track(50, lambda: x[:50])
    for name, value in fitted.state_dict().items():
        torch.testing.assert_close(value, fresh.state_dict()[name], atol=1e-5, rtol=1e-5)


def test_compiled_every_batch_is_tracked_as_one_of_all(monkeypatch):
    batches = correlated(40 * 50).split(50)
    seldom, often = (Whitening(6, every=every, momentum=0.001) for every in (16, 1))
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    for batch in batches:
        seldom.track(50, lambda x=batch: x)
        often.track(50, lambda x=batch: x)
    assert torch.equal(seldom.mean, often.mean)
    assert torch.allclose(seldom.mean, torch.cat(batches[:40]).mean(dim=0), atol=1e-4)


def test_a_training_step_counts_gradients_seldom_and_learns_the_same():
    torch.manual_seed(0)
    net = SmallResNet(widths=(8,), depths=(1,), learned_size=8, gradient_cells=2)
    plain = SmallResNet(widths=(8,), depths=(1,), learned_size=8, gradient_cells=0)
    plain.load_state_dict(net.state_dict(), strict=False)
    counted = []
    net.gradients.register_forward_hook(lambda *_: counted.append(1))
    for _ in range(40):
        images = torch.rand(4, 3, 16, 16)
        assert torch.equal(net(images), plain(images))
    assert len(counted) == 16 + 24 // 16
    net.eval()(images)
    assert len(counted) == 17 + 2  # of the images and of their mirror images


def test_a_training_step_is_compiled_into_one_graph():
    net = SmallResNet(widths=(4,), depths=(1,), learned_size=4, gradient_cells=2)
    step = torch.compile(net, backend="eager", fullgraph=True)
    for _ in range(20):
        step(torch.rand(4, 3, 16, 16))
    assert net.gradient_whitening.batches == 20
    assert net.gradient_whitening.mean.any()


@pytest.mark.parametrize(
    "settings", [{"shrinkage": 0}, {"momentum": 0}, {"momentum": 2}, {"every": 0}]
)
def test_bad_settings_are_refused(settings):
    with pytest.raises(ValueError, match="must be above 0"):
        Whitening(4, **settings)
