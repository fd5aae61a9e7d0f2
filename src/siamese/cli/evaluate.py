"""`siamese evaluate RUN`: the figures of a finished run again, on its own splits or on other people."""

from __future__ import annotations

import argparse
import json
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from siamese.cli import protocol
from siamese.cli.bundles import PRETRAINED
from siamese.cli.bundles import open_bundle
from siamese.cli.policies import HELP
from siamese.cli.policies import parse_policy
from siamese.cli.verify import LATEST
from siamese.cli.verify import device
from siamese.errors import ConfigError
from siamese.errors import did_you_mean

if TYPE_CHECKING:
    from siamese.data.manifest import SplitManifest
    from siamese.data.prepared import PreparedData
    from siamese.pairs.base import PairRule
    from siamese.verification.point import OperatingPoint


def add_parser(commands: Any) -> argparse.ArgumentParser:
    """Enter the sub-command."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "evaluate",
        help="evaluate a finished run on its splits, or on other people",
        description="Evaluate a finished run: on its own splits, whose manifest and files are "
        "checked first, or, with --data, on all people of another folder or CSV file, at the run's threshold. With --protocol or "
        "--pairs-file: any bundle on pairs that somebody else chose, at thresholds that the other folds choose.",
    )
    parser.add_argument(
        "run",
        nargs="?",
        metavar="RUN",
        help=f"folder of a training run, or a bundle, or {PRETRAINED} (default: {LATEST}; for --protocol and --pairs-file {PRETRAINED})",
    )
    parser.add_argument("--protocol", choices=protocol.PAIR_RULES, help="official pairs of LFW, whose folder is --data")
    parser.add_argument(
        "--pairs-file", metavar="FILE", help="pairs in LFW's format or a CSV (left,right,same,fold); paths relative to --data"
    )
    parser.add_argument(
        "--data", metavar="PATH", help="other people: a folder of one folder per person, or a CSV file (path, identity)"
    )
    parser.add_argument(
        "--on",
        metavar="OTHER",
        help=f"the splits of another run, e.g. siamese evaluate {PRETRAINED} --on {LATEST} --splits test: a fine-tuned network's people, with the "
        "network as it came",
    )
    parser.add_argument("--root", metavar="DIR", help="where the run's pictures lie now, if they moved")
    parser.add_argument(
        "--pairs",
        choices=("balanced_pairs", "all_pairs", "ordered_pairs"),
        help="which pairs (default: as the threshold was calibrated)",
    )
    parser.add_argument("--splits", nargs="+", metavar="NAME", help="only these splits of the run, e.g. test (default: all)")
    parser.add_argument(
        "--copies",
        type=int,
        default=0,
        metavar="N",
        help="average distances over N augmented copies of every picture, and choose the threshold for that on the run's "
        "calibrating split",
    )
    parser.add_argument(
        "--bad-images",
        choices=("error", "quarantine"),
        default="error",
        help="pictures that cannot be read: stop, or leave out",
    )
    parser.add_argument(
        "--cache", metavar="DIR", help="folder of the crop cache (default: SIAMESE_CACHE, or the user's cache folder)"
    )
    parser.add_argument(
        "--threshold", type=float, metavar="D", help="evaluate at this distance (default: the run's calibrated threshold)"
    )
    parser.add_argument(
        "--policy",
        metavar="POLICY",
        help=f"evaluate at the threshold that another policy chooses on the run's calibration pairs: {HELP}",
    )
    parser.add_argument(
        "--out",
        metavar="DIR",
        help="write evaluation.json and the pictures (distances, curves, mistakes) there; with --protocol and --pairs-file folds.json",
    )
    parser.add_argument("--device", default="cpu", help="where to compute: cpu, cuda, mps (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON instead of tables")
    return parser


def run(args: argparse.Namespace) -> int:
    """Print the figures."""
    from siamese.evaluation.artifacts import write_comparison
    from siamese.evaluation.embedding import measure_split
    from siamese.evaluation.embedding import measure_splits
    from siamese.data.dataset import CropDataset
    from siamese.data.prepared import prepare
    from siamese.data.transforms import check_tta
    from siamese.report import tables
    from siamese.verification.policies.base import as_policy
    from siamese.verification.thresholds import calibrate_pairs
    from siamese.verification.figures import evaluate

    if args.out:
        Path(args.out).mkdir(parents=True, exist_ok=True)  # find out now whether it can be written
    if args.protocol or args.pairs_file:
        args.run = args.run or PRETRAINED
        return protocol.run(args)
    args.run = args.run or LATEST
    run_folder = Path(args.run)
    if (
        args.run != PRETRAINED
        and run_folder.is_dir()
        and not any((run_folder / name).exists() for name in ("bundle", "bundle.json"))
    ):
        raise ConfigError(
            f"{args.run}: not the folder of a run; to evaluate a run on these people's pictures: --data {args.run}"
        )
    bundle = open_bundle(args.run)
    if args.policy and (args.copies or args.threshold is not None):
        raise ConfigError(
            f"--policy chooses the threshold for pictures as they are; leave out {'--copies' if args.copies else '--threshold'}"
        )
    if args.on and (args.data or args.copies):
        raise ConfigError(f"--on names what is compared; leave out {'--data' if args.data else '--copies'}")
    if args.data and args.copies and args.threshold is None:
        raise ConfigError(
            f"the threshold for {args.copies} copies is chosen on the run's own people: find it with siamese evaluate {args.run} "
            f"--copies {args.copies}, and give it here as --threshold"
        )
    if args.threshold is not None and not math.isfinite(args.threshold):
        raise ConfigError(f"--threshold must be a finite number, not {args.threshold}")
    policy = parse_policy(args.policy) if args.policy else None
    check_tta(args.copies, bundle.augmentation)
    where = device(args.device)
    manifest = manifest_of(args, args.on or args.run)
    if args.splits:
        _restrict(manifest, args.splits, bundle.operating_point.split if args.copies else None)
    backbone = bundle.backbone.for_inference().to(where)
    distance = bundle.distance.to(where)
    data = prepare(manifest, bundle.cropper, progress=not args.json, bad_images=args.bad_images, cache=args.cache)
    pairs_of = open_bundle(args.on) if args.on else bundle
    protocols = pair_rules_of(args.pairs, pairs_of.operating_point, manifest, data)
    crops = {split: CropDataset(part.crops, part.table.labels) for split, part in data.splits.items()}
    compared = measure_splits(backbone, distance, crops, protocols, args.copies, bundle.augmentation)
    point, kept = bundle.operating_point, None if args.copies else bundle.calibration
    if policy is not None:
        kept = bundle.with_policy(policy)
        point = kept.point
    elif args.threshold is not None and kept is not None:
        kept = kept.with_policy(args.threshold)
        point = kept.point
    elif args.threshold is not None:
        point = point.given(args.threshold)
    elif args.copies:  # on the pairs that the run's own threshold was chosen on, whatever pairs are evaluated
        split = point.split
        own = pair_rules_of(None, point, manifest, data)[split]
        chosen = compared[split]
        if own.describe() != protocols[split].describe():
            chosen = measure_split(backbone, distance, crops[split], own, args.copies, bundle.augmentation)
        rule = as_policy({"name": point.policy} | dict(point.settings))
        point = calibrate_pairs(chosen, rule, split).point
    chance = kept.probability if kept else None
    figures = {
        split: evaluate(c, point.threshold, split, caution=manifest.caution, probability=chance, prevalence=point.stated_prevalence)
        for split, c in compared.items()
    }
    if args.out:
        write_comparison(compared, figures, crops, data.splits, point, Path(args.out), manifest.caution)
    if args.json:
        print(json.dumps({split: e.to_dict() for split, e in figures.items()}))
    else:
        rows = list(figures.values())
        tables.show(tables.data_table(data.summary()), tables.evaluation_table(rows, point, manifest.caution))
        if args.copies:
            print(
                f"next: siamese verify A.jpg B.jpg --bundle {args.run} --copies {args.copies} --threshold {point.threshold!r}"
            )
    return 0


def _restrict(manifest: SplitManifest, names: list[str], calibrating: str | None) -> None:
    """Leave only some splits in the manifest, and the one that a new threshold is to be chosen on."""
    for name in names:
        if name not in manifest.splits:
            raise ConfigError(f"the run has no split {name!r}{did_you_mean(name, manifest.splits)}")
    for name in list(manifest.splits):
        if name not in names and name != calibrating:
            del manifest.splits[name]
            manifest.pairs.pop(name, None)


def pair_rules_of(
    name: str | None, point: OperatingPoint, manifest: SplitManifest, data: PreparedData
) -> dict[str, PairRule]:
    """The pairs of each split: those asked for, those its protocol chose, or those that the threshold was calibrated on."""
    from siamese.pairs.base import FIXED
    from siamese.pairs.base import PAIR_RULES
    from siamese.pairs.balanced_pairs import BalancedPairs
    from siamese.pairs.fixed_pairs import FixedPairs

    again = BalancedPairs() if point.protocol["name"] == FIXED else PAIR_RULES.build(point.protocol)
    common = PAIR_RULES.build(name) if name else again
    return {
        split: common if name or part.pairs is None else FixedPairs(part.pairs[0], part.pairs[1], manifest.protocol)
        for split, part in data.splits.items()
    }


def manifest_of(args: argparse.Namespace, run: str) -> SplitManifest:
    """The run's splits, or all of ``args.data`` as one; a note where the run knew some of them."""
    import numpy as np

    from siamese.data.manifest import SplitManifest
    from siamese.datasets.identities import IdentityTable

    folder = Path(run)
    split_json = (folder.parent if folder.resolve().name == "bundle" else folder) / "split.json"
    known = run != PRETRAINED and split_json.is_file()
    if args.data:
        path = Path(args.data)
        if args.root and path.suffix.lower() != ".csv":
            raise ConfigError("--root tells where the pictures of a CSV file or of the run lie; leave it out with a folder")
        table = IdentityTable.from_csv(path, args.root) if path.suffix.lower() == ".csv" else IdentityTable.from_folder(path)
        manifest = SplitManifest.make(table, {"data": np.arange(len(table))}, protocol="all people")
        if known:
            _note_known(manifest, SplitManifest.load(split_json))
        elif run == PRETRAINED:
            print(
                "note: the network was trained on public figures, and its threshold calibrated on people of LFW; of the former no list is known",
                file=sys.stderr,
            )
        else:
            print(
                "note: the bundle lies in no run's folder, so whether it was trained or calibrated on these people is not known; if it was, "
                "the figures are too good",
                file=sys.stderr,
            )
        return manifest
    if not known:
        raise ConfigError(f"{run}: a bundle without its run knows no pictures; give some: siamese evaluate {run} --data PATH")
    manifest = SplitManifest.load(split_json, root=args.root)
    manifest.verify_files()
    return manifest


def _note_known(manifest: SplitManifest, run: SplitManifest) -> None:
    """Say so if the "other" people were there when the network was trained or its threshold calibrated."""
    known = [entry for split in ("train", "calibration", "validation") for entry in run.splits.get(split, [])]
    hashes, names = {e["sha256"] for e in known} - {None}, {e["identity"] for e in known}
    pictures = sum(e["sha256"] in hashes for e in manifest.splits["data"])
    people = len({e["identity"] for e in manifest.splits["data"]} & names)
    if pictures or people:
        known_here = ((people, "people of these names"), (pictures, "of these very pictures"))
        shared = [f"{count} {what}" for count, what in known_here if count]
        print(
            f"note: the run was trained or calibrated on {', and on '.join(shared)}: if they are the same people, the figures are too good",
            file=sys.stderr,
        )
