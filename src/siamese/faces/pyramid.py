"""Sizes and places in the pyramid of dlib's HOG detector, worked out without dlib."""

from __future__ import annotations

import math

from siamese.faces.align import Box

# dlib looks for faces of one size on the image, then on the image STEP times smaller, and so on
# (dlib::pyramid_down<6>, scan_fhog_pyramid).
STEP = 6 / 5
# Width and height of a box on its own level, pixels: the window without its border, on a grid of 8.
_SIDES = ((73, 73), (81, 73), (73, 81), (81, 81))
_LEVELS = 40  # 73 pixels are 100,000 in the image by then


def enlarged(box: Box, steps: int) -> Box:
    """A box found on an image that was shrunk ``steps`` times, as dlib gives it for the image.

    dlib rounds a box once, from its own level to the image. So the level is found first: the one
    where the box has the size that all boxes have there. A box that has it nowhere is enlarged as
    it is, which may be half a pixel of the shrunk image beside.
    """
    # From pixel to pixel, as dlib counts: right and bottom are the last ones inside.
    corners = [box.left, box.top, box.right - 1, box.bottom - 1]
    for level in range(_LEVELS):
        found = [_down(v, level) for v in corners]
        size = found[2] - found[0] + 1, found[3] - found[1] + 1
        if size in _SIDES and [_up(v, level) for v in found] == corners:
            return _box([_up(v, level + steps) for v in found])
    return _box([_up(v, steps) for v in corners])


def _box(corners: list[int]) -> Box:
    left, top, right, bottom = corners
    return Box(left, top, right + 1, bottom + 1)


def _up(place: float, levels: int) -> int:
    """A pixel of a level, in the image ``levels`` below it: dlib's ``point_up``, rounded."""
    for _ in range(levels):
        place = place * STEP + 0.3
    return math.floor(place + 0.5)


def _down(place: float, levels: int) -> int:
    """The pixel of a level that is nearest to one of the image."""
    for _ in range(levels):
        place = (place - 0.3) / STEP
    return math.floor(place + 0.5)
