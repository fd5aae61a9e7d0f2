"""What an .onnx file says of itself beside its network: in JSON, under one key of its metadata."""

from __future__ import annotations

import base64
import binascii
import json
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from siamese.inference.stored_bundle import check_complete
from siamese.reading import Unreadable, parse_json
from siamese.verification.stored_point import Line, Settings, StoredPoint, check_settings

KEY, VERSION = "siamese", 1
# Characters of the JSON, most of which are a calibration's counts, and values in it.
LARGEST, _MOST_VALUES = 1 << 26, 100_000
_LARGEST_SETTING = 1 << 32
Precision = Literal["float32", "float16", "int8"]
PRECISIONS: tuple[Precision, ...] = ("float32", "float16", "int8")

Hash = Annotated[str, Meta(pattern=r"\A[0-9a-f]{64}\Z")]
Side = Annotated[int, Meta(ge=1, le=4096)]
Width = Annotated[int, Meta(ge=1, le=1 << 20)]
Place = Annotated[float, Meta(ge=-1e6, le=1e6)]


class StoredInput(Struct, forbid_unknown_fields=True):
    """What the network takes: ``(n, 3, size, size)`` uint8, red, green, blue."""

    size: Side
    name: Literal["images"] = "images"
    layout: Literal["n, 3, size, size"] = "n, 3, size, size"
    type: Literal["uint8"] = "uint8"
    colours: Literal["RGB"] = "RGB"


class StoredOutput(Struct, forbid_unknown_fields=True):
    """What it gives: ``(n, size)`` float32."""

    size: Width
    unit_length: bool
    name: Literal["embeddings"] = "embeddings"


class StoredChipPoint(Struct, forbid_unknown_fields=True):
    """The place of a landmark in a chip; see :func:`siamese.faces.chip_template.chip_points`."""

    name: Line
    x: Place
    y: Place


class StoredDistance(Struct, forbid_unknown_fields=True):
    """By what embeddings are compared."""

    name: Literal["euclidean", "cosine"]
    formula: Line


class StoredModel(Struct, forbid_unknown_fields=True):
    """The JSON in an .onnx file."""

    version: Annotated[int, Meta(ge=1)]
    precision: Precision
    input: StoredInput
    output: StoredOutput
    cropper: Annotated[Settings, Meta(min_length=1)]
    chip: Annotated[list[StoredChipPoint], Meta(max_length=100)] | None
    distance: StoredDistance
    operating_point: Settings
    calibration: str | None  # what Calibration.save writes, in base64
    tta: Literal[0]
    fingerprint: Hash
    provenance: dict[str, Any]

    def encode(self) -> str:
        """As JSON."""
        return json.dumps(msgspec.to_builtins(self), ensure_ascii=False, allow_nan=False)

    @property
    def calibration_bytes(self) -> bytes | None:
        """What :meth:`siamese.Calibration.encode` gave; None where there is none.

        Raises:
            Unreadable: no base64.
        """
        if self.calibration is None:
            return None
        try:
            return base64.b64decode(self.calibration, validate=True)
        except (binascii.Error, ValueError) as error:
            raise Unreadable(f"its calibration is no base64 ({error})") from error


def read_metadata(text: memoryview | None) -> StoredModel:
    """The JSON, checked.

    Args:
        text: what stands under :data:`KEY`; None where nothing does.

    Raises:
        Unreadable: nothing, or one of a newer version.
        ValueError: no JSON, or a value that lacks, is unknown, of another type, or out of range.
    """
    if text is None:
        raise Unreadable(
            "a network without threshold and cropper: not one that siamese export wrote"
        )
    if len(text) > LARGEST:
        raise Unreadable(f"its metadata have more than {LARGEST:,} characters")
    values = parse_json(bytes(text), _MOST_VALUES)
    version = values.get("version") if isinstance(values, dict) else None
    if type(version) is int and version > VERSION:
        raise Unreadable(f"written by a newer siamese (version {version!s:.20}); upgrade siamese")
    found = msgspec.convert(values, StoredModel)
    check_settings(found.cropper, "cropper", largest=_LARGEST_SETTING)
    check_complete("operating_point", found.operating_point, StoredPoint.__struct_fields__)
    return found
