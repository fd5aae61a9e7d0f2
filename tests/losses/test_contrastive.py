"""Contrastive loss against a naive loop over pairs.

On random embeddings and on angles that can be checked on paper.
"""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.random_cases import random_cases

from siamese.distances.cosine import CosineDistance
from siamese.errors import ConfigError
from siamese.losses.contrastive import ContrastiveLoss


def naive(embeddings, labels, pairs, margin, positive_margin, reduction, hardest=1.0):
    genuine, impostor, apart = [], [], []
    for i, j in pairs:
        d = math.sqrt(
            sum(
                (x - y) ** 2
                for x, y in zip(embeddings[i].tolist(), embeddings[j].tolist(), strict=True)
            )
        )
        if labels[i] == labels[j]:
            genuine.append(max(0.0, d - positive_margin) ** 2)
        else:
            apart.append(d)
    for d in sorted(apart)[: max(1, round(hardest * len(apart)))]:
        impostor.append(max(0.0, margin - d) ** 2)
    if reduction == "mean":
        return sum(genuine + impostor) / len(genuine + impostor)
    if reduction == "nonzero":
        genuine, impostor = [x for x in genuine if x > 0], [x for x in impostor if x > 0]
    return sum(sum(kind) / len(kind) for kind in (genuine, impostor) if kind) / 2


@random_cases(200)
@given(
    st.integers(2, 12),
    st.integers(0, 10_000),
    st.sampled_from(["balanced", "mean", "nonzero"]),
    st.sampled_from([(1.0, 0.0), (2.0, 0.5), (0.3, 0.1)]),
    st.booleans(),
    st.sampled_from([1.0, 0.75, 0.25, 0.01]),
)
def test_equals_the_naive_loop(n, seed, reduction, margins, explicit, hardest):
    generator = torch.Generator().manual_seed(seed)
    embeddings = torch.randn(n, 3, generator=generator, dtype=torch.float64)
    labels = torch.randint(0, 3, (n,), generator=generator)
    if explicit:
        chosen = torch.randint(0, n, (2, 6), generator=generator)
        chosen = chosen[:, chosen[0] != chosen[1]]
        if not chosen.shape[1]:
            return
        pairs = list(zip(*chosen.tolist(), strict=True))
    else:
        chosen, pairs = None, [(i, j) for i in range(n) for j in range(i + 1, n)]
    margin, positive = margins
    found = ContrastiveLoss(margin, positive, reduction, hardest=hardest)(
        embeddings, labels, chosen
    )
    assert found.item() == pytest.approx(
        naive(embeddings, labels, pairs, margin, positive, reduction, hardest), abs=1e-12
    )


def test_on_paper():
    # On the unit circle, chords: 60 degrees are 1 apart, 180 degrees 2, 120 degrees sqrt(3).
    angles = torch.tensor([0.0, 60.0, 180.0]).deg2rad()
    points = torch.stack([angles.cos(), angles.sin()], dim=1)
    labels = torch.tensor([0, 0, 1])
    # genuine: 1^2; impostor with margin 1.8: max(0, 1.8 - 2)^2 = 0 and (1.8 - sqrt 3)^2
    impostor = (1.8 - math.sqrt(3)) ** 2
    assert ContrastiveLoss(1.8, reduction="mean")(points, labels).item() == pytest.approx(
        (1 + impostor) / 3, abs=1e-6
    )
    assert ContrastiveLoss(1.8, reduction="balanced")(points, labels).item() == pytest.approx(
        (1 + impostor / 2) / 2, abs=1e-6
    )
    assert ContrastiveLoss(1.8, reduction="nonzero")(points, labels).item() == pytest.approx(
        (1 + impostor) / 2, abs=1e-6
    )


def test_only_the_closest_impostors_count():
    # Four identities at 0, 1, 3 and 7 on a line: impostors 1, 2, 3, 4, 6 and 7 apart; half of them
    # are 1, 2 and 3.
    points = torch.tensor([[0.0], [1.0], [3.0], [7.0]], requires_grad=True)
    value = ContrastiveLoss(10.0, hardest=0.5)(points, torch.arange(4))
    assert value.item() == pytest.approx((9**2 + 8**2 + 7**2) / 3)
    value.backward()
    assert points.grad[3] == 0  # nobody near it was asked
    value = ContrastiveLoss(10.0, hardest=1e-6)(points, torch.arange(4))
    assert value.item() == pytest.approx(9**2)
    # Of equally close ones it takes no more than the share.
    hard = ContrastiveLoss(10.0, hardest=0.5)._hard(torch.ones(8), torch.arange(8) > 5)
    assert hard.tolist() == [True] * 3 + [False] * 3 + [True] * 2


@pytest.mark.parametrize("hardest", [1.0, 0.4])
@pytest.mark.parametrize("reduction", ["balanced", "mean", "nonzero"])
def test_gradients_are_right_and_finite_for_identical_images(reduction, hardest):
    loss = ContrastiveLoss(1.0, reduction=reduction, hardest=hardest)
    same = torch.ones(4, 8, requires_grad=True)
    loss(same, torch.tensor([0, 0, 1, 1])).backward()
    assert same.grad.isfinite().all()
    apart = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda e: loss(e, torch.tensor([0, 0, 1, 1, 2])), apart)


@pytest.mark.parametrize("labels", [[0], [0, 1], [0, 0]])
@pytest.mark.parametrize("reduction", ["balanced", "mean", "nonzero"])
@pytest.mark.parametrize("hardest", [1.0, 0.4])
def test_a_batch_without_some_kind_of_pair_has_a_finite_loss(labels, reduction, hardest):
    embeddings = torch.randn(len(labels), 4, requires_grad=True)
    value = ContrastiveLoss(10.0, reduction=reduction, hardest=hardest)(
        embeddings, torch.tensor(labels)
    )
    value.backward()
    assert value.isfinite()
    assert embeddings.grad.isfinite().all()


def test_float32_outside_autocast():
    with torch.autocast("cpu", dtype=torch.bfloat16):
        embeddings = torch.nn.functional.linear(torch.randn(6, 4), torch.randn(3, 4))
        assert embeddings.dtype == torch.bfloat16
        value = ContrastiveLoss()(embeddings, torch.tensor([0, 0, 1, 1, 2, 2]))
        assert value.dtype == torch.float32


def test_it_measures_by_the_distance_it_was_given():
    a = torch.tensor([[1.0, 0.0], [0.0, 5.0]])
    loss = ContrastiveLoss(distance=CosineDistance(), reduction="mean")
    assert loss(a, torch.tensor([0, 0])).item() == pytest.approx(1.0)


@pytest.mark.parametrize(
    "arguments",
    [
        {"margin": 0.0},
        {"margin": 1.0, "positive_margin": 1.0},
        {"positive_margin": -0.1},
        {"reduction": "balnced"},
    ],
)
def test_bad_settings_are_refused(arguments):
    with pytest.raises(
        ConfigError,
        match="did you mean 'balanced'" if "reduction" in arguments else "margins must satisfy",
    ):
        ContrastiveLoss(**arguments)


@pytest.mark.parametrize("hardest", [0.0, -0.5, 1.1])
def test_a_share_out_of_range_is_refused(hardest):
    with pytest.raises(ConfigError, match="hardest must be a share"):
        ContrastiveLoss(hardest=hardest)
