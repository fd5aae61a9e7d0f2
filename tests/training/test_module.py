"""SiameseModule: schedule, weight decay, and what its checkpoints hold."""

import itertools

import pytest
import pytorch_lightning as pl
import torch
from tests.helpers import quiet_trainer

from siamese.backbones.small_res_net import SmallResNet
from siamese.errors import ConfigError
from siamese.losses.contrastive import ContrastiveLoss
from siamese.training.module import SiameseModule
from siamese.training.schedules import WarmupCosine
from siamese.verification.point import OperatingPoint


def small_module(**settings):
    return SiameseModule(
        SmallResNet(widths=(8,), depths=(1,), learned_size=8), ContrastiveLoss(), **settings
    )


def test_schedule_rises_and_falls():
    schedule = WarmupCosine(warmup=0.1, final=0.0)
    rates = [schedule.factor(step, 100) for step in range(100)]
    assert rates[:10] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0])
    assert rates[10] == pytest.approx(1.0)
    assert rates[55] == pytest.approx(0.5)
    assert 0 < rates[99] < 0.001
    assert all(a >= b for a, b in itertools.pairwise(rates[10:]))
    assert WarmupCosine(0.1).factor(10**9, float("inf")) == 1.0
    with pytest.raises(ValueError, match="between 0 and 1"):
        WarmupCosine(warmup=2)


class Rates(pl.Callback):
    def __init__(self):
        self.rates = []

    # At the end of a batch the schedule has set the next one's rate.
    def on_before_optimizer_step(self, trainer, pl_module, *_):
        self.rates.append(trainer.optimizers[0].param_groups[0]["lr"])


def loader(n=6):
    batch = {
        "image": torch.randint(0, 256, (8, 3, 32, 32), dtype=torch.uint8),
        "label": torch.arange(8) // 2,
        "index": torch.arange(8),
    }
    return torch.utils.data.DataLoader([batch] * n, batch_size=None)


def fit(module, callbacks=(), ckpt=None, epochs=2, **settings):
    trainer = quiet_trainer(max_epochs=epochs, callbacks=list(callbacks), **settings)
    trainer.fit(module, loader(), loader(1), ckpt_path=ckpt)
    return trainer


def test_the_optimizer_steps_at_the_scheduled_rate(tmp_path):
    seen = Rates()
    trainer = fit(small_module(), [seen])
    assert seen.rates == pytest.approx(
        [2e-3 * WarmupCosine().factor(step, 12) for step in range(12)]
    )
    # Resuming half way continues where it was.
    half, rest = Rates(), Rates()
    torch.manual_seed(0)
    trainer = fit(small_module(), [half], epochs=1)
    trainer.save_checkpoint(tmp_path / "half.ckpt")
    fit(small_module(), [rest], ckpt=tmp_path / "half.ckpt")
    assert rest.rates == pytest.approx(seen.rates[6:])


@pytest.mark.parametrize(
    ("settings", "total"),
    [
        ({}, 12),
        ({"accumulate_grad_batches": 4}, 4),
        ({"max_steps": 5}, 5),
        ({"max_steps": 50}, 12),
        ({"limit_train_batches": 2}, 4),
    ],
)
def test_the_schedule_ends_with_the_run(settings, total):
    seen = Rates()
    trainer = fit(small_module(), [seen], **settings)
    assert trainer.global_step == total
    assert list(dict.fromkeys(seen.rates))[-1] == pytest.approx(
        2e-3 * WarmupCosine().factor(total - 1, total)
    )


def test_norms_and_biases_are_not_decayed():
    module = small_module()
    groups = module.make_optimizer().param_groups
    assert {p.ndim for p in groups[0]["params"]} == {2, 4}
    assert {p.ndim for p in groups[1]["params"]} == {1}
    assert (groups[0]["weight_decay"], groups[1]["weight_decay"]) == (0.05, 0.0)
    assert sum(len(g["params"]) for g in groups) == len(list(module.parameters()))
    assert len(small_module(decay_matrices_only=False).make_optimizer().param_groups) == 1


def test_explicit_pairs_reach_the_loss():
    module = small_module()
    module.log = lambda *_, **__: None
    batch = next(iter(loader(1)))
    everything = module.training_step(batch, 0)
    only = module.training_step(batch | {"pairs": torch.tensor([[0], [1]])}, 0)
    assert everything != only


def test_a_loss_that_takes_no_pairs_is_refused_before_the_training():
    class Two(torch.nn.Module):
        def forward(self, embeddings, labels):
            raise AssertionError("not reached")

    network = SmallResNet(widths=(8,), depths=(1,), learned_size=8)
    with pytest.raises(ConfigError, match=r"Two\.forward takes \(embeddings, labels\): write"):
        SiameseModule(network, Two())
    Two.forward = lambda self, embeddings, labels, pairs=None: embeddings.sum()
    assert SiameseModule(network, Two()).loss(torch.ones(2, 2), None, None) == 4


def test_checkpoints_hold_the_operating_point_and_load_safely(tmp_path):
    module = small_module()
    module.operating_point = OperatingPoint(
        0.5, "max_f1", "euclidean", "calibration", {"name": "all_pairs"}, 1, 1, 0.5, 1.0, 1, 0, 0, 1
    )
    module.threshold.fill_(0.5)
    trainer = quiet_trainer()
    trainer.strategy.connect(module)
    trainer.save_checkpoint(tmp_path / "x.ckpt")
    torch.load(tmp_path / "x.ckpt", weights_only=True)
    again = SiameseModule.load_from_checkpoint(
        tmp_path / "x.ckpt",
        backbone=SmallResNet(widths=(8,), depths=(1,), learned_size=8),
        loss=ContrastiveLoss(),
        weights_only=True,
    )
    assert again.operating_point == module.operating_point
    assert again.threshold.item() == 0.5
