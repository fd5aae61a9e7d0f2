"""Two bundles on the pairs of a benchmark, each fold at the thresholds that the others choose."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from siamese.datasets.pairs_file import PairsFile
from siamese.errors import DataError
from siamese.evaluation.benchmark import BenchmarkDistances, embed_benchmark
from siamese.faces.croppers.base import Cropper
from siamese.inference.bundle import Bundle
from siamese.pairs.base import FIXED, Pairs
from siamese.verification.folds import FoldedEvaluation
from siamese.verification.held import HeldDistances
from siamese.verification.paired import PairedComparison, compare_pairs
from siamese.verification.policies.max_accuracy import MaxAccuracy


@dataclass(frozen=True)
class FoldedDifference:
    """A and B on the same folds.

    Attributes:
        a, b: the figures of each.
    """

    a: FoldedEvaluation
    b: FoldedEvaluation

    @property
    def differences(self) -> list[float]:
        """Accuracy of B less that of A, fold by fold."""
        return [y.accuracy - x.accuracy for x, y in zip(self.a.folds, self.b.folds, strict=True)]

    @property
    def difference(self) -> float:
        """Of the mean accuracies, B less A."""
        return math.fsum(self.differences) / len(self.differences)

    @property
    def standard_error(self) -> float:
        """Of the difference, from its spread over the folds; NaN for one fold."""
        k = len(self.differences)
        if k < 2:
            return math.nan
        return float(np.std(self.differences, ddof=1) / math.sqrt(k))

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        error = self.standard_error
        return {
            "difference": self.difference,
            "standard_error": None if math.isnan(error) else error,
            "a": self.a.to_dict(),
            "b": self.b.to_dict(),
        }

    def __str__(self) -> str:
        spread = f" +- {self.standard_error:.4f} (paired by fold, {len(self.differences)} folds)"
        return (
            f"mean accuracy {self.a.mean:.4f} and {self.b.mean:.4f}, {self.difference:+.4f}"
            f"{'' if math.isnan(self.standard_error) else spread}"
        )


class PairedFolds(NamedTuple):
    """What comparing on a benchmark gives.

    ``left_out`` is how many images one of the two leaves out, ``pairs`` how many pairs with them.
    """

    compared: PairedComparison
    folds: FoldedDifference
    left_out: int
    pairs: int


def compare_folds(
    a: Bundle,
    b: Bundle,
    benchmark: PairsFile,
    *,
    croppers: tuple[Cropper, Cropper],
    cache: str | Path | None = None,
    bad_images: str = "error",
    device: str = "cpu",
    progress: bool = True,
) -> PairedFolds:
    """Measure two bundles on the pairs that both have a distance of.

    Each fold is judged at the threshold that is most accurate on the other folds; of one fold
    alone at the bundle's own.

    Args:
        a, b: the bundles.
        benchmark: which pairs.
        croppers: of A and B. One that refuses images without a face takes them whole.
        cache, bad_images, device, progress: as for :func:`siamese.evaluate_benchmark`.

    Raises:
        DataError, FaceError, CacheError, CalibrationError: from cropping and embedding, or pairs of
            one kind only.
    """
    embedded = [
        embed_benchmark(
            bundle.backbone.for_inference().to(device),
            cropper,
            benchmark,
            tta=bundle.test_time_augmentation,
            cache=cache,
            bad_images=bad_images,
            progress=progress,
        )
        for bundle, cropper in zip((a, b), croppers, strict=True)
    ]
    kept = embedded[0].kept & embedded[1].kept
    with_both = kept[benchmark.left] & kept[benchmark.right]
    if not with_both.any():
        raise DataError(
            f"{benchmark.name}: no pair is left of which A and B both see the two images; let "
            f"images without a face be taken whole: no_face='whole_image' (--no-face whole_image)"
        )
    measured = [
        _among(images.measured(bundle.distance.to(device)), with_both)
        for bundle, images in zip((a, b), embedded, strict=True)
    ]
    folds = FoldedDifference(*map(_judged, (a, b), measured))
    held = [_held(m) for m in measured]
    thresholds = [_thresholds(m, e) for m, e in zip(measured, (folds.a, folds.b), strict=True)]
    compared = compare_pairs(held[0], held[1], thresholds[0], thresholds[1])
    if not benchmark.identities_known and compared.sharing:
        compared = compared.without_intervals(
            "the file does not say who is on the images, and an identity whose images no pairs "
            "link counts as several, so that intervals over identities would be too narrow"
        )
    return PairedFolds(
        compared, folds, int(np.count_nonzero(~kept)), int(np.count_nonzero(~with_both))
    )


def _among(measured: BenchmarkDistances, kept: np.ndarray) -> BenchmarkDistances:
    """Some of the pairs alone."""
    if kept.all():
        return measured
    b = measured.benchmark
    parts = {name: getattr(b, name)[kept] for name in ("left", "right", "same", "fold")}
    pairs = {name: getattr(measured, name)[kept] for name in ("distances", "missing", "refused")}
    return replace(measured, benchmark=replace(b, **parts), **pairs)


def _judged(bundle: Bundle, measured: BenchmarkDistances) -> FoldedEvaluation:
    alone = measured.benchmark.folds == 1
    return measured.evaluate(bundle.operating_point.threshold if alone else MaxAccuracy())


def _held(measured: BenchmarkDistances) -> HeldDistances:
    """The pairs that are tested, and the images on them."""
    b = measured.benchmark
    tested = np.isin(b.fold, b.tested)
    images, rows = np.unique(np.stack([b.left[tested], b.right[tested]]), return_inverse=True)
    left, right = rows.reshape(2, -1)
    pairs, described = Pairs(left, right, b.same[tested]), {"name": FIXED, "source": b.name}
    distances = measured.distances[tested]
    return HeldDistances(pairs, distances, b.labels[images], measured.distance, described)


def _thresholds(measured: BenchmarkDistances, found: FoldedEvaluation) -> float | np.ndarray:
    """Of each tested pair that of its fold; one number where there is one fold."""
    b = measured.benchmark
    if len(found.folds) == 1:
        return found.folds[0].threshold
    of_fold = {fold.fold: fold.threshold for fold in found.folds}
    return np.array([of_fold[fold] for fold in b.fold.tolist() if fold in of_fold])
