"""The same box of every image."""

from __future__ import annotations
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple
import numpy as np
from siamese.errors import ConfigError
from siamese.errors import did_you_mean
from siamese.faces.align import Box
from siamese.faces.align import crop_to_square
from siamese.faces.align import pick
from siamese.faces.align import whole
from siamese.faces.detect import detect_faces
from siamese.faces.detect import face_chip
from siamese.faces.detect import require_dlib
from siamese.weight_files import CNN_DETECTOR
from siamese.weight_files import FIVE_POINT
from siamese.registry import Registry
from siamese.faces.croppers.base import CROPPERS
from siamese.faces.croppers.base import Crop
from siamese.faces.croppers.base import Cropper


@CROPPERS.register("fixed_box")
@dataclass(frozen=True)
class FixedBoxCropper(Cropper):
    """The same box of every picture, for data that is aligned already.

    The default is LFWcrop's (Sanderson & Lovell, ICB 2009): x 83..166, y 92..175 of the 250 x 250 photographs of LFW.

    Args:
        size: side of the square, pixels.
        padding: what fills the square beside and beyond the picture: ``"black"``, or its ``"edge"`` repeated.
        left, top, right, bottom: the box in pixels, right and bottom exclusive.
    """

    left: int = 83
    top: int = 92
    right: int = 167
    bottom: int = 176

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.left >= self.right or self.top >= self.bottom:
            raise ValueError(f"the box {self.left, self.top, self.right, self.bottom} (left, top, right, bottom) is empty")

    def __call__(self, image: np.ndarray) -> Crop:
        return Crop(crop_to_square(image, Box(self.left, self.top, self.right, self.bottom), self.size, self.padding), None)
