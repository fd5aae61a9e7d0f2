"""Margin softmax against the papers' equations written out with angles.

Its warm-up, and how it is bound.
"""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.helpers import assert_says

from siamese.errors import ConfigError
from siamese.losses.margin_softmax import MarginSoftmaxLoss


def naive(embeddings, weight, labels, kind, margin, scale):
    total = 0.0
    for x, y in zip(embeddings.tolist(), labels.tolist(), strict=True):
        logits = []
        for j, w in enumerate(weight.tolist()):
            cosine = sum(p * q for p, q in zip(x, w, strict=True)) / (
                math.hypot(*x) * math.hypot(*w)
            )
            angle = math.acos(max(-1.0, min(1.0, cosine)))
            if j == y and kind == "cosface":
                cosine = math.cos(angle) - margin
            elif j == y and kind == "arcface":
                cosine = (
                    math.cos(angle + margin)
                    if angle + margin < math.pi
                    else math.cos(angle) - margin * math.sin(margin)
                )
            logits.append(scale * cosine)
        top = max(logits)
        total += top + math.log(sum(math.exp(v - top) for v in logits)) - logits[y]
    return total / len(labels)


def made(kind, identities, size, seed, **settings):
    loss = MarginSoftmaxLoss(identities, size, kind=kind, **settings).double()
    with torch.no_grad():
        loss.weight.copy_(
            torch.randn(identities, size, generator=torch.Generator().manual_seed(seed))
        )
    return loss


@given(
    st.sampled_from(["softmax", "cosface", "arcface"]),
    st.integers(1, 6),
    st.integers(1, 8),
    st.integers(1, 4),
    st.sampled_from([0.0, 0.2, 0.5, 1.5]),
    st.sampled_from([1.0, 30.0]),
    st.integers(0, 10_000),
)
def test_equals_the_naive_loop(kind, identities, n, size, margin, scale, seed):
    loss = made(kind, identities, size, seed, margin=margin, scale=scale)
    generator = torch.Generator().manual_seed(seed + 1)
    embeddings = torch.randn(n, size, generator=generator, dtype=torch.float64)
    labels = torch.randint(0, identities, (n,), generator=generator)
    # 1e-4: beside a direction the sine is kept off 0, by 1e-6
    assert loss(embeddings, labels).item() == pytest.approx(
        naive(embeddings, loss.weight, labels, kind, margin, scale), abs=1e-4
    )
    # Pairs are ignored.
    assert torch.equal(loss(embeddings, labels), loss(embeddings, labels, torch.tensor([[0], [0]])))


def test_on_paper():
    # Directions at 0 and 90 degrees, an embedding at 60 degrees of identity 0:
    # cosines 1/2 and sqrt(3)/2.
    loss = MarginSoftmaxLoss(2, 2, margin=math.pi / 6, scale=2.0, kind="arcface")
    with torch.no_grad():
        loss.weight.copy_(torch.tensor([[3.0, 0.0], [0.0, 0.1]]))
    at_60 = 5 * torch.tensor([[0.5, math.sqrt(3) / 2]])
    # 60 + 30 degrees: cosine 0, so logits 0 and sqrt(3)
    assert loss(at_60, torch.tensor([0])).item() == pytest.approx(
        math.log(1 + math.exp(math.sqrt(3))), abs=1e-6
    )
    loss.kind, loss.margin = "cosface", 0.5
    assert loss(at_60, torch.tensor([0])).item() == pytest.approx(
        math.log(1 + math.exp(math.sqrt(3))), abs=1e-6
    )
    loss.kind = "softmax"
    assert loss(at_60, torch.tensor([0])).item() == pytest.approx(
        math.log(1 + math.exp(math.sqrt(3) - 1)), abs=1e-6
    )


@pytest.mark.parametrize("kind", ["softmax", "cosface", "arcface"])
def test_gradients(kind):
    loss = made(kind, 4, 3, 0, margin=0.4, scale=5.0)
    embeddings = torch.randn(
        6, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(5), requires_grad=True
    )
    labels = torch.tensor([0, 1, 2, 3, 3, 0])

    def value(e, w):
        return torch.func.functional_call(loss, {"weight": w}, (e, labels))

    assert torch.autograd.gradcheck(value, (embeddings, loss.weight))


