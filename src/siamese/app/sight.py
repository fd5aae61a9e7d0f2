"""What is seen on a photograph that was sent: faces, boxes, the crop, and what is poor about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from siamese.app.limits import Refused
from siamese.app.pictures import chip_url, photograph_url
from siamese.app.words import for_visitor
from siamese.errors import FaceError, ImageError
from siamese.faces.croppers.base import Face, Look
from siamese.faces.images import decode_image
from siamese.inference.verifier import Verifier

_NAME = "<photograph>"  # in errors; what the file is called is not sent
_REMEDY = "give another photograph, with a face that is well seen and turned to the camera"


@dataclass(frozen=True)
class Sight:
    """One photograph.

    Attributes:
        look: what is compared of it.
        facts: for the page, plain JSON values.
    """

    look: Look
    facts: dict[str, Any]


def decoded(content: bytes, number: int | None = None) -> np.ndarray:
    """The pixels of a photograph, (H, W, 3) uint8 RGB.

    Args:
        content: of the file.
        number: which of several it is, for the error.

    Raises:
        Refused: no image.
    """
    try:
        return decode_image(content, _NAME)
    except ImageError as error:
        known = error.remedy != "replace or remove the file"  # there is none to be removed
        remedy = error.remedy if known else "give another photograph"
        raise Refused(422, f"{error.reason}; {remedy}", number) from error


def seen(verifier: Verifier, content: bytes, number: int) -> Sight:
    """What a verifier compares of a photograph, and all other faces on it.

    Raises:
        Refused: no image, or one that the verifier refuses.
    """
    image = decoded(content, number)
    try:
        look = verifier.look(image)
        # The others are only shown; looking for them again is cheaper than to crop them always.
        faces = verifier.faces(image) if look.faces and look.faces > 1 else [look.face]
    except (FaceError, ImageError) as error:
        raise Refused(422, without_name(error), number) from error
    facts = picture_facts(image, faces) | {"faces": look.faces, **face_facts(verifier, look.face)}
    return Sight(look, facts)


def picture_facts(image: np.ndarray, faces: list[Face]) -> dict[str, Any]:
    """A photograph, and where its faces are."""
    height, width = image.shape[:2]
    boxes = [[round(edge, 1) for edge in face.box] for face in faces if face.box is not None]
    return {"width": width, "height": height, "shown": photograph_url(image), "boxes": boxes}


def face_facts(verifier: Verifier, face: Face) -> dict[str, Any]:
    """One face: as the network sees it, and how good the photograph of it is."""
    quality = verifier.quality(face)
    return {"chip": chip_url(face.crop), "quality": quality and quality.to_dict()}


def without_name(error: FaceError | ImageError) -> str:
    """An error of a photograph that has no name, for who can give another one."""
    return for_visitor(error.without_path, _REMEDY)
