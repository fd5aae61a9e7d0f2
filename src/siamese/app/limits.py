"""What a browser may send at most, and how a body is read within that, in memory alone."""

from __future__ import annotations

import asyncio
from typing import Any, TypeVar

import msgspec
from starlette.requests import ClientDisconnect, Request

from siamese.reading import Unreadable, parse_json

MOST_PHOTOGRAPH = 20_000_000  # bytes of one photograph
MOST_JSON = 20_000  # bytes of settings
MOST_WAITING = 4  # requests with photographs that are read, wait or are worked on
MOST_QUICK = 16  # the same of requests without
SECONDS = 60.0  # in which a body must have come
PHOTOGRAPHS, JSON = "application/octet-stream", "application/json"
_MOST_VALUES = 2_000

Kind = TypeVar("Kind")


class Refused(Exception):
    """A request that gets no answer but an error.

    Attributes:
        status: of HTTP.
        photograph: which of several is meant, from 0; None for none.
    """

    def __init__(self, status: int, message: str, photograph: int | None = None) -> None:
        super().__init__(message)
        self.status, self.photograph = status, photograph


async def read_body(request: Request, kind: str, most: int) -> bytes:
    """The body of a request, which is never on disk.

    Args:
        request: not read yet.
        kind: the Content-Type that it must have. No form of another web site can send one of those
            that are used here; browsers ask this server first, and it does not agree.
        most: bytes that it may have.

    Raises:
        Refused: of another kind, without a length, longer, or slower than ``SECONDS``.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != kind:
        raise Refused(415, f"the request must have the content type {kind}")
    length = request.headers.get("content-length", "")
    if not (length.isascii() and length.isdigit() and len(length) < 16):
        raise Refused(411, "the request must say how long it is (Content-Length)")
    if int(length) > most:
        raise Refused(413, f"{int(length):,} bytes; at most {most:,} are taken")
    try:
        async with asyncio.timeout(SECONDS):
            return await _all_of(request, most)
    except TimeoutError as error:
        raise Refused(408, f"it took longer than {SECONDS:.0f} seconds to arrive") from error
    except ClientDisconnect as error:
        raise Refused(400, "the connection was closed") from error


async def _all_of(request: Request, most: int) -> bytes:
    found = bytearray()
    async for part in request.stream():
        if len(found) + len(part) > most:
            raise Refused(413, f"at most {most:,} bytes are taken")
        found += part
    return bytes(found)


async def read_settings(request: Request, kind: type[Kind]) -> Kind:
    """The settings in a request's body, of known names and types alone.

    Args:
        request: not read yet.
        kind: a ``msgspec.Struct``.

    Raises:
        Refused: see :func:`read_body`; no JSON, or not of that kind.
    """
    content = await read_body(request, JSON, MOST_JSON)
    try:
        values: Any = parse_json(content, _MOST_VALUES)
        return msgspec.convert(values, kind)
    except (Unreadable, msgspec.ValidationError) as error:
        raise Refused(400, f"the settings are not understood: {error}") from error
