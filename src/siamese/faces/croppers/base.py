"""Cropper: the base of all croppers, from a decoded image to the square that the network sees."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from siamese.errors import ConfigError, did_you_mean
from siamese.faces.align import Box
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


class Face(NamedTuple):
    """What is compared of an image: a face that was found on it, or the image as it is.

    Attributes:
        crop: (size, size, 3) uint8 RGB, as the network sees it.
        box: of the face on the image as it was given, pixels; None where no detector found it.
        score: how surely it was found; see :class:`siamese.faces.detect.Detection`.
        landmarks: (5, 2) float64, x and y of the corners of the eye on the image's right and of
            that on its left (outer, inner each), and of the base of the nose, pixels of the image
            as it was given; None where they are not known.
    """

    crop: np.ndarray
    box: Box | None = None
    score: float | None = None
    landmarks: np.ndarray | None = None


class Look(NamedTuple):
    """What a cropper found on an image.

    Attributes:
        face: the one that :meth:`Cropper.__call__` crops.
        faces: number of faces found; None where the cropper looks for none.
    """

    face: Face
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

    def look(self, image: np.ndarray) -> Look:
        """Crop an image, and say where: the same crop as by a call, with what is known of it."""
        crop = self(image)
        return Look(Face(crop.image), crop.faces)

    def all_faces(self, image: np.ndarray) -> list[Face]:
        """Every face on an image, the one that a call crops first.

        Args:
            image: (H, W, 3) uint8 RGB.

        Returns:
            one face or more; of a cropper that looks for none, the crop alone; empty where no face
            is found.
        """
        look = self.look(image)
        return [look.face] if look.faces != 0 else []

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
