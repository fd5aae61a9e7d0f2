"""loss_of_one: what a loss would be if all images had one embedding, without touching that loss."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

import torch
from pytorch_lightning.utilities.seed import isolate_rng
from torch import Tensor, nn

from siamese.losses.base import EmbeddingLoss

# (B,) labels of a batch and its pairs, (2, n) row numbers, or None for all of them.
Labelled: TypeAlias = tuple[Tensor, Tensor | None]


def labels_of(batch: Any) -> Labelled | None:
    """What a loss gets of a batch beside the embeddings; None where the batch has no labels."""
    labels = batch.get("label") if isinstance(batch, Mapping) else None
    if not isinstance(labels, Tensor) or labels.ndim != 1:
        return None
    pairs = batch.get("pairs")
    return labels.clone(), pairs.clone() if isinstance(pairs, Tensor) else None


def loss_of_one(module: nn.Module, batches: Iterable[Labelled]) -> float | None:
    """The mean loss of batches in which every image has the same embedding of length 1.

    The loss may remember what it is called with, count its calls, draw random numbers or refuse
    such embeddings. So it is a copy that is called, and forgotten again; random numbers go on where
    they were; and whatever is raised means that the value is not known.

    Args:
        module: with a ``loss`` and a ``backbone``.
        batches: of one device.

    Returns:
        the mean; None where it is not known: for another loss than an :class:`EmbeddingLoss`, which
        may mean something else by its arguments; for one that classifies the training identities,
        whose value says nothing here; for one with hooks, whose functions a copy would share; for
        one that cannot be copied or called; and without batches.
    """
    batches = list(batches)
    if not batches:
        return None
    device = batches[0][0].device
    drawn_on = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(drawn_on), isolate_rng(include_cuda=False), torch.no_grad():
        try:
            return _of_a_copy(module, batches)
        except Exception:  # a module or loss of the user's may raise anything
            return None


def _of_a_copy(module: nn.Module, batches: list[Labelled]) -> float | None:
    loss = getattr(module, "loss", None)
    size = getattr(getattr(module, "backbone", None), "trained_size", None)
    if not isinstance(loss, EmbeddingLoss) or not loss.open_set or not isinstance(size, int):
        return None
    if any(part._forward_hooks or part._forward_pre_hooks for part in loss.modules()):
        return None
    asked = copy.deepcopy(loss).eval()
    values = []
    for labels, pairs in batches:
        same = torch.full((len(labels), size), size**-0.5, device=labels.device)
        values.append(float(asked(same, labels, pairs)))
    return sum(values) / len(values)
