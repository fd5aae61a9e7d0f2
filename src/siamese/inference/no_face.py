"""What becomes of images without a face, and what croppers compare that look for none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from siamese.errors import ConfigError, did_you_mean
from siamese.faces.croppers.base import Cropper
from siamese.faces.croppers.dlib_croppers import DlibCropper
from siamese.faces.croppers.fixed_box import FixedBoxCropper
from siamese.faces.croppers.none import NoCropper

NO_FACE = ("error", "whole_image", "skip")


def with_no_face(
    cropper: Cropper, no_face: str | None, choices: Sequence[str] = NO_FACE
) -> Cropper:
    """A cropper with another policy for images without a face; the same for None.

    Raises:
        ConfigError: an unknown policy, or a cropper that looks for no face.
    """
    if no_face is None:
        return cropper
    if no_face not in choices:
        raise ConfigError(f"no_face={no_face!r} is not known{did_you_mean(str(no_face), choices)}")
    if not isinstance(cropper, DlibCropper):
        raise ConfigError(
            f"no_face={no_face!r}: this bundle's cropper, {type(cropper).__name__}, looks for no "
            f"face; leave it out"
        )
    return replace(cropper, no_face=no_face)


def seen_without_search(cropper: Cropper) -> str | None:
    """What of a picture is compared by one of our croppers that look for no face.

    None for all others: of a user's own it is not known.
    """
    if isinstance(cropper, NoCropper):
        return "the whole picture"
    return "the same box of every picture" if isinstance(cropper, FixedBoxCropper) else None
