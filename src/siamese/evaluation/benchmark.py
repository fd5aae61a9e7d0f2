"""Benchmarks: pairs in folds that others chose, such as LFW's View 2."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from siamese.data.dataset import CropDataset
from siamese.data.embedding import embed
from siamese.data.tta import TestTimeAugmentation
from siamese.datasets.pairs_file import PairsFile
from siamese.distances.base import DISTANCES, Distance, as_distance
from siamese.errors import CalibrationError
from siamese.evaluation.fitted_folds import FoldFits, check_folds
from siamese.evaluation.sources import Source, place_of
from siamese.faces.croppers.base import Cropper
from siamese.faces.crops import crop_files
from siamese.inference.bundle import Bundle
from siamese.inference.no_face import with_no_face
from siamese.pairs.base import FIXED, Pairs
from siamese.pairs.fixed_pairs import FixedPairs
from siamese.verification.folds import FoldedEvaluation, cross_validate
from siamese.verification.held import HeldDistances
from siamese.verification.measure import measure_pairs
from siamese.verification.policies.base import Policy
from siamese.verification.policies.max_accuracy import MaxAccuracy


def evaluate_benchmark(
    bundle: Source,
    benchmark: PairsFile,
    policy: str | dict[str, Any] | Policy | float | None = None,
    *,
    distance: str | Distance | None = None,
    cache: str | Path | None = None,
    bad_images: str = "error",
    device: str = "cpu",
    progress: bool = True,
) -> FoldedEvaluation:
    """Judge a bundle on a benchmark, each fold at the threshold that the other folds choose.

    Args:
        bundle: embeds and measures; a bundle or its folder, or a finished run or its folder.
        benchmark: such as ``siamese.lfw_view2(folder)``, or ``siamese.PairsFile.read(file)``.
        policy: how thresholds are chosen; a number is applied as it is. By default the highest
            accuracy on the other folds, or, where there is one fold only, the bundle's own
            threshold.
        distance: another one than the bundle's, as for :func:`measure_benchmark`.
        cache, bad_images, progress: as for :func:`siamese.crop_files`.
        device: where to compute.

    Raises:
        BundleError: no bundle there, or a damaged one.
        ConfigError, DataError, FaceError, CacheError, CalibrationError: see
            :func:`measure_benchmark` and :func:`siamese.cross_validate`.
    """
    place = place_of(bundle)
    bundle = place if isinstance(place, Bundle) else Bundle.load(place)
    if policy is None and benchmark.folds == 1 and distance is None:
        policy = bundle.operating_point.threshold
    found = measure_benchmark(
        bundle.backbone.for_inference().to(device),
        bundle.distance.to(device) if distance is None else distance,
        bundle.cropper,
        benchmark,
        tta=bundle.test_time_augmentation,
        cache=cache,
        bad_images=bad_images,
        progress=progress,
    )
    return found.evaluate(MaxAccuracy() if policy is None else policy)


def measure_benchmark(
    model: nn.Module,
    distance: str | Distance,
    cropper: Cropper,
    benchmark: PairsFile,
    *,
    tta: TestTimeAugmentation | None = None,
    cache: str | Path | None = None,
    bad_images: str = "error",
    progress: bool = True,
) -> BenchmarkDistances:
    """Embed each image of a benchmark once, and measure the distance of each pair.

    Args:
        model: images (B, 3, H, W) to embeddings.
        distance: between them, an object or a name. One that must be fitted (``"plda"``) is fitted
            to the benchmark's own images, anew for every fold, without the people of the fold
            (:class:`siamese.evaluation.fitted_folds.FoldFits`).
        cropper: from images to what the model sees; where it finds nothing to crop, its policy says
            what is compared instead, if anything. One that refuses such images compares them whole
            here: every pair is answered, and those pairs are counted as wrong once more.
        benchmark: which images.
        tta: changed copies over which each embedding is averaged.
        cache, bad_images, progress: as for :func:`siamese.crop_files`.

    Raises:
        DataError, FaceError, CacheError: from cropping.
        CalibrationError: no image is left, or embeddings are NaN or infinite, or too few people to
            fit a distance to.
        ConfigError: an unknown distance, one that must be trained, or fewer than three folds for
            one that must be fitted.
    """
    distance = as_distance(distance, to_be_fitted=True)
    if distance.needs_fit:
        check_folds(benchmark)
    embedded = embed_benchmark(
        model,
        cropper,
        benchmark,
        tta=tta,
        cache=cache,
        bad_images=bad_images,
        progress=progress,
    )
    return embedded.measured(distance, progress)


def embed_benchmark(
    model: nn.Module,
    cropper: Cropper,
    benchmark: PairsFile,
    *,
    tta: TestTimeAugmentation | None = None,
    cache: str | Path | None = None,
    bad_images: str = "error",
    progress: bool = True,
) -> EmbeddedBenchmark:
    """Embed each image of a benchmark once; arguments and errors: :func:`measure_benchmark`."""
    if getattr(cropper, "no_face", None) == "error":
        cropper = with_no_face(cropper, "whole_image")
    result = crop_files(
        benchmark.paths, cropper, cache=cache, bad_images=bad_images, progress=progress
    )
    kept = np.array([file is not None for file in result.files])
    if not kept.any():
        raise CalibrationError(
            f"{benchmark.name}: the cropper leaves no image; set cropper.no_face=whole_image"
        )
    crops = [file for file in result.files if file is not None]
    found = embed(model, CropDataset(crops, np.arange(len(crops))), tta=tta)
    embeddings = found.new_zeros(len(kept), found.shape[1])
    embeddings[torch.from_numpy(kept)] = found
    empty = np.array([faces == 0 for faces in result.faces])
    return EmbeddedBenchmark(benchmark, embeddings, kept, empty)


@dataclass(frozen=True)
class EmbeddedBenchmark:
    """The images of a benchmark, embedded.

    Attributes:
        benchmark: N files.
        embeddings: (N, D) float32 on the CPU; zero where an image is left out.
        kept: (N,) bool, False where an image is left out.
        empty: (N,) bool, True where the cropper found nothing.
    """

    benchmark: PairsFile
    embeddings: Tensor
    kept: np.ndarray
    empty: np.ndarray

    def measured(self, distance: Distance, progress: bool = False) -> BenchmarkDistances:
        """The distance of each pair; see :func:`measure_benchmark`."""
        b = self.benchmark
        refused = ~(self.kept[b.left] & self.kept[b.right])
        choosing = None
        if distance.needs_fit:
            fits = FoldFits(distance, self.embeddings, self.kept & ~self.empty, b, progress)
            distances, choosing = fits.distances(), fits.choosing()
            name = DISTANCES.name(distance)
        else:
            # Each image an identity of its own: only distances are wanted.
            chosen = FixedPairs(b.left[~refused], b.right[~refused], b.name)
            held = measure_pairs(self.embeddings, np.arange(len(self.kept)), chosen, distance)
            assert isinstance(held, HeldDistances)
            distances = np.empty(len(b), dtype=held.distances.dtype)
            distances[~refused], name = held.distances, held.distance
        distances[refused] = np.nan
        missing = self.empty[b.left] | self.empty[b.right] | refused
        count = int(self.empty.sum())
        return BenchmarkDistances(b, distances, missing, refused, count, name, choosing)

    def __repr__(self) -> str:
        return f"EmbeddedBenchmark({self.benchmark!r})"


@dataclass(frozen=True)
class BenchmarkDistances:
    """The pairs of a benchmark with their distances.

    Attributes:
        benchmark: n pairs.
        distances: (n,) floating point; NaN where ``refused``.
        missing: (n,) bool, pairs with an image on which the cropper found nothing, or that is left
            out.
        refused: (n,) bool, pairs with an image that is left out: they have no distance.
        not_acquired: number of images on which the cropper found nothing (failure to acquire).
        distance: the distance's registered name.
        choosing: see :func:`siamese.cross_validate`; None where thresholds are chosen from
            ``distances``.
    """

    benchmark: PairsFile
    distances: np.ndarray
    missing: np.ndarray
    refused: np.ndarray
    not_acquired: int
    distance: str
    choosing: np.ndarray | None = None

    @property
    def pair_distances(self) -> HeldDistances:
        """The pairs that have a distance, as a threshold is chosen from them."""
        kept, b = ~self.refused, self.benchmark
        pairs = Pairs(b.left[kept], b.right[kept], b.same[kept])
        described = {"name": FIXED, "source": b.name}
        return HeldDistances(pairs, self.distances[kept], b.labels, self.distance, described)

    def evaluate(
        self,
        policy: str | dict[str, Any] | Policy | float = MaxAccuracy(),  # noqa: B008 - frozen
    ) -> FoldedEvaluation:
        """See :func:`siamese.cross_validate`; errors likewise."""
        found = cross_validate(
            self.distances,
            self.benchmark.same,
            self.benchmark.fold,
            policy=policy,
            tested=self.benchmark.tested,
            missing=self.missing,
            refused=self.refused,
            choosing=self.choosing,
            benchmark=self.benchmark.name,
            names=dict(enumerate(self.benchmark.fold_names)),
        )
        return replace(found, images=len(self.benchmark.files), not_acquired=self.not_acquired)

    def __repr__(self) -> str:
        return f"BenchmarkDistances({self.benchmark!r}, without a face: {self.not_acquired})"
