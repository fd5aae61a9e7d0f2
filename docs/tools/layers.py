"""The layers of a network as rows, found by running it: what each is, and what comes out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

# What is said in the row of the layer before: it changes no shape.
_BESIDE = {
    "BatchNorm1d": "norm",
    "BatchNorm2d": "norm",
    "ReLU": "ReLU",
    "LeakyReLU": "leaky ReLU",
    "Dropout": "dropout",
}


@dataclass
class Row:
    """One row of a drawing.

    Attributes:
        text: what the layer is.
        shape: of what comes out of it, without the batch: (C, H, W) or (D,).
        parameters: numbers that are learned in it.
        skips: whether its input is added to its output.
        times: how many equal rows follow each other.
        inside: its layers, where it is a block.
    """

    text: str
    shape: tuple[int, ...]
    parameters: int
    skips: bool = False
    times: int = 1
    inside: list[str] = field(default_factory=list)


def rows_of(network: nn.Module, images: torch.Tensor) -> list[Row]:
    """Run ``network`` on ``images``, (B, C, H, W), in training mode, and note its layers in order.

    Blocks are one row each; rows that are equal and follow each other are one.
    """
    found: list[Row] = []
    within: list[list[str]] = []
    hooks = []
    for name, module in network.named_modules():
        if ".shortcut" in name:  # the bracket beside a block stands for it
            continue
        if _is_block(module):
            hooks += [
                module.register_forward_pre_hook(lambda *_: within.append([])),
                module.register_forward_hook(lambda m, _, out: _close(found, within, m, out)),
            ]
        elif not list(module.children()):
            hooks.append(
                module.register_forward_hook(lambda m, _, out: _leaf(found, within, m, out))
            )
    with torch.no_grad():
        network.train()(images)
    for hook in hooks:
        hook.remove()
    return _merged(found)


def _is_block(module: nn.Module) -> bool:
    return type(module).__name__.strip("_") in ("Block", "Stage")


def _close(found: list[Row], within: list[list[str]], module: nn.Module, out: Any) -> None:
    inside = within.pop()
    text = "residual block" if type(module).__name__.endswith("Block") else "residual stage"
    found.append(Row(text, tuple(out.shape[1:]), _parameters(module), True, inside=inside))


def _leaf(found: list[Row], within: list[list[str]], module: nn.Module, out: Any) -> None:
    kind = type(module).__name__
    text = _text(module)
    if within:
        if text and kind not in _BESIDE:
            within[-1].append(text)
    elif kind in _BESIDE and found:
        if not (kind == "Dropout" and not module.p):
            found[-1].text += f", {_BESIDE[kind]}"
        found[-1].parameters += _parameters(module)
    elif text:
        found.append(Row(text, tuple(out.shape[1:]), _parameters(module)))


def _text(module: nn.Module) -> str:
    """In words; "" for what is not drawn."""
    kind = type(module).__name__
    if kind in ("Conv2d", "_Convolution"):
        width, _, size, _ = module.weight.shape
        stride = getattr(module, "stride", 1)
        stride = stride[0] if isinstance(stride, tuple) else stride
        return f"conv {size} x {size}, {width}" + (f", stride {stride}" if stride != 1 else "")
    if kind == "Linear":
        return f"dense, {module.out_features}"
    if kind in ("MaxPool2d", "AvgPool2d"):
        size = module.kernel_size
        return f"{'maximum' if kind[0] == 'M' else 'mean'} of {size} x {size}"
    if kind == "AdaptiveAvgPool2d":
        return f"means of {module.output_size} x {module.output_size} places"
    return _BESIDE.get(kind, "")


def _parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


def _merged(rows: list[Row]) -> list[Row]:
    merged: list[Row] = []
    for row in rows:
        last = merged[-1] if merged else None
        if last and (last.text, last.shape, last.inside) == (row.text, row.shape, row.inside):
            last.times += 1
            last.parameters += row.parameters
        else:
            merged.append(row)
    return merged
