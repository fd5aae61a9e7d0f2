"""TestTimeAugmentation: changed copies of an image whose embeddings are averaged at use."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from siamese.data.transforms import Augmentation
from siamese.errors import ConfigError

# First number of the copies' seeds: not one that training can draw.
_COPY = 1_000_003


@dataclass(frozen=True)
class TestTimeAugmentation:
    """An embedding is the mean over ``copies`` changed copies of the image.

    The copies are always the same ones: copy i of every image is changed alike, so that an
    embedding stays a function of the image. A threshold is valid for one number of copies only:
    calibrate with the same number.

    Args:
        augmentation: what changes the copies.
        copies: how many, >= 1.

    Raises:
        ConfigError: no copies, or an augmentation that changes nothing.
    """

    augmentation: Augmentation
    copies: int

    def __post_init__(self) -> None:
        _check(self.copies, 1)
        if not self.augmentation.changes:
            raise ConfigError(
                "tta: the augmentation changes nothing, so there are no copies to average over"
            )

    def __call__(self, image: np.ndarray, copy: int) -> np.ndarray:
        """Copy number ``copy`` of an image, (H, W, 3) uint8."""
        return self.augmentation(image, (_COPY, copy))

    @classmethod
    def of(cls, augmentation: Augmentation | None, copies: int) -> TestTimeAugmentation | None:
        """With a bundle's augmentation; None for 0 copies.

        Raises:
            ConfigError: a number of copies that is none, or copies without an augmentation.
        """
        _check(copies, 0)
        if copies == 0:
            return None
        if augmentation is None:
            raise ConfigError(
                f"tta={copies}: there is no augmentation to make copies with: the run was trained "
                f"without, or with a function of its own; leave out tta"
            )
        return cls(augmentation, copies)


def _check(copies: int, least: int) -> None:
    if isinstance(copies, bool) or not isinstance(copies, int) or copies < least:
        raise ConfigError(
            f"tta must be a whole number of copies of at least {least}, not {copies!r}"
        )
