"""The types and ranges of ``bundle.json``, checked before anything is built of it."""

from __future__ import annotations

from typing import Annotated, Any, Protocol

import msgspec
from msgspec import Meta, Struct

from siamese.reading import Unreadable
from siamese.registry import Registry
from siamese.verification.stored_point import Line, Name, Settings, StoredPoint, check_settings

VERSION = 5  # 5: SHA256SUMS instead of weights_sha256; nothing lacks, nothing is unknown
# Of a component's settings: no seed is larger, and nothing that is counted.
_LARGEST = 1 << 32
# Of copies of an image; each costs as much as the image.
_MOST_COPIES = 1000

Hash = Annotated[str, Meta(min_length=1, max_length=64)]
Strength = Annotated[float, Meta(ge=0, le=180)]
Copies = Annotated[int, Meta(ge=0, le=_MOST_COPIES)]
Version = Annotated[int, Meta(ge=1)]
Part = Annotated[dict[Name, Any], Meta(min_length=1, max_length=100)]
Origins = dict[Name, Line]


class StoredSeen(Struct, forbid_unknown_fields=True):
    """The attributes of :class:`siamese.inference.seen.Seen`."""

    images: list[Hash]
    identities: list[Hash]
    partial: bool


class StoredBundle(Struct, forbid_unknown_fields=True):
    """The content of ``bundle.json``, as this version writes it."""

    version: Version
    backbone: Part
    distance: Part
    cropper: Part
    augmentation: dict[Name, Strength] | None
    origins: Origins
    tta: Copies
    operating_point: Settings
    calibration: Settings | None
    seen: StoredSeen | None
    provenance: dict[str, Any]


class EarlierBundle(Struct):
    """The same of versions 1 to 4: what they did not know may lack."""

    version: Version
    backbone: Part
    distance: Part
    cropper: Part
    weights_sha256: str
    operating_point: Settings
    augmentation: dict[Name, Strength] | None = None
    origins: Origins = {}
    tta: Copies = 0
    calibration: Settings | None = None
    seen: dict[str, Any] | None = None
    provenance: dict[str, Any] = {}


class HasParts(Protocol):
    """A description of components."""

    backbone: dict[str, Any]
    distance: dict[str, Any]
    cropper: dict[str, Any]


def checked(description: Any) -> StoredBundle | EarlierBundle:
    """A description whose values are of the right types and within their ranges.

    Args:
        description: what ``bundle.json`` holds.

    Raises:
        ValueError: a value that lacks, is unknown, of another type, or out of range; it says where.
    """
    if not isinstance(description, dict):
        raise Unreadable(f"a JSON {type(description).__name__} instead of an object")
    version = description.get("version")
    current = type(version) is int and version >= VERSION
    kind: type[StoredBundle | EarlierBundle] = StoredBundle if current else EarlierBundle
    found = msgspec.convert(description, kind)
    check_parts(found)
    if current:
        check_complete("operating_point", found.operating_point, StoredPoint.__struct_fields__)
    return found


def check_parts(found: HasParts) -> None:
    """Check the sizes of all settings of components.

    Raises:
        ValueError: see :func:`check_settings`; no number may exceed 2^32.
    """
    for part, settings in (
        ("backbone", found.backbone),
        ("distance", found.distance),
        ("cropper", found.cropper),
    ):
        check_settings(settings, part, largest=_LARGEST)


def check_complete(place: str, values: dict[str, Any], wanted: tuple[str, ...]) -> None:
    """Check that no value lacks, where leaving it out would mean another one.

    Raises:
        ValueError: one does.
    """
    if missing := [name for name in wanted if name not in values]:
        raise Unreadable(f"{place} has no {missing[0]}")


def check_all_given(place: str, registry: Registry[Any], settings: dict[str, Any]) -> None:
    """Check that no setting of a component lacks: its class's default may be another value.

    Raises:
        ValueError: one does.
        ConfigError: no component of that name.
    """
    name = settings.get("name")
    if not isinstance(name, str):
        return  # which building it says
    check_complete(place, settings, tuple(registry.arguments(name)))
    for argument, value in settings.items():
        if isinstance(value, dict) and value.keys() == {"backbone"}:
            inner = value["backbone"]
            if isinstance(inner, dict):
                check_all_given(f"{place}.{argument}", registry, inner)
