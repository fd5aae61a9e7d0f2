"""Arrays of numbers in a numpy archive (.npz) that may come from a stranger."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping

import numpy as np

from siamese.reading import Unreadable, check_archive

# Of an archive as it lies on the disk, and of all of its arrays together.
LARGEST, LARGEST_UNPACKED, MOST_ARRAYS = 1 << 28, 1 << 30, 64


def arrays_of(archived: bytes) -> dict[str, np.ndarray]:
    """The arrays of an archive by their names; whole and floating point numbers only.

    Memory is bounded: a header that announces more numbers than follow it is refused before any is
    read.

    Raises:
        Unreadable: no such archive, too large, or arrays of something else.
    """
    content = io.BytesIO(archived)
    members = check_archive(content, LARGEST_UNPACKED, compressed=True)
    if len(members) > MOST_ARRAYS:
        raise Unreadable(f"it has more than {MOST_ARRAYS} arrays")
    try:
        with zipfile.ZipFile(content) as archive:
            return {
                member.filename.removesuffix(".npy"): _array(archive.read(member))
                for member in members
            }
    except Unreadable:
        raise
    except Exception as error:  # whatever damaged bytes make zlib and numpy's header reader say
        raise Unreadable(f"a damaged array ({type(error).__name__}: {error!s:.80})") from error


def _array(content: bytes) -> np.ndarray:
    stream = io.BytesIO(content)
    version = np.lib.format.read_magic(stream)
    read = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }.get(version)
    if read is None:
        raise Unreadable(f"an array of version {version}")
    shape, fortran, dtype = read(stream)
    count = 1
    for side in shape:
        count *= int(side)
    if dtype.kind not in "iuf" or dtype.hasobject or len(shape) > 4:
        raise Unreadable("an array of something else than numbers")
    rest = content[stream.tell() :]
    if any(side < 0 for side in shape) or count * dtype.itemsize != len(rest):
        raise Unreadable("an array of another length than it announces")
    flat = np.frombuffer(rest, dtype=dtype, count=count)
    array: np.ndarray = flat.reshape(shape, order="F" if fortran else "C")
    return array.copy()


def check_numbers(arrays: Mapping[str, np.ndarray]) -> None:
    """Check that all arrays hold finite numbers.

    Raises:
        ValueError: NaN, an infinite number, or something else.
    """
    for name, array in arrays.items():
        if array.dtype.kind not in "iuf" or not bool(np.isfinite(array).all()):
            raise ValueError(f"{name} has something else than finite numbers")
