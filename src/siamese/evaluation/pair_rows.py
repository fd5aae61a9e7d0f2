"""What a bundle says of each pair of a benchmark, as a CSV file: a line per pair."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from siamese.distances.verdict import is_match
from siamese.evaluation.benchmark import BenchmarkDistances
from siamese.storage import write_whole
from siamese.verification.folds import FoldedEvaluation
from siamese.verification.probability import ProbabilityMap

PAIRS = "pairs.csv"
COLUMNS = (
    "left",
    "right",
    "left_identity",
    "right_identity",
    "fold",
    "genuine",
    "distance",
    "threshold",
    "same",
    "right_verdict",
    "probability",
    "note",
)
NO_FACE = "no face was found on an image: what was compared instead is not calibrated"
LEFT_OUT = "an image was left out: the pair counts as different"


def write_pair_rows(
    path: str | Path,
    measured: BenchmarkDistances,
    found: FoldedEvaluation,
    probability: ProbabilityMap | None = None,
) -> Path:
    """Write a line for every pair: files, identities, fold, distance, verdict, probability.

    Cells are empty where something is not known: identities of a CSV file without any, the
    threshold and verdict of a pair in a fold that is not tested, the probability where no face was
    found. Files are written as the pairs name them. Numbers have all their digits.

    Args:
        path: of the file, UTF-8.
        measured: distances of n pairs.
        found: the thresholds of the folds.
        probability: P(same identity) of a distance, of the distance that was measured; None where
            it is not known.

    Raises:
        OSError: it cannot be written.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(_rows(measured, found, probability))
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, text.getvalue().encode("utf-8", "surrogateescape"))
    return path


def _rows(
    measured: BenchmarkDistances, found: FoldedEvaluation, probability: ProbabilityMap | None
) -> Iterator[list[str]]:
    b = measured.benchmark
    thresholds = {fold.fold: fold.threshold for fold in found.folds}
    # Of pairs that are refused there is no distance, and so no number.
    distances = np.where(measured.refused, 0, measured.distances)
    chances = None if probability is None else probability(distances)
    for row in range(len(b)):
        left, right = int(b.left[row]), int(b.right[row])
        refused, missing = bool(measured.refused[row]), bool(measured.missing[row])
        threshold = thresholds.get(int(b.fold[row]))
        distance, genuine = float(distances[row]), bool(b.same[row])
        same = right_verdict = None
        if threshold is not None:
            same = not refused and bool(is_match(distances[row], threshold))
            right_verdict = same == genuine
        chance = None if chances is None or missing or refused else float(chances[row])
        names = (b.identities[left], b.identities[right]) if b.identities_known else (None, None)
        yield [
            _cell(value)
            for value in (
                b.files[left],
                b.files[right],
                *names,
                b.fold_names[int(b.fold[row])] if b.folds > 1 else None,
                genuine,
                None if refused else distance,
                threshold,
                same,
                right_verdict,
                chance,
                LEFT_OUT if refused else NO_FACE if missing else None,
            )
        ]


def _cell(value: str | float | None) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else repr(value)
