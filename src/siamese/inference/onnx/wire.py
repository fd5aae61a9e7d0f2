"""What an .onnx file is made of, read without unpacking it: bounds, metadata, and what is refused.

An .onnx file is a message of protocol buffers (onnx.proto). Only its skeleton is looked at here;
weights are passed over. So neither the package onnx nor the memory that it takes is needed before
a stranger's file is handed to onnxruntime.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Union

from siamese.reading import Unreadable

# Nodes, tensors and attributes that are looked at, at most: the largest networks have some
# thousands.
MOST_PARTS = 200_000
# Operators whose time and memory their shapes bound; they run nothing but themselves.
DOMAINS = ("", "ai.onnx")
# In the metadata: the digest of all else.
SUM = "siamese_sha256"
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
# Of a field. Other readers keep the lowest 32 bits of what stands before a field: beyond them one
# number could be passed over here, and be another there.
_LARGEST_NUMBER = (1 << 29) - 1
Value = Union[int, memoryview]


@dataclass
class Skeleton:
    """What is known of a model before it is run.

    Attributes:
        metadata: its ``metadata_props``.
        sha256: of all that it is made of but for the entry :data:`SUM` of its metadata.
    """

    metadata: dict[str, memoryview] = field(default_factory=dict)
    sha256: str = ""


def skeleton_of(content: bytes) -> Skeleton:
    """What an .onnx file is made of.

    Args:
        content: of the file.

    Raises:
        Unreadable: no model of ONNX; one that names other files, operators that are not ONNX's own,
            parts that run other parts (branches, loops, functions), or is trained; or one of too
            many parts.
    """
    reader = _Reader()
    reader.model(memoryview(content))
    return reader.found


class _Reader:
    """Goes through a model once."""

    def __init__(self) -> None:
        self.found = Skeleton()
        self._parts = 0

    def model(self, message: memoryview) -> None:
        digest, graphs = hashlib.sha256(), 0
        for number, value, whole in _with_bytes(message):
            self._count()
            if number == 7:
                graphs += 1
                self._graph(_message(value))
            elif number == 8:
                self._operators(_message(value))
            elif number == 14:
                if self._entry(_message(value)) == SUM:
                    continue
            elif number in (20, 25):
                raise Unreadable("a model with functions, or with its training")
            digest.update(whole)
        if graphs != 1:
            raise Unreadable("no model of ONNX")
        self.found.sha256 = digest.hexdigest()

    def _operators(self, message: memoryview) -> None:
        for number, value in _fields(message):
            if number == 1:
                _check_domain(_message(value))

    def _entry(self, message: memoryview) -> str:
        both = {number: _message(value) for number, value in _fields(message) if number in (1, 2)}
        key = bytes(both.get(1, b"")).decode("utf-8", "replace")
        if key in self.found.metadata:
            raise Unreadable(f"{key!r:.80} stands twice in its metadata")
        self.found.metadata[key] = both.get(2, memoryview(b""))
        return key

    def _graph(self, message: memoryview) -> None:
        self._each(message, {1: self._node, 5: self._tensor}, refused=(15,), of="sparse tensors")

    def _node(self, message: memoryview) -> None:
        for number, value in _fields(message):
            if number == 7:
                _check_domain(_message(value))
        self._each(message, {5: self._attribute})

    def _attribute(self, message: memoryview) -> None:
        what = "parts that run other parts (branches, loops), or sparse tensors"
        parts = {5: self._tensor, 10: self._tensor}
        self._each(message, parts, refused=(6, 11, 22, 23), of=what)

    def _tensor(self, message: memoryview) -> None:
        for number, value in _fields(message):
            if number == 13 or (number == 14 and value != 0):
                raise Unreadable("weights in another file")

    def _each(
        self,
        message: memoryview,
        parts: Mapping[int, Callable[[memoryview], None]],
        refused: tuple[int, ...] = (),
        of: str = "",
    ) -> None:
        for number, value in _fields(message):
            if number in refused:
                raise Unreadable(f"a model with {of}")
            if number in parts:
                self._count()
                parts[number](_message(value))

    def _count(self) -> None:
        self._parts += 1
        if self._parts > MOST_PARTS:
            raise Unreadable(f"it has more than {MOST_PARTS:,} parts")


def _check_domain(name: memoryview) -> None:
    domain = bytes(name[:200]).decode("utf-8", "replace")
    if domain not in DOMAINS:
        raise Unreadable(f"operators of {domain!r:.80}, which are not ONNX's own")


def _message(value: Value) -> memoryview:
    if isinstance(value, int):
        raise Unreadable("a number where a part belongs")
    return value


def _fields(message: memoryview) -> Iterator[tuple[int, Value]]:
    """The fields of a message: their numbers, and whole numbers or bytes that are not copied."""
    return ((number, value) for number, value, _ in _with_bytes(message))


def _with_bytes(message: memoryview) -> Iterator[tuple[int, Value, memoryview]]:
    """The same, and all bytes of each field."""
    place, end = 0, len(message)
    while place < end:
        start = place
        key, place = _varint(message, place)
        number, kind = key >> 3, key & 7
        if not 0 < number <= _LARGEST_NUMBER:
            raise Unreadable("a part without a number of ONNX")
        if kind == _VARINT:
            value, place = _varint(message, place)
            yield number, value, message[start:place]
            continue
        if kind == _BYTES:
            length, place = _varint(message, place)
        elif kind in (_FIXED32, _FIXED64):
            length = 4 if kind == _FIXED32 else 8
        else:
            raise Unreadable("no model of ONNX")
        if length > end - place:
            raise Unreadable("it ends in the middle of a part")
        place += length
        yield number, message[place - length : place], message[start:place]


def _varint(message: memoryview, place: int) -> tuple[int, int]:
    """A whole number of up to 64 bits, and where the next field begins."""
    found = 0
    for shift in range(0, 70, 7):
        if place >= len(message):
            raise Unreadable("it ends in the middle of a number")
        byte = message[place]
        place += 1
        found |= (byte & 0x7F) << shift
        if byte < 0x80:
            return found, place
    raise Unreadable("a number of more than 64 bits")
