"""`siamese evaluate --protocol lfw_view2` and `--pairs-file FILE`: pairs in folds that somebody else chose."""

from __future__ import annotations

import argparse
import json
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from siamese.errors import ConfigError

if TYPE_CHECKING:
    from siamese.inference.bundle import Bundle
    from siamese.datasets.pairs_file import PairsFile

PAIR_RULES = ("lfw_view1", "lfw_view2")
# Options of `siamese evaluate` that have no meaning for pairs that are given.
_OTHERS = ("pairs", "splits", "copies", "root", "on")


def run(args: argparse.Namespace) -> int:
    """Print accuracy over the folds, faces not found counted both ways, and at the bundle's own threshold."""
    from siamese.cli.bundles import open_bundle
    from siamese.cli.policies import parse_policy
    from siamese.cli.verify import device
    from siamese.evaluation.embedding import measure_benchmark
    from siamese.report import tables
    from siamese.storage import write_json
    from siamese.verification.policies.max_accuracy import MaxAccuracy

    pairs = _pairs(args)
    where = device(args.device)
    bundle = open_bundle(args.run)
    given = args.threshold if args.threshold is not None else bundle.operating_point.threshold if pairs.folds == 1 else None
    policy = parse_policy(args.policy) if args.policy else MaxAccuracy() if given is None else given
    for note in _notes(args, bundle):
        print(f"note: {note}", file=sys.stderr, flush=True)
    compared = measure_benchmark(
        bundle.backbone.for_inference().to(where),
        bundle.distance.to(where),
        bundle.cropper,
        pairs,
        cache=args.cache,
        bad_images=args.bad_images,
        progress=not args.json,
    )
    found, own = compared.evaluate(policy), compared.evaluate(bundle.operating_point.threshold)
    facts = {"folds": found.to_dict(), "own_threshold": own.to_dict()}
    if args.out:
        write_json(Path(args.out) / "folds.json", facts)
    if args.json:
        print(json.dumps(facts, allow_nan=False))
        return 0
    own_alone = found.policy == "given" and args.threshold is None
    tables.show(tables.folds_table(found, "the bundle's own" if own_alone else None))
    print(_sentence(found.mean, found.standard_error, len(found.folds), "every pair answered"))
    if any(fold.missing for fold in found.folds):
        print(
            _sentence(found.strict_mean, found.strict_standard_error, len(found.folds), "pairs without a face counted as wrong")
        )
    print(
        f"faces not found: {found.faceless:,} of {found.pictures:,} pictures, in {sum(f.missing for f in found.folds):,} tested pairs"
    )
    if found.policy != "given":
        print(f"at the bundle's own threshold, {bundle.operating_point.threshold:.4f}: accuracy {own.mean:.4f}")
    return 0


def _pairs(args: argparse.Namespace) -> PairsFile:
    from siamese.datasets.lfw import PAIR_FILES
    from siamese.datasets.pairs_file import PairsFile

    option = "--protocol" if args.protocol else "--pairs-file"
    if args.protocol and args.pairs_file:
        raise ConfigError("--protocol and --pairs-file were given; either names the pairs, so leave out one")
    for name in _OTHERS:
        if getattr(args, name):
            raise ConfigError(f"--{name} has no meaning with {option}, which says what is compared; leave it out")
    if args.policy and args.threshold is not None:
        raise ConfigError("--policy chooses the threshold; leave out --threshold")
    if args.threshold is not None and not math.isfinite(args.threshold):
        raise ConfigError(f"--threshold must be a finite number, not {args.threshold}")
    if args.pairs_file:
        if args.data and not Path(args.data).is_dir():
            raise ConfigError(
                f"--data {args.data}: no such folder; give the one that the paths in {args.pairs_file} are relative to"
            )
        return PairsFile.read(args.pairs_file, args.data)
    if not args.data:
        raise ConfigError(f"--protocol {args.protocol} needs the folder of LFW: --data PATH")
    return PAIR_FILES[args.protocol](args.data)


def _sentence(mean: float, error: float, folds: int, what: str) -> str:
    spread = "" if math.isnan(error) else f" +- {error:.4f} (mean and standard error of {folds} folds)"
    return f"accuracy {mean:.4f}{spread}, {what}"


def _notes(args: argparse.Namespace, bundle: Bundle) -> list[str]:
    from siamese.cli.bundles import PRETRAINED
    from siamese.faces.croppers.dlib_croppers import DlibHogCropper

    notes = []
    if isinstance(bundle.cropper, DlibHogCropper) and args.protocol:
        notes.append(
            "dlib's HOG detector was trained on photographs of LFW among others, so that it finds faces there better than elsewhere"
        )
    if args.run == PRETRAINED and args.protocol == "lfw_view1":
        notes.append(
            "the bundle's cropper and its own threshold were chosen on these very pairs, so these figures are no test: lfw_view2 is one"
        )
    if bundle.provenance.get("dataset") == "lfw" and args.protocol:
        notes.append("the bundle was trained on people of LFW, who are in these pairs too: the figures are too good")
    if args.run == PRETRAINED and args.protocol == "lfw_view2":
        notes.append(
            "the bundle's cropper and its own threshold were chosen on LFW's development pairs (View 1), of which View 2 shares 758 pairs and most "
            "people, as LFW has it; the folds' thresholds were not"
        )
    return notes
