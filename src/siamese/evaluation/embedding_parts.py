"""embed_files: all images of a data set to a file of embeddings, in parts, by any processes."""

from __future__ import annotations

import functools
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from siamese.data.dataset import CropDataset
from siamese.data.embedding import EVAL_BATCH, embed
from siamese.data.entries import Entries, joined
from siamese.data.manifest import SplitManifest
from siamese.data.tta import TestTimeAugmentation
from siamese.datasets.columns import CodedColumn, TextColumn
from siamese.datasets.identities import IdentityTable
from siamese.errors import NO_FACE, SEVERAL_FACES, ConfigError, DataError
from siamese.evaluation.data import keep_splits, other_table, run_manifest
from siamese.evaluation.embedding_files import (
    check_names,
    check_suffix,
    labels_file,
    write_embeddings,
)
from siamese.evaluation.part_files import (
    Part,
    PartsFolder,
    StoredPart,
    read_part,
    write_part,
)
from siamese.evaluation.sources import Source, home_of, open_source, place_of
from siamese.evaluation.work import Work, finished_bundle
from siamese.faces.crop_jobs import usable_cores
from siamese.faces.croppers.base import Cropper
from siamese.faces.crops import CropResult, crop_files, kind_of
from siamese.inference.bundle import Bundle
from siamese.inference.no_face import with_no_face
from siamese.processes import apart, together
from siamese.progress import progress_bar

PART = 4096  # images: some minutes of work are lost at most, and some dozens of MB held
# Images that a process crops at once, where parts are smaller: each time the whole cache of crops
# is looked through, which takes 0.6 s for 100,000 of them.
TURN = 1 << 16
FORMAT = 1  # of a part; raised where the same settings give other embeddings than before


