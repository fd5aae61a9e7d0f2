"""Where an image is searched for faces: on a smaller copy first, and turned, if that is wanted."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from siamese.faces.align import Box, prominence
from siamese.faces.detect import WIDEST, Detection, detect_scored, shrunk
from siamese.faces.pyramid import STEP, enlarged

# Pixels above which a smaller copy is searched first, and about how many that copy has: a tenth of
# a second.
_LARGE, _COPY = 2e6, 1e6
_WINDOW = 80  # pixels of HOG's window: it finds nothing on what is narrower
# Sides of boxes on the copy, pixels. The search of the image itself finds more only below the first
# one: HOG's boxes are of 73 or 81 pixels, and a step smaller than the latter is 68. Of two that
# overlap by half HOG drops one, which cannot concern boxes above the second: three steps smaller,
# one covers a third of the other.
_MISSED, _KEPT = 70, 100
# Of a detection: from here on it is not doubted. 93 % of LFW's View 1 are above it upright, none
# upside down but one in 400.
_SURE = 0.75
# How much better a turned face must be, and its least score. On View 1 no turned image is better
# by more than 0.25 where the upright one is doubted, and faces turned back are by 1 to 2.
_BETTER, _TURNED = 0.5, 0.0
# How much lower a face may score on a part of the image than on the whole.
_VARIES = 0.3


@dataclass(frozen=True)
class Search:
    """How to look for faces; a call gives the image, perhaps turned, and the boxes on it.

    Args:
        max_upsample, upsample, min_score, detector: see
            :func:`siamese.faces.detect.detect_faces`.
        prominent_only: the boxes are only wanted to pick the prominent one. Of an image of more
            than two million pixels HOG first searches a copy of about one million. Where the face
            that is the prominent one there is sure, and no smaller face can be more prominent, that
            is all: it is the one that the whole search picks, in the same box.
        rotations: where no face is found surely, also look on the image turned by 90, 180 and 270
            degrees (of a large one: on the copy); a turned face that is clearly better counts.

    Returns:
        (H, W, 3) or (W, H, 3) uint8, and its boxes, largest first; empty if there is none.
    """

    max_upsample: int = 1
    upsample: int = 0
    min_score: float = 0.0
    detector: str = "hog"
    prominent_only: bool = False
    rotations: bool = False

    def __call__(self, image: np.ndarray) -> tuple[np.ndarray, list[Box]]:
        turns, found = self.find(image)
        return turned_by(image, turns), [face.box for face in found]

    def find(self, image: np.ndarray) -> tuple[int, list[Detection]]:
        """Quarter turns to the left, and what is found on the image so turned, largest first."""
        steps = self._steps(image)
        if not steps or not (self.prominent_only or self.rotations):
            upright = self._thorough(image)
            return self._or_turned(upright, lambda turns: self._thorough(turned_by(image, turns)))
        copy = shrunk(image, steps)

        @functools.cache
        def look(turns: int) -> list[Detection]:
            found = self._once(turned_by(copy, turns), self.min_score)
            return [Detection(enlarged(box, steps), score) for box, score in found]

        if self.prominent_only:
            turns, found = self._or_turned(look(0), look)
            if self._is_settled(turned_by(image, turns), found, steps):
                return turns, found
        return self._or_turned(self._thorough(image), look)

    def _or_turned(
        self, upright: list[Detection], look: Callable[[int], list[Detection]]
    ) -> tuple[int, list[Detection]]:
        """What is found upright, or on the image turned, if that is clearly better."""
        if self.rotations and _score(upright) < _SURE:
            turns, found = max(((k, look(k)) for k in (2, 1, 3)), key=lambda one: _score(one[1]))
            if _score(found) >= max(_TURNED, _score(upright) + _BETTER):
                return turns, found
        return 0, upright

    def _steps(self, image: np.ndarray) -> int:
        """How often the copy is shrunk; 0 for none. The CNN's images are scaled down anyway.

        There is none either where no face would fit on it, or where dlib cannot make it.
        """
        height, width = image.shape[:2]
        pixels = height * width
        if self.detector != "hog" or pixels <= _LARGE or width > WIDEST:
            return 0
        steps = max(1, round(math.log(pixels / _COPY) / math.log(STEP**2)))
        return steps if min(height, width) >= _WINDOW * STEP**steps else 0

    def _thorough(self, image: np.ndarray) -> list[Detection]:
        return detect_scored(image, self.max_upsample, self.upsample, self.min_score, self.detector)

    def _once(self, image: np.ndarray, min_score: float) -> list[Detection]:
        return detect_scored(image, 0, 0, min_score, self.detector)

    def _is_settled(self, image: np.ndarray, found: list[Detection], steps: int) -> bool:
        """Whether no face that the copy is too small for can be the prominent one.

        Such faces are looked for where they could be, unless that is most of the image.
        """
        if not found:
            return False
        best = max(found, key=lambda face: prominence(face.box, image))
        if best.score < _SURE or best.box.width < _KEPT * STEP**steps:
            return False
        height, width = image.shape[:2]
        most, side = prominence(best.box, image), _MISSED * STEP**steps
        # The greatest prominence of a face of that side is its area, in the image's middle.
        if (missing := side**2 - most) <= 0:
            return True
        # From the image's middle: how far the middle of such a face may lie, and its border.
        reach = math.sqrt(missing) / 2 + side
        left, top = (max(0, math.floor(length / 2 - reach)) for length in (width, height))
        part = image[top : math.ceil(height / 2 + reach), left : math.ceil(width / 2 + reach)]
        if 2 * part.size > image.size:
            return False
        near = self._once(np.ascontiguousarray(part), self.min_score - _VARIES)
        return all(
            box.width > side or prominence(_moved(box, left, top), image) < most for box, _ in near
        )


def _score(found: list[Detection]) -> float:
    """The best one's."""
    return max((face.score for face in found), default=-math.inf)


def turned_by(image: np.ndarray, turns: int) -> np.ndarray:
    """An image after quarter turns to the left."""
    # A copy, always: numpy calls a turned row of pixels contiguous as it is, dlib does not.
    return np.rot90(image, turns).copy() if turns else image


def _moved(box: Box, x: float, y: float) -> Box:
    return Box(box.left + x, box.top + y, box.right + x, box.bottom + y)
