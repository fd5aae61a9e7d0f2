"""Face detection and five-point alignment with dlib; the only file that imports dlib."""

from __future__ import annotations

import functools
import math
import threading
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from siamese.errors import ConfigError, MissingDependencyError, did_you_mean
from siamese.faces.align import Box
from siamese.faces.frontal_detector import kept_detector
from siamese.weight_files import CNN_DETECTOR, FIVE_POINT, has_pretrained, pretrained_file


class Detection(NamedTuple):
    """A face that was found.

    Attributes:
        box: where, pixels.
        score: how surely; above 0 at dlib's own limit, about 1 to 3 for a face that is well seen.
    """

    box: Box
    score: float


class _Limits(NamedTuple):
    """Limits in pixels for enlarging an image.

    Attributes:
        whole: up to which it is searched at its own size.
        doubled: up to which it is doubled before the first search.
        once: up to which it is doubled for the first time where nothing was found.
        again: up to which it is doubled further where nothing was found.
    """

    whole: float
    doubled: float
    once: float
    again: float


# HOG: more doubling before the first search would take seconds, and faces of 80 pixels are small in
# such an image. The first doubling after nothing was found makes 200 million pixels of the largest
# photographs that phones take: about 20 s of a core, and 2.5 GB. CNN: 1 GB of memory per million
# pixels.
_LIMITS = {
    "hog": _Limits(math.inf, 4e6, 200e6, 64e6),
    "cnn": _Limits(1920 * 1080, 1920 * 1080, 1920 * 1080, 1920 * 1080),
}
# Pixels that dlib can take in a row. Where it makes a row smaller, it adds up places in float32 and
# knows the end of the row by them alone. In a longer row they fall behind, and it writes past the
# end of the last one; the process ends then or later (dlib 20, `resize_image`, which its pyramids
# call; in steps of 5 / 6 from 78,000 pixels on). Of columns any number will do.
WIDEST = 60_000
# dlib releases the GIL while detecting: a detector may not be shared between threads.
_own = threading.local()


def detect_faces(
    image: np.ndarray,
    max_upsample: int = 1,
    *,
    upsample: int = 0,
    min_score: float = 0.0,
    detector: str = "hog",
) -> list[Box]:
    """Find faces: on the image as it is, then, only if none is found, on it doubled.

    It is doubled up to ``max_upsample`` times. The HOG detector (Dalal and Triggs, *Histograms of
    Oriented Gradients for Human Detection*, CVPR 2005; five of them, for five poses) finds faces of
    about 80 pixels and more without doubling, 40 with one doubling. The CNN detector (King,
    *Max-Margin Object Detection*, arXiv:1502.00046, 2015) finds turned faces too, in about fifty
    times the time. Since it takes about 1 GB of memory per million pixels, images of more than 1920
    x 1080 are scaled down for it to as many pixels, and none is doubled beyond that. For both,
    images of more than 60,000 pixels in width are scaled down to that. Time and memory are linear
    in the pixels that are searched, of which HOG is never given more than 200 million: that takes
    about 20 s of a core, and 2.5 GB.

    Args:
        image: (H, W, 3) uint8 RGB.
        max_upsample: how often to double the image at most, >= 0; HOG once only up to 200 million
            pixels, which are photographs of 50 million, and more often up to 64 million.
        upsample: how often to double it before the first search, >= 0; less where that would give
            more than 4 million pixels.
        min_score: the least score of a detection. 0 is dlib's own limit; below it HOG finds more
            faces, and more false ones. The CNN gives only scores above 0.
        detector: ``"hog"`` or ``"cnn"``.

    Returns:
        the boxes found, largest first (of equal ones the upper, then the left one); empty if there
        is none.

    Raises:
        MissingDependencyError: dlib is not installed, or, for the CNN, the package with its
            weights.
        ConfigError: another detector.
    """
    settings = max_upsample, upsample, min_score, detector
    return [found.box for found in detect_scored(image, *settings)]


def detect_scored(
    image: np.ndarray, max_upsample: int, upsample: int, min_score: float, detector: str
) -> list[Detection]:
    """As :func:`detect_faces`, with the score of each box."""
    if detector not in _LIMITS:
        raise ConfigError(f"detector={detector!r} is not known{did_you_mean(detector, _LIMITS)}")
    limits, (height, width) = _LIMITS[detector], image.shape[:2]
    scale = min(1.0, math.sqrt(limits.whole / (width * height)), WIDEST / width)
    if scale < 1:
        size = max(1, int(width * scale)), max(1, int(height * scale))
        image = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BOX))
        height, width = image.shape[:2]
    while upsample and (
        width * height * 4**upsample > limits.doubled or width * 2**upsample > WIDEST
    ):
        upsample -= 1
    for doublings in range(upsample, max(upsample, max_upsample) + 1):
        if doublings > upsample and width * 2**doublings > WIDEST:
            break
        limit = limits.once if doublings == 1 else limits.again
        if doublings > upsample and width * height * 4**doublings > limit:
            break
        rectangles = _find[detector](image, doublings, min_score)
        found = [
            Detection(
                Box(*(v / scale for v in (r.left(), r.top(), r.right() + 1, r.bottom() + 1))), score
            )
            for r, score in rectangles
        ]
        if found:
            return sorted(found, key=lambda face: (-face.box.area, face.box.top, face.box.left))
    return []


