"""The stages between trained weights and a bundle: fit, measure, calibrate, judge."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from siamese.backbones.base import Backbone
from siamese.backbones.descriptor_cache import descriptors_kept
from siamese.data.dataset import CropDataset
from siamese.data.embedding import EVAL_BATCH
from siamese.data.prepared import PreparedSplit
from siamese.data.samplers.base import SequentialBatches
from siamese.datasets.other_data import split_in_sentence
from siamese.evaluation.artifacts import check_room, make_room, write_evaluation
from siamese.evaluation.baseline import Baseline
from siamese.evaluation.data import EvaluationData
from siamese.evaluation.doubts import doubts_of
from siamese.evaluation.drawing import plot_evaluation
from siamese.evaluation.embedding import embed_splits, measure_embedded
from siamese.evaluation.report_data import write_run_report
from siamese.evaluation.suspicions import Suspicions
from siamese.inference.bundle import Bundle
from siamese.inference.components import Components
from siamese.inference.origin import chosen_on
from siamese.inference.seen import Seen
from siamese.verification.calibration import Calibration
from siamese.verification.curves import CHANCE
from siamese.verification.figures import SplitEvaluation, evaluate_pairs
from siamese.verification.pair_distances import PairDistances
from siamese.verification.point import OperatingPoint
from siamese.verification.policies.base import Policy
from siamese.verification.probability import ProbabilityMap
from siamese.verification.thresholds import calibrate_pairs

if TYPE_CHECKING:
    from siamese.report.plots import Figure


@dataclass(frozen=True, repr=False)
class RunEvaluation:
    """Figures of a bundle on the splits of a run, or on other data.

    Attributes:
        bundle: what was evaluated, with the operating point in use.
        evaluations: split -> figures; other data are one split, ``"data"``.
        distances: split -> the distances of its pairs.
        data: the crops and pairs.
        recalibrated: whether the threshold is not the one that the bundle came with: chosen here by
            ``policy``, for another ``tta``, or of a run that had no bundle yet.
        notes: what must be known beside the figures, in sentences.
        baselines: what the same identities give without the training; of a run alone.
        suspicions: split -> labels that look wrong; large splits, and that of training, are not in
            it.
    """

    bundle: Bundle
    evaluations: dict[str, SplitEvaluation]
    distances: dict[str, PairDistances]
    data: EvaluationData
    recalibrated: bool = False
    notes: tuple[str, ...] = ()
    baselines: tuple[Baseline, ...] = ()
    suspicions: Mapping[str, Suspicions] = field(default_factory=dict)

    @property
    def judged(self) -> str:
        """The split whose figures say how good it is: test, or else that of the threshold."""
        wanted = [name for name in ("test", self.operating_point.split) if name in self.evaluations]
        return [*wanted, *self.evaluations][0]

    @property
    def operating_point(self) -> OperatingPoint:
        """The threshold and where it came from."""
        return self.bundle.operating_point

    @property
    def calibration(self) -> Calibration | None:
        """The calibration that the threshold was chosen on; None where there is none."""
        return self.bundle.calibration

    @property
    def caution(self) -> str:
        """What must stand beside the figures where splits share identities; empty otherwise."""
        return self.data.manifest.caution

    @property
    def documented_bundle(self) -> Bundle:
        """The bundle with the figures of the test split, baselines included, in its provenance.

        Its card (:attr:`siamese.Bundle.card`) shows them. Without a test split it is the same.
        """
        if "test" not in self.evaluations:
            return self.bundle
        facts = dict(self.bundle.provenance) | {"test": self.to_dict()["test"]}
        return replace(self.bundle, provenance=facts)

    @property
    def chosen_on(self) -> str:
        """The images that the threshold was chosen on, in words."""
        return chosen_on(self.operating_point.split, self.bundle.provenance)

    def called(self, split: str) -> str:
        """A split as it is called in what is printed; other data by the name of their folder."""
        return self.data.prepared.called(split)

    def plot(self, name: str, split: str = "test", *, count: int = 20) -> Figure:
        """One of the pictures of a run, as a figure of matplotlib.

        Args:
            name: ``"distances"``, ``"curves"`` (ROC, DET, F1 and accuracy), ``"reliability"`` or
                ``"groups"``, of all splits that have it; ``"samples"``, ``"false_matches"`` or
                ``"false_non_matches"``, pairs of one split.
            split: whose pairs are shown; other data are ``"data"``.
            count: pairs that are shown at most, >= 0.

        Raises:
            ConfigError: no such figure or split, or one that these data do not have.
        """
        parts = (self.distances, self.evaluations, self.operating_point, self.data)
        return plot_evaluation(*parts, name, split, count)

    def to_dict(self) -> dict[str, Any]:
        """Split -> figures, those of the baselines beside them, plain JSON values."""
        found = {split: e.to_dict() for split, e in self.evaluations.items()}
        for baseline in self.baselines:
            for split in baseline.evaluations:
                found[split].setdefault("baselines", {})[baseline.name] = baseline.to_dict(split)
        return found

    def write(
        self,
        folder: str | Path,
        *,
        plots: bool = True,
        faces: bool = True,
        report: bool = True,
        overwrite: bool = False,
    ) -> Path:
        """Write ``evaluation.json``, ``plots/`` and ``report.html`` into a folder, which is made.

        Args:
            folder: where.
            plots: whether to draw pictures and the report, too.
            faces: whether the report shows images; the galleries in ``plots/`` do. Without plots
                no image is kept anywhere.
            report: whether there is a report at all.
            overwrite: remove what an earlier evaluation left there; by default such a folder is
                refused.

        Raises:
            ConfigError: see ``overwrite``.
        """
        folder = Path(folder).expanduser()
        check_room(folder, overwrite)
        make_room(folder)
        write_evaluation(
            self.distances,
            self.to_dict(),
            self.evaluations,
            self.data.datasets,
            self.data.prepared,
            self.operating_point,
            folder,
            self.caution,
            plots,
        )
        if report:
            write_run_report(self, folder, faces=faces and plots, draw=plots)
        return folder

    def __repr__(self) -> str:
        figures = ", ".join(f"{self.called(s)}: F1 {e.f1:.3f}" for s, e in self.evaluations.items())
        return f"RunEvaluation(threshold {self.operating_point.threshold:.4f}; {figures})"


def conclude(
    components: Components,
    data: EvaluationData,
    policy: Policy,
    *,
    epoch: int | None = None,
    step: int | None = None,
    provenance: Mapping[str, Any] | None = None,
    doubts: bool = False,
) -> RunEvaluation:
    """What follows training: fit, measure, calibrate, judge, and make a bundle.

    Args:
        components: with trained weights; the backbone is fitted in place; a distance that is
            fitted in closed form is fitted anew, in the bundle.
        data: all splits of the run; without ``train`` nothing is fitted.
        policy: how the threshold is chosen, on the calibrating split.
        epoch, step: of the weights.
        provenance: facts for the bundle; the figures of the test split are added.
        doubts: whether to look for wrong labels.

    Raises:
        CalibrationError: embeddings that are not finite, or pairs that cannot support the policy.
    """
    if "train" in data.datasets:
        fit_backbone(components.backbone, data.datasets["train"])
    embeddings = embed_splits(components.backbone, data.datasets)
    if components.distance.closed_form and "train" in embeddings:
        labels = data.datasets["train"].labels
        fitted = components.distance.fitted_to(embeddings["train"], labels)
        components = replace(components, distance=fitted)
    distances = measure_embedded(embeddings, components.distance, data.datasets, data.pair_rules)
    calibrating = data.calibrating
    calibration = calibrate_pairs(
        distances[calibrating], policy, calibrating, epoch=epoch, step=step
    )
    caution = data.manifest.caution
    evaluations = judge(distances, calibration.point, calibration.probability, caution, data.groups)
    chance = note_on_chance(evaluations)
    facts = dict(provenance or {})
    facts["splits"] = {name: _who(part) for name, part in data.prepared.splits.items()}
    if "test" in evaluations:
        facts["test"] = evaluations["test"].to_dict()
    seen = Seen.of_manifest(data.manifest)
    bundle = make_bundle(components, calibration, facts, seen=seen)
    notes = (chance,) if chance else ()
    suspected = (
        doubts_of(embeddings, components.distance, data.datasets, calibration.point.threshold)
        if doubts
        else {}
    )
    return RunEvaluation(bundle, evaluations, distances, data, True, notes, suspicions=suspected)


def _who(part: PreparedSplit) -> dict[str, int]:
    """How many identities and images a split has."""
    return {"identities": len(part.table.distinct_identities), "images": len(part.table)}


def fit_backbone(backbone: Backbone, data: CropDataset) -> None:
    """Let a backbone work out what it can in closed form from the training images."""
    backbone.eval()
    with descriptors_kept(data.cache):
        backbone.fit(_Batches(data), torch.from_numpy(data.labels))


@dataclass(frozen=True)
class _Batches:
    """The images of a data set in order, as often as they are asked for."""

    data: CropDataset

    def __iter__(self) -> Iterator[Tensor]:
        for plan in SequentialBatches(len(self.data), EVAL_BATCH):
            yield self.data[plan]["image"]


def judge(
    distances: Mapping[str, PairDistances],
    point: OperatingPoint,
    probability: ProbabilityMap | None = None,
    caution: str = "",
    groups: Mapping[str, Mapping[str, Sequence[str]]] | None = None,
) -> dict[str, SplitEvaluation]:
    """The figures of each split at an operating point.

    Args:
        distances: split -> the distances of its pairs.
        point: the threshold, and the prevalence that its policy states.
        probability: a map to be judged, too.
        caution: carried along with the figures.
        groups: split -> column -> the group of each image.
    """
    return {
        split: evaluate_pairs(
            measured,
            point.threshold,
            split,
            caution=caution,
            probability=probability,
            prevalence=point.stated_prevalence,
            groups=(groups or {}).get(split),
        )
        for split, measured in distances.items()
    }


def make_bundle(
    components: Components,
    calibration: Calibration,
    provenance: Mapping[str, Any],
    tta: int = 0,
    seen: Seen | None = None,
) -> Bundle:
    """A bundle with a calibrated threshold."""
    return Bundle(
        components.backbone,
        components.distance,
        components.cropper,
        calibration.point,
        dict(provenance),
        components.augmentation,
        calibration,
        tta,
        seen,
    )


def without_figures(provenance: Mapping[str, Any]) -> dict[str, Any]:
    """The facts of a bundle that hold for other embeddings, or for another distance, too."""
    return {name: fact for name, fact in provenance.items() if name not in ("test", "benchmarks")}


def note_on_chance(evaluations: Mapping[str, SplitEvaluation]) -> str | None:
    """What to say of a network that tells no two identities apart.

    Args:
        evaluations: split -> figures; those of training identities are left out.
    """
    others = {split: e for split, e in evaluations.items() if split != "train"}
    for split, figures in others.items():
        low, high = figures.ci95.get("auc", (figures.auc, figures.auc))
        if low <= 0.5 or figures.auc < CHANCE:
            interval = f", 95 % interval {low:.3f}-{high:.3f}" if "auc" in figures.ci95 else ""
            known = f"AUC {figures.auc:.3f}{interval}"
            return (
                f"the network is hardly better than chance on {split_in_sentence(split)} "
                f"({known}; 0.5 is guessing): its verdicts mean nothing; train longer, on more "
                f"identities, or at another rate, and look at the pictures of training pairs"
            )
    return None
