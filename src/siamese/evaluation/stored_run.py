"""The types and ranges of ``run.json``, checked before anything is built of it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from siamese.errors import BundleError
from siamese.inference.stored_bundle import Origins, Part, Strength, check_parts
from siamese.reading import read_object
from siamese.verification.stored_point import Settings, check_settings

VERSION = 1
_LARGEST = 1 << 26


class StoredRun(Struct):
    """What :func:`siamese.evaluation.sources.describe_run` writes of a run that can go on."""

    version: Annotated[int, Meta(ge=1)]
    backbone: Part
    distance: Part
    cropper: Part
    pair_rule: Settings | None
    policy: Settings
    provenance: dict[str, Any]
    augmentation: dict[str, Strength] | None = None
    origins: Origins = {}


class StoredProcess(Struct):
    """Who writes a run."""

    pid: Annotated[int, Meta(ge=1, le=(1 << 31) - 1)]
    host: str
    started: Annotated[int, Meta(ge=0, le=(1 << 53))] | None = None  # see process_now


def read_object_of(path: Path) -> dict[str, Any]:
    """The object in a file of a run; see :func:`siamese.reading.read_object`."""
    return read_object(path, _LARGEST)


def read_run(path: Path) -> StoredRun:
    """What a ``run.json`` says.

    Raises:
        BundleError: it says why no bundle can be made, or is of a newer version.
        ValueError: no description of a run.
        OSError: the file cannot be read.
    """
    values = read_object_of(path)
    if reason := values.get("missing"):
        raise BundleError(f"{path.parent}: {' '.join(str(reason)[:500].split())}")
    version = values.get("version")
    if type(version) is int and version > VERSION:
        raise BundleError(
            f"{path.parent}: written by a newer siamese (run version {version}); upgrade siamese"
        )
    found = msgspec.convert(values, StoredRun)
    check_parts(found)
    check_settings(found.policy, "policy")
    check_settings(found.pair_rule or {}, "pair_rule")
    return found
