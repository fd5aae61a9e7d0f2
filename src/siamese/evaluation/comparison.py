"""compare: which of two bundles is better, on the same pairs, and how sure that is."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from siamese.data.manifest import SplitManifest, pairs_among
from siamese.data.prepared import PreparedData, PreparedSplit
from siamese.datasets.identities import IdentityTable
from siamese.datasets.other_data import split_in_sentence
from siamese.datasets.pairs_file import PairsFile
from siamese.errors import ConfigError, SplitError
from siamese.evaluation.data import (
    EvaluationData,
    keep_splits,
    manifest_path,
    note_on_known,
    other_manifest,
    pair_rule_of,
    run_manifest,
)
from siamese.evaluation.paired_folds import FoldedDifference, compare_folds
from siamese.evaluation.sources import Source, home_of, open_source, pair_rule_at, place_of
from siamese.evaluation.work import Work, finished_bundle
from siamese.faces.croppers.base import Cropper
from siamese.faces.croppers.dlib_croppers import DlibCropper
from siamese.inference.bundle import A_SWEEP, PRETRAINED, RUN, SWEEP, Bundle, bundle_in
from siamese.inference.no_face import with_no_face
from siamese.pairs.base import PairRule
from siamese.pairs.fixed_pairs import FixedPairs
from siamese.verification.paired import PairedComparison, compare_pairs


@dataclass(frozen=True, repr=False)
class Comparison:
    """Bundles A and B on the same pairs.

    Attributes:
        a, b: what was compared.
        splits: split -> how the two differ there; other data are one split, ``"data"``, and the
            pairs of a benchmark are one, by its name.
        folds: of a benchmark, the accuracies fold by fold; None otherwise.
        left_out: split -> number of images that one of the two does not see, and that neither is
            measured on.
        notes: what must be known beside the figures, in sentences.
    """

    a: Bundle
    b: Bundle
    splits: Mapping[str, PairedComparison]
    folds: FoldedDifference | None
    left_out: Mapping[str, int]
    notes: tuple[str, ...] = ()

    def sentences(self, a: str = "A", b: str = "B") -> list[str]:
        """Which is better, a sentence for each split; ``a`` and ``b`` are what the two are called.

        They are those of :meth:`PairedComparison.sentence`.
        """
        several = len(self.splits) > 1
        return [
            (f"{split}: " if several else "") + compared.sentence(a, b)
            for split, compared in self.splits.items()
        ]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "splits": {split: compared.to_dict() for split, compared in self.splits.items()},
            "folds": None if self.folds is None else self.folds.to_dict(),
            "left_out": dict(self.left_out),
            "notes": list(self.notes),
        }

    def __repr__(self) -> str:
        return f"Comparison({'; '.join(self.sentences())})"


def compare(
    a: Source,
    b: Source,
    *,
    on: Source | IdentityTable | PairsFile,
    splits: str | Sequence[str] | None = None,
    pairs: str | PairRule | None = None,
    no_face: str | None = None,
    root: str | Path | None = None,
    bad_images: str = "error",
    cache: str | Path | None = None,
    device: str = "cpu",
    progress: bool = True,
) -> Comparison:
    """Whether bundle B is better than bundle A, on the same pairs of the same images.

    Each crops, embeds and measures as it does in use, and is judged at its own threshold; on pairs
    in folds, each fold is judged at the threshold that is most accurate on the other folds
    (:func:`siamese.cross_validate`). How differences and their intervals are found says
    :func:`siamese.compare_pairs`.

    Args:
        a, b: a bundle or its folder, a training run (what ``siamese.train`` returned) or its
            folder, or ``"pretrained"``.
        on: what they are compared on: a run, of which the test split is taken, and whose manifest
            and files are checked first; a folder of one folder per identity, a CSV file (path,
            identity), a table; or pairs that others chose, such as ``siamese.lfw_view2(folder)`` or
            ``siamese.PairsFile.read(file)``.
        splits: other splits of the run; a name, or several.
        pairs: which pairs; by default those that the run's split protocol chose, or else those of
            the rule that the run's threshold, or on other data A's, was calibrated with.
        no_face: what becomes of images on which no face is found: ``"skip"`` leaves them out,
            ``"whole_image"`` takes them whole, ``"error"`` stops; by default as
            :func:`siamese.evaluate_run`, or on given pairs :func:`siamese.measure_benchmark`, does
            it. An image that one of the two leaves out is left out of both.
        root: where the images of the CSV file, or of the run, lie now.
        bad_images: images that cannot be read are an ``"error"``, or left out (``"quarantine"``).
        cache: folder of the crop cache.
        device: where to compute.
        progress: show progress bars.

    Raises:
        ConfigError: arguments that contradict each other, or an unknown name.
        BundleError: no bundle and no checkpoint, or a damaged one.
        SplitError: the run's manifest or files were changed, or too few images are seen by both.
        DataError, FaceError, CacheError: from reading and cropping.
        CalibrationError: pairs of one kind only.
    """
    target = on if isinstance(on, (PairsFile, IdentityTable)) else _home(on)
    run = isinstance(target, Path) and manifest_path(target) is not None
    _check(target, run, splits, pairs, root)
    places = [place_of(source) for source in (a, b)]
    sources = [open_source(place) for place in places]
    manifest = _images(target, run, splits, root)
    work = Work(root if run else None, bad_images, cache, device, progress)
    finished = [finished_bundle(source, work) for source in sources]
    bundles = [bundle for bundle, _ in finished]
    croppers = _croppers([bundle.cropper for bundle in bundles], no_face)
    notes: list[list[str]] = [[note] if note else [] for _, note in finished]
    for said, bundle, place in zip(notes, bundles, places, strict=True):
        if bundle.seen is not None or isinstance(place, (str, Path)):
            known = note_on_known(manifest, place, bundle.seen, tuple(manifest.splits))
            said += [known] if known else []
    remarks = [*said_of_both(*notes), *([manifest.caution] if manifest.caution else [])]
    if isinstance(target, PairsFile):
        return _on_given_pairs(bundles, croppers, target, work, remarks)
    rule = pair_rule_of(pairs, bundles[0].operating_point)
    if pairs is None and run and isinstance(target, Path):
        rule = pair_rule_at(target)
    return _on_splits(bundles, croppers, manifest, rule, pairs is not None, work, remarks)


def _home(on: Any) -> Path:
    """The path that is meant by a run, a folder or a file."""
    if isinstance(on, Bundle) or on == PRETRAINED:
        raise ConfigError(
            "a bundle alone knows no images; let on (--on) be a run, a folder of one folder per "
            "identity, or a CSV file"
        )
    if not isinstance(on, (str, Path)) and not isinstance(getattr(on, "folder", None), Path):
        raise ConfigError(
            f"on is a {type(on).__name__}: give a run, a folder of one folder per identity, a CSV "
            f"file, a siamese.IdentityTable, or a siamese.PairsFile"
        )
    home = home_of(on)
    assert not isinstance(home, Bundle)
    return Path(home).expanduser()


def _check(
    target: Path | IdentityTable | PairsFile, run: bool, splits: Any, pairs: Any, root: Any
) -> None:
    """Refuse what contradicts itself before anything is read."""
    if isinstance(target, Path) and not run:
        if (target / SWEEP).is_file():
            raise ConfigError(f"{target}: {A_SWEEP}")
        if bundle_in(target) or (target / RUN).is_file():
            raise ConfigError(
                f"{target}: a bundle without its run knows no images; let on (--on) be a run, a "
                f"folder of one folder per identity, or a CSV file"
            )
    if not run and splits:
        raise ConfigError(
            "splits (--splits) are those of a run, and these images are none; leave it out, or let "
            "on (--on) be a run"
        )
    if isinstance(target, PairsFile):
        for name, value in (("pairs", pairs), ("root", root)):
            if value is not None:
                raise ConfigError(
                    f"{name} (--{name}) has no meaning with pairs that are given; leave it out"
                )


def _images(
    target: Path | IdentityTable | PairsFile, run: bool, splits: Any, root: Any
) -> SplitManifest:
    """Which images are compared on, in which splits."""
    if isinstance(target, PairsFile):
        table = IdentityTable.build(target.root, target.files, target.identities, target.name)
        return other_manifest(table, None)
    if not run or not isinstance(target, Path):
        return other_manifest(target, root)
    manifest = run_manifest(target, root)
    names = splits or "test"
    keep_splits(manifest, [names] if isinstance(names, str) else list(names))
    return manifest


def _croppers(croppers: Sequence[Cropper], no_face: str | None) -> list[Cropper]:
    """With the policy for images without a face, where one looks for faces.

    Raises:
        ConfigError: an unknown policy, or none of the two looks for any.
    """
    looking = [isinstance(cropper, DlibCropper) for cropper in croppers]
    asked = [no_face if looks or not any(looking) else None for looks in looking]
    return [with_no_face(*each) for each in zip(croppers, asked, strict=True)]


def said_of_both(a: Sequence[str], b: Sequence[str]) -> list[str]:
    """Remarks on A and on B, with whom they are about; what is said of both is said once."""
    both = [f"A and B: {text}" for text in a if text in b]
    own = [f"A: {text}" for text in a if text not in b]
    return both + own + [f"B: {text}" for text in b if text not in a]


def _on_given_pairs(
    bundles: Sequence[Bundle],
    croppers: Sequence[Cropper],
    benchmark: PairsFile,
    work: Work,
    remarks: list[str],
) -> Comparison:
    """On the pairs of a benchmark."""
    found = compare_folds(
        bundles[0],
        bundles[1],
        benchmark,
        croppers=(croppers[0], croppers[1]),
        cache=work.cache,
        bad_images=work.bad_images,
        device=work.device,
        progress=work.progress,
    )
    name, images = benchmark.name, len(benchmark.files)
    if found.left_out:
        remarks.append(f"{_left_out(found.left_out, images)}; {found.pairs:,} pairs with them, too")
    whole = [evaluation.not_acquired for evaluation in (found.folds.a, found.folds.b)]
    if any(whole):
        remarks.append(
            f"no face is found by A on {whole[0]:,} and by B on {whole[1]:,} of {images:,} images"
        )
    compared, left_out = {name: found.compared}, {name: found.left_out}
    return Comparison(bundles[0], bundles[1], compared, found.folds, left_out, tuple(remarks))


def _on_splits(
    bundles: Sequence[Bundle],
    croppers: Sequence[Cropper],
    manifest: SplitManifest,
    rule: PairRule,
    asked: bool,
    work: Work,
    remarks: list[str],
) -> Comparison:
    """On the splits of a manifest, at each bundle's own threshold."""
    cropped = [work.crop(copy.deepcopy(manifest), c, rule, asked) for c in croppers]
    seen = {split: _seen_by_both(split, *cropped) for split in manifest.splits}
    distances = [
        work.measure(bundle, _only(data, seen), bundle.test_time_augmentation)
        for bundle, data in zip(bundles, cropped, strict=True)
    ]
    points = [bundle.operating_point for bundle in bundles]
    stated = [point.stated_prevalence for point in points]
    compared = {
        split: compare_pairs(
            distances[0][split],
            distances[1][split],
            points[0].threshold,
            points[1].threshold,
            prevalence=stated[0] if stated[0] == stated[1] else None,
        )
        for split in seen
    }
    images = {split: len(entries) for split, entries in manifest.splits.items()}
    left_out = {split: images[split] - len(files) for split, files in seen.items()}
    if lost := sum(left_out.values()):
        remarks.append(_left_out(lost, sum(images.values())))
    return Comparison(bundles[0], bundles[1], compared, None, left_out, tuple(remarks))


