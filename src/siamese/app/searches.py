"""Searches for the page: whom each face on a photograph shows, among those who are enrolled."""

from __future__ import annotations

from pathlib import PurePath
from typing import Any

import msgspec

from siamese.app.limits import Refused
from siamese.app.sight import decoded, face_facts, picture_facts, without_name
from siamese.app.words import for_visitor
from siamese.distances.verdict import is_match
from siamese.errors import FaceError, ImageError
from siamese.inference.gallery.gallery import Gallery
from siamese.inference.gallery.results import Candidate
from siamese.inference.gallery.search_threshold import RATE, SearchThreshold

NEAREST = 5  # people shown for each face


class Limit(msgspec.Struct, forbid_unknown_fields=True):
    """How often a search may name somebody who is not enrolled.

    Attributes:
        rate: of searches, 0 < rate < 1.
        confidence: with which that is promised for other people; None for no promise.
        distances: of faces that were searched, those of the nearest people, to be judged again.
    """

    rate: float = RATE
    confidence: float | None = None
    distances: list[list[float]] = []


def found_people(gallery: Gallery, content: bytes) -> dict[str, Any]:
    """All that the page shows of a search, with the distances that :func:`limited` judges.

    Raises:
        Refused: no image, or no face on it.
        GalleryError: nobody is enrolled.
    """
    image = decoded(content)
    verifier = gallery.verifier
    try:
        faces = verifier.faces(image)
    except (FaceError, ImageError) as error:
        raise Refused(422, without_name(error)) from error
    faces.sort(key=lambda face: face.box.left if face.box is not None else 0.0)
    limit = gallery.threshold()
    nearest = gallery.search_embeddings(verifier.embed_faces(faces), NEAREST, threshold=limit)
    return {
        "photograph": picture_facts(image, faces),
        "faces": [
            face_facts(verifier, face) | {"candidates": [_candidate(one) for one in candidates]}
            for face, candidates in zip(faces, nearest, strict=True)
        ],
        "limit": limit_facts(limit),
    }


def limited(gallery: Gallery, limit: Limit) -> dict[str, Any]:
    """The threshold of a search, and whom it accepts of those who were found before.

    Raises:
        ConfigError: a rate or a confidence out of range.
        CalibrationError: what cannot be promised.
    """
    at = gallery.threshold(limit.rate, None, limit.confidence)
    accepted = [[is_match(d, at.threshold) for d in each] for each in limit.distances]
    return {"limit": limit_facts(at), "accepted": accepted}


def gallery_facts(gallery: Gallery) -> dict[str, Any]:
    """What the page says of a gallery before anybody is searched."""
    calibrated = gallery.verifier.bundle.calibration is not None
    return {
        "people": len(gallery),
        "photographs": gallery.photographs,
        "calibrated": calibrated,
        "limit": limit_facts(gallery.threshold()),
    }


def limit_facts(limit: SearchThreshold) -> dict[str, Any]:
    """A threshold of a search, with its arithmetic in words."""
    return {
        "threshold": limit.threshold,
        "rate": limit.rate,
        "pair_rate": limit.pair_rate,
        "basis": limit.basis,
        "words": for_visitor(limit.in_words),
    }


def _candidate(one: Candidate) -> dict[str, Any]:
    # The name of the photograph alone: no page must know the folders of this machine.
    photograph = PurePath(one.photograph.replace("\\", "/")).name
    return {
        "name": one.name,
        "distance": one.distance,
        "accepted": one.accepted,
        "photograph": photograph,
    }