@dataclass(frozen=True)
class EmbeddedFiles:
    """What :func:`embed_files` wrote.

    Attributes:
        path: of the file with the embeddings.
        images, kept: how many images there are, and of how many there are embeddings.
        size: numbers of an embedding.
        left_out: file -> why it has none: "no face", "several faces", or why it cannot be read.
        parts, found: number of parts, and how many of them an earlier, stopped run had made.
        notes: what must be known beside it, in sentences.
    """

    path: Path
    images: int
    kept: int
    size: int
    left_out: Mapping[str, str]
    parts: int
    found: int
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON: path, images, kept, size, left_out, parts, found."""
        return {
            "path": str(self.path),
            "images": self.images,
            "kept": self.kept,
            "size": self.size,
            "left_out": dict(self.left_out),
            "parts": self.parts,
            "found": self.found,
        }

    def __repr__(self) -> str:
        return f"EmbeddedFiles({self.kept:,} of {self.images:,} images, {self.path})"


def embed_files(
    run: Source,
    data: IdentityTable | str | Path | None,
    out: str | Path,
    *,
    splits: str | Sequence[str] | None = None,
    tta: int | None = None,
    no_face: str | None = None,
    root: str | Path | None = None,
    bad_images: str = "error",
    cache: str | Path | None = None,
    device: str = "cpu",
    progress: bool = True,
    overwrite: bool = False,
    part: int = PART,
) -> EmbeddedFiles:
    """Embed all images of a data set with a bundle's network, and write them to one file.

    The images are cropped and embedded in parts, which are kept beside the file until it is
    written. Where it is stopped, in whatever way, the same call goes on with the parts that are
    missing. Two programs that make the same file at once are told so. Memory does not grow with the
    number of images, but for their names.

    Inside :func:`siamese.across_processes` the parts are divided over the processes, which must see
    the same folders; what one of them fails at, while parts are made or joined, is raised in all.
    The embeddings are the same bits for any number of them: a batch holds the same images whoever
    embeds it, on machines of one kind with as many threads.

    Args:
        run: a bundle or its folder, or a run or its folder.
        data: a table, a folder of one folder per identity (LFW's, too), a CSV file (path,
            identity), or a ``split.json``; None for the images of the run.
        out: the file; its name ends in ``.npz``, ``.npy`` or ``.parquet``: see
            :func:`siamese.evaluation.embedding_files.write_embeddings`.
        splits: only these splits, of the run or of a ``split.json``.
        tta: changed copies over which each embedding is averaged, 0 for none; by default the
            bundle's.
        no_face, root, bad_images, cache, device, progress: as for :func:`siamese.evaluate_run`.
        overwrite: whether a file that is there is replaced.
        part: images of a part.

    Raises:
        ConfigError: arguments that contradict each other, a file that may not be replaced, or that
            another program is making.
        BundleError: no bundle, or a damaged one.
        DataError, FaceError, CacheError, SplitError: from reading and cropping; no image is left;
            or names that the file cannot hold
            (:func:`siamese.evaluation.embedding_files.write_embeddings`).
    """
    out = check_suffix(out)
    if part < 1:
        raise ConfigError(f"a part needs one image at least, not {part}")
    processes = together()
    folder = PartsFolder(out)
    if not folder.is_joining():
        _check_room(out, overwrite)
    work = Work(None, bad_images, cache, device, progress and processes.first, no_face)
    bundle, note = finished_bundle(open_source(place_of(run)), work)
    table = _table(run, data, root, splits)
    views = bundle.tta if tta is None else tta
    task = _Task.of(bundle, table, work, TestTimeAugmentation.of(bundle.augmentation, views))

    def look() -> tuple[list[Part], list[Part]]:
        """All parts and the missing ones, by one process: files may appear or change meanwhile."""
        folder.take()
        parts = [
            Part(folder.path / f"{start:09d}-{task.key(rows)}.npz", rows)
            for start in range(0, len(table), part)
            for rows in [range(start, min(start + part, len(table)))]
        ]
        if not folder.is_joining(parts):
            _check_room(out, overwrite)
        check_names(out, table.files, table.identities)
        return parts, [part for part in parts if not _serves(part, bad_images)]

    def finish() -> EmbeddedFiles:
        with folder.joining(parts):
            found = _joined(out, table, parts, len(parts) - len(missing), note)
        return found

    try:
        parts, missing = processes.by_first(look)
        mine = processes.share(missing)
        with progress_bar("embedding", sum(len(p.rows) for p in mine), work.progress) as advance:
            # In turns, as many in each process: what one fails at, all learn after the turn.
            step = max(1, TURN // part) * processes.count
            for turn in range(0, len(missing), step):
                some = processes.share(missing[turn : turn + step])
                processes.by_some(functools.partial(task.make, some, advance), bool(some))
        return processes.by_first(finish)
    finally:
        folder.release()


class _Task(NamedTuple):
    """How images become embeddings."""

    table: IdentityTable
    network: torch.nn.Module
    cropper: Cropper
    views: TestTimeAugmentation | None
    work: Work
    digest: str  # of all that an embedding depends on, but for the image

    @classmethod
    def of(
        cls, bundle: Bundle, table: IdentityTable, work: Work, views: TestTimeAugmentation | None
    ) -> _Task:
        refuses = getattr(bundle.cropper, "no_face", None) == "error"
        cropper = with_no_face(bundle.cropper, work.no_face or ("skip" if refuses else None))
        device = torch.device(work.device).type
        facts = {
            "format": FORMAT,
            "components": bundle.components.describe(),
            "no_face": getattr(cropper, "no_face", None),
            "copies": views.copies if views else 0,
            "batch": EVAL_BATCH,
            "torch": torch.__version__,
            "device": device,
            # Of the CPU: with another number the last bits of an embedding may differ.
            "threads": torch.get_num_threads() if device == "cpu" else None,
        }
        digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
        for name, tensor in sorted(bundle.components.tensors().items()):
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            digest.update(
                tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes()
            )
        network = bundle.backbone.for_inference().to(work.device)
        return cls(table, network, cropper, views, work, digest.hexdigest())

    def key(self, rows: range) -> str:
        """Names a part: another one where an image, or how it is embedded, has changed."""
        digest = hashlib.sha256(self.digest.encode())
        for row in rows:
            name = self.table.files[row]
            try:
                status = (self.table.root / name).stat()
                about = f"{status.st_size} {status.st_mtime_ns}"
            except OSError:  # cropping says so
                about = "missing"
            digest.update(f"{name}\0{about}\0".encode("utf-8", "surrogateescape"))
        return digest.hexdigest()[:24]

    def make(self, parts: Sequence[Part], advance: Callable[[int], None]) -> None:
        """Crop the images of some parts at once, then embed and write one part after the other.

        This process works alone; ``advance`` is told the images of each part.
        """
        rows = [row for part in parts for row in part.rows]
        with apart():
            crops = self._crop(rows)
            reasons = {rows[n]: kind_of(reason) for n, reason in crops.bad.items()}
            for n in crops.skipped:
                reasons[rows[n]] = SEVERAL_FACES if crops.faces[n] else NO_FACE
            files = iter(crops.files)
            for part in parts:
                here = {row: file for row, file in zip(part.rows, files, strict=False) if file}
                left_out = {row: reasons[row] for row in part.rows if row in reasons}
                self._embed(part, here, left_out)
                advance(len(part.rows))

    def _crop(self, rows: Sequence[int]) -> CropResult:
        local = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))  # processes that share the cores
        return crop_files(
            [self.table.root / self.table.files[row] for row in rows],
            self.cropper,
            cache=self.work.cache,
            workers=None if local == 1 else max(1, usable_cores() // local),
            bad_images=self.work.bad_images,
            progress=False,
        )

    def _embed(self, part: Part, crops: Mapping[int, Path], left_out: Mapping[int, str]) -> None:
        """Embed the crops of a part, row -> file, and write its file."""
        found = np.zeros((0, 0), dtype=np.float32)
        if crops:
            labels = np.zeros(len(crops), dtype=np.int64)
            data = CropDataset([*crops.values()], labels, in_memory=False)
            found = embed(self.network, data, tta=self.views).numpy()
        write_part(part, StoredPart(found, np.array([*crops], dtype=np.int64), left_out))


def _joined(
    out: Path, table: IdentityTable, parts: Sequence[Part], found: int, note: str | None
) -> EmbeddedFiles:
    """Write the embeddings of all parts to one file."""
    kept: list[np.ndarray] = []
    left_out: dict[str, str] = {}
    size = 0
    for part in parts:
        stored = _whole(part)
        kept.append(stored.rows)
        size = max(size, stored.embeddings.shape[1])
        left_out |= {table.files[row]: reason for row, reason in stored.left_out.items()}
    rows = np.concatenate(kept)
    if not len(rows):
        why = ", ".join(sorted(set(left_out.values())))
        raise DataError(f"none of the {len(table):,} images can be embedded: {why}")

    def blocks() -> Iterator[np.ndarray]:
        for part in parts:
            if len(block := _whole(part).embeddings):
                yield block

    names, who = (_taken(of, rows) for of in (table.files, table.identities))
    out.parent.mkdir(parents=True, exist_ok=True)
    write_embeddings(out, blocks(), (len(rows), size), names, who)
    notes = (note,) if note else ()
    return EmbeddedFiles(out, len(table), len(rows), size, left_out, len(parts), found, notes)


def _taken(names: Sequence[str], rows: np.ndarray) -> Sequence[str]:
    if isinstance(names, (TextColumn, CodedColumn)):
        taken: Sequence[str] = names.take(rows)
        return taken
    return [names[row] for row in rows.tolist()]


def _serves(part: Part, bad_images: str) -> bool:
    """Whether an earlier run has made a part as this one would.

    With bad images left out it serves one alone that leaves them out.
    """
    stored = read_part(part)
    return stored is not None and (bad_images == "quarantine" or not stored.has_bad_images)


def _whole(part: Part) -> StoredPart:
    if (stored := read_part(part)) is None:
        raise DataError(f"{part.file}: the part was removed or damaged meanwhile; run again")
    return stored


def _table(
    run: Source,
    data: IdentityTable | str | Path | None,
    root: str | Path | None,
    splits: str | Sequence[str] | None,
) -> IdentityTable:
    """The images: of a table, folder, CSV file or manifest, or of the run itself."""
    is_manifest = isinstance(data, (str, Path)) and Path(data).suffix.lower() == ".json"
    if data is not None and not is_manifest:
        if splits:
            raise ConfigError(
                "splits (--splits) are those of a run or of a split.json; leave them out with "
                "other data"
            )
        return other_table(data, root)
    if data is None:
        home = home_of(run)
        if isinstance(home, Bundle):
            raise ConfigError("a bundle alone knows no images; give some: data=PATH (--data PATH)")
        manifest = run_manifest(home, root)
    else:
        assert not isinstance(data, IdentityTable)
        manifest = SplitManifest.load(data, root=root)
    if splits:
        keep_splits(manifest, [splits] if isinstance(splits, str) else list(splits))
    parts = [manifest.usable(split) for split in manifest.splits]
    columns = [part for part in parts if isinstance(part, Entries)]
    if columns and len(columns) == len(parts):  # without an object for each of millions
        every = joined(columns)
        return manifest.table_of(every.take(every.files.order()))
    entries = [entry for part in parts for entry in part]
    return manifest.table_of(sorted(entries, key=lambda entry: str(entry["file"])))


def _check_room(out: Path, overwrite: bool) -> None:
    beside = [labels_file(out)] if out.suffix.lower() == ".npy" else []
    there = [file for file in (out, *beside) if file.exists()]
    if there and not overwrite:
        raise ConfigError(
            f"{there[0]} is there already: give another name, or replace it (overwrite=True; on "
            f"the command line --overwrite)"
        )
