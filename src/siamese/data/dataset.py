"""CropDataset: cached crops and their labels, loaded one planned batch at a time."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from siamese.data.samplers.base import BatchPlan, Sampler
from siamese.errors import ConfigError
from siamese.faces.crops import cache_of, read_crop
from siamese.pairs.fixed_pairs import FixedPairs

# Crops of a split are kept in memory up to this size, and up to a quarter of the memory that is
# free: decoding a PNG costs as much as a whole augmentation.
MEMORY_LIMIT = 2 << 30


@dataclass(frozen=True, repr=False)
class SplitOrigin:
    """What a data set of crops is, and how training batches are drawn where it belongs.

    Attributes:
        split: its name.
        sampler: of the training batches.
        seed: of the sampler.
        pairs: (2, n) int64 rows, where the split protocol chose the pairs; None where it did not.
        protocol: the split protocol's name.
    """

    split: str
    sampler: Sampler
    seed: int
    pairs: np.ndarray | None = None
    protocol: str = ""

    @property
    def pair_rule(self) -> FixedPairs | None:
        """The chosen pairs as a rule."""
        return (
            None if self.pairs is None else FixedPairs(self.pairs[0], self.pairs[1], self.protocol)
        )


class CropDataset(Dataset[dict[str, Any]]):
    """N crops with labels.

    Args:
        files: N crop files, all of one size.
        labels: (N,) int64, one number per identity.
        augment: ``augment(image, seed)`` on (H, W, 3) uint8, applied to plans that carry a seed.
        in_memory: read all crops at once; by default where they take less than 2 GiB, and less than
            a quarter of the free memory.
        origin: which split of a data module it is; None where it is none.
    """

    def __init__(
        self,
        files: Sequence[Path],
        labels: np.ndarray,
        augment: Callable[[np.ndarray, tuple[int, ...]], np.ndarray] | None = None,
        in_memory: bool | None = None,
        origin: SplitOrigin | None = None,
    ) -> None:
        self.origin = origin
        self.files, self.labels, self.augment = files, labels, augment
        first = read_crop(self.files[0])
        if in_memory is None:
            in_memory = first.nbytes * len(self.files) < min(MEMORY_LIMIT, _free_memory() // 4)
        self._images = np.stack([first, *map(read_crop, self.files[1:])]) if in_memory else None

    def __len__(self) -> int:
        return len(self.files)

    @property
    def cache(self) -> Path | None:
        """The crop cache in which its crops lie; None for files elsewhere."""
        return cache_of(self.files[0])

    def image(self, index: int) -> np.ndarray:
        """One crop as it is, (size, size, 3) uint8."""
        return read_crop(self.files[index]) if self._images is None else self._images[index]

    def __getitem__(self, plan: BatchPlan | int) -> dict[str, Any]:
        """A planned batch, or one unaugmented crop as a batch of one."""
        return self.__getitems__(
            plan if isinstance(plan, BatchPlan) else BatchPlan(np.array([plan]))
        )

    def __getitems__(self, plan: BatchPlan) -> dict[str, Any]:
        """Load a planned batch.

        Returns:
            ``image`` (B, 3, size, size) uint8, ``label`` (B,) int64, ``index`` (B,) int64 and,
            where the plan names pairs, ``pairs`` (2, n) int64 positions in the batch. Of a part of
            a batch these are positions in the whole, and ``whole``, () int64, is its size.
        """
        images = []
        for slot, index in enumerate(plan.indices):
            image = self.image(int(index))
            if plan.seed is not None and self.augment is not None:
                image = _augmented(self.augment, image, (*plan.seed, plan.first + slot))
            images.append(image)
        batch = {
            "image": torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous(),
            "label": torch.from_numpy(self.labels[plan.indices]),
            "index": torch.from_numpy(np.asarray(plan.indices)),
        }
        if plan.pairs is not None:
            batch["pairs"] = torch.from_numpy(plan.pairs)
        if plan.whole is not None:
            batch["whole"] = torch.tensor(plan.whole)
        return batch

    def __getstate__(self) -> dict[str, Any]:
        """Without the images: a process that is started, not forked, reads their files."""
        return self.__dict__ | {"_images": None}

    def __repr__(self) -> str:
        return f"CropDataset({len(self):,} crops of {len(set(self.labels.tolist())):,} identities)"


def _free_memory() -> int:
    """Bytes that Linux can give, to a container, too; elsewhere enough."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        free = next(int(x.split()[1]) for x in lines if x.startswith("MemAvailable:")) * 1024
    except (OSError, StopIteration, ValueError, IndexError):
        return 4 * MEMORY_LIMIT
    group = Path("/sys/fs/cgroup")
    with contextlib.suppress(OSError, ValueError):  # no group, or one without a limit
        limit, used = (int((group / f"memory.{of}").read_text()) for of in ("max", "current"))
        free = min(free, limit - used)
    return free


def _augmented(
    augment: Callable[[np.ndarray, tuple[int, ...]], np.ndarray],
    image: np.ndarray,
    seed: tuple[int, ...],
) -> np.ndarray:
    """An augmented image.

    Raises:
        ConfigError: it is no (H, W, 3) uint8 image of the crop's size.
    """
    found = augment(image, seed)
    if not isinstance(found, np.ndarray) or found.dtype != np.uint8 or found.shape != image.shape:
        kind = f"{getattr(found, 'dtype', type(found).__name__)} {getattr(found, 'shape', '')}"
        raise ConfigError(
            f"the augmentation makes {kind} of a crop of uint8 {image.shape}: a network is used on "
            f"images as the cropper gives them, so leave out what changes their size (set the "
            f"cropper's size instead), Normalize and ToTensorV2 (the backbone normalises)"
        )
    return np.ascontiguousarray(found)


def collate_as_is(batch: Any) -> Any:
    """The collate function of a data set that loads whole batches."""
    return batch
