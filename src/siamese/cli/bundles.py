"""Which bundle a command means: a folder, or the pretrained one."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from siamese.inference.bundle import Bundle

PRETRAINED = "pretrained"


def open_bundle(name: str) -> Bundle:
    """The bundle in a folder, or for the word ``pretrained`` (a folder of that name is ``./pretrained``) the one that needs no training.

    Raises:
        BundleError: no bundle there.
        MissingDependencyError, WeightsError: see :func:`siamese.pretrained_bundle`.
    """
    from siamese.inference.bundle import Bundle
    from siamese.errors import MissingDependencyError
    from siamese.inference.pretrained import pretrained_bundle

    if name != PRETRAINED:
        return Bundle.load(name)
    try:
        return pretrained_bundle()
    except MissingDependencyError as error:
        raise MissingDependencyError(f"{error}; or give the bundle of a training run, such as runs/latest") from error


def note_few_identities(people: int | None) -> None:
    """Say so if a threshold was chosen on fewer people than intervals need."""
    from siamese.verification.bootstrap import MIN_IDENTITIES

    if people and people < MIN_IDENTITIES:
        print(
            f"note: the threshold was chosen on {people} people, too few to say how far it holds for others; give more people, better some dozens",
            file=sys.stderr,
        )


def shown(name: str) -> str:
    """How a bundle is named in what is printed."""
    return name if name == PRETRAINED else os.path.relpath(Path(name).resolve())
