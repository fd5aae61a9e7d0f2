"""FixedBoxCropper: the same box of every image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from siamese.bounds import check_whole
from siamese.faces.align import Box, crop_to_square
from siamese.faces.croppers.base import CROPPERS, Crop, Cropper

_FARTHEST = 1_000_000  # pixels, of a box's side


@CROPPERS.register("fixed_box")
@dataclass(frozen=True)
class FixedBoxCropper(Cropper):
    """The same box of every image, for data that is aligned already.

    The default is LFWcrop's (Sanderson & Lovell, ICB 2009): x 83..166, y 92..175 of the 250 x 250
    images of LFW.

    Args:
        size: side of the square, pixels.
        padding: what fills the square beside and beyond the image: ``"black"``, or its ``"edge"``
            repeated.
        left, top, right, bottom: the box in pixels, right and bottom exclusive.
    """

    left: int = 83
    top: int = 92
    right: int = 167
    bottom: int = 176

    def __post_init__(self) -> None:
        super().__post_init__()
        for side in ("left", "top", "right", "bottom"):
            check_whole(side, getattr(self, side), -_FARTHEST, _FARTHEST)
        if self.left >= self.right or self.top >= self.bottom:
            raise ValueError(
                f"the box {self.left, self.top, self.right, self.bottom} (left, top, right, "
                f"bottom) is empty"
            )

    def __call__(self, image: np.ndarray) -> Crop:
        return Crop(
            crop_to_square(
                image, Box(self.left, self.top, self.right, self.bottom), self.size, self.padding
            ),
            None,
        )
