"""recalibrate: the threshold of a finished bundle chosen anew on other data, beside the old one."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from siamese.data.prepared import PreparedData
from siamese.data.tta import TestTimeAugmentation
from siamese.datasets.given_path import last_part
from siamese.datasets.identities import IdentityTable
from siamese.datasets.other_data import OTHER
from siamese.distances.base import Distance, as_distance
from siamese.errors import ConfigError
from siamese.evaluation.data import (
    EvaluationData,
    note_on_known,
    note_on_skipped,
    other_manifest,
    pair_rule_of,
)
from siamese.evaluation.embedding import embed_splits, measure_embedded
from siamese.evaluation.findings import no_threshold_helps, worse_figures
from siamese.evaluation.other_distance import FITTING, DistanceGain, divide_identities
from siamese.evaluation.sources import Source, open_source, place_of
from siamese.evaluation.stages import make_bundle, without_figures
from siamese.evaluation.work import Work, finished_bundle
from siamese.inference.bundle import Bundle
from siamese.inference.seen import Seen
from siamese.pairs.base import PairRule
from siamese.verification.calibration import Calibration
from siamese.verification.group_figures import GroupEvaluation
from siamese.verification.groups import evaluate_columns
from siamese.verification.pair_distances import PairDistances
from siamese.verification.point import GIVEN, Interval, OperatingPoint
from siamese.verification.policies.base import Policy, as_policy
from siamese.verification.probability import Reliability, check_kind, reliability
from siamese.verification.thresholds import calibrate_pairs


@dataclass(frozen=True, repr=False)
class Recalibration:
    """An old and a new threshold on the same data.

    Attributes:
        bundle: with the new threshold.
        old: the old threshold, with its counts and figures on these data.
        new: the new one.
        shift: 95 % interval of how far the new threshold lies from the one that the same policy
            chooses on the bundle's own calibration pairs, over the identities of both
            (:meth:`Calibration.shift_from`); None where that is not known, or where the embeddings
            are averaged otherwise than the bundle's (``tta``).
        reliability: the bundle's stated probabilities against what was observed here; None where
            it states none, or where the embeddings are averaged otherwise.
        before: the bundle's own calibration; None where it keeps none that can be compared.
        gain: another distance against the bundle's own, where one was asked for; ``old`` is then
            measured by the bundle's own, on the same pairs.
        data: what cropping the images gave.
        notes: what must be known beside the figures, in sentences.
        own: the bundle's own operating point, with the figures that it was chosen by; None where
            the embeddings are averaged otherwise.
        groups: column -> the figures at the new threshold within each of its groups and between
            them; empty where the images have no groups. The threshold was chosen on these very
            identities, so they are a little too good.
    """

    bundle: Bundle
    old: OperatingPoint
    new: OperatingPoint
    shift: Interval | None
    reliability: Reliability | None
    before: Calibration | None
    data: PreparedData
    notes: tuple[str, ...] = ()
    gain: DistanceGain | None = None
    own: OperatingPoint | None = None
    groups: Mapping[str, GroupEvaluation] = field(default_factory=dict)

    @property
    def calibration(self) -> Calibration:
        """The new calibration."""
        assert self.bundle.calibration is not None
        return self.bundle.calibration

    @property
    def drifted(self) -> bool | None:
        """Whether the policy's threshold has moved: these data are not like those of the bundle.

        False where that is not shown; None where nothing is known. It says nothing of how good the
        threshold is here: see :attr:`findings`.
        """
        return None if self.shift is None else not self.shift[0] <= 0 <= self.shift[1]

    @property
    def worse(self) -> str | None:
        """Rates at the old threshold that are worse here than on the bundle's own identities."""
        return None if self.own is None else worse_figures(self.own, self.old)

    @property
    def hopeless(self) -> str | None:
        """What to say where no threshold tells these identities apart; None where one does."""
        return no_threshold_helps(self.calibration)

    @property
    def may_keep_old(self) -> bool:
        """Whether the old threshold may well be kept: by all that is known it is the firmer one.

        It was chosen by the same policy on more identities, no drift is shown, and no finding
        speaks against it.
        """
        if self.own is None or self.drifted is not False or self.findings:
            return False
        alike = self.own.policy_settings == self.new.policy_settings
        return alike and (self.own.identities or 0) > (self.new.identities or math.inf)

    @property
    def findings(self) -> tuple[str, ...]:
        """What these data show against the bundle, in sentences; empty where nothing."""
        return tuple(text for text in (self.worse, self.hopeless) if text)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON: old, new, drifted, shift, findings, calibration_error, gain, groups."""
        return {
            "old": self.old.to_dict(),
            "new": self.new.to_dict(),
            "drifted": self.drifted,
            "shift": self.shift,
            "findings": list(self.findings),
            "calibration_error": self.reliability and self.reliability.calibration_error,
            "gain": self.gain and self.gain.to_dict(),
            "groups": {column: groups.to_dict() for column, groups in self.groups.items()},
        }

    def __repr__(self) -> str:
        return f"Recalibration(old {self.old.threshold:.4f}, new {self.new.threshold:.4f})"


def recalibrate(
    bundle: Source,
    data: IdentityTable | str | Path,
    policy: str | dict[str, Any] | Policy | None = None,
    *,
    pairs: str | PairRule | None = None,
    distance: str | Distance | None = None,
    probability: str | None = "isotonic",
    tta: int | None = None,
    no_face: str | None = None,
    root: str | Path | None = None,
    bad_images: str = "error",
    cache: str | Path | None = None,
    device: str = "cpu",
    progress: bool = True,
) -> Recalibration:
    """Choose the threshold of a finished bundle anew, on data of your own.

    The network stays as it is; nothing is written. ``result.bundle.save(folder)`` keeps the bundle.

    Args:
        bundle: a bundle or its folder, or a run or its folder.
        data: a table, a folder of one folder per identity, or a CSV file (path, identity): of
            identities that the network was not trained on.
        policy: how to choose; by default as the bundle's threshold was chosen.
        pairs: which pairs; by default those of the rule that it was calibrated with.
        distance: another one than the bundle's, an object or a name. ``"plda"`` is fitted to half
            of the identities, and the threshold chosen on the others
            (:func:`siamese.evaluation.other_distance.divide_identities`); what it gains there is
            in ``result.gain``. The bundle is then made of both halves (``Bundle.seen``).
        probability: how P(same | distance) is fitted, ``"isotonic"`` or ``"platt"``; None leaves it
            out.
        tta: changed copies over which each embedding is averaged, 0 for none; by default the
            bundle's.
        no_face, root, bad_images, cache, device, progress: as for :func:`siamese.evaluate_run`.

    Raises:
        ConfigError: an unknown name, a distance that must be trained, or no policy where the
            bundle's threshold was chosen by none.
        BundleError: no bundle, or a damaged one.
        DataError, FaceError, CacheError: from reading and cropping.
        CalibrationError: pairs of one kind only, or that cannot support the policy; too few
            identities for a distance that must be fitted.
    """
    check_kind(probability)
    other = None if distance is None else as_distance(distance, to_be_fitted=True)
    place = place_of(bundle)
    opened = open_source(place)
    work = Work(None, bad_images, cache, device, progress, no_face)
    manifest = other_manifest(data, root)
    if other is not None and other.needs_fit:
        divide_identities(manifest)
    source, unfinished = finished_bundle(opened, work)
    asked = source.seen is not None or not isinstance(place, Bundle)
    splits = tuple(manifest.splits)
    known = note_on_known(manifest, place, source.seen, splits) if asked else None
    before = source.operating_point
    if policy is None and before.policy == GIVEN:
        raise ConfigError(
            "the bundle's threshold was chosen by no policy; give one, for instance "
            "policy='max_f1' (--policy max_f1)"
        )
    rule = as_policy(before.policy_settings if policy is None else policy)
    views = TestTimeAugmentation.of(source.augmentation, source.tta if tta is None else tta)
    copies = views.copies if views else 0
    prepared = work.crop(manifest, source.cropper, pair_rule_of(pairs, before), pairs is not None)
    measured = _measured(source, other, prepared, work, views)
    found = calibrate_pairs(
        measured.new, rule, OTHER, probability=probability, beside=(before.threshold,)
    )
    old = found
    if measured.gain is not None:
        own = measured.own
        old = calibrate_pairs(own, rule, OTHER, probability=None, beside=(before.threshold,))
    name = data.name if isinstance(data, IdentityTable) else last_part(data)
    facts: dict[str, Any] = {"data": name, "threshold_before": before.threshold}
    if measured.gain is not None:
        facts["distance"] = measured.gain.to_dict()
    same_distances = copies == source.tta and measured.gain is None
    kept_facts = source.provenance if same_distances else without_figures(source.provenance)
    provenance = dict(kept_facts) | {"recalibrated": facts}
    # Distances between embeddings averaged otherwise are other distances.
    kept = source.calibration if same_distances else None
    otherwise = (
        f"the old threshold belongs to tta={source.tta}, these figures to tta={copies}: whether "
        f"these data differ from the bundle's is not known"
    )
    skipped = note_on_skipped(prepared.prepared)
    notes = (unfinished, known, skipped, None if copies == source.tta else otherwise)
    seen = Seen.of_manifest(manifest, splits) | source.seen
    components = replace(source.components, distance=measured.distance)
    return Recalibration(
        make_bundle(components, found, provenance, copies, seen),
        old.with_policy(before.threshold).point,
        found.point,
        found.shift_from(kept) if kept else None,
        _reliability_here(kept, found),
        kept,
        prepared.prepared,
        tuple(text for text in notes if text),
        measured.gain,
        before if copies == source.tta else None,
        evaluate_columns(
            measured.new,
            prepared.groups[OTHER],
            found.point.threshold,
            found.point.stated_prevalence,
        ),
    )


class _Measured(NamedTuple):
    """The calibration pairs by a new distance and by the bundle's own; without a new one both."""

    distance: Distance
    new: PairDistances
    own: PairDistances
    gain: DistanceGain | None


