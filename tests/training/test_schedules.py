"""Learning rate schedules: torch's own and ours, through Lightning's configure_optimizers."""

import functools
import math

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import LearningRateMonitor
from pytorch_lightning.loggers import CSVLogger
from tests.helpers import quiet_trainer

import siamese
from siamese.training.given_rates import GivenRates
from siamese.training.schedules import StepFactorLR


def module(schedule, lr=0.1):
    net = siamese.SmallResNet(widths=(8,), depths=(1,), learned_size=8)
    optimizer = functools.partial(torch.optim.SGD, lr=lr)
    return siamese.SiameseModule(
        net, siamese.ContrastiveLoss(), optimizer=optimizer, schedule=schedule
    )


def loader(n=4):
    batch = {
        "image": torch.randint(0, 256, (8, 3, 32, 32), dtype=torch.uint8),
        "label": torch.arange(8) // 2,
        "index": torch.arange(8),
    }
    return torch.utils.data.DataLoader([batch] * n, batch_size=None)


class Rates(pl.Callback):
    def __init__(self):
        self.rates = []

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        self.rates.append(float(optimizer.param_groups[0]["lr"]))


def rates(schedule, epochs=3, **settings):
    seen = Rates()
    trainer = quiet_trainer(max_epochs=epochs, callbacks=[seen, Eer()], **settings)
    trainer.fit(module(schedule), loader())
    return seen.rates


def test_any_scheduler_of_torch_is_stepped_by_epoch():
    step = functools.partial(torch.optim.lr_scheduler.StepLR, step_size=1, gamma=0.5)
    assert rates(step) == pytest.approx([0.1] * 4 + [0.05] * 4 + [0.025] * 4)


def test_or_by_batch_where_it_says_so():
    def schedule(optimizer):
        return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 / (1 + step))

    schedule.interval = "step"
    assert rates(schedule, epochs=1) == pytest.approx([0.1, 0.05, 0.1 / 3, 0.025])


def test_ours_is_what_its_factor_says_from_the_first_step_to_the_last():
    schedule = siamese.WarmupCosine(0.25, 0.1)
    assert rates(schedule) == pytest.approx([0.1 * schedule.factor(s, 12) for s in range(12)])
    assert rates(None) == [0.1] * 12
    assert isinstance(schedule(module(None).make_optimizer()), StepFactorLR)


def plateau(watched="val/eer"):
    """Never sees a figure improve: "val/eer" is at most 1, and it wants 2 more."""
    wait = functools.partial(
        torch.optim.lr_scheduler.ReduceLROnPlateau,
        mode="max",
        threshold=2,
        threshold_mode="abs",
        patience=0,
        factor=0.5,
    )
    wait.monitor = watched
    return wait


class Eer(pl.Callback):
    """Stands for the calibrator, which logs "val/eer"."""

    def on_train_epoch_end(self, trainer, pl_module):
        pl_module.log("val/eer", torch.tensor(0.5))


def test_one_that_waits_for_a_plateau_watches_the_calibration_figures():
    seen = Rates()
    trainer = quiet_trainer(max_epochs=4, callbacks=[seen, Eer()])
    trainer.fit(module(plateau()), loader(1))
    assert seen.rates == pytest.approx([0.1, 0.1, 0.05, 0.025])


def test_where_no_figure_is_logged_it_stays_and_says_so():
    seen = Rates()
    trainer = quiet_trainer(max_epochs=3, callbacks=[seen])
    with pytest.warns(RuntimeWarning, match="val/other"):
        trainer.fit(module(plateau("val/other")), loader(1))
    assert seen.rates == [0.1] * 3


def test_learning_rate_monitor_records_it(tmp_path):
    schedule = siamese.WarmupCosine(0.5)
    logger = CSVLogger(tmp_path, "", "")
    trainer = quiet_trainer(
        max_epochs=1,
        logger=logger,
        callbacks=[LearningRateMonitor(logging_interval="step")],
        log_every_n_steps=1,
    )
    trainer.fit(module(schedule), loader())
    rows = (tmp_path / "metrics.csv").read_text().splitlines()
    names = rows[0].split(",")
    column = next(i for i, name in enumerate(names) if name.startswith("lr-"))
    seen = [float(v) for row in rows[1:] if (v := row.split(",")[column])]
    assert seen == pytest.approx([0.1 * schedule.factor(s, 4) for s in range(4)])


@pytest.mark.parametrize("lr", [0.1, 0.02])
@pytest.mark.parametrize(
    "schedule",
    [
        siamese.WarmupCosine(0.25),
        functools.partial(torch.optim.lr_scheduler.ExponentialLR, gamma=0.5),
        functools.partial(torch.optim.lr_scheduler.StepLR, step_size=2, gamma=0.1),
        plateau(),
        None,
    ],
    ids=["ours", "exponential", "steps", "plateau", "constant"],
)
def test_a_resumed_run_goes_on_where_it_was_at_the_rate_it_is_given(schedule, lr, tmp_path):
    whole = rates(schedule, epochs=4)
    trainer = quiet_trainer(max_epochs=2, callbacks=[GivenRates(), Eer()])
    # As long as the whole run, but for the number of epochs: ours depends on it.
    first = module(schedule)
    if isinstance(schedule, siamese.WarmupCosine):
        first._total_steps = lambda: 16
    trainer.fit(first, loader())
    trainer.save_checkpoint(tmp_path / "half.ckpt")
    seen = Rates()
    trainer = quiet_trainer(max_epochs=4, callbacks=[GivenRates(), seen, Eer()])
    trainer.fit(module(schedule, lr), loader(), ckpt_path=tmp_path / "half.ckpt")
    assert seen.rates == pytest.approx([rate * lr / 0.1 for rate in whole[8:]])


@pytest.mark.parametrize("lr", [0.1, 0.02])
@pytest.mark.parametrize(
    "schedule",
    [
        functools.partial(
            torch.optim.lr_scheduler.OneCycleLR, max_lr=0.2, total_steps=4, cycle_momentum=False
        ),
        functools.partial(
            torch.optim.lr_scheduler.CyclicLR,
            base_lr=0.01,
            max_lr=0.1,
            step_size_up=2,
            cycle_momentum=False,
        ),
    ],
    ids=["one cycle", "cycles"],
)
def test_a_schedule_with_rates_of_its_own_keeps_them_when_resumed(schedule, lr, tmp_path):
    whole = rates(schedule, epochs=4)
    trainer = quiet_trainer(max_epochs=2, callbacks=[GivenRates()])
    trainer.fit(module(schedule), loader())
    trainer.save_checkpoint(tmp_path / "half.ckpt")
    seen = Rates()
    trainer = quiet_trainer(max_epochs=4, callbacks=[GivenRates(), seen])
    trainer.fit(module(schedule, lr), loader(), ckpt_path=tmp_path / "half.ckpt")
    assert seen.rates == pytest.approx(whole[8:])


def test_no_end_means_no_decay():
    assert siamese.WarmupCosine(0.1, 0.0).factor(10**6, math.inf) == 1.0
