"""EvaluationData: the crops and pairs that a network is calibrated and judged on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from siamese.data.dataset import CropDataset
from siamese.data.manifest import SplitManifest
from siamese.data.prepared import PreparedData, prepare
from siamese.datasets.given_path import table_at
from siamese.datasets.identities import IdentityTable
from siamese.datasets.other_data import OTHER
from siamese.errors import ConfigError, did_you_mean
from siamese.faces.croppers.base import Cropper
from siamese.inference.bundle import Bundle
from siamese.inference.seen import Seen
from siamese.pairs.balanced_pairs import BalancedPairs
from siamese.pairs.base import FIXED, PAIR_RULES, PairRule
from siamese.pairs.fixed_pairs import FixedPairs
from siamese.processes import together
from siamese.verification.point import OperatingPoint

if TYPE_CHECKING:  # evaluating a bundle needs no Lightning
    from siamese.data.datamodule import ImageDataModule


@dataclass(frozen=True)
class EvaluationData:
    """Splits with their crops and the pairs of each.

    Attributes:
        manifest: which images.
        prepared: what cropping them gave.
        datasets: split -> its crops.
        pair_rules: split -> which pairs.
    """

    manifest: SplitManifest
    prepared: PreparedData
    datasets: Mapping[str, CropDataset]
    pair_rules: Mapping[str, PairRule]

    @classmethod
    def of_module(cls, data: ImageDataModule, rule: PairRule) -> EvaluationData:
        """The splits of a run in training; ``rule`` where the split protocol chose no pairs."""
        data.setup()
        assert data.manifest is not None
        assert data.prepared is not None
        datasets = {split: data.dataset(split) for split in data.splits}
        rules = {split: data.pairs(split) or rule for split in data.splits}
        return cls(data.manifest, data.prepared, datasets, rules)

    @classmethod
    def of_manifest(
        cls,
        manifest: SplitManifest,
        cropper: Cropper,
        rule: PairRule,
        *,
        asked: bool = False,
        cache: str | Path | None = None,
        bad_images: str = "error",
        progress: bool = True,
    ) -> EvaluationData:
        """The images of a manifest, cropped.

        Args:
            manifest: which images, in which splits.
            cropper: of the network.
            rule: which pairs.
            asked: whether the user asked for this rule; otherwise pairs that the split protocol
                chose are kept.
            cache, bad_images, progress: as for :func:`siamese.crop_files`.

        Raises:
            DataError, FaceError, CacheError, SplitError: from cropping, in all processes that work
                together (:func:`siamese.across_processes`).
        """
        prepared = prepare_once(
            manifest, cropper, cache=cache, bad_images=bad_images, progress=progress
        )
        rules = {
            split: rule
            if asked or part.pairs is None
            else FixedPairs(part.pairs[0], part.pairs[1], manifest.protocol)
            for split, part in prepared.splits.items()
        }
        return cls.of_prepared(manifest, prepared, rules)

    @classmethod
    def of_prepared(
        cls, manifest: SplitManifest, prepared: PreparedData, pair_rules: Mapping[str, PairRule]
    ) -> EvaluationData:
        """Splits that are cropped already; ``pair_rules`` may name others, too."""
        datasets = {
            split: CropDataset(part.crops, part.table.labels)
            for split, part in prepared.splits.items()
        }
        return cls(manifest, prepared, datasets, {split: pair_rules[split] for split in datasets})

    @property
    def groups(self) -> dict[str, Mapping[str, Sequence[str]]]:
        """Split -> column -> the group of each image in use; columns come from a CSV file."""
        return {split: self.prepared.splits[split].table.groups for split in self.datasets}

    @property
    def calibrating(self) -> str:
        """The split that the threshold is chosen on."""
        return self.manifest.calibrating

    def __repr__(self) -> str:
        return f"EvaluationData({self.manifest!r})"


def prepare_once(manifest: SplitManifest, cropper: Cropper, **settings: Any) -> PreparedData:
    """:func:`prepare`: one process of each machine crops, then the others find the crops.

    Args:
        manifest, cropper: as there.
        settings: more of its arguments.

    Raises:
        DataError, FaceError, CacheError, SplitError: as there, in all processes.
    """
    processes, made = together(), list[PreparedData]()
    leads = processes.leads_machine()
    for mine in (leads, not leads):
        processes.by_some(lambda: made.append(prepare(manifest, cropper, **settings)), mine)
    return made[0]


def run_manifest(run: str | Path, root: str | Path | None = None) -> SplitManifest:
    """The splits of a run, whose files are checked to be what they were.

    Args:
        run: folder of the run, or of its bundle.
        root: where its images lie now, if they moved.

    Raises:
        ConfigError: no run lies there.
        SplitError: the manifest or its files were changed.
    """
    if (path := manifest_path(run)) is None:
        raise ConfigError(
            f"{run}: a bundle without its run knows no images; give some: data=PATH (--data PATH)"
        )
    manifest = SplitManifest.load(path, root=root)
    manifest.verify_files()
    return manifest


def manifest_path(run: str | Path) -> Path | None:
    """The ``split.json`` of a run's folder, or of the run in which a bundle lies."""
    folder = Path(run).expanduser().resolve()
    path = (folder.parent if folder.name == "bundle" else folder) / "split.json"
    return path if path.is_file() else None


