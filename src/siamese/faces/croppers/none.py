"""NoCropper: the whole image as its own crop."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from siamese.faces.align import crop_to_square, whole
from siamese.faces.croppers.base import CROPPERS, Crop, Cropper


@CROPPERS.register("none")
@dataclass(frozen=True)
class NoCropper(Cropper):
    """The whole image, scaled to ``size`` and padded: for data that is cropped already.

    Args:
        size: side of the square, pixels.
        padding: what fills the square beside and beyond the image: ``"black"``, or its ``"edge"``
            repeated.
    """

    def __call__(self, image: np.ndarray) -> Crop:
        return Crop(crop_to_square(image, whole(image), self.size, self.padding), None)
