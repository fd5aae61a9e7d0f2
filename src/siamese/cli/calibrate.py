"""`siamese calibrate BUNDLE --data PEOPLE`: a finished bundle's threshold chosen anew on other people, beside the old one."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from siamese.cli.bundles import PRETRAINED
from siamese.cli.bundles import note_few_identities
from siamese.cli.bundles import open_bundle
from siamese.cli.evaluate import manifest_of
from siamese.cli.evaluate import pair_rules_of
from siamese.cli.policies import HELP
from siamese.cli.policies import parse_policy
from siamese.cli.verify import LATEST
from siamese.cli.verify import device
from siamese.errors import ConfigError

if TYPE_CHECKING:
    from siamese.inference.bundle import Bundle
    from siamese.verification.calibration import Calibration


def add_parser(commands: Any) -> argparse.ArgumentParser:
    """Enter the sub-command."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "calibrate",
        help="choose a finished bundle's threshold anew, on your own people",
        description="Choose the threshold of a finished bundle anew, on people of your own, and say how the old one would have done "
        "there. The network stays as it is. Without --out nothing is written.",
    )
    parser.add_argument(
        "bundle",
        nargs="?",
        default=LATEST,
        metavar="BUNDLE",
        help=f"bundle, or folder of a training run, or {PRETRAINED} (default: %(default)s)",
    )
    parser.add_argument(
        "--data",
        required=True,
        metavar="PATH",
        help="people: a folder of one folder per person, or a CSV file (path, identity)",
    )
    parser.add_argument("--root", metavar="DIR", help="where the pictures of a CSV file lie")
    parser.add_argument("--policy", metavar="POLICY", help=f"how to choose (default: as the bundle's was chosen): {HELP}")
    parser.add_argument(
        "--pairs",
        choices=("balanced_pairs", "all_pairs", "ordered_pairs"),
        help="which pairs (default: as the bundle's threshold was calibrated)",
    )
    parser.add_argument(
        "--probability",
        choices=("isotonic", "platt"),
        default="isotonic",
        help="how the probability is fitted (default: %(default)s)",
    )
    parser.add_argument("--out", metavar="DIR", help="write a bundle with the new threshold there")
    parser.add_argument(
        "--bad-images",
        choices=("error", "quarantine"),
        default="error",
        help="pictures that cannot be read: stop, or leave out",
    )
    parser.add_argument(
        "--cache", metavar="DIR", help="folder of the crop cache (default: SIAMESE_CACHE, or the user's cache folder)"
    )
    parser.add_argument("--device", default="cpu", help="where to compute: cpu, cuda, mps (default: %(default)s)")
    parser.add_argument(
        "--json", action="store_true", help="print one JSON object: old, new, drifted, shift, calibration_error, out"
    )
    return parser


def run(args: argparse.Namespace) -> int:
    """Print both thresholds with their figures on these people."""
    from siamese.inference.bundle import DESCRIPTION
    from siamese.evaluation.embedding import measure_split
    from siamese.data.dataset import CropDataset
    from siamese.data.prepared import prepare
    from siamese.report import tables
    from siamese.verification.policies.base import as_policy
    from siamese.verification.thresholds import calibrate_pairs
    from siamese.verification.probability import reliability

    bundle = open_bundle(args.bundle)
    before = bundle.operating_point
    if args.policy is None and before.policy == "given":
        raise ConfigError("the bundle's threshold was chosen by no policy; add --policy, for instance --policy max_f1")
    described = {"name": before.policy} | dict(before.settings)
    policy = as_policy(described) if args.policy is None else parse_policy(args.policy)
    out = _free(args.out, args.bundle) if args.out else None
    where = device(args.device)
    manifest = manifest_of(args, args.bundle)
    data = prepare(manifest, bundle.cropper, progress=not args.json, bad_images=args.bad_images, cache=args.cache)
    part = data.splits["data"]
    protocol = pair_rules_of(args.pairs, before, manifest, data)["data"]
    crops = CropDataset(part.crops, part.table.labels)
    compared = measure_split(bundle.backbone.for_inference().to(where), bundle.distance.to(where), crops, protocol)
    after = calibrate_pairs(compared, policy, "data", probability=args.probability, beside=(before.threshold,))
    old, new = after.with_policy(before.threshold).point, after.point
    probabilities = bundle.calibration and bundle.calibration.probability
    judged = reliability(probabilities.at(new.target_prevalence or new.prevalence), after.curve) if probabilities else None
    shift = after.shift_from(bundle.calibration) if bundle.calibration else None
    drifted = None if shift is None else not shift[0] <= 0 <= shift[1]
    if out is not None:
        if (out / DESCRIPTION).exists():
            print(f"note: the bundle in {args.out} is replaced", file=sys.stderr)
        _recalibrated(bundle, after, args.data).save(out)
    if args.json:
        facts = {"old": old.to_dict(), "new": new.to_dict(), "drifted": drifted, "shift": shift, "out": args.out}
        error = judged.calibration_error if judged else None
        print(json.dumps(facts | {"calibration_error": error}, allow_nan=False))
        return 0
    tables.show(tables.data_table(data.summary()), tables.drift_table(old, new))
    print(_verdict(bundle.calibration, after, shift))
    if judged is not None:
        print(f"the bundle's probabilities are off by {judged.calibration_error:.3f} here (expected calibration error)")
    note_few_identities(new.people)
    if out is not None:
        print(f"next: siamese verify A.jpg B.jpg --bundle {args.out}")
    return 0


def _verdict(before: Calibration | None, after: Calibration, shift: tuple[float, float] | None) -> str:
    if before is None:
        return "the bundle keeps no calibration of its own, so whether these people differ from its people is not known"
    if shift is None:
        return (
            "too few people or pairs, here or in the bundle's calibration, to say whether these people differ from its people"
        )
    low, high = shift
    moved = f"the same policy's threshold lies {low:+.4f} to {high:+.4f} from that on the bundle's own people (95 % interval): "
    drift = "no sign of drift" if low <= 0 <= high else "these people are not like its people; take the new threshold"
    was, now = before.point.prevalence, after.point.prevalence
    if after.point.stated_prevalence is None and not 0.5 <= was / now <= 2:
        drift += (
            f"\nof the pairs here {now:.2%} are genuine, of the bundle's {was:.2%}: that alone moves a threshold chosen at the pairs' own "
            f"prevalence, and was left out of this comparison; --policy max_f1,prevalence=0.01 states one"
        )
    return moved + drift


def _free(out: str, bundle: str) -> Path:
    """Where to write, if that can be written and is not what was read: the old threshold is not to be lost."""
    from siamese.inference.bundle import free_folder

    folder = free_folder(out)
    source = Path(bundle).expanduser()
    if folder.resolve() in (source.resolve(), (source / "bundle").resolve()):
        raise ConfigError(f"--out {out} is the bundle that is recalibrated; give another folder, so that it is not lost")
    return folder


def _recalibrated(bundle: Bundle, after: Calibration, data: str) -> Bundle:
    facts = {"data": Path(data).name, "threshold_before": bundle.operating_point.threshold}
    provenance = dict(bundle.provenance) | {"recalibrated": facts}
    return replace(bundle, operating_point=after.point, calibration=after, provenance=provenance)
