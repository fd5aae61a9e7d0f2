"""How often a progressive JPEG goes over its pixels: a scan costs time, but hardly a byte."""

from __future__ import annotations

import re

# libtiff refuses more, too. Photographs have about ten; a file of 10 kB can have a thousand, each
# of which takes as long as decoding a photograph.
MAX_SCANS = 100
# A marker: what follows 0xFF but for a stuffed byte, a restart, and filling.
_MARKER = re.compile(rb"\xff+([^\x00\xd0-\xd7\xff])")
_START_OF_SCAN, _END, _BEGIN = 0xDA, 0xD9, 0xD8


def scans_of(content: bytes) -> int:
    """Number of scans of the first image in a JPEG file, counted up to ``MAX_SCANS`` + 1.

    Source: ITU-T T.81, annex B.
    """
    place, scans = 0, 0
    while scans <= MAX_SCANS and (found := _MARKER.search(content, place)):
        place, marker = found.end(), found[1][0]
        if marker == _END:
            break
        if marker == _BEGIN:
            continue
        scans += marker == _START_OF_SCAN
        # Over the segment: its length stands first. Pixels follow that of a scan.
        place += int.from_bytes(content[place : place + 2])
    return scans
