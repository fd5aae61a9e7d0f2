"""SyncedBatchNorm: batch normalisation over the whole batch of several processes, on any device."""

from __future__ import annotations

from typing import Any

import torch
from pytorch_lightning.plugins.layer_sync import LayerSync
from torch import Tensor, distributed, nn
from torch.nn.modules.batchnorm import _BatchNorm

from siamese.notices import warn_once


class SyncedBatchNorm(LayerSync):
    """Lets batch normalisation see the whole batch, of which each process has a part.

    Lightning's own ``sync_batchnorm=True`` does so on GPUs alone: torch has no such layer for CPUs.
    :func:`siamese.train` uses this one; so can any Trainer::

        pl.Trainer(devices=2, strategy="ddp", plugins=[siamese.SyncedBatchNorm()])

    The layers keep their names and weights, and are what they were when the training has ended.
    Classes that inherit from torch's are left as they are, and a warning names them.
    """

    applied = 0  # to models that are trained now; without one, layers and their copies are torch's

    def apply(self, model: nn.Module) -> nn.Module:
        """Change the layers of a model in place; returns it."""
        SyncedBatchNorm.applied += 1
        for layer in model.modules():
            if type(layer) in _WHOLE:
                layer.__class__ = _WHOLE[type(layer)]
            elif isinstance(layer, _BatchNorm) and not isinstance(layer, nn.SyncBatchNorm):
                warn_once(
                    f"{type(layer).__name__} normalises the part of a batch that a process has: "
                    f"only torch's own BatchNorm1d, 2d and 3d are changed"
                )
        return model

    def revert(self, model: nn.Module) -> nn.Module:
        """The reverse of :meth:`apply`."""
        SyncedBatchNorm.applied = max(0, SyncedBatchNorm.applied - 1)
        before = {whole: plain for plain, whole in _WHOLE.items()}
        for layer in model.modules():
            layer.__class__ = before.get(type(layer), type(layer))
        return model


class _Sum(torch.autograd.Function):
    """The sum over processes; each gets the sum of all gradients."""

    @staticmethod
    def forward(ctx: Any, own: Tensor) -> Tensor:
        total = own.detach().clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        gradient = gradient.contiguous().clone()
        distributed.all_reduce(gradient)
        return gradient


def _sum(own: Tensor) -> Tensor:
    total: Tensor = _Sum.apply(own)  # type: ignore[no-untyped-call]
    return total


class _OverProcesses(_BatchNorm):
    """Ioffe & Szegedy, *Batch Normalization*, 2015, with mean and variance of all processes."""

    def forward(self, input: Tensor) -> Tensor:
        alone = not SyncedBatchNorm.applied or not distributed.is_initialized()
        if not self.training or alone:
            return super().forward(input)
        self._check_input_dim(input)  # type: ignore[no-untyped-call]
        # In two passes: a mean of squares less a square of the mean would lose digits.
        wide = input.float() if input.dtype in (torch.float16, torch.bfloat16) else input
        along = [0, *range(2, input.ndim)]
        number = wide.new_tensor([wide.numel() // max(1, wide.shape[1])])
        total = _sum(torch.cat([wide.sum(along), number]))  # one message for both
        count = total[-1:].detach()
        if float(count) < 2:
            raise ValueError("batch normalisation needs two values of each channel, at least")
        mean = total[:-1] / count
        shape = [1, -1] + [1] * (input.ndim - 2)
        centred = wide - mean.view(shape)
        variance = _sum(centred.square().sum(along)) / count
        if self.track_running_stats:
            self._remember(mean.detach(), variance.detach() * (count / (count - 1)))
        found = centred * (variance + self.eps).rsqrt().view(shape)
        if self.affine:
            found = found * self.weight.view(shape) + self.bias.view(shape)
        given: Tensor = found.to(input.dtype)
        return given

    @torch.no_grad()
    def _remember(self, mean: Tensor, variance: Tensor) -> None:
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        self.num_batches_tracked += 1
        share = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), share)
        self.running_var.lerp_(variance.to(self.running_var.dtype), share)


class _Whole1d(_OverProcesses, nn.BatchNorm1d):
    pass


class _Whole2d(_OverProcesses, nn.BatchNorm2d):
    pass


class _Whole3d(_OverProcesses, nn.BatchNorm3d):
    pass


_WHOLE: dict[type, type] = {
    nn.BatchNorm1d: _Whole1d,
    nn.BatchNorm2d: _Whole2d,
    nn.BatchNorm3d: _Whole3d,
}
