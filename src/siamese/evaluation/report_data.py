"""What a run leaves for its report: ``report.json`` and ``report.npz``, and the page itself."""

from __future__ import annotations

import hashlib
import io
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from siamese.data.dataset import CropDataset
from siamese.data.samplers.base import BatchPlan
from siamese.report import galleries
from siamese.report.condensed import (
    MOST_PAIRS,
    curve_points,
    histogram,
    pair_arrays,
    probability_bins,
)
from siamese.report.data_sections import KEPT_DOUBTS
from siamese.report.record import ARRAYS, REPORT
from siamese.report.run_report import PAGE, write_report
from siamese.report.stored_report import VERSION
from siamese.report.thumbnails import thumbnail
from siamese.storage import write_json, write_whole
from siamese.verification.pair_distances import PairDistances, PairSample
from siamese.verification.probability import ProbabilityMap

if TYPE_CHECKING:
    from siamese.evaluation.stages import RunEvaluation

PAIRS = 12  # of either kind of mistake
_ALIKE = 3  # of them that show the same two identities
_BATCH = 24  # images of the first training batch
_NAMED = 5_000  # identities whose names are kept
_HASHED = 500_000  # files that are compared by their hashes
FILES = (PAGE, REPORT, ARRAYS)


def write_run_report(
    run: RunEvaluation,
    folder: Path,
    *,
    faces: bool = True,
    draw: bool = True,
    batch: tuple[BatchPlan, CropDataset] | None = None,
    timing: Mapping[str, float] | None = None,
    one_rule: bool = False,
) -> None:
    """``report.json``, ``report.npz`` and ``report.html`` in a folder that has the figures.

    Args:
        run: an evaluation.
        folder: where ``evaluation.json`` lies.
        faces: whether images are kept, small, and shown.
        draw: whether to make the page now; ``siamese report FOLDER`` makes it later.
        batch: the first training batch, and the images that it is of.
        timing: what took how many seconds.
        one_rule: whether training and validation loss are of batches drawn by one rule, so that
            they can be compared.
    """
    described = _described(run, faces, batch)
    described |= {"timing": dict(timing or {}), "one_rule": one_rule}
    write_json(folder / REPORT, described)
    arrays = pair_arrays(run.distances[run.judged])
    (folder / ARRAYS).unlink(missing_ok=True)
    if arrays is not None:
        stream = io.BytesIO()
        written: Any = arrays  # numpy's own types take its names for settings
        np.savez_compressed(stream, **written)
        write_whole(folder / ARRAYS, stream.getvalue())
    if draw:
        write_report(folder, faces=faces)


def _described(
    run: RunEvaluation, faces: bool, batch: tuple[BatchPlan, CropDataset] | None
) -> dict[str, Any]:
    """What ``report.json`` holds: :class:`siamese.report.stored_report.StoredReport`."""
    split, point = run.judged, run.operating_point
    probability = run.calibration.probability if run.calibration else None
    part = run.data.prepared.splits[split]
    doubts = _doubts(run, split)
    shown = _Shown(part.table.files, part.table.identities, doubts or {}, run.data.datasets[split])
    sample = run.distances[split].pairs_to_show(PAIRS)
    labels = run.data.datasets[split].labels
    worst = {
        kind: _varied(sample, choose(sample, point.threshold, len(sample.pairs)), labels)
        for kind, choose in (
            ("false_matches", galleries.false_matches),
            ("false_non_matches", galleries.false_non_matches),
        )
    }
    return {
        "version": VERSION,
        "name": run.data.manifest.dataset,
        "judged": split,
        "point": point.to_dict(),
        "chosen_on": run.chosen_on,
        "faces": faces,
        "splits": {
            name: _split(run.called(name), distances, point.threshold, probability)
            for name, distances in run.distances.items()
        },
        "identities": _names(part.table.identities, labels),
        "pairs": _digest(part.table.files, part.table.identities),
        **{
            kind: [
                {
                    "left": shown.image(int(sample.pairs.left[row]), faces),
                    "right": shown.image(int(sample.pairs.right[row]), faces),
                    "distance": float(sample.distances[row]),
                    "probability": None
                    if probability is None
                    else float(probability(float(sample.distances[row]))),
                }
                for row in rows.tolist()
            ]
            for kind, rows in worst.items()
        },
        "doubts": None if doubts is None else list(doubts.values())[:KEPT_DOUBTS],
        "batch": _batch(run, faces, batch),
        "leaks": _leaks(run),
        "data": run.data.prepared.summary(),
        "notes": list(run.notes),
    }


