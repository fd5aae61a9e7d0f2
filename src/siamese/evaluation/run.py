"""evaluate_run: the figures of a run or a bundle, on the run's own splits or on other data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from siamese.data.manifest import SplitManifest
from siamese.data.tta import TestTimeAugmentation
from siamese.datasets.given_path import is_table
from siamese.datasets.identities import IdentityTable
from siamese.datasets.other_data import OTHER
from siamese.distances.arrays import given_threshold
from siamese.errors import ConfigError
from siamese.evaluation.data import (
    keep_splits,
    note_on_known,
    note_on_skipped,
    other_manifest,
    pair_rule_of,
    run_manifest,
)
from siamese.evaluation.doubts import doubts_of
from siamese.evaluation.sources import (
    Source,
    home_of,
    open_source,
    pair_rule_at,
    place_of,
)
from siamese.evaluation.stages import (
    RunEvaluation,
    judge,
    make_bundle,
    note_on_chance,
    without_figures,
)
from siamese.evaluation.work import Work, finished_bundle
from siamese.inference.bundle import Bundle
from siamese.pairs.base import PairRule
from siamese.verification.point import GIVEN
from siamese.verification.policies.base import Policy, as_policy
from siamese.verification.thresholds import calibrate_pairs


def evaluate_run(
    run: Source,
    data: IdentityTable | str | Path | None = None,
    *,
    on: Source | None = None,
    splits: str | Sequence[str] | None = None,
    policy: str | dict[str, Any] | Policy | None = None,
    threshold: float | None = None,
    pairs: str | PairRule | None = None,
    tta: int | None = None,
    no_face: str | None = None,
    root: str | Path | None = None,
    bad_images: str = "error",
    cache: str | Path | None = None,
    device: str = "cpu",
    progress: bool = True,
) -> RunEvaluation:
    """Evaluate a run on its own splits, or a bundle on other data.

    A run that was interrupted, or is still in training, is evaluated from its last checkpoint: what
    its backbone works out in closed form is fitted to its training images, and its threshold is
    calibrated as the run would have done. The result's ``bundle`` can be saved.

    Args:
        run: a training run (what ``siamese.train`` returned, or its folder), or a bundle (or its
            folder).
        data: other data, evaluated as one split ``"data"``: a table, a folder of one folder per
            identity, or a CSV file (path, identity). Without it, the run's own splits, whose
            manifest and files are checked first.
        on: another run, whose splits are taken instead.
        splits: only these splits of the run; a name, or several.
        policy: at the threshold that another policy chooses on the calibration pairs.
        threshold: at this distance.
        pairs: which pairs; by default those that the split protocol chose, or else those of the
            rule that the threshold was calibrated with.
        tta: changed copies over which each embedding is averaged, 0 for none; by default the
            bundle's. For another number than the bundle's the threshold is chosen anew on the run's
            calibrating split.
        no_face: what becomes of images on which no face is found: ``"skip"`` leaves them out,
            ``"whole_image"`` takes them whole, ``"error"`` stops; by default as
            :class:`siamese.Verifier` does it: what it refuses is left out, and counted.
        root: where the images of the CSV file ``data`` lie, or else those of the run.
        bad_images: images that cannot be read are an ``"error"``, or left out (``"quarantine"``).
        cache: folder of the crop cache.
        device: where to compute; all pairs, where they are many, are counted there, too.
        progress: show progress bars.

    Raises:
        ConfigError: arguments that contradict each other, or an unknown name.
        BundleError: no bundle and no checkpoint, or a damaged one.
        SplitError: the run's manifest or files were changed.
        DataError, FaceError, CacheError: from reading and cropping.
        CalibrationError: pairs of one kind only, or that cannot support the policy.
    """
    _check(data, on, policy, threshold, tta)
    place, home = place_of(run), home_of(run if on is None else on)
    source = open_source(place)
    # A run that is not finished needs its own images, too; those of a CSV file lie elsewhere.
    of_data = data is not None and (isinstance(source, Bundle) or _lists_images(data))
    work = Work(None if of_data else root, bad_images, cache, device, progress, no_face)
    manifest = (
        _own_manifest(home, root)
        if data is None
        else other_manifest(data, root if of_data else None)
    )
    bundle, note = finished_bundle(source, work)
    known = None
    if (data is not None or on is not None) and (
        bundle.seen is not None or isinstance(place, (str, Path))
    ):
        strangers = (OTHER,) if data is not None else ("test",)
        known = note_on_known(manifest, place, bundle.seen, strangers)
    recalibrated = note is not None or policy is not None
    views = bundle.tta if tta is None else tta
    TestTimeAugmentation.of(bundle.augmentation, views)  # find out now whether it can be done
    if views != bundle.tta:
        if threshold is not None:
            bundle = replace(bundle, tta=views, calibration=None)
        elif data is None:
            bundle, recalibrated = _with_tta(bundle, manifest, views, work), True
        else:
            raise _needs_own_images(views)
    rule = pair_rule_at(home if on is not None else bundle) if pairs is None else pairs
    if splits:
        keep_splits(manifest, [splits] if isinstance(splits, str) else list(splits))
    bundle = _at(bundle, policy, threshold)
    prepared = work.crop(manifest, bundle.cropper, pair_rule_of(rule, None), pairs is not None)
    embeddings = work.embed(bundle, prepared, bundle.test_time_augmentation)
    distances = work.measure_embedded(bundle, prepared, embeddings)
    probability = bundle.calibration.probability if bundle.calibration else None
    evaluations = judge(
        distances, bundle.operating_point, probability, manifest.caution, prepared.groups
    )
    remarks = (note, known, note_on_skipped(prepared.prepared), note_on_chance(evaluations))
    notes = tuple(text for text in remarks if text)
    threshold = bundle.operating_point.threshold
    suspected = doubts_of(embeddings, bundle.distance, prepared.datasets, threshold)
    return RunEvaluation(
        bundle, evaluations, distances, prepared, recalibrated, notes, suspicions=suspected
    )


def _check(
    data: Any,
    on: Any,
    policy: Any,
    threshold: float | None,
    tta: int | None,
) -> None:
    """Refuse what contradicts itself before anything is read."""
    if policy is not None and (tta is not None or threshold is not None):
        raise ConfigError(
            f"the policy chooses the threshold on the bundle's calibration pairs; leave out "
            f"{'tta (--tta)' if tta is not None else 'the threshold (--threshold)'}"
        )
    if on is not None and data is not None:
        raise ConfigError("on=RUN (--on) names what is compared; leave out the data (--data)")
    if on is not None and tta is not None:
        raise ConfigError("on=RUN (--on) compares networks as they are; leave out tta (--tta)")
    if threshold is not None:
        given_threshold(threshold)
    if policy is not None:
        as_policy(policy)


def _lists_images(data: IdentityTable | str | Path) -> bool:
    """Whether it is a file that lists images, which may lie elsewhere."""
    return not isinstance(data, IdentityTable) and is_table(data)


def _needs_own_images(tta: int) -> ConfigError:
    return ConfigError(
        f"the threshold for tta={tta} is chosen on the run's own images: find it without data "
        f"(siamese evaluate RUN --tta {tta} --out DIR) and evaluate that bundle here, or give a "
        f"threshold"
    )


def _own_manifest(home: Bundle | str | Path, root: str | Path | None) -> SplitManifest:
    """The splits of a run."""
    if isinstance(home, Bundle):
        raise ConfigError(
            "a bundle alone knows no images; give some: data=PATH (--data PATH), or the folder of "
            "a run, on=RUN (--on RUN)"
        )
    return run_manifest(home, root)


def _at(bundle: Bundle, policy: Any, threshold: float | None) -> Bundle:
    """The bundle with the operating point to evaluate at."""
    if policy is None and threshold is None:
        return bundle
    wanted = policy if policy is not None else threshold
    assert wanted is not None
    if policy is None and bundle.calibration is None:
        point = bundle.operating_point.with_threshold(wanted)
        return replace(bundle, operating_point=point)
    chosen = bundle.with_policy(wanted)
    return replace(bundle, operating_point=chosen.point, calibration=chosen)


def _with_tta(bundle: Bundle, manifest: SplitManifest, tta: int, work: Work) -> Bundle:
    """The bundle with another number of copies, its threshold chosen anew on the same split."""
    point, split = bundle.operating_point, manifest.calibrating
    if point.policy == GIVEN:
        raise ConfigError(
            f"the bundle's threshold was chosen by no policy, so none can be chosen for tta={tta}; "
            f"give a threshold (--threshold)"
        )
    own = replace(manifest, splits=dict(manifest.splits), pairs=dict(manifest.pairs))
    keep_splits(own, [split])
    data = work.crop(own, bundle.cropper, pair_rule_of(None, point))
    distances = work.measure(bundle, data, TestTimeAugmentation.of(bundle.augmentation, tta))
    policy = as_policy(point.policy_settings)
    calibration = calibrate_pairs(distances[split], policy, split)
    facts = without_figures(bundle.provenance)
    return make_bundle(bundle.components, calibration, facts, tta, bundle.seen)