def other_manifest(data: IdentityTable | str | Path, root: str | Path | None) -> SplitManifest:
    """All images of a table, a folder of identities or a CSV file, as one split.

    Raises:
        ConfigError, DataError: see :func:`other_table`.
    """
    table = other_table(data, root)
    return SplitManifest.make(table, {OTHER: np.arange(len(table))}, protocol="all identities")


def other_table(data: IdentityTable | str | Path, root: str | Path | None) -> IdentityTable:
    """All images of a folder of identities or a CSV file; a table as it is.

    Raises:
        ConfigError: a ``root`` for anything but a CSV file.
        DataError: no such folder or file, or one that is not as described.
    """
    if isinstance(data, IdentityTable):
        return data
    if not isinstance(data, (str, Path)):
        raise ConfigError(
            f"data is a {type(data).__name__}: give a folder of one folder per identity, a CSV "
            f"file, or a siamese.IdentityTable"
        )
    return table_at(data, root)


def keep_splits(manifest: SplitManifest, names: list[str]) -> None:
    """Leave only some splits in a manifest.

    Raises:
        ConfigError: a split that it does not have.
    """
    for name in names:
        if name not in manifest.splits:
            raise ConfigError(f"the run has no split {name!r}{did_you_mean(name, manifest.splits)}")
    for name in list(manifest.splits):
        if name not in names:
            del manifest.splits[name]
            manifest.pairs.pop(name, None)


def pair_rule_of(asked: str | PairRule | None, point: OperatingPoint | None) -> PairRule:
    """The rule that is asked for, or else the one that a threshold was calibrated with."""
    if asked is not None:
        return asked if isinstance(asked, PairRule) else PAIR_RULES.build(asked)
    if point is None or point.pair_rule["name"] == FIXED:  # fixed pairs cannot be drawn again
        return BalancedPairs()
    return PAIR_RULES.build(point.pair_rule)


def note_on_known(
    manifest: SplitManifest,
    run: Bundle | str | Path,
    seen: Seen | None,
    splits: Sequence[str] = (OTHER,),
) -> str | None:
    """What to say if images were there when a network was trained or calibrated.

    Args:
        manifest: the images that it is applied to.
        run: the bundle, or the folder of a run or a bundle, that is applied.
        seen: what the bundle itself knows.
        splits: of the manifest, whose figures should be those of strangers.
    """
    path = None if isinstance(run, Bundle) else manifest_path(run)
    if path is not None:
        seen = Seen.of_manifest(SplitManifest.load(path)) | seen
    if seen is None:
        return (
            "the bundle does not say whom it was trained or calibrated on, so whether these "
            "identities were among them is not known; if they were, the figures are too good"
        )
    found = [seen.count_in(manifest, split) for split in splits if split in manifest.splits]
    identities, images = (sum(counts) for counts in zip(*found, strict=True)) if found else (0, 0)
    counted = ((identities, "identities of these names"), (images, "of these very images"))
    shared = [f"{count} {what}" for count, what in counted if count]
    if not shared and seen.partial:
        return (
            "none of these identities' names is known to the bundle; its images were too many to "
            "remember, so whether these very ones were among them is not known"
        )
    if not shared:
        return None
    return (
        f"the bundle was trained or calibrated on {', and on '.join(shared)}: if they are the "
        f"same, the figures are too good"
    )


def note_on_skipped(prepared: PreparedData) -> str | None:
    """What to say of images that were left out for want of a usable face."""
    skipped = sum(part.counts["skipped"] for part in prepared.splits.values())
    images = sum(part.counts["images"] for part in prepared.splits.values())
    if not skipped:
        return None
    return (
        f"{skipped} of {images} images are left out: no usable face was found on them, and such "
        f"images are refused when two are compared, too (no_face='whole_image', --no-face "
        f"whole_image takes them whole)"
    )
