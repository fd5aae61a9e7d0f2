"""How often a JPEG goes over its pixels: a scan costs time, but hardly a byte."""

from __future__ import annotations

import re

# libtiff refuses more, too. Photographs have about ten; a file of 10 kB can have a thousand, each
# of which takes as long as decoding a photograph.
MAX_SCANS = 100
# A marker with a length behind it. The others are passed over as libjpeg does: a stuffed byte,
# restarts, filling, and all below 0xC0, which it knows (TEM), refuses, or skips inside a scan.
_MARKER = re.compile(rb"\xff+([\xc0-\xcf\xd8-\xfe])")
_START_OF_SCAN, _END, _BEGIN = 0xDA, 0xD9, 0xD8
_SCAN = b"\xff\xda"


def has_too_many_scans(content: bytes) -> bool:
    """Whether a JPEG file has more than ``MAX_SCANS`` scans, progressive or not.

    Args:
        content: of a file in any format; one that is no JPEG has none.
    """
    # No scan begins without these two bytes, and counting them costs next to nothing.
    if not content.startswith(b"\xff\xd8") or content.count(_SCAN) <= MAX_SCANS:
        return False
    return scans_of(content) > MAX_SCANS


def scans_of(content: bytes) -> int:
    """Number of scans of the first image in a JPEG file, counted up to ``MAX_SCANS`` + 1.

    Where a segment is shorter than its own length, nobody knows where the next one begins: then
    all that can be the start of a scan counts.

    Source: ITU-T T.81, annex B.
    """
    place, scans = 0, 0
    while scans <= MAX_SCANS and (found := _MARKER.search(content, place)):
        place, marker = found.end(), found[1][0]
        if marker == _END:
            break
        if marker == _BEGIN:
            continue
        length = int.from_bytes(content[place : place + 2])
        if length < 2:
            return min(content.count(_SCAN), MAX_SCANS + 1)
        scans += marker == _START_OF_SCAN
        place += length  # over the segment; pixels follow that of a scan
    return scans
