"""Learning rate schedules in torch's form: made from an optimizer, stepped by Lightning."""

from __future__ import annotations

import math
from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler


class WarmupCosine:
    """The rate rises linearly, then falls like half a cosine wave to ``final`` times its peak.

    After Loshchilov and Hutter, *SGDR*, ICLR 2017. The factor is a pure function of the step and of
    the run's length: it needs no state in a checkpoint, and a run with another length has another
    schedule.

    Args:
        warmup: share of all steps in which the rate rises, 0..1.
        final: factor at the end, 0..1.

    Raises:
        ValueError: a number out of range.
    """

    interval = "step"  # Lightning steps it after every batch

    def __init__(self, warmup: float = 0.1, final: float = 0.0) -> None:
        if not (0 <= warmup <= 1 and 0 <= final <= 1):
            raise ValueError(f"warmup and final must be between 0 and 1, not {warmup} and {final}")
        self.warmup, self.final = warmup, final

    def __repr__(self) -> str:
        return f"WarmupCosine(warmup={self.warmup}, final={self.final})"

    def factor(self, step: int, total: float) -> float:
        """The factor for step 0, 1, ... of ``total``; if that is infinite, there is no decay."""
        rising = self.warmup * total if math.isfinite(total) else 0.0
        if step < rising:
            return min(1.0, (step + 1) / rising)
        progress = (step - rising) / max(1.0, total - rising) if math.isfinite(total) else 0.0
        return self.final + (1 - self.final) * (1 + math.cos(math.pi * min(1.0, progress))) / 2

    def __call__(self, optimizer: Optimizer) -> StepFactorLR:
        """The schedule of an optimizer; :class:`siamese.SiameseModule` sets the run's length."""
        return StepFactorLR(optimizer, self)


class StepFactorLR(LRScheduler):
    """A torch scheduler whose factor needs the run's length, which is known when training starts.

    Lightning makes schedulers before it knows how many batches there are. Asking for
    ``trainer.estimated_stepping_batches`` there would set the loaders up early, and a resumed run
    would then lose their state from the checkpoint.

    Args:
        optimizer: whose rates are set.
        schedule: the factor of each step.
    """

    def __init__(self, optimizer: Optimizer, schedule: WarmupCosine) -> None:
        self.schedule, self.total = schedule, math.inf
        super().__init__(optimizer)

    def start(self, step: int, total: float) -> None:
        """Set the rates for a step of a run of ``total`` steps."""
        self.total, self.last_epoch = total, step
        for group, rate in zip(self.optimizer.param_groups, self.get_lr(), strict=True):
            group["lr"] = rate
        self._last_lr = [group["lr"] for group in self.optimizer.param_groups]

    def get_lr(self) -> list[Any]:
        """The rate of each parameter group at the current step."""
        factor = self.schedule.factor(self.last_epoch, self.total)
        return [base * factor for base in self.base_lrs]

    def state_dict(self) -> dict[str, Any]:
        """The plain numbers that a checkpoint keeps."""
        return {"last_epoch": self.last_epoch, "base_lrs": list(self.base_lrs)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load the step only: the rates are those that this run was given."""
        self.last_epoch = int(state_dict["last_epoch"])
