"""The whole image as its own crop."""

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


@CROPPERS.register("none")
@dataclass(frozen=True)
class NoCropper(Cropper):
    """The whole picture, scaled to ``size`` and padded: for data that is cropped already.

    Args:
        size: side of the square, pixels.
        padding: what fills the square beside and beyond the picture: ``"black"``, or its ``"edge"`` repeated.
    """

    def __call__(self, image: np.ndarray) -> Crop:
        return Crop(crop_to_square(image, whole(image), self.size, self.padding), None)
