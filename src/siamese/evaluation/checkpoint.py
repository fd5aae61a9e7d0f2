"""Checkpoints that may come from strangers: read without executing anything, within bounds."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from siamese.errors import first_line
from siamese.reading import Unreadable, check_archive, read_bytes

_LARGEST = 1 << 36


def read_checkpoint(path: Path) -> dict[str, Any]:
    """What a checkpoint holds, on the CPU.

    The archive is checked before torch reads it: its members are stored as they are, so that memory
    is at most about twice the file's size, and a plain pickle is refused unread. torch then builds
    tensors and plain values alone (``weights_only``).

    Raises:
        Unreadable: no checkpoint, a damaged one, or one that holds other objects.
        OSError: the file cannot be read.
    """
    content = io.BytesIO(read_bytes(path, _LARGEST))
    check_archive(content, len(content.getbuffer()))
    content.seek(0)
    try:
        found = torch.load(content, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a damaged file makes torch say
        raise Unreadable(f"{first_line(error):.80}") from error
    if not isinstance(found, dict):
        raise Unreadable(f"a {type(found).__name__}, not a dictionary")
    return found


def sizes_of(tensors: Any) -> dict[str, tuple[int, ...]]:
    """Name -> numbers that are really there, of each tensor; a tensor may show one many times.

    Raises:
        Unreadable: something else than tensors by their names.
    """
    if not isinstance(tensors, Mapping):
        raise Unreadable("its weights have no names")
    for name, tensor in tensors.items():
        if not isinstance(name, str) or not isinstance(tensor, Tensor) or tensor.is_sparse:
            raise Unreadable(f"{name!r:.80} is no tensor of weights")
    return {
        name: (min(t.numel(), t.untyped_storage().nbytes() // t.element_size()),)
        for name, t in tensors.items()
    }
