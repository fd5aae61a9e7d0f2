"""What is the same about images: their bytes, their pixels, and what they look like from afar."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from siamese.errors import ImageError
from siamese.faces.crop_jobs import usable_cores
from siamese.faces.files import read_bytes
from siamese.faces.hashing import content_hash
from siamese.faces.images import decode_image
from siamese.progress import progress_bar

SIDE = 16  # of the square of frequencies: 256 bits


@dataclass(frozen=True)
class Fingerprint:
    """Of one image.

    Attributes:
        content: SHA-256 of the file.
        pixels: SHA-256 of the decoded image and its size; "" where it cannot be decoded.
        look: (256,) bool, its perceptual hash; None without the package for it.
        reason: why it cannot be read; "" where it can.
    """

    content: str
    pixels: str = ""
    look: np.ndarray | None = None
    reason: str = ""


def take_fingerprints(paths: Sequence[Path], *, progress: bool = True) -> list[Fingerprint]:
    """Read every image once; in threads, since decoding releases Python's lock."""
    look = perceptual_hash()
    with progress_bar("reading", len(paths), progress) as advance:
        found = []
        for one in _in_order(lambda path: fingerprint(path, look), paths):
            found.append(one)
            advance(1)
    return found


def fingerprint(path: Path, look: Callable[[Image.Image], np.ndarray] | None = None) -> Fingerprint:
    """Of one file; ``look`` is a function as from :func:`perceptual_hash`."""
    try:
        content = read_bytes(path)
    except ImageError as error:
        return Fingerprint("", reason=error.reason)
    name = content_hash(content)
    try:
        image = decode_image(content, path)
    except ImageError as error:
        return Fingerprint(name, reason=error.reason)
    pixels = hashlib.sha256(f"{image.shape}".encode() + image.tobytes()).hexdigest()
    return Fingerprint(name, pixels, None if look is None else look(Image.fromarray(image)))


def perceptual_hash() -> Callable[[Image.Image], np.ndarray] | None:
    """From an image to (256,) bool; None without the package ``imagehash`` (extra ``audit``).

    Which of the lowest frequencies of the image, shrunk to 64 x 64 grey pixels, are above their
    median (Zauner, *Implementation and Benchmarking of Perceptual Image Hash Functions*, Hagenberg
    2010). The usual 64 bits do not tell portraits apart: of LFW's pairs of two people's images that
    differ in six of them at most, one in ten shows the same photograph.
    """
    try:
        import imagehash
    except ImportError:
        return None

    def look(image: Image.Image) -> np.ndarray:
        bits: np.ndarray = imagehash.phash(image, hash_size=SIDE).hash.ravel()
        return bits

    return look


def _in_order(work: Callable[[Path], Fingerprint], paths: Sequence[Path]) -> Iterator[Fingerprint]:
    """Results in order, so few at a time that no photographs pile up."""
    workers = min(4, usable_cores())
    with ThreadPoolExecutor(workers) as pool:
        waiting: deque[Future[Fingerprint]] = deque()
        for path in paths:
            waiting.append(pool.submit(work, path))
            if len(waiting) > 4 * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
