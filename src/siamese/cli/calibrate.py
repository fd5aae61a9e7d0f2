"""`siamese calibrate BUNDLE --data PATH`: a finished bundle's threshold chosen anew."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from siamese.cli import calibrate_embeddings, options
from siamese.cli.options import LATEST, PRETRAINED
from siamese.errors import ConfigError

if TYPE_CHECKING:
    from siamese.evaluation.recalibration import Recalibration

HELP = "choose a finished bundle's threshold anew, on your own data"
DESCRIPTION = (
    "Choose the threshold of a finished bundle anew, on data of your own, and say how the old one "
    "would have done there. The network stays as it is. Without --out nothing is written. Or, with "
    "--embeddings, choose one for embeddings of any network."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    from siamese.verification.probability import KINDS

    what = f"bundle, or folder of a training run (default: {LATEST})"
    options.add_run(parser, "BUNDLE", what, None)
    options.add_data(parser, "identities that the network was not trained on")
    calibrate_embeddings.add_arguments(parser)
    options.add_policy(parser, "how to choose (default: as the bundle's was chosen)")
    options.add_distance(
        parser, "plda is fitted to half of the identities, the threshold chosen on the others"
    )
    options.add_pairs(parser)
    parser.add_argument(
        "--probability",
        choices=KINDS,
        default="isotonic",
        help="how the probability is fitted (default: %(default)s)",
    )
    options.add_tta(parser, "the new bundle remembers it")
    parser.add_argument("--out", metavar="DIR", help="write a bundle with the new threshold there")
    options.add_overwrite(parser)
    options.add_no_face(parser)
    options.add_cropping(parser)
    options.add_plugin(parser)
    options.add_device(parser)
    options.add_json(
        parser, "old, new, drifted, shift, findings, calibration_error, gain, groups, out"
    )


def run(args: argparse.Namespace) -> int:
    """Print both thresholds with their figures on these data."""
    from siamese.datasets.other_data import OTHER
    from siamese.evaluation.recalibration import recalibrate
    from siamese.processes import across_processes
    from siamese.report import tables
    from siamese.report.group_tables import show_groups

    options.import_plugins(args)
    if args.embeddings:
        return calibrate_embeddings.run(args)
    if args.identities:
        raise ConfigError("--identities are those of --embeddings; leave them out with --data")
    if not args.data:
        raise ConfigError("give people (--data PATH), or embeddings (--embeddings FILE)")
    args.run = args.run or LATEST
    pretrained = args.run == PRETRAINED
    bundle = options.open_bundle(args.run) if pretrained else args.run
    out = _free(args.out, args.run, args.overwrite) if args.out else None
    with across_processes() as processes:
        found = recalibrate(
            bundle,
            args.data,
            options.parse_policy(args.policy),
            distance=args.distance,
            pairs=args.pairs,
            probability=args.probability,
            tta=args.tta,
            no_face=args.no_face,
            root=args.root,
            bad_images=args.bad_images,
            cache=args.cache,
            device=options.device(args.device),
            progress=not args.json,
        )
    if not processes.first:
        return 0
    for text in found.notes:
        options.note(text)
    options.note_no_search(found.bundle.cropper, found.data)
    if pretrained:
        options.note_pretrained()
    if out is not None:
        found.bundle.save(out)
    if args.json:
        print(json.dumps(found.to_dict() | {"out": args.out}, allow_nan=False))
        return 0
    called = found.data.called
    cropped = tables.data_table(found.data.summary(), called)
    tables.show(cropped, tables.drift_table(found.old, found.new))
    show_groups(found.groups, called(OTHER))
    if found.new.promise:
        print(f"promise: {found.new.promise_in_words}")
    print(found.gain or _verdict(found))
    for text in found.findings:
        print(text)
    if found.reliability is not None:
        error = found.reliability.calibration_error
        print(f"the bundle's probabilities are off by {error:.3f} here (calibration error)")
    options.note_few_identities(found.new.identities)
    if out is not None:
        print(f"next: siamese verify A.jpg B.jpg --bundle {args.out}")
    return 0


def _verdict(found: Recalibration) -> str:
    """Whether the policy's threshold lies elsewhere than on the bundle's own data."""
    if found.before is None:
        return (
            "the bundle keeps no calibration to compare with, so whether these data differ from "
            "its data is not known"
        )
    if found.shift is None:
        return (
            "too few identities or pairs, here or in the bundle's calibration, to say whether "
            "these data differ from its data"
        )
    low, high = found.shift
    same = "the same policy's threshold"
    if found.new.promise.get("confidence") is not None:
        same += ", without its confidence,"
    moved = (
        f"{same} lies {low:+.4f} to {high:+.4f} from that on the bundle's own "
        f"data (95 % interval): "
    )
    drift = "the policy's threshold is not shown to have moved"
    if found.drifted:
        drift = "these data are not like its data"
        drift += "" if found.hopeless or not found.new.tp else "; take the new threshold"
    if found.may_keep_old and found.own is not None:
        drift += (
            f"; the earlier threshold, {found.own.threshold:.4f}, was chosen on more identities "
            f"({found.own.identities:,}, here {found.new.identities:,}) and may well be kept"
        )
    was, now = found.before.curve.prevalence, found.calibration.curve.prevalence
    if found.new.stated_prevalence is None and not 0.5 <= was / now <= 2:
        drift += (
            f"\nof the pairs here {now:.2%} are genuine, of the bundle's {was:.2%}: that alone "
            f"moves a threshold chosen at the pairs' own prevalence, and was left out of this "
            f"comparison; --policy max_f1,prevalence=0.01 states one"
        )
    return moved + drift


def _free(out: str, bundle: str, overwrite: bool) -> Path:
    """Where to write, if that can be written and is not what was read, nor another bundle."""
    from siamese.inference.bundle import DESCRIPTION as FILE
    from siamese.inference.bundle import free_folder

    options.check_out(out, bundle)
    folder = free_folder(out)
    if (folder / FILE).exists() and not overwrite:
        raise ConfigError(f"--out {out} holds a bundle: give another folder, or add --overwrite")
    return folder
