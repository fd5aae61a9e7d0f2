"""Where the pretrained files of the package `face-recognition-models` lie; the package itself is never imported."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

from siamese.errors import MissingDependencyError

# CC0; importing it needs pkg_resources, which new installations have not
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
        path = Path(
            str(
                importlib.metadata.distribution(PACKAGE).locate_file(
                    f"face_recognition_models/models/{name}"
                )
            )
        )
    except importlib.metadata.PackageNotFoundError:
        path = None
    if path is None or not path.is_file():
        raise MissingDependencyError(
            f"{name} is needed, from the package {PACKAGE}, which is "
            f"{'not installed' if path is None else 'incomplete'}; "
            f"run: pip install 'siamese-lightning[pretrained]'"
        )
    return path
