"""train/accuracy counts the batch's own pairs at the last threshold.

It is there only where training and use see the same embeddings.
"""

import torch

import siamese
from siamese.verification.point import OperatingPoint


def module(**net):
    torch.manual_seed(0)
    backbone = siamese.SmallResNet(widths=(8,), depths=(1,), learned_size=8, **net)
    made = siamese.SiameseModule(backbone, siamese.ContrastiveLoss())
    made.log = lambda name, value, **_: logged.__setitem__(
        name, float(torch.as_tensor(value).detach())
    )
    logged = made.logged = {}
    return made


def batch():
    generator = torch.Generator().manual_seed(1)
    return {
        "image": torch.randint(0, 256, (6, 3, 32, 32), dtype=torch.uint8, generator=generator),
        "label": torch.tensor([0, 0, 1, 1, 2, 2]),
        "pairs": torch.tensor([[0, 2, 4, 0, 1], [1, 3, 5, 2, 4]]),
    }


def point(threshold):
    return OperatingPoint(
        threshold,
        "max_f1",
        "euclidean",
        "calibration",
        {"name": "all_pairs"},
        1,
        1,
        0.5,
        1.0,
        1,
        0,
        0,
        1,
    )


def test_it_counts_verdicts_on_the_batchs_pairs():
    made = module(whiten=False, gradient_cells=0)
    made.training_step(batch(), 0)
    assert "train/accuracy" not in made.logged  # no threshold yet
    embeddings = made(batch()["image"]).detach().double()
    distances = [
        float((embeddings[a] - embeddings[b]).norm().float())
        for a, b in batch()["pairs"].T.tolist()
    ]
    for threshold in (*sorted(distances), 0.0, 1e9):
        made.set_operating_point(point(threshold))
        made.training_step(batch(), 0)
        right = [
            (d <= threshold) == same
            for d, same in zip(distances, [True] * 3 + [False] * 2, strict=True)
        ]
        assert abs(made.logged["train/accuracy"] - sum(right) / 5) < 1e-6


def test_it_is_left_out_where_the_threshold_is_for_other_embeddings():
    made = module()  # whitened at use
    made.set_operating_point(point(1.0))
    made.training_step(batch(), 0)
    assert "train/loss" in made.logged
    assert "train/accuracy" not in made.logged