@pytest.mark.parametrize("kind", ["softmax", "cosface", "arcface"])
@pytest.mark.parametrize("sign", [1.0, -1.0, 0.0])
def test_gradients_are_finite_on_a_direction_and_opposite_to_it(kind, sign):
    loss = MarginSoftmaxLoss(3, 4, kind=kind)
    embeddings = (sign * loss.weight.detach().clone()).requires_grad_()
    loss(embeddings, torch.arange(3)).backward()
    assert embeddings.grad.isfinite().all()
    assert loss.weight.grad.isfinite().all()


@pytest.mark.parametrize("kind", ["cosface", "arcface"])
def test_the_margin_grows_over_the_training_calls_only(kind):
    whole = made(kind, 4, 3, 0, margin=0.4, scale=5.0)
    warming = made(kind, 4, 3, 0, margin=0.4, scale=5.0, warmup_steps=4)
    embeddings, labels = torch.randn(6, 3, dtype=torch.float64), torch.arange(6) % 4
    for step in range(7):
        expected = naive(embeddings, whole.weight, labels, kind, 0.4 * min(1, step / 4), 5.0)
        for _ in range(2):
            assert warming.eval()(embeddings, labels).item() == pytest.approx(expected, abs=1e-6)
        assert warming.train()(embeddings, labels).item() == pytest.approx(expected, abs=1e-6)
    assert whole(embeddings, labels).item() == pytest.approx(expected, abs=1e-6)
    assert warming.state_dict()["calls"].item() == 7
    assert warming.state_dict()["calls"].dtype == torch.int64


def test_it_learns_to_tell_its_identities_apart():
    torch.manual_seed(0)
    embeddings, labels = torch.randn(20, 8), torch.arange(20) % 5
    loss = MarginSoftmaxLoss(5, 8)
    optimizer = torch.optim.Adam([loss.weight, embeddings.requires_grad_()], lr=0.05)
    values = []
    for _ in range(60):
        optimizer.zero_grad()
        value = loss(embeddings, labels)
        value.backward()
        optimizer.step()
        values.append(value.item())
    assert values[-1] < 0.1 < values[0]


def test_binding():
    loss = MarginSoftmaxLoss()
    assert not loss.open_set
    assert not list(loss.parameters())
    with pytest.raises(ConfigError, match=r"loss\.bind\(identities, embedding_size\)"):
        loss(torch.rand(2, 3), torch.tensor([0, 1]))
    loss.bind(5, 3)
    weight = loss.weight
    assert weight.shape == (5, 3)
    assert 0 < weight.std() < 0.03
    assert loss(torch.rand(2, 3), torch.tensor([0, 4])).isfinite()
    loss.bind(5, 3)  # what a second run of the same module does
    assert loss.weight is weight
    with pytest.raises(ConfigError) as error:
        loss.bind(6, 3)
    assert_says(error.value, "identities=5", "identities=6")
    with pytest.raises(ConfigError, match="embedding_size=3"):
        MarginSoftmaxLoss(5, 3).bind(5, 4)
    with pytest.raises(ConfigError, match="embedding_size=3"):
        MarginSoftmaxLoss(embedding_size=3).bind(5, 4)


def test_what_does_not_fit_is_refused():
    loss = MarginSoftmaxLoss(5, 3)
    for labels in ([0, 5], [-1, 0]):
        with pytest.raises(ConfigError) as error:
            loss(torch.rand(2, 3), torch.tensor(labels))
        assert_says(error.value, "5 identities", "0..4", f"{labels[0]}..{labels[1]}")
    with pytest.raises(ConfigError, match="3 numbers, these have 4"):
        loss(torch.rand(2, 4), torch.tensor([0, 1]))
    empty = torch.rand(0, 3, requires_grad=True)
    assert loss(empty, torch.zeros(0, dtype=torch.int64)).item() == 0


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"kind": "cosfac"}, "did you mean 'cosface'"),
        ({"margin": -0.1}, "margin"),
        ({"margin": 1.6, "kind": "arcface"}, "pi / 2"),
        ({"scale": 0.0}, "scale"),
        ({"warmup_steps": -1}, "warmup_steps"),
        ({"identities": 0, "embedding_size": 2}, "identities must be at least 1"),
    ],
)
def test_bad_settings_are_refused(settings, words):
    with pytest.raises(ConfigError, match=words):
        MarginSoftmaxLoss(**settings)


def test_float32_outside_autocast():
    loss = MarginSoftmaxLoss(3, 4)
    embeddings, labels = torch.randn(5, 4).bfloat16(), torch.arange(5) % 3
    plain = loss(embeddings, labels)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(loss(embeddings, labels), plain)
    assert plain.dtype == torch.float32