def shrunk(image: np.ndarray, steps: int) -> np.ndarray:
    """The image after so many steps of HOG's pyramid, by 5 / 6 smaller with each.

    Searched alone, it gives what the search of the image itself finds from that step on, with the
    same scores (boxes: :func:`siamese.faces.pyramid.enlarged`).

    Args:
        image: (H, W, 3) uint8, W at most :data:`WIDEST`.
        steps: >= 0, so few that a pixel is left.
    """
    dlib = _import_dlib()
    for _ in range(steps):
        image = dlib.resize_image(image, image.shape[0] * 5 // 6, image.shape[1] * 5 // 6)
    return image


def face_chip(image: np.ndarray, box: Box, size: int, margin: float) -> np.ndarray:
    """The face in a box, turned upright and scaled by its eyes and nose.

    dlib's face recognition network was trained on such images. Five landmarks (the corners of both
    eyes and the base of the nose: Kazemi and Sullivan, *One Millisecond Face Alignment with an
    Ensemble of Regression Trees*, CVPR 2014) are mapped to a template by the best similarity
    (Umeyama, IEEE TPAMI 13 (4), 1991); large faces are halved before they are sampled bilinearly.
    It is ``dlib.get_face_chip``.

    Args:
        image: (H, W, 3) uint8 RGB.
        box: as from :func:`detect_faces`.
        size: side of the chip, pixels.
        margin: how far the chip reaches beyond the template's face on each side, as a share of it;
            dlib's ``padding``.

    Returns:
        (size, size, 3) uint8, black beyond the image.

    Raises:
        MissingDependencyError: dlib, or the package with the landmark predictor, is not installed.
    """
    chip: np.ndarray = _import_dlib().get_face_chip(image, _shape(image, box), size, margin)
    return chip


def landmarks(image: np.ndarray, box: Box) -> np.ndarray | None:
    """The five landmarks of the face in a box, as :func:`face_chip` uses them.

    Args:
        image: (H, W, 3) uint8 RGB.
        box: as from :func:`detect_faces`.

    Returns:
        (5, 2) float64, x and y in pixels: the outer and inner corner of the eye on the image's
        right, those of the eye on its left, the base of the nose. None where the package with the
        predictor is not installed.
    """
    if not has_pretrained(FIVE_POINT):
        return None
    return np.array([(point.x, point.y) for point in _shape(image, box).parts()], dtype=np.float64)


def _shape(image: np.ndarray, box: Box) -> Any:
    """dlib's five landmarks."""
    dlib = _import_dlib()
    rectangle = dlib.rectangle(
        round(box.left), round(box.top), round(box.right) - 1, round(box.bottom) - 1
    )
    predictor = _load("predictor", lambda: dlib.shape_predictor(str(pretrained_file(FIVE_POINT))))
    return predictor(image, rectangle)


def require_dlib(*files: str) -> None:
    """Check now, rather than during the work, that dlib and pretrained files are installed.

    Raises:
        MissingDependencyError: dlib or one of the files is missing.
    """
    _import_dlib()
    for name in files:
        pretrained_file(name)


def _hog(image: np.ndarray, doublings: int, min_score: float) -> list[tuple[Any, float]]:
    found, scores, _ = _load("hog", lambda: kept_detector(_import_dlib())).run(
        image, doublings, min_score
    )
    return list(zip(found, scores, strict=True))


def _cnn(image: np.ndarray, doublings: int, min_score: float) -> list[tuple[Any, float]]:
    detector = _load(
        "cnn",
        lambda: _import_dlib().cnn_face_detection_model_v1(str(pretrained_file(CNN_DETECTOR))),
    )
    return [
        (found.rect, found.confidence)
        for found in detector(image, doublings)
        if found.confidence >= min_score
    ]


_find: dict[str, Callable[[np.ndarray, int, float], list[tuple[Any, float]]]] = {
    "hog": _hog,
    "cnn": _cnn,
}


def _load(name: str, make: Callable[[], Any]) -> Any:
    """This thread's own detector or predictor, made once."""
    if not hasattr(_own, name):
        setattr(_own, name, make())
    return getattr(_own, name)


@functools.cache
def _import_dlib() -> Any:
    try:
        import dlib
    except ImportError as error:
        raise MissingDependencyError(
            "face detection needs dlib, which is not installed; run: pip install "
            "'siamese-lightning[dlib-bin]' (or choose the cropper 'none' or 'fixed_box')"
        ) from error
    return dlib
