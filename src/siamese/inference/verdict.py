"""Verification: a verdict on two images, and what is known of it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from siamese.faces.quality import Quality


@dataclass(frozen=True)
class Verification:
    """A verdict on two images.

    Attributes:
        same: ``distance <= threshold``.
        distance: between the two embeddings, >= 0, smaller is more alike.
        threshold: the one applied.
        faces: number of faces found on each image; None where the cropper looks for none. Where it
            is 0 the whole image was compared, which is less reliable.
        probability: that both show the same identity, 0..1, at ``prevalence``; None where the
            bundle cannot tell: it has no calibration, ``tta`` is another number than the bundle's,
            or no face was found on an image.
        prevalence: share of genuine pairs that ``probability`` is for; None without one.
        uncertain: whether the distance lies in the 95 % interval of the threshold, where
            calibration on other identities might have led to the other verdict; None where the
            bundle cannot tell, as above.
        quality: of each image's face, with warnings where it is poor; None for an image of which no
            face was found, and where the cropper looks for none.
    """

    same: bool
    distance: float
    threshold: float
    faces: tuple[int | None, int | None]
    probability: float | None = None
    prevalence: float | None = None
    uncertain: bool | None = None
    quality: tuple[Quality | None, Quality | None] = (None, None)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        quality = [one and one.to_dict() for one in self.quality]
        return asdict(self) | {"faces": list(self.faces), "quality": quality}

    def __bool__(self) -> bool:
        """``same``: so ``if verifier.verify(a, b)`` means what it says."""
        return self.same
