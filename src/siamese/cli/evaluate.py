"""`siamese evaluate RUN`: figures of a run or bundle on its splits, other data, benchmarks."""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

from siamese.cli import benchmark, options
from siamese.cli.options import LATEST, PRETRAINED
from siamese.cli.out_folder import opened
from siamese.errors import ConfigError, printable

HELP = "evaluate a run on its splits, on other data, or on a benchmark"
DESCRIPTION = (
    "Evaluate a run on its own splits, whose manifest and files are checked first, or, with "
    "--data, on all images of another folder or CSV file, at the run's threshold. A run that was "
    "interrupted, or is still in training, is evaluated from its last checkpoint. With --benchmark "
    "or --pairs-file: any bundle on pairs that others chose, at thresholds that the other "
    "folds choose."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    from siamese.datasets.benchmarks import BENCHMARKS

    what = f"folder of a run or a bundle (default: {LATEST}; for benchmarks {PRETRAINED})"
    options.add_run(parser, "RUN", what, None)
    parser.add_argument(
        "--benchmark",
        choices=tuple(BENCHMARKS),
        help="official pairs of a data set, whose folder is --data",
    )
    parser.add_argument(
        "--pairs-file",
        metavar="FILE",
        help="pairs in LFW's format or a CSV (left,right,same,fold); paths relative to --data",
    )
    options.add_data(parser, "other data")
    parser.add_argument(
        "--on",
        metavar="OTHER",
        help=f"the splits of another run: siamese evaluate {PRETRAINED} --on {LATEST} --splits "
        f"test compares the network as it came with its fine-tuned one",
    )
    options.add_distance(
        parser,
        "on benchmarks; plda is fitted to the benchmark's own images, anew for every fold, without "
        "the people of the fold",
    )
    options.add_pairs(parser)
    parser.add_argument(
        "--splits", nargs="+", metavar="NAME", help="only these splits of the run, e.g. test"
    )
    options.add_tta(
        parser, "for another N the threshold is chosen anew on the run's calibrating split"
    )
    options.add_threshold(parser)
    options.add_policy(
        parser, "evaluate at the threshold that another policy chooses on the calibration pairs"
    )
    parser.add_argument(
        "--out",
        metavar="DIR",
        help="write report.html, evaluation.json and plots (distances, curves, mistakes) there, "
        "and, where the threshold was chosen anew, a bundle with it; of given pairs folds.json, "
        "and pairs.csv, a line per pair",
    )
    options.add_overwrite(parser)
    options.add_no_face(parser)
    options.add_cropping(parser)
    options.add_plugin(parser)
    options.add_device(parser)
    options.add_json(parser, "the figures")


def run(args: argparse.Namespace) -> int:
    """Print the figures."""
    options.import_plugins(args)
    pairs_are_given = bool(args.benchmark or args.pairs_file)
    if args.distance and not pairs_are_given:
        raise ConfigError(
            "--distance is for pairs that are given (--benchmark, --pairs-file); siamese calibrate "
            "RUN --data PATH --distance NAME --out DIR makes a bundle with another distance"
        )
    args.run = args.run or (PRETRAINED if pairs_are_given else LATEST)
    args.out = str(Path(args.out).expanduser()) if args.out else None
    with opened(args.out, args.run, args.overwrite):
        return benchmark.run(args) if pairs_are_given else _evaluate(args)


def _evaluate(args: argparse.Namespace) -> int:
    """Figures of a run on its splits, or on other data."""
    from siamese.evaluation.artifacts import make_room, split_of_groups
    from siamese.evaluation.run import evaluate_run
    from siamese.processes import across_processes
    from siamese.report import tables
    from siamese.report.group_tables import show_groups

    pretrained = args.run == PRETRAINED
    with across_processes() as processes:
        found = evaluate_run(
            options.open_bundle(args.run) if pretrained else args.run,
            args.data,
            on=args.on,
            splits=args.splits,
            policy=options.parse_policy(args.policy),
            threshold=args.threshold,
            pairs=args.pairs,
            tta=args.tta,
            no_face=args.no_face,
            root=args.root,
            bad_images=args.bad_images,
            cache=args.cache,
            device=options.device(args.device),
            progress=not args.json,
        )
    if not processes.first:  # what is drawn takes further passes, by this one alone
        return 0
    for text in found.notes:
        options.note(text)
    if args.data:
        options.note_no_search(found.bundle.cropper, found.data.prepared)
        if pretrained:
            options.note_pretrained()
    if args.out:
        make_room(Path(args.out), bundle=True)  # only now that there is something else
        found.write(args.out, overwrite=True)
        if found.recalibrated:
            found.documented_bundle.save(Path(args.out) / "bundle")
    if args.json:
        print(json.dumps(found.to_dict(), allow_nan=False))
        return 0
    figures = tables.evaluation_table(
        [replace(each, split=found.called(split)) for split, each in found.evaluations.items()],
        replace(found.operating_point, split=found.chosen_on),
        found.caution,
    )
    tables.show(tables.data_table(found.data.prepared.summary(), found.called), figures)
    split = split_of_groups(found.evaluations, found.operating_point)
    show_groups(found.evaluations[split].groups, found.called(split))
    if args.out:
        print(f"report: {printable(args.out)}/report.html")
    if found.recalibrated and args.out:
        print(f"next: siamese verify A.jpg B.jpg --bundle {args.out}/bundle")
    elif found.recalibrated:
        print("add --out DIR to keep a bundle with this threshold")
    return 0