def _varied(sample: PairSample, rows: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The first rows of which no more than 3 are of the same two identities."""
    kept: list[int] = []
    seen: Counter[tuple[int, ...]] = Counter()
    for row in rows.tolist():
        sides = (int(sample.pairs.left[row]), int(sample.pairs.right[row]))
        who = tuple(sorted(int(labels[side]) for side in sides))
        seen[who] += 1
        if seen[who] <= _ALIKE:
            kept.append(row)
        if len(kept) == PAIRS:
            break
    return np.asarray(kept, dtype=np.int64)


def _split(
    called: str, distances: PairDistances, threshold: float, probability: ProbabilityMap | None
) -> dict[str, Any]:
    """What is drawn of a split."""
    if not distances.genuine + distances.impostor:
        return {"called": called}
    curve = distances.curve()
    found: dict[str, Any] = {"called": called, "histogram": histogram(curve)}
    if distances.genuine and distances.impostor:
        exact = curve.with_counts_at([threshold], distances.count_verdicts(threshold))
        found["curve"] = curve_points(exact, threshold)
        if probability is not None:
            found["probabilities"] = probability_bins(probability, curve)
    return found


def _doubts(run: RunEvaluation, split: str) -> dict[int, dict[str, Any]] | None:
    """Row -> a suspected label; None where nobody looked."""
    found = run.suspicions.get(split)
    if found is None:
        return None
    table = run.data.prepared.splits[split].table
    return {
        suspect.row: {
            "file": table.files[suspect.row],
            "identity": table.identities[suspect.row],
            "own": suspect.own,
            "other": suspect.other,
            "other_file": table.files[suspect.other_row],
            "other_identity": table.identities[suspect.other_row],
        }
        for suspect in found.mislabelled
    }


class _Shown:
    """Images of galleries as they are kept."""

    def __init__(
        self,
        files: Sequence[str],
        identities: Sequence[str],
        doubts: Mapping[int, dict[str, Any]],
        data: CropDataset,
    ) -> None:
        self.files, self.identities, self.doubts = files, identities, doubts
        self.pixels: Callable[[int], np.ndarray] = data.image

    def image(self, row: int, faces: bool) -> dict[str, Any]:
        """A row of a gallery; with faces, small."""
        return {
            "file": self.files[row],
            "identity": self.identities[row],
            "thumbnail": thumbnail(self.pixels(row)) if faces else "",
            "doubt": self.doubts.get(row),
        }


def _batch(
    run: RunEvaluation, faces: bool, batch: tuple[BatchPlan, CropDataset] | None
) -> list[dict[str, Any]]:
    """Some images of the first training batch, augmented, those of one identity together."""
    if batch is None or not faces:
        return []
    plan, data = batch
    loaded = data[plan]
    table = run.data.prepared.splits["train"].table
    labels, images = loaded["label"].numpy(), loaded["image"].permute(0, 2, 3, 1).numpy()
    rows = np.asarray(loaded["index"])
    order = np.argsort(labels, kind="stable")[:_BATCH]
    return [
        {
            "file": table.files[int(rows[i])],
            "identity": table.identities[int(rows[i])],
            "thumbnail": thumbnail(images[i]),
            "doubt": None,
        }
        for i in order.tolist()
    ]


def _leaks(run: RunEvaluation) -> list[str]:
    """What is known of identities and files that splits share, in sentences."""
    splits, entries = run.data.prepared.splits, run.data.manifest.splits
    if len(splits) < 2:
        return []
    if sum(map(len, entries.values())) > _HASHED:
        return ["Whether splits share images was not looked for: there are too many."]
    who = {name: set(part.table.identities) for name, part in splits.items()}
    shared = sum(n > 1 for n in Counter(i for names in who.values() for i in names).values())
    said = [
        f"{shared:,} identities are in more than one split."
        if shared
        else "No identity is in more than one split."
    ]
    left_out = set(run.data.manifest.quarantine)
    where: dict[str, set[str]] = {}
    for name, listed in entries.items():
        for entry in listed:
            if entry["sha256"] and entry["file"] not in left_out:
                where.setdefault(entry["sha256"], set()).add(name)
    twice = sum(len(names) > 1 for names in where.values())
    said.append(
        f"{twice:,} files are, byte for byte, in more than one split."
        if twice
        else "No file is, byte for byte, in more than one split. Images that only look the same "
        "were not looked for: siamese audit does that."
    )
    if left_out:
        said.append(f"{len(left_out):,} files were left out as unreadable, or the same as others.")
    return said


def _names(identities: Sequence[str], labels: np.ndarray) -> list[str]:
    """Label -> identity; none where they are many."""
    count = int(labels.max(initial=-1)) + 1
    if count > _NAMED:
        return []
    names = [""] * count
    for label, name in zip(labels.tolist(), identities, strict=True):
        names[label] = name
    return names


def _digest(files: Sequence[str], identities: Sequence[str]) -> str:
    """Of the images that were measured, in order; empty where they are too many to be compared."""
    if len(files) > MOST_PAIRS:
        return ""
    found = hashlib.sha256()
    for pair in zip(files, identities, strict=True):
        found.update("\0".join([*pair, ""]).encode("utf-8", "surrogateescape"))
    return found.hexdigest()
