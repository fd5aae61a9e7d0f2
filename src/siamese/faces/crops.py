"""Cached crops: each image is cropped once, in parallel, and stored by content and settings."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from siamese.errors import NO_FACE, SEVERAL_FACES, CacheError, DataError, FaceError, ImageError
from siamese.faces.cache_folder import default_cache
from siamese.faces.crop_jobs import LEFT_OUT, CropPaths, Jobs, cache_error, crop_path, do_jobs
from siamese.faces.croppers.base import Cropper
from siamese.faces.files import read_bytes
from siamese.faces.hashing import hash_files
from siamese.faces.images import decode_image
from siamese.faces.packs import CROP_NAME, Packs, damaged_pack, packed_crop, packs_of
from siamese.faces.tasks import check_backend
from siamese.storage import write_whole

# Images below which each crop is looked for by its name, however many others lie in the cache.
FEW = 50_000
# Images from which paths of crops are made when they are asked for.
MANY = 200_000
# To be raised whenever the same settings give other pixels than before: then old crops are no
# longer found. It was not where the search was bounded (siamese.faces.detect): of an image of more
# than 50 million pixels with no face of 80 pixels an old crop may show a smaller one.
FORMAT = 1
_STALE_SECONDS = 86_400.0
# Words of a reason for which an image is bad -> what such images are counted as.
_KINDS = {
    "the same image as": "duplicates of images in another split",
    # Before "bytes": Pillow tells how many of a truncated file it did not need.
    "damaged": "damaged or truncated",
    "scans": "JPEGs of too many scans",
    "bytes)": "empty",
    "bytes": "too large as files",
    "no such file": "missing",
    "not an image": "no image in a known format",
    "more than": "with too many pixels",
    "not a regular file": "no regular files",
    "more memory": "too large for the memory",
    "HEIC": "HEIC (pip install 'siamese-lightning[heic]')",
    "has changed": "changed since the split",
    "does not touch": "beside the cropper's box (cropped already? data/cropper=none)",
}


@dataclass(frozen=True)
class CropResult:
    """What cropping a list of N images gave.

    Attributes:
        files: N paths of the crops (PNG, RGB, size x size); None where the image is left out. From
            200,000 on they are made when they are asked for.
        faces: N numbers of faces found; None where none were looked for or the image is bad.
        bad: row -> reason, of images that cannot be read.
        skipped: rows left out by the cropper's policy for no face / several faces.
        computed, seconds: images cropped now (the others were in the cache), and how long it took.
    """

    files: Sequence[Path | None]
    faces: list[int | None]
    bad: dict[int, str]
    skipped: list[int]
    computed: int
    seconds: float

    def __repr__(self) -> str:
        kept = sum(file is not None for file in self.files)
        return (
            f"CropResult({kept:,} of {len(self.files):,} images kept, {len(self.skipped)} skipped, "
            f"{len(self.bad)} bad)"
        )


def cache_of(crop: Path) -> Path | None:
    """The cache in which a crop lies; None for a file that lies in none."""
    place = crop.parents  # cache / crops / settings / shard / file, see crop_path
    return place[3] if len(place) > 3 and place[2].name == "crops" else None


def crop_files(
    paths: Sequence[Path],
    cropper: Cropper,
    *,
    cache: str | Path | None = None,
    hashes: Sequence[str | ImageError] | None = None,
    workers: int | None = None,
    bad_images: str = "error",
    progress: bool = True,
    backend: str | None = None,
) -> CropResult:
    """Crop every image, or find its crop in the cache.

    Several processes may use one cache at the same time: a crop is written under a temporary name
    and renamed, so it is there complete or not at all, and two processes that crop the same image
    write the same bytes.

    Args:
        paths: N image files.
        cropper: what to cut out; every setting that changes a pixel is part of the cache's key.
        cache: the cache's folder; by default :func:`default_cache`.
        hashes: N results of :func:`hash_files`, if they are known already.
        workers: processes; by default one per usable core, or none (this process) where there is
            little to do. A Dask cluster has its own number.
        bad_images: images that cannot be read are an ``error``, or are put in ``quarantine``: left
            out and reported.
        progress: show a progress bar on standard error.
        backend: where the images are hashed and cropped. None: in processes of this machine.
            ``"dask:tcp://host:8786"``: on the Dask cluster of that scheduler; ``"dask"``: on the
            one that this program is connected to. Any other one that is registered with joblib:
            ``"ray"``, after ``ray.util.joblib.register_ray()``. Its workers must see the images and
            the cache under the same paths, and have the same version of siamese.

    Raises:
        DataError: bad images, and ``bad_images`` is ``"error"``; or a worker does not see an image
            that is here.
        ConfigError, MissingDependencyError: the backend is not known, does not answer, or is not
            installed.
        FaceError: the cropper's policy is ``"error"`` and an image falls under it.
        CacheError: a crop cannot be written (disk full, no permission), or is written where this
            process does not see it.
    """
    start = time.perf_counter()
    check_backend(backend)
    hashes = hash_files(paths, backend) if hashes is None else hashes
    folder = _settings_folder(Path(cache).expanduser() if cache else default_cache(), cropper)
    wanted = {h for h in hashes if isinstance(h, str)} if len(hashes) < FEW else None
    cached = _scan(folder, wanted)
    bad = {row: h.reason for row, h in enumerate(hashes) if isinstance(h, ImageError)}
    computed = 0
    # An image that occurs twice is cropped once. Only if its first file has changed is the next one
    # tried.
    while rows := _missing(hashes, cached, bad):
        jobs = Jobs(rows, paths, hashes)
        if not computed:
            cropper.check()
            _make_folder(folder, cropper)
        computed += len(jobs)
        for job, faces, reason in do_jobs(
            jobs, cropper, folder, workers=workers, backend=backend, progress=progress
        ):
            if reason is None:
                cached[job.content] = faces
            else:
                bad[job.row] = reason
    digests = np.zeros((len(paths), 32), dtype=np.uint8)
    codes = np.full(len(paths), LEFT_OUT, dtype=np.int32)
    found: list[int | None] = []
    skipped, forbidden = [], []
    for row, content in enumerate(hashes):
        if row in bad or not isinstance(content, str):
            found.append(None)
            continue
        verdict = cropper.verdict(cached[content])
        skipped += [row] if verdict == "skip" else []
        forbidden += [row] if verdict == "error" else []
        found.append(cached[content])
        if verdict == "keep":
            digests[row] = np.frombuffer(bytes.fromhex(content), dtype=np.uint8)
            codes[row] = -1 if found[-1] is None else found[-1]
    files = CropPaths(folder, digests, codes)
    if bad and bad_images != "quarantine":
        raise DataError(_bad_message(paths, bad))
    if forbidden:
        raise _forbidden(paths, forbidden, found)
    return CropResult(
        files if len(files) >= MANY else list(files),
        found,
        dict(sorted(bad.items())),
        skipped,
        computed,
        time.perf_counter() - start,
    )


def read_crop(path: Path) -> np.ndarray:
    """Read a cached crop, (size, size, 3) uint8, out of its file or a pack.

    Raises:
        CacheError: it is gone or damaged.
    """
    if (packed := packed_crop(path)) is None:
        try:
            content = read_bytes(path)
        except ImageError as error:
            if len(path.parents) > 1:  # it was packed since this process looked, perhaps
                packs_of(path.parents[1], fresh=True)
            if (packed := packed_crop(path)) is None:
                raise _lost(path, error) from error
    content, pack = packed or (content, None)
    try:
        return decode_image(content, path)
    except ImageError as error:
        if pack is not None:
            what = f"holds a crop that cannot be read ({path.name}: {error.reason})"
            raise damaged_pack(pack, what) from error
        raise _lost(path, error) from error


def _lost(path: Path, error: ImageError) -> CacheError:
    return CacheError(
        f"{path}: cached crop is lost ({error.reason}); delete that file if it is there and run "
        f"again"
    )


def _missing(
    hashes: Sequence[str | ImageError], cached: dict[str, int | None], bad: dict[int, str]
) -> list[int]:
    """The first row of each content that has no crop yet."""
    rows: list[int] = []
    met: set[str] = set()
    for row, content in enumerate(hashes):
        if isinstance(content, str) and content not in cached and row not in bad:
            if content not in met:
                rows.append(row)
            met.add(content)
    return rows


def _settings_folder(cache: Path, cropper: Cropper) -> Path:
    settings = json.dumps({"format": FORMAT} | cropper.pixel_settings(), sort_keys=True)
    return (
        cache
        / "crops"
        / f"{cropper.pixel_settings()['name']}-{hashlib.sha256(settings.encode()).hexdigest()[:12]}"
    )


def _scan(folder: Path, wanted: set[str] | None = None) -> dict[str, int | None]:
    """Content hash -> faces, of the crops that exist.

    Removes temporary files that a killed run left more than a day ago, where it meets them.

    Args:
        folder: of the cropper's settings.
        wanted: content hashes that matter; all by default.
    """
    cached: dict[str, int | None] = {}
    try:
        if not folder.is_dir():
            return cached
        packs = packs_of(folder, fresh=True)
        if wanted is not None:
            cached = _look_up(folder, wanted, packs)
            wanted = wanted - cached.keys()
        begun = None if wanted is None else {content[:2] for content in wanted}
        shards = [
            shard.path
            for shard in os.scandir(folder)
            if shard.is_dir() and (begun is None or shard.name in begun)
        ]
        for entry in (entry for shard in shards for entry in os.scandir(shard)):
            crop = CROP_NAME.fullmatch(entry.name)
            if crop is None and not entry.name.endswith(".tmp"):
                continue
            if crop is not None and wanted is not None and crop[1] not in wanted:
                continue
            # Missing if another process has just renamed or removed it.
            with contextlib.suppress(FileNotFoundError):
                status = entry.stat()
                if crop is None and time.time() - status.st_mtime > _STALE_SECONDS:
                    Path(entry.path).unlink()
                # A power failure can leave a renamed file empty.
                elif crop is not None and status.st_size:
                    cached[crop[1]] = None if crop[2] == "x" else int(crop[2])
        if packs is not None and wanted is None:
            cached.update(packs.contents())
    except OSError as error:
        raise CacheError(
            f"{folder}: the crop cache cannot be read ({error.strerror or error}); change its "
            f"permissions or choose another folder (SIAMESE_CACHE, data.cache)"
        ) from error
    return cached


def _look_up(folder: Path, wanted: set[str], packs: Packs | None) -> dict[str, int | None]:
    """Content hash -> faces, of wanted crops in packs, or with the commonest names: x, 1, 0."""
    cached: dict[str, int | None] = {}
    for content in wanted:
        if packs is not None and (packed := packs.faces(content)):
            cached[content] = packed[-1]
            continue
        for faces in (None, 1, 0):
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                if crop_path(folder, content, faces).stat().st_size:
                    cached[content] = faces
                    break
    return cached


def _make_folder(folder: Path, cropper: Cropper) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(
            folder / "settings.json",
            json.dumps(cropper.pixel_settings(), indent=1, sort_keys=True).encode(),
        )
    except OSError as error:
        raise cache_error(folder, error) from error


def _bad_message(paths: Sequence[Path], bad: dict[int, str]) -> str:
    shown = "; ".join(f"{paths[row]} ({reason})" for row, reason in sorted(bad.items())[:3])
    more = f"; and {len(bad) - 3} more" if len(bad) > 3 else ""
    kinds = Counter(kind_of(reason) for _, reason in sorted(bad.items())).most_common()
    counts = f" ({', '.join(f'{n:,} {kind}' for kind, n in kinds)})" if len(bad) > 1 else ""
    return (
        f"{len(bad)} of {len(paths)} images cannot be read{counts}: {shown}{more}; replace or "
        f"remove them, or leave them out: data.bad_images=quarantine (siamese evaluate and "
        f"calibrate: --bad-images quarantine)"
    )


def kind_of(reason: str) -> str:
    """What a reason is counted as: without what differs from image to image."""
    return next((kind for words, kind in _KINDS.items() if words in reason), reason.split(" (")[0])


def _forbidden(paths: Sequence[Path], rows: list[int], faces: list[int | None]) -> FaceError:
    row = rows[0]
    kind = SEVERAL_FACES if faces[row] else NO_FACE
    setting = "several_faces" if faces[row] else "no_face"
    alike = sum(bool(faces[each]) == bool(faces[row]) for each in rows)
    return FaceError(
        paths[row],
        f"{faces[row]} faces found, and the cropper refuses images with {kind}, {alike} of "
        f"{len(paths)}",
        f"remove them or set cropper.{setting} to whole_image or skip",
        kind,
    )