def _left_out(lost: int, images: int) -> str:
    return (
        f"{lost:,} of {images:,} images are left out of both, since A or B finds no usable face on "
        f"them, or they cannot be read (no_face='whole_image', --no-face whole_image takes them "
        f"whole)"
    )


def _seen_by_both(split: str, a: EvaluationData, b: EvaluationData) -> set[str]:
    """The files of a split that neither leaves out.

    Raises:
        SplitError: so few that there are no pairs of both kinds.
    """
    of_b = set(b.prepared.splits[split].table.files)
    table = a.prepared.splits[split].table
    both = {f: i for f, i in zip(table.files, table.identities, strict=True) if f in of_b}
    counts = Counter(both.values())
    if len(counts) < 2 or max(counts.values()) < 2:
        raise SplitError(
            f"of {split_in_sentence(split, table.name)} A and B both see {len(both)} images of "
            f"{len(counts)} identities: too few for pairs of both kinds; add images, or let images "
            f"without a face be taken whole: no_face='whole_image' (--no-face whole_image)"
        )
    return set(both)


def _only(data: EvaluationData, files: Mapping[str, set[str]]) -> EvaluationData:
    """Some images of each split alone; pairs that a split protocol chose, without the others."""
    splits, rules = {}, dict(data.pair_rules)
    for split, part in data.prepared.splits.items():
        kept = np.array([file in files[split] for file in part.table.files], dtype=bool)
        rows = np.flatnonzero(kept)
        crops = [part.crops[int(row)] for row in rows]
        splits[split] = PreparedSplit(part.table.select(rows), crops, part.counts)
        if isinstance(rule := rules[split], FixedPairs):
            left, right = pairs_among(np.stack([rule.left, rule.right]), kept)
            rules[split] = FixedPairs(left, right, rule.source)
    prepared = PreparedData(splits, data.prepared.computed, data.prepared.seconds)
    return EvaluationData.of_prepared(data.manifest, prepared, rules)
