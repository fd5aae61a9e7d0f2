"""Torch samplers and albumentations pipelines, as a data module takes them."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch.utils import data as torch_data
from torch.utils.data.distributed import DistributedSampler

from siamese.data.random_numbers import random_state, set_random_state
from siamese.data.samplers.base import BatchPlan, Sampler
from siamese.data.transforms import draw
from siamese.errors import ConfigError
from siamese.processes import all_processes

Augment = Callable[[np.ndarray, tuple[int, ...]], np.ndarray]
_SINGLE = (
    torch_data.RandomSampler,
    torch_data.SequentialSampler,
    torch_data.SubsetRandomSampler,
    torch_data.WeightedRandomSampler,
)
_IN_BATCHES = (
    "give batches: torch.utils.data.BatchSampler(sampler, batch_size=64, drop_last=True), or a "
    "sampler of ours, such as siamese.IdentitySampler()"
)


class AlbumentationsPipeline:
    """An albumentations pipeline as ``augment(image, seed)``.

    It is seeded for each image, see :func:`siamese.data.transforms.draw`.

    Args:
        pipeline: an ``albumentations.Compose``, or a single transform, of which an ``image`` comes
            out as it goes in: (H, W, 3) uint8.
    """

    def __init__(self, pipeline: Any) -> None:
        self.pipeline = pipeline

    @property
    def is_known(self) -> bool:
        """Whether all is albumentations' own, which draws from the random numbers it is given."""
        return _is_known(self.pipeline)

    def __call__(self, image: np.ndarray, seed: tuple[int, ...]) -> np.ndarray:
        """Augment an image, (H, W, 3) uint8; the result depends on it and the seed alone."""
        found: np.ndarray = draw(self.pipeline, image, seed)
        return found


def _is_known(step: Any) -> bool:
    """A class of albumentations, and all that is in it; its Lambda holds a user's function."""
    own = type(step).__module__.partition(".")[0] == "albumentations"
    inner = getattr(step, "transforms", ())
    return own and type(step).__name__ != "Lambda" and all(map(_is_known, inner))


def as_augmentation(augmentation: Any) -> Augment | None:
    """What a data set calls as ``augment(image, seed)``; None for none.

    Args:
        augmentation: a :class:`siamese.Augmentation`, an albumentations pipeline, any other
            ``augment(image, seed)``, or None.

    Raises:
        ConfigError: something else.
    """
    if augmentation is None:
        return None
    if not inspect.isclass(augmentation) and hasattr(augmentation, "set_random_seed"):
        return AlbumentationsPipeline(augmentation)
    remedy = (
        "give a siamese.Augmentation(...), an albumentations.Compose([...]), or a function of an "
        "image, (H, W, 3) uint8, and a seed, a tuple of whole numbers"
    )
    if not callable(augmentation) or inspect.isclass(augmentation):
        raise ConfigError(f"augmentation={augmentation!r:.80} cannot be called; {remedy}")
    try:
        inspect.signature(augmentation).bind(None, ())
    except TypeError as error:
        raise ConfigError(f"the augmentation does not take (image, seed); {remedy}") from error
    except ValueError:  # a function of C, of which nothing is known
        pass
    augment: Augment = augmentation
    return augment


