"""The state of all random numbers that a training may draw from, as a checkpoint can hold it."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch


def random_state() -> dict[str, Any]:
    """Of torch, its GPUs, numpy and Python, as plain values and tensors."""
    name, keys, position, has_gauss, gauss = np.random.get_state()  # noqa: NPY002
    version, numbers, after = random.getstate()
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "numpy": [str(name), [int(k) for k in keys], int(position), int(has_gauss), float(gauss)],
        "python": [version, list(numbers), after],
    }


def set_random_state(state: Mapping[str, Any]) -> None:
    """The reverse of :func:`random_state`; of GPUs only where there are as many."""
    torch.set_rng_state(state["torch"].cpu())
    if state["cuda"] and len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all([part.cpu() for part in state["cuda"]])
    name, keys, *rest = state["numpy"]
    np.random.set_state((name, np.array(keys, dtype=np.uint32), *rest))  # noqa: NPY002
    version, numbers, after = state["python"]
    random.setstate((version, tuple(numbers), after))
