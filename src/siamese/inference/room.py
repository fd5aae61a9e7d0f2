"""Room: how large a described network is, before memory is taken for it."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from siamese.errors import SiameseError, first_line
from siamese.reading import Unreadable, parse_json

# Of a file of weights' head: names and shapes of all tensors.
_LARGEST_HEAD = 1 << 24
# What a network may have beside its weights: tables that no file holds.
_MORE_NUMBERS, _MORE_TENSORS = 10_000_000, 1000

_RANDOM = (
    torch.Tensor.normal_,
    torch.Tensor.uniform_,
    torch.Tensor.bernoulli_,
    torch.Tensor.random_,
    torch.Tensor.exponential_,
    torch.Tensor.log_normal_,
)


def head_of(weights: bytes) -> dict[str, tuple[int, ...]]:
    """Name -> shape of the tensors in a safetensors file; nothing else of it is read.

    Raises:
        Unreadable: no such file, or numbers that do not fill it.
    """
    if len(weights) < 8:
        raise Unreadable("the file of weights is cut off")
    (length,) = struct.unpack("<Q", weights[:8])
    if length > min(_LARGEST_HEAD, len(weights) - 8):
        raise Unreadable("the file of weights is cut off, or its head too long")
    head = parse_json(weights[8 : 8 + length])
    if not isinstance(head, dict):
        raise Unreadable("the file of weights has no head")
    head.pop("__metadata__", None)
    return {name: _shape(name, tensor) for name, tensor in head.items()}


def _shape(name: str, tensor: Any) -> tuple[int, ...]:
    shape = tensor.get("shape") if isinstance(tensor, dict) else None
    if not isinstance(shape, list) or not all(type(n) is int and n >= 0 for n in shape):
        raise Unreadable(f"the weights {name!r:.80} have no shape")
    return tuple(shape)


def check_room(
    build: Callable[[], tuple[nn.Module, ...]], shapes: Mapping[str, tuple[int, ...]]
) -> None:
    """Check that modules are no larger than the weights that there are for them.

    They are built without memory, on torch's ``meta`` device. Only modules of ours may be: others
    may keep a tensor from there for later.

    Args:
        build: makes the modules.
        shapes: of the weights, by name.

    Raises:
        Unreadable: they are larger.
        SiameseError: as from building.
    """
    try:
        with torch.device("meta"), _Unset():
            modules = build()
    except SiameseError:
        raise
    except Exception as error:
        reason = first_line(error)
        raise Unreadable(f"no network can be built of it ({reason:.100})") from error
    tensors = [t for module in modules for t in (*module.parameters(), *module.buffers())]
    numbers, kept = (
        sum(map(_count, each)) for each in ([t.shape for t in tensors], shapes.values())
    )
    if numbers > kept + _MORE_NUMBERS or len(tensors) > len(shapes) + _MORE_TENSORS:
        raise Unreadable(
            f"its network would have {numbers:,} numbers in {len(tensors):,} tensors, its weights "
            f"are {kept:,} in {len(shapes):,}"
        )


class _Unset(TorchFunctionMode):
    """Leaves out what would set tensors to numbers.

    On the ``meta`` device there is nothing to set, and torch would import its compiler for it,
    which takes a second.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if func in _RANDOM or getattr(func, "__module__", None) == "torch.nn.init":
            return args[0] if args else kwargs["tensor"]
        if func is torch.eye and len(args) == 1:
            return torch.empty(args[0], args[0], **(kwargs or {}))
        if func in (torch.empty_like, torch.zeros_like, torch.ones_like) and len(args) == 1:
            return torch.empty(args[0].shape, dtype=args[0].dtype)
        return func(*args, **(kwargs or {}))


def is_constant(module: nn.Module) -> bool:
    """Whether all weights are zero, so that every image gets the same embedding.

    Of matrices alone: shifts of zero are usual. A module without any is not.
    """
    matrices = [t for t in module.state_dict().values() if t.is_floating_point() and t.ndim > 1]
    return bool(matrices) and not any(bool(t.any()) for t in matrices)


def _count(shape: tuple[int, ...]) -> int:
    count = 1
    for side in shape:
        count *= int(side)
    return count
