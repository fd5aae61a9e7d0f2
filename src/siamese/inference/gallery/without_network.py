"""What can be done with a gallery's files alone: see who is enrolled, and take people out.

For that its network is not needed, which may be gone, or not be on this machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from siamese.inference.gallery import stored
from siamese.inference.gallery.enrolled import Enrolled


def people_of(folder: str | Path) -> dict[str, int]:
    """Who is enrolled.

    Args:
        folder: of the gallery.

    Returns:
        name -> number of photographs, in order of the names.

    Raises:
        GalleryError: missing, damaged, or of a newer version.
    """
    place = Path(folder).expanduser().absolute()
    return dict(sorted(Enrolled(stored.read_gallery(place).segments).counts.items()))


def erase(folder: str | Path, names: Sequence[str]) -> dict[str, int]:
    """Take people out of a gallery and of its files, in one step; all of them or none.

    Args:
        folder: of the gallery.
        names: of people, as for :meth:`siamese.Gallery.remove`.

    Returns:
        name, as the gallery had it -> number of photographs that were removed.

    Raises:
        GalleryError: nobody of one of the names is enrolled, or another process is writing the
            gallery; missing, damaged, or of a newer version; or it cannot be written.
    """
    place = Path(folder).expanduser().absolute()
    stored.read_index(place)  # so that no folder is made where none is
    with stored.locked(place):
        found = stored.read_gallery(place)
        enrolled = Enrolled(found.segments)
        removed = {}
        for shown in dict.fromkeys(enrolled.of(name) for name in names):
            removed[shown] = enrolled.remove(shown)
        index = msgspec.structs.replace(found.index, generation=found.index.generation + 1)
        stored.write_gallery(place, index, enrolled.segments)
    return removed
