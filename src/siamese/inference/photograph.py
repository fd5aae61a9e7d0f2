"""Photograph: what is kept of a photograph that was looked at, without its pixels."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from siamese.faces.align import Box
from siamese.faces.quality import Quality


class KeptFace(NamedTuple):
    """A face of a photograph that is compared.

    Attributes:
        number: of the face on the photograph, from 1: first the one that the cropper chooses.
        box: pixels; None where no detector found it.
        quality: None where no detector found it.
        embedding: (D,) float32; None where it is held elsewhere.
    """

    number: int
    box: Box | None
    quality: Quality | None
    embedding: np.ndarray | None = None


class Photograph(NamedTuple):
    """What is kept of a photograph.

    Attributes:
        faces: number of faces found; None where none was looked for, or it could not be read.
        kept: those that are compared; none where there is an error.
        error: why there is none, to follow the file's name; None where there are some.
        reason: the same in a few words.
        refused: why all of its faces were refused, or none was found, without what to do; None
            where that is not the error.
    """

    faces: int | None
    kept: tuple[KeptFace, ...] = ()
    error: str | None = None
    reason: str | None = None
    refused: str | None = None
