"""Which bundle a command means: a folder, or the pretrained one."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from siamese.bundle import Bundle

PRETRAINED = "pretrained"


def open_bundle(name: str) -> Bundle:
    """The bundle in a folder, or for the word ``pretrained`` (a folder of that name is ``./pretrained``) the one that needs no training.

    Raises:
        BundleError: no bundle there.
        MissingDependencyError, WeightsError: see :func:`siamese.pretrained_bundle`.
    """
    from siamese.bundle import Bundle
    from siamese.errors import MissingDependencyError
    from siamese.pretrained import pretrained_bundle

    if name != PRETRAINED:
        return Bundle.load(name)
    try:
        return pretrained_bundle()
    except MissingDependencyError as error:
        raise MissingDependencyError(f"{error}; or give the bundle of a training run, such as runs/latest") from error


def shown(name: str) -> str:
    """How a bundle is named in what is printed."""
    return name if name == PRETRAINED else os.path.relpath(Path(name).resolve())