def _measured(
    source: Bundle,
    other: Distance | None,
    data: EvaluationData,
    work: Work,
    views: TestTimeAugmentation | None,
) -> _Measured:
    """Embed once, fit the other distance if it is one to be fitted, and measure."""
    embeddings = embed_splits(source.backbone.for_inference().to(work.device), data.datasets, views)
    only = {OTHER: data.datasets[OTHER]}
    own = source.distance.to(work.device)
    measured = measure_embedded(embeddings, own, only, data.pair_rules, work.device)[OTHER]
    if other is None:
        return _Measured(source.distance, measured, measured, None)
    people = 0
    if FITTING in embeddings:
        labels = data.datasets[FITTING].labels
        other, people = other.fitted_to(embeddings[FITTING], labels), len(set(labels.tolist()))
    there = other.to(work.device)
    new = measure_embedded(embeddings, there, only, data.pair_rules, work.device)[OTHER]
    return _Measured(other, new, measured, DistanceGain.of(new, measured, people))


def _reliability_here(kept: Calibration | None, found: Calibration) -> Reliability | None:
    """The bundle's stated probabilities, at the new prevalence, on the new pairs."""
    if kept is None or kept.probability is None:
        return None
    prevalence = found.point.target_prevalence or found.curve.prevalence
    return reliability(kept.probability.at(prevalence), found.curve)
