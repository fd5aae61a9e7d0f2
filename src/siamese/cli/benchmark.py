"""`siamese evaluate --benchmark lfw_view2` and `--pairs-file FILE`: pairs in given folds."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from siamese.cli import options
from siamese.cli.options import PRETRAINED
from siamese.errors import ConfigError

if TYPE_CHECKING:
    from siamese.datasets.pairs_file import PairsFile
    from siamese.inference.bundle import Bundle
    from siamese.verification.folds import FoldedEvaluation

# Options of `siamese evaluate` that have no meaning for pairs that are given.
_OTHERS = ("pairs", "splits", "tta", "root", "on")


def run(args: argparse.Namespace) -> int:
    """Print accuracy over the folds, images without a face counted both ways."""
    from siamese.distances.base import as_distance
    from siamese.evaluation.artifacts import make_room
    from siamese.evaluation.benchmark import embed_benchmark
    from siamese.evaluation.fitted_folds import check_folds
    from siamese.evaluation.pair_rows import PAIRS, write_pair_rows
    from siamese.processes import across_processes
    from siamese.storage import write_json
    from siamese.verification.policies.max_accuracy import MaxAccuracy

    pairs = given_pairs(args, _OTHERS)
    _check_threshold(args)
    where = options.device(args.device)
    bundle = options.open_bundle(args.run)
    own_threshold = bundle.operating_point.threshold
    other = args.distance and as_distance(args.distance, to_be_fitted=True)
    if other and other.needs_fit:
        check_folds(pairs)
    elif other and pairs.folds < 2:
        raise ConfigError(
            f"{pairs.name} has one fold, and the threshold of another distance (--distance) is "
            f"chosen on other folds than the one it is judged by: give pairs in several folds (the "
            f"column fold of a CSV file)"
        )
    given = args.threshold
    if given is None and pairs.folds == 1 and not other:
        given = own_threshold
    policy = options.parse_policy(args.policy) or (MaxAccuracy() if given is None else given)
    for text in notes_on(bundle, pairs, args.benchmark, args.run == PRETRAINED):
        options.note(text)
    with across_processes() as processes:
        embedded = embed_benchmark(
            bundle.backbone.for_inference().to(where),
            bundle.cropper,
            pairs,
            tta=bundle.test_time_augmentation,
            cache=args.cache,
            bad_images=args.bad_images,
            progress=not args.json,
        )
    if not processes.first:
        return 0
    measured = embedded.measured(bundle.distance.to(where))
    found, own = measured.evaluate(policy), measured.evaluate(own_threshold)
    facts = {"folds": found.to_dict(), "own_threshold": own.to_dict()}
    before, judged = None, measured
    if other:
        judged = embedded.measured(other, progress=not args.json)
        before, found = found, judged.evaluate(policy)
        facts |= {"folds": found.to_dict(), "own_distance": before.to_dict()}
    if args.out:
        make_room(Path(args.out), bundle=True)
        write_json(Path(args.out) / "folds.json", facts)
        kept = bundle.calibration if before is None else None  # of the bundle's own distance
        write_pair_rows(Path(args.out) / PAIRS, judged, found, kept.probability if kept else None)
    if args.json:
        print(json.dumps(facts, allow_nan=False))
        return 0
    _show(found, own, own_threshold, args.threshold is None)
    if before is not None:
        name = f"by the bundle's own distance, {measured.distance}, every pair answered"
        print(_sentence(before.mean, before.standard_error, len(before.folds), name))
    return 0


def _show(
    found: FoldedEvaluation, own: FoldedEvaluation, threshold: float, not_given: bool
) -> None:
    """The table and its sentences."""
    from siamese.report import tables

    alone = found.policy == "given" and not_given
    tables.show(tables.folds_table(found, "the bundle's own" if alone else None))
    folds, missing = len(found.folds), sum(fold.missing for fold in found.folds)
    print(_sentence(found.mean, found.standard_error, folds, "every pair answered"))
    if missing:
        what = "pairs without a face counted as wrong"
        print(_sentence(found.strict_mean, found.strict_standard_error, folds, what))
    print(
        f"faces not found: {found.not_acquired:,} of {found.images:,} images, in {missing:,} "
        f"tested pairs"
    )
    if found.policy != "given":
        print(f"at the bundle's own threshold, {threshold:.4f}: accuracy {own.mean:.4f}")


def given_pairs(args: argparse.Namespace, others: Sequence[str]) -> PairsFile:
    """The pairs that ``--benchmark`` or ``--pairs-file`` names.

    Raises:
        ConfigError: both, one without its images, or one of the ``others``, options that have no
            meaning with them.
        DataError: no such pairs or images.
    """
    from siamese.datasets.benchmarks import BENCHMARKS
    from siamese.datasets.pairs_file import PairsFile

    option = "--benchmark" if args.benchmark else "--pairs-file"
    if args.benchmark and args.pairs_file:
        raise ConfigError(
            "--benchmark and --pairs-file were given; either names the pairs, so leave out one"
        )
    for name in others:
        if getattr(args, name) is not None:
            raise ConfigError(
                f"--{name} has no meaning with {option}, which says what is compared; leave it out"
            )
    if args.pairs_file:
        if args.data and not Path(args.data).is_dir():
            raise ConfigError(
                f"--data {args.data}: no such folder; give the one that the paths in "
                f"{args.pairs_file} are relative to"
            )
        return PairsFile.read(args.pairs_file, args.data)
    if not args.data:
        raise ConfigError(f"--benchmark {args.benchmark} needs the folder of LFW: --data PATH")
    return BENCHMARKS[args.benchmark](args.data)


def _check_threshold(args: argparse.Namespace) -> None:
    if args.threshold is None:
        return
    if args.distance:
        raise ConfigError(
            "--threshold is one of the bundle's own distance, not of another (--distance); leave "
            "out one"
        )
    if args.policy:
        raise ConfigError("--policy chooses the threshold; leave out --threshold")
    if not math.isfinite(args.threshold):
        raise ConfigError(f"--threshold must be a finite number, not {args.threshold}")


def _sentence(mean: float, error: float, folds: int, what: str) -> str:
    spread = f" +- {error:.4f} (mean and standard error of {folds} folds)"
    return f"accuracy {mean:.4f}{'' if math.isnan(error) else spread}, {what}"


def notes_on(
    bundle: Bundle, pairs: PairsFile, benchmark: str | None, pretrained: bool
) -> list[str]:
    """What must be known beside the figures of a bundle on pairs that are given.

    Args:
        bundle: that is tested.
        pairs: that it is tested on.
        benchmark: their name, if they are those of one.
        pretrained: whether the bundle is the one that needs no training.
    """
    from siamese.faces.croppers.dlib_croppers import DlibHogCropper

    first = [pairs.root / name for name in pairs.files[:1]]
    notes = [text for text in [options.on_no_search(bundle.cropper, first)] if text]
    if isinstance(bundle.cropper, DlibHogCropper) and benchmark:
        notes.append(
            "dlib's HOG detector was trained on photographs of LFW among others, so that it finds "
            "faces there better than elsewhere"
        )
    if bundle.provenance.get("dataset") == "lfw" and benchmark:
        notes.append(
            "the bundle was trained on people of LFW, who are in these pairs too: the figures are "
            "too good"
        )
    if pretrained and benchmark == "lfw_view1":
        notes.append(
            "the bundle's cropper was chosen on these very pairs, so these figures are no test: "
            "lfw_view2 is one"
        )
    if pretrained and benchmark == "lfw_view2":
        notes.append(
            "the bundle's cropper was chosen on LFW's development pairs (View 1), of which View 2 "
            "shares 758 pairs and most people, as LFW has it; its own threshold was chosen on "
            "people who are in no pair of View 2"
        )
    return notes
