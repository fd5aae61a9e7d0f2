"""`siamese compare A B --on PATH`: which of two networks is better, on the same pairs."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from siamese.cli import options
from siamese.cli.benchmark import given_pairs, notes_on
from siamese.cli.options import LATEST, PRETRAINED
from siamese.errors import ConfigError

if TYPE_CHECKING:
    from siamese.evaluation.comparison import Comparison

HELP = "say which of two runs or bundles is better, on the same pairs"
DESCRIPTION = (
    "Compare two runs or bundles on the same pairs of the same images, each with its own cropper, "
    "distance and threshold: every figure of both, their difference and its 95 % interval over "
    "identities, and in one sentence which is better, if that is shown. On a run its test split is "
    "taken."
)
EPILOG = (
    f"siamese compare {PRETRAINED} {LATEST} --on {LATEST} says whether fine-tuning helped; "
    f"siamese compare A B --on your-people which of two fits your photographs better."
)
# Options that have no meaning for pairs that are given.
_OTHERS = ("on", "pairs", "splits", "root")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    from siamese.datasets.benchmarks import BENCHMARKS

    for name in ("a", "b"):
        parser.add_argument(
            name,
            metavar=name.upper(),
            help=f"folder of a run or a bundle, or {PRETRAINED}",
        )
    parser.add_argument(
        "--on",
        metavar="PATH",
        help=f"what they are compared on: a run ({LATEST}: its test people), a folder of one "
        f"folder per identity, or a CSV file (path, identity)",
    )
    parser.add_argument(
        "--root", metavar="DIR", help="where the images of a CSV file, or of the run, lie now"
    )
    parser.add_argument(
        "--splits", nargs="+", metavar="NAME", help="other splits of the run (default: test)"
    )
    options.add_pairs(parser)
    parser.add_argument(
        "--benchmark",
        choices=tuple(BENCHMARKS),
        help="instead of --on: official pairs of a data set, whose folder is --data",
    )
    parser.add_argument(
        "--pairs-file",
        metavar="FILE",
        help="instead of --on: pairs in LFW's format or a CSV (left,right,same,fold); paths "
        "relative to --data",
    )
    parser.add_argument(
        "--data", metavar="DIR", help="the images of --benchmark or of --pairs-file"
    )
    options.add_no_face(parser)
    options.add_cropping(parser)
    options.add_plugin(parser)
    options.add_device(parser)
    options.add_json(parser, "the comparison")


def run(args: argparse.Namespace) -> int:
    """Print the comparison."""
    options.import_plugins(args)
    on = _on(args)
    from siamese.evaluation.comparison import compare

    names = (args.a, args.b)
    a, b = (options.open_bundle(name) if name == PRETRAINED else name for name in names)
    found = compare(
        a,
        b,
        on=on,
        splits=args.splits,
        pairs=args.pairs,
        no_face=args.no_face,
        root=args.root,
        bad_images=args.bad_images,
        cache=args.cache,
        device=options.device(args.device),
        progress=not args.json,
    )
    for text in [*found.notes, *_more_notes(args, found, on)]:
        options.note(text)
    if args.json:
        print(json.dumps({"a": args.a, "b": args.b} | found.to_dict(), allow_nan=False))
        return 0
    _show(found, *names, args.on)
    return 0


def _on(args: argparse.Namespace) -> Any:
    """What is compared on.

    Raises:
        ConfigError: nothing, or two things.
    """
    if args.benchmark or args.pairs_file:
        return given_pairs(args, _OTHERS)
    if args.data:
        raise ConfigError(
            f"--data belongs to --benchmark or --pairs-file; to compare on the images of a folder "
            f"or a CSV file: --on {args.data}"
        )
    if not args.on:
        raise ConfigError(
            f"say what to compare on: --on {LATEST} (the test people of a run), --on PATH (a "
            f"folder of one folder per identity, or a CSV file), or --benchmark lfw_view2 --data "
            f"lfw"
        )
    return args.on


def _more_notes(args: argparse.Namespace, found: Comparison, on: Any) -> list[str]:
    """What is known of given pairs, of croppers, and of the network that needs no training."""
    from siamese.evaluation.comparison import said_of_both

    named = ((found.a, args.a), (found.b, args.b))
    if args.benchmark or args.pairs_file:
        said = [notes_on(each, on, args.benchmark, name == PRETRAINED) for each, name in named]
        return said_of_both(*said)
    known = f"{PRETRAINED}: {options.KNOWN_OF_PRETRAINED}"
    first = _first_image(args.on, args.root)
    unseen = [options.on_no_search(each.cropper, first) if first else None for each, _ in named]
    notes = said_of_both(*([text] if text else [] for text in unseen))
    return notes + ([known] if PRETRAINED in (args.a, args.b) else [])


def _first_image(on: str, root: str | None) -> list[Path]:
    """An image of a folder or a CSV file; none of a run, which was cropped as its own are."""
    from siamese.datasets.given_path import is_table, table_at
    from siamese.evaluation.data import manifest_path

    is_run = not is_table(on) and manifest_path(on) is not None
    return [] if is_run else list(table_at(on, root).paths[:1])


def _show(found: Comparison, a: str, b: str, on: str | None) -> None:
    """The tables and the sentences."""
    from siamese.datasets.given_path import name_at
    from siamese.datasets.other_data import split_in_words
    from siamese.report import tables

    name = None if on is None else name_at(on)
    print(f"A: {_named(a)}   B: {_named(b)}")
    for split, compared in found.splits.items():
        tables.show(tables.paired_table(compared, split_in_words(split, name)))
        if compared.mcnemar is not None or found.folds is not None:
            print(compared.mcnemar or compared.why_no_mcnemar)
    if found.folds is not None:
        print(found.folds)
    names = (_named(a), _named(b))
    called = names if names[0] != names[1] else ("A", "B")
    for sentence in found.sentences(*called):
        print(sentence)


def _named(name: str) -> str:
    return name if name == PRETRAINED else str(Path(name))
