"""Geometry of a crop: a box, enlarged by a margin, is cut out and scaled to a square."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image


class Box(NamedTuple):
    """A rectangle in pixels, which may reach beyond the image.

    ``right`` and ``bottom`` are exclusive.
    """

    left: float
    top: float
    right: float
    bottom: float

    @property
    def width(self) -> float:
        return self.right - self.left

    @property
    def height(self) -> float:
        return self.bottom - self.top

    @property
    def area(self) -> float:
        return self.width * self.height

    def grown(self, margin: float) -> Box:
        """The box, moved outwards on each side by ``margin`` times its width (height)."""
        dx, dy = margin * self.width, margin * self.height
        return Box(self.left - dx, self.top - dy, self.right + dx, self.bottom + dy)


def crop_to_square(image: np.ndarray, box: Box, size: int, padding: str = "black") -> np.ndarray:
    """Cut ``box`` out, scale it until its longer side is ``size``, and pad it to a square.

    Both axes are scaled alike. What of the box lies beyond the image is padded too, so that a face
    near the edge keeps the scale of all others.

    Args:
        image: (H, W, 3) uint8.
        box: the part to show; it must touch the image.
        size: side of the result in pixels.
        padding: ``"black"``, or ``"edge"`` to repeat the outermost pixels of what is seen.

    Returns:
        (size, size, 3) uint8.

    Raises:
        ValueError: the box is empty or lies completely beyond the image.
    """
    height, width = image.shape[:2]
    inside = Box(max(box.left, 0), max(box.top, 0), min(box.right, width), min(box.bottom, height))
    if inside.width <= 0 or inside.height <= 0:
        raise ValueError(f"the box {tuple(box)} does not touch an image of {width} x {height}")
    scale = size / max(box.width, box.height)
    # Where the visible part comes to lie: the box is centred in the square.
    x0 = (size - box.width * scale) / 2 + (inside.left - box.left) * scale
    y0 = (size - box.height * scale) / 2 + (inside.top - box.top) * scale
    # At least one pixel, however little is visible.
    left, top = min(round(x0), size - 1), min(round(y0), size - 1)
    w = max(1, min(size, round(x0 + inside.width * scale)) - left)
    h = max(1, min(size, round(y0 + inside.height * scale)) - top)
    # Pillow's resize averages over all source pixels when it shrinks (no aliasing) and takes a
    # fractional source box.
    part = Image.fromarray(image).resize(
        (w, h), Image.Resampling.BICUBIC, box=(inside.left, inside.top, inside.right, inside.bottom)
    )
    around = ((top, size - top - h), (left, size - left - w), (0, 0))
    return np.pad(np.asarray(part), around, mode="constant" if padding == "black" else "edge")


def whole(image: np.ndarray) -> Box:
    """The box of the whole image."""
    return Box(0, 0, image.shape[1], image.shape[0])


def pick(boxes: Sequence[Box], image: np.ndarray, rule: str) -> Box:
    """One of several boxes by a rule.

    ``"central"`` is the box whose middle is nearest the image's. ``"prominent"`` is the one of the
    greatest :func:`prominence`: where faces of bystanders may be larger, size and place together
    tell best whom an image shows. Any other rule takes the first.
    """
    if rule == "central":
        return min(boxes, key=lambda box: _square(box, image))
    return max(boxes, key=lambda box: prominence(box, image)) if rule == "prominent" else boxes[0]


def prominence(box: Box, image: np.ndarray) -> float:
    """A box's area less the square of twice the distance of its middle from the image's, pixels."""
    return box.area - _square(box, image)


def _square(box: Box, image: np.ndarray) -> float:
    """Of twice the distance between the middles."""
    height, width = image.shape[:2]
    return math.hypot(box.left + box.right - width, box.top + box.bottom - height) ** 2


def points_turned_back(points: np.ndarray, turns: int, image: np.ndarray) -> np.ndarray:
    """Points of an image that was turned, on the image as it was.

    Args:
        points: (n, 2) x and y, pixels; edges of pixels are whole numbers.
        turns: quarter turns to the left that it was turned by.
        image: (H, W, 3), the turned one.

    Returns:
        (n, 2) float64.
    """
    x, y = points[:, 0].astype(np.float64), points[:, 1].astype(np.float64)
    height, width = image.shape[:2]
    for _ in range(turns % 4):  # a quarter to the right each
        x, y = height - y, x
        height, width = width, height
    return np.stack([x, y], axis=1)


def box_turned_back(box: Box, turns: int, image: np.ndarray) -> Box:
    """As :func:`points_turned_back`, of a box."""
    corners = np.array([[box.left, box.top], [box.right, box.bottom]])
    back = points_turned_back(corners, turns, image)
    return Box(*(float(v) for v in (*back.min(axis=0), *back.max(axis=0))))