class TorchBatches:
    """A torch batch sampler in the form that a data module's loader reads.

    Which images are together is the sampler's affair. A checkpoint keeps the random numbers that it
    draws from (the global ones of torch, numpy and Python, and its own ``generator`` of torch), as
    they were when the epoch began: a run that is resumed within it draws the epoch again and leaves
    out what was trained on. An epoch is drawn at once, when it begins; of several processes the
    first one draws for all, unless the sampler is a ``DistributedSampler``, which divides its rows
    itself. The augmentation depends on ``(seed, epoch, step, rank)``, as ever.

    Attributes:
        divides_itself: whether the sampler is a ``DistributedSampler``.
        first_draws: whether the first process draws for all; then all must begin an epoch.
    """

    def __init__(
        self, sampler: Iterable[Any], images: int, seed: int, rank: int, world: int
    ) -> None:
        self._sampler, self._images, self._seed = sampler, images, seed
        parts = (sampler, getattr(sampler, "sampler", None))
        self.divides_itself = any(isinstance(part, DistributedSampler) for part in parts)
        self.first_draws = False
        if self.divides_itself:
            rank, world = 0, 1
        self._rank, self._world = rank, world
        if len(sampler) < world:  # type: ignore[arg-type]
            raise ConfigError(
                f"the sampler gives {len(sampler)} batches for {world} processes; "  # type: ignore[arg-type]
                f"{_IN_BATCHES if world == 1 else 'give more and smaller ones'}"
            )
        self.epoch = self.begun = 0
        self._drawn_from: dict[str, Any] = {}  # as this epoch began
        self._begin_with: Mapping[str, Any] = {}
        self.sampler = self  # where Lightning looks for set_epoch

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch
        for part in self._parts():
            if callable(announce := getattr(part, "set_epoch", None)):
                announce(epoch)

    def state_dict(self) -> dict[str, Any]:
        """The random numbers that the epoch was drawn from."""
        return self._drawn_from

    def begin_at(self, step: int, state: Mapping[str, Any] | None = None) -> None:
        """Let the next epoch that is drawn begin with a later step, once.

        Args:
            step: which one.
            state: from :meth:`state_dict`: the epoch is drawn from the same numbers.
        """
        self.begun, self._begin_with = min(step, len(self)), state or {}

    def _parts(self) -> tuple[Any, ...]:
        return (self._sampler, getattr(self._sampler, "sampler", None))

    def __len__(self) -> int:
        return len(self._sampler) // self._world  # type: ignore[arg-type]

    def _draw(self, begun: int) -> list[Any]:
        """The sampler's batches of an epoch, drawn at once: nothing else draws in between."""
        generator, given = generator_of(self._sampler), self._begin_with if begun else {}
        self._begin_with = {}
        now = random_state()
        if given:
            set_random_state(given["random"])
            if generator is not None and "generator" in given:
                generator.set_state(given["generator"])
        self._drawn_from = {"random": given["random"] if given else now}
        if generator is not None:
            self._drawn_from["generator"] = generator.get_state()
        batches = list(itertools.islice(self._sampler, len(self) * self._world))
        if self.first_draws:  # each process may have random numbers of its own
            batches = all_processes().from_first(batches)
        if given:  # the training's own have gone on since
            set_random_state(now)
        return batches

    def __iter__(self) -> Iterator[BatchPlan]:
        begun, self.begun = self.begun, 0
        for turn, rows in enumerate(self._draw(begun)):
            step, rank = divmod(turn, self._world)
            if step >= begun and rank == self._rank:
                seed = (self._seed, self.epoch, step, rank)
                yield BatchPlan(self._checked(rows), None, seed)

    def _checked(self, rows: Any) -> np.ndarray:
        if isinstance(rows, (int, np.integer)):
            raise ConfigError(f"the sampler draws single images ({rows}); {_IN_BATCHES}")
        indices = np.asarray(list(rows), dtype=np.int64)
        if len(indices) and (indices.min() < 0 or indices.max() >= self._images):
            raise ConfigError(
                f"the sampler draws row {indices.max()} of a training split of {self._images} "
                f"images; make it for that many (len(data.dataset('train')))"
            )
        return indices


def generator_of(sampler: Any) -> torch.Generator | None:
    """The random numbers of a torch sampler, or of the sampler in it; None for the global ones."""
    found = (getattr(p, "generator", None) for p in (sampler, getattr(sampler, "sampler", None)))
    return next((g for g in found if isinstance(g, torch.Generator)), None)


class TorchSampler(Sampler):
    """A torch batch sampler as a sampler of ours; see :class:`TorchBatches`."""

    steps = None

    def __init__(self, sampler: Iterable[Any]) -> None:
        self.sampler = sampler

    def __repr__(self) -> str:
        parts = (self.sampler, getattr(self.sampler, "sampler", None))
        return f"TorchSampler({' of '.join(type(p).__name__ for p in parts if p is not None)})"

    def batches(  # type: ignore[override]
        self,
        labels: np.ndarray,
        seed: int = 0,
        rank: int = 0,
        world: int = 1,
        pairs: np.ndarray | None = None,
    ) -> TorchBatches:
        """Bind to a data set, as :meth:`Sampler.batches`; ``pairs`` are not used."""
        return TorchBatches(self.sampler, len(labels), seed, rank, world)


def as_sampler(sampler: Any) -> Sampler:
    """A sampler of ours as it is; a torch sampler that yields batches is wrapped.

    Raises:
        ConfigError: a torch sampler that yields single images, or no sampler.
    """
    if isinstance(sampler, Sampler):
        return sampler
    if isinstance(sampler, _SINGLE):
        raise ConfigError(f"sampler: a {type(sampler).__name__} draws single images; {_IN_BATCHES}")
    usable = not isinstance(sampler, (type, str, bytes, torch_data.DataLoader))
    if usable and hasattr(sampler, "__iter__") and hasattr(sampler, "__len__"):
        return TorchSampler(sampler)
    raise ConfigError(f"sampler={sampler!r:.80} is no sampler; {_IN_BATCHES}")
