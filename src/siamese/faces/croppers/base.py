"""Cropper: the base of all croppers, from a decoded image to the square that the network sees."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from siamese.errors import ConfigError, did_you_mean
from siamese.registry import Registry

PADDINGS = ("black", "edge")


class Crop(NamedTuple):
    """A cropped image.

    Attributes:
        image: (size, size, 3) uint8 RGB.
        faces: number of faces found; None where the cropper looks for none.
    """

    image: np.ndarray
    faces: int | None


@dataclass(frozen=True)
class Cropper:
    """Base of the croppers: a value object whose fields are all of its settings.

    A cropper always returns a crop. What ``no_face`` and ``several_faces`` mean for an image (keep,
    leave out, stop) is answered by :meth:`verdict`, so that changing these settings later needs no
    new detection.
    """

    size: int = 160
    padding: str = "black"

    def __post_init__(self) -> None:
        if self.padding not in PADDINGS:
            raise ConfigError(
                f"cropper setting padding={self.padding!r} is not "
                f"known{did_you_mean(str(self.padding), PADDINGS)}"
            )
        if (
            isinstance(self.size, bool)
            or not isinstance(self.size, int)
            or not 8 <= self.size <= 4096
        ):
            raise ValueError(
                f"size must be a whole number between 8 and 4096 pixels, not {self.size!r}"
            )

    def __call__(self, image: np.ndarray) -> Crop:
        """Crop one (H, W, 3) uint8 RGB image."""
        raise NotImplementedError

    def verdict(self, faces: int | None) -> str:
        """``"keep"``, ``"skip"`` or ``"error"`` for an image with ``faces`` faces found."""
        return "keep"

    def pixel_settings(self) -> dict[str, Any]:
        """The settings that a crop's pixels depend on: the cache's key."""
        return CROPPERS.settings(self)

    def check(self) -> None:
        """Check that all packages that this cropper needs are installed.

        Raises:
            MissingDependencyError: one is not.
        """


CROPPERS: Registry[Cropper] = Registry("cropper", "CROPPERS", "siamese.faces.croppers")
