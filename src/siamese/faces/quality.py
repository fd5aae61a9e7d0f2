"""Quality: how good a photograph of a face is, by its size, sharpness, pose and detection."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from siamese.bounds import shown
from siamese.errors import ConfigError

if TYPE_CHECKING:
    from siamese.faces.croppers.base import Face

# How far the base of the nose lies before the middle of the eyes, as a share of the distance
# between the eyes: about 32 of 63 mm of a mean adult's face.
_DEPTH = 0.5
# Of the luma of ITU-R BT.601.
_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)


@dataclass(frozen=True)
class QualityLimits:
    """From where on a photograph is called poor; None for no limit.

    The limits of sharpness, yaw and score are those that about 1 % of LFW's photographs exceed,
    that of the width is half the width of the faces that dlib's detector was made for. What the
    error rates are beyond them is measured in ``docs/quality.md``.

    Args:
        width: least width of the face's box, pixels.
        sharpness: least sharpness, see :class:`Quality`.
        yaw: largest turn to a side, degrees, 0 to 90.
        roll: largest tilt of the head, degrees, 0 to 180.
        score: least score of the detection.

    Raises:
        ConfigError: a limit that is no number, or out of range.
    """

    width: float | None = 40.0
    sharpness: float | None = 0.0075
    yaw: float | None = 35.0
    roll: float | None = None
    score: float | None = 0.15

    def __post_init__(self) -> None:
        for name, low, high in (
            ("width", 0, math.inf),
            ("sharpness", 0, math.inf),
            ("yaw", 0, 90),
            ("roll", 0, 180),
            ("score", -math.inf, math.inf),
        ):
            value = getattr(self, name)
            if value is None:
                continue
            number = isinstance(value, (int, float, np.number)) and not isinstance(value, bool)
            if not number or not low <= value <= high:
                raise ConfigError(
                    f"the limit {name} must be a number"
                    + (f" from {low} to {high}" if math.isfinite(high) else "")
                    + f", or None for no limit, not {shown(value)}"
                )


@dataclass(frozen=True)
class Quality:
    """How good a photograph of a face is; what is not known is None.

    Attributes:
        width: of the face's box on the photograph as it was given, pixels.
        sharpness: variance of the Laplacian of the crop's luma, as a share of the luma's variance,
            >= 0 (J. L. Pech-Pacheco et al., *Diatom autofocusing in brightfield microscopy*, ICPR
            2000; the share makes it independent of contrast). Photographs of LFW have about 0.05;
            blurred ones, and small faces that were enlarged, have less.
        yaw: how far the head is turned to a side, degrees, 0 to 90, from where the nose lies
            between the eyes: rough, and too small beyond 45. None without landmarks.
        roll: how far the head is tilted, degrees, 0 to 180: the line between the eyes against the
            horizontal. None without landmarks.
        score: of the detection; above 0 at dlib's own limit, about 1 to 3 for a face that is well
            seen.
        warnings: what is poor about it, in sentences ("the face is 31 pixels wide"); empty where
            nothing is.
    """

    width: float | None = None
    sharpness: float | None = None
    yaw: float | None = None
    roll: float | None = None
    score: float | None = None
    warnings: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self) | {"warnings": list(self.warnings)}

    @property
    def poor(self) -> bool:
        """Whether there are warnings."""
        return bool(self.warnings)


def quality_of(face: Face, limits: QualityLimits | None = None) -> Quality | None:
    """The quality of one face; None for a crop that no detector found.

    Args:
        face: as a cropper finds it (:meth:`siamese.Cropper.look`).
        limits: from where on it is called poor; by default :class:`QualityLimits`'s own.
    """
    if face.box is None:
        return None
    yaw, roll = (None, None) if face.landmarks is None else _pose(face.landmarks)
    found = Quality(round(face.box.width, 1), sharpness_of(face.crop), yaw, roll, face.score)
    return Quality(
        **{**asdict(found), "warnings": _warnings(found, limits or QualityLimits())},
    )


def sharpness_of(crop: np.ndarray) -> float:
    """Variance of the Laplacian over the variance of the luma, of a crop's middle.

    Args:
        crop: (S, S, 3) uint8.

    Returns:
        a number >= 0; 0 where all pixels are alike.
    """
    side = crop.shape[0] // 6  # the face fills the middle; its surroundings say nothing
    luma = crop[side : crop.shape[0] - side, side : crop.shape[1] - side].astype(np.float32) @ _LUMA
    variance = float(luma.var())
    if variance == 0 or min(luma.shape) < 3:
        return 0.0
    laplacian = (
        luma[:-2, 1:-1] + luma[2:, 1:-1] + luma[1:-1, :-2] + luma[1:-1, 2:] - 4 * luma[1:-1, 1:-1]
    )
    return float(laplacian.var()) / variance


def _pose(landmarks: np.ndarray) -> tuple[float, float]:
    """Yaw and roll, degrees, from the corners of both eyes and the base of the nose."""
    right, left = landmarks[:2].mean(axis=0), landmarks[2:4].mean(axis=0)  # as the viewer sees them
    across = right - left
    length = float(np.hypot(*across))
    if length == 0:
        return 90.0, 0.0
    aside = float((landmarks[4] - (right + left) / 2) @ across) / length**2
    roll = abs(math.degrees(math.atan2(across[1], across[0])))
    return abs(math.degrees(math.atan(aside / _DEPTH))), roll


def _warnings(found: Quality, limits: QualityLimits) -> tuple[str, ...]:
    """What lies beyond the limits, in sentences."""
    said = []
    if _below(found.width, limits.width):
        said.append(f"the face is {found.width:.0f} pixels wide")
    if _below(found.sharpness, limits.sharpness):
        said.append(f"the face is not sharp (sharpness {found.sharpness:.2g})")
    if _below(limits.yaw, found.yaw):
        said.append(f"the head is turned by about {found.yaw:.0f} degrees")
    if _below(limits.roll, found.roll):
        said.append(f"the head is tilted by about {found.roll:.0f} degrees")
    if _below(found.score, limits.score):
        said.append(f"the face is hardly recognised as one (detector's score {found.score:.2f})")
    return tuple(said)


def _below(value: float | None, limit: float | None) -> bool:
    return value is not None and limit is not None and value < limit
