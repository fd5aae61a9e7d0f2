"""Croppers that look for a face with dlib's detectors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from siamese.errors import ConfigError, did_you_mean
from siamese.faces.align import (
    Box,
    box_turned_back,
    crop_to_square,
    pick,
    points_turned_back,
    whole,
)
from siamese.faces.croppers.base import CROPPERS, Crop, Cropper, Face, Look
from siamese.faces.detect import Detection, face_chip, landmarks, require_dlib
from siamese.faces.search import Search, turned_by
from siamese.weight_files import CNN_DETECTOR, FIVE_POINT

NO_FACE_POLICIES = ("whole_image", "skip", "error")
CHOICES = ("largest", "central", "prominent")  # of several faces
SEVERAL_FACES_POLICIES = (*CHOICES, *NO_FACE_POLICIES)
ALIGNERS = ("box", "five_point")

# Settings that were added after crops were first cached. At these values they change no pixel, so
# they are left out of the cache's key.
_LATER = {"aligner": "box", "upsample": 0, "min_score": 0.0, "rotations": False}


@dataclass(frozen=True)
class DlibCropper(Cropper):
    """Base of the croppers that look for a face.

    Args:
        size: side of the square, pixels.
        padding: what fills the square beside and beyond the image: ``"black"``, or its ``"edge"``
            repeated.
        margin: how far the crop reaches beyond the face's box on each side, as a share of its width
            (height); 0.2 makes it 1.4 times as wide.
        max_upsample: if no face is found, double the image and search again, up to this often.
        no_face: keep the ``whole_image``, ``skip`` the image, or stop with an ``error``.
        several_faces: take the ``largest``, the ``central`` one (whose middle is nearest the
            image's), the ``prominent`` one (large and near the middle: its area less the square of
            twice that distance is the greatest) or one of the three above.
        aligner: ``"box"`` cuts the box out upright. ``"five_point"`` turns the face by its eyes and
            nose, and scales it, as dlib's network wants it (``size=150``, ``margin=0.25``,
            :func:`siamese.faces.detect.face_chip`); extra ``pretrained``.
        upsample: double the image this often before the first search, so that faces of 80 /
            2^upsample pixels are found; images are not doubled beyond 4 million pixels.
        min_score: the least score of a detection; 0 is dlib's own limit. Below it HOG finds more
            faces, and more false ones: choose the ``prominent`` or ``central`` one then.
        rotations: where no face is found surely, also search the image turned by 90, 180 and 270
            degrees, and crop the turned image if its face is clearly better. The limits are for
            faces of which LFW's are typical: on none of its images does a crop change.

    Of images of more than two million pixels, HOG with ``several_faces="prominent"`` searches a
    smaller copy first. The crop is the same, but small faces at the sides may not be counted
    (:class:`siamese.faces.search.Search`).

    Raises:
        ConfigError, ValueError: a value out of range.
    """

    margin: float = 0.2
    max_upsample: int = 1
    no_face: str = "whole_image"
    several_faces: str = "largest"
    aligner: str = "box"
    upsample: int = 0
    min_score: float = 0.0
    rotations: bool = False

    detector: ClassVar[str]
    files: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.margin <= 2:
            raise ValueError(f"margin must be between 0 and 2, not {self.margin}")
        for setting in ("max_upsample", "upsample"):
            value = getattr(self, setting)
            if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 4:
                raise ValueError(f"{setting} must be a whole number from 0 to 4, not {value!r}")
        if not -2 <= self.min_score <= 5:
            raise ValueError(f"min_score must be between -2 and 5, not {self.min_score}")
        if not isinstance(self.rotations, bool):
            raise ValueError(f"rotations must be true or false, not {self.rotations!r}")
        for setting, allowed in (
            ("no_face", NO_FACE_POLICIES),
            ("several_faces", SEVERAL_FACES_POLICIES),
            ("aligner", ALIGNERS),
        ):
            if (value := getattr(self, setting)) not in allowed:
                raise ConfigError(
                    f"cropper setting {setting}={value!r} is not "
                    f"known{did_you_mean(str(value), allowed)}"
                )
        if self.aligner == "five_point" and self.padding != "black":
            raise ConfigError(
                "a five_point chip is black beyond the image: leave out cropper.padding, or set "
                "aligner=box"
            )

    def __call__(self, image: np.ndarray) -> Crop:
        turned, _, found = self._search(image, self.several_faces == "prominent")
        chosen = self._chosen(turned, found)
        if chosen is None:
            crop = crop_to_square(turned, whole(turned), self.size, self.padding)
        else:
            crop = self._cut(turned, chosen.box)
        return Crop(crop, len(found))

    def look(self, image: np.ndarray) -> Look:
        turned, turns, found = self._search(image, self.several_faces == "prominent")
        chosen = self._chosen(turned, found)
        if chosen is None:
            crop = crop_to_square(turned, whole(turned), self.size, self.padding)
            return Look(Face(crop), len(found))
        return Look(self._described(turned, turns, chosen), len(found))

    def all_faces(self, image: np.ndarray) -> list[Face]:
        """Every face on an image, the one that a call crops first, then the largest first.

        Those with a score below 0, dlib's own limit, are left out where there are others: with a
        low ``min_score`` most of them are none.
        """
        turned, turns, found = self._search(image, False)
        if not found:
            return []
        first = pick([face.box for face in found], turned, self.several_faces)
        chosen = next(face for face in found if face.box == first)
        sure = [face for face in found if face.score >= 0 and face is not chosen]
        return [self._described(turned, turns, face) for face in (chosen, *sure)]

    def _search(
        self, image: np.ndarray, prominent: bool
    ) -> tuple[np.ndarray, int, list[Detection]]:
        """The image, perhaps turned, its quarter turns to the left, and the faces on it."""
        search = Search(
            self.max_upsample,
            self.upsample,
            self.min_score,
            self.detector,
            prominent_only=prominent,
            rotations=self.rotations,
        )
        turns, found = search.find(image)
        return turned_by(image, turns), turns, found

    def _chosen(self, image: np.ndarray, found: list[Detection]) -> Detection | None:
        """The face that is cropped; None for the whole image."""
        if not found or (len(found) > 1 and self.several_faces == "whole_image"):
            return None
        box = pick([face.box for face in found], image, self.several_faces)
        return next(face for face in found if face.box == box)

    def _cut(self, image: np.ndarray, box: Box) -> np.ndarray:
        if self.aligner == "five_point":
            return face_chip(image, box, self.size, self.margin)
        return crop_to_square(image, box.grown(self.margin), self.size, self.padding)

    def _described(self, image: np.ndarray, turns: int, face: Detection) -> Face:
        """A face with its crop, and its box and landmarks on the image as it was given."""
        points = landmarks(image, face.box)
        return Face(
            self._cut(image, face.box),
            box_turned_back(face.box, turns, image),
            float(face.score),
            None if points is None else points_turned_back(points, turns, image),
        )

    def verdict(self, faces: int | None) -> str:
        policy = (
            self.no_face if faces == 0 else self.several_faces if (faces or 0) > 1 else "largest"
        )
        return policy if policy in ("skip", "error") else "keep"

    def pixel_settings(self) -> dict[str, Any]:
        settings = CROPPERS.settings(self)
        if self.several_faces not in ("whole_image", *CHOICES):
            settings["several_faces"] = "largest"
        # 1 and 1.0 give the same crop.
        settings |= {"margin": float(self.margin), "min_score": float(self.min_score)}
        del settings["no_face"]
        return {
            name: value
            for name, value in settings.items()
            if name not in _LATER or value != _LATER[name]
        }

    def check(self) -> None:
        require_dlib(*self.files, *([FIVE_POINT] if self.aligner == "five_point" else []))


@CROPPERS.register("dlib_hog")
@dataclass(frozen=True)
class DlibHogCropper(DlibCropper):
    """A face that dlib's HOG detector finds, by default the largest, with a margin around it.

    Arguments as :class:`DlibCropper`. Note that dlib trained this detector on LFW's images among
    others: its detection rate there is too good to be representative.
    """

    detector = "hog"


@CROPPERS.register("dlib_cnn")
@dataclass(frozen=True)
class DlibCnnCropper(DlibCropper):
    """As :class:`DlibHogCropper`, with dlib's CNN detector; extra ``pretrained``.

    It finds turned faces too, in about fifty times the time. It takes about 2 GB of memory for each
    cropping process; images of more than 1920 x 1080 pixels are scaled down for it.
    """

    detector = "cnn"
    files = (CNN_DETECTOR,)
