"""Work: how crops are made and networks run, and the bundle of a run that has only a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from torch import Tensor

from siamese.data.embedding import embed
from siamese.data.manifest import SplitManifest
from siamese.data.tta import TestTimeAugmentation
from siamese.evaluation.data import EvaluationData, keep_splits, run_manifest
from siamese.evaluation.embedding import embed_splits, measure_embedded
from siamese.evaluation.sources import UnfinishedRun
from siamese.evaluation.stages import fit_backbone, make_bundle
from siamese.faces.croppers.base import Cropper
from siamese.inference.bundle import Bundle
from siamese.inference.components import Components
from siamese.inference.no_face import with_no_face
from siamese.inference.seen import Seen
from siamese.pairs.base import PairRule
from siamese.verification.pair_distances import PairDistances
from siamese.verification.thresholds import calibrate_pairs


@dataclass(frozen=True)
class Work:
    """How crops are made and networks run; the same for every stage.

    Attributes:
        root: where the images of the run or of a CSV file lie now, if they moved.
        no_face: what becomes of images without a face: ``"skip"``, ``"whole_image"`` or
            ``"error"``; by default what the cropper says, but that images which it refuses are left
            out and counted.
        bad_images: images that cannot be read are an ``"error"``, or left out (``"quarantine"``).
        cache: folder of the crop cache.
        device: where to compute; all pairs, where they are many, are counted there, too.
        progress: show progress bars.
    """

    root: str | Path | None = None
    bad_images: str = "error"
    cache: str | Path | None = None
    device: str = "cpu"
    progress: bool = True
    no_face: str | None = None

    def crop(
        self, manifest: SplitManifest, cropper: Cropper, rule: PairRule, asked: bool = False
    ) -> EvaluationData:
        """The images of a manifest as a network sees them; see :class:`EvaluationData`."""
        refuses = getattr(cropper, "no_face", None) == "error"
        return EvaluationData.of_manifest(
            manifest,
            with_no_face(cropper, self.no_face or ("skip" if refuses else None)),
            rule,
            asked=asked,
            cache=self.cache,
            bad_images=self.bad_images,
            progress=self.progress,
        )

    def embed(
        self, of: Bundle | Components, data: EvaluationData, tta: TestTimeAugmentation | None = None
    ) -> dict[str, Tensor]:
        """Split -> (N, D) embeddings, by a bundle's network."""
        network = of.backbone.for_inference().to(self.device)
        return embed_splits(network, data.datasets, tta)

    def measure(
        self, of: Bundle | Components, data: EvaluationData, tta: TestTimeAugmentation | None = None
    ) -> dict[str, PairDistances]:
        """Split -> the distances of its pairs, by a bundle's network and distance."""
        return self.measure_embedded(of, data, self.embed(of, data, tta))

    def measure_embedded(
        self, of: Bundle | Components, data: EvaluationData, embeddings: Mapping[str, Tensor]
    ) -> dict[str, PairDistances]:
        """The same of images that are embedded already."""
        return measure_embedded(
            embeddings,
            of.distance.to(self.device),
            data.datasets,
            data.pair_rules,
            self.device,
        )


def finished_bundle(source: Bundle | UnfinishedRun, work: Work) -> tuple[Bundle, str | None]:
    """The bundle of a source; with a note where it was made here, from a checkpoint."""
    if isinstance(source, Bundle):
        return source, None
    note = f"the run has no bundle: evaluated from its last checkpoint (epochs: {source.epoch + 1})"
    return _make_bundle(source, work), note


def _make_bundle(run: UnfinishedRun, work: Work) -> Bundle:
    """A bundle of a run's last checkpoint: fitted on its training images, calibrated as usual."""
    manifest = run_manifest(run.folder, work.root)
    seen = Seen.of_manifest(manifest)
    keep_splits(manifest, ["train", manifest.calibrating])
    data = work.crop(manifest, run.components.cropper, run.pair_rule)
    components, train = run.components, data.datasets["train"]
    fit_backbone(components.backbone, train)
    if components.distance.closed_form:
        found = embed(components.backbone.for_inference().to(work.device), train)
        components = replace(
            components, distance=components.distance.fitted_to(found, train.labels)
        )
    split = data.calibrating
    distances = work.measure(components, replace(data, datasets={split: data.datasets[split]}))
    calibration = calibrate_pairs(
        distances[split], run.policy, split, epoch=run.epoch, step=run.step
    )
    facts = run.provenance | {"epochs": run.epoch + 1, "kept": "last checkpoint"}
    return make_bundle(components, calibration, facts, seen=seen)
