"""Where five landmarks come to lie in an aligned chip, so that others can make the same chip."""

from __future__ import annotations

from typing import NamedTuple

# dlib 20, `get_face_chip_details` in dlib/image_transforms/interpolation.h: the mean places of the
# landmarks in faces, as shares of the face's square. In the order of the five-point predictor.
_MEAN_FACE = (
    ("outer corner of the eye at the right of the image", 0.8595674595992, 0.2134981538014),
    ("inner corner of the eye at the right of the image", 0.6460604764104, 0.2289674387677),
    ("outer corner of the eye at the left of the image", 0.1205750620789, 0.2137274526848),
    ("inner corner of the eye at the left of the image", 0.3340850613712, 0.2290642403242),
    ("base of the nose", 0.4901123135679, 0.6277975316475),
)


class ChipPoint(NamedTuple):
    """A landmark's place in a chip.

    Attributes:
        name: which landmark.
        x, y: pixels from the middle of the chip's first pixel, to the right and down.
    """

    name: str
    x: float
    y: float


def chip_points(size: int, margin: float) -> list[ChipPoint]:
    """The places of the five landmarks in the chips of :func:`siamese.faces.detect.face_chip`.

    The similarity that maps these places to an image's landmarks with the least squares (Umeyama,
    IEEE TPAMI 13 (4), 1991) tells for each pixel of the chip where it is sampled. dlib samples the
    chip's outermost pixels half a pixel of the image, not of the chip, away from the chip's edges:
    see :func:`spread`. Where a pixel of the chip is two of the image or more, it halves the image
    before, which moves what is sampled by less than a pixel of the chip.

    Args:
        size: side of the chip, pixels, >= 2.
        margin: how far the chip reaches beyond the template's face on each side, as a share of it.
    """
    side = size / (1 + 2 * margin)
    return [
        ChipPoint(name, (x + margin) * side - 0.5, (y + margin) * side - 0.5)
        for name, x, y in _MEAN_FACE
    ]


def spread(size: int, scale: float) -> float:
    """By how much dlib spreads the places that it samples around the middle of the chip.

    1 where a pixel of the chip is one of the image.

    Args:
        size: side of the chip, pixels, >= 2.
        scale: pixels of the image for one of the chip, > 0: that of the similarity.
    """
    return (size * scale - 1) / (size * scale - scale)
