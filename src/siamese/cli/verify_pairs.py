"""`siamese verify --pairs LIST --out FILE`: a verdict for every pair of a list."""

from __future__ import annotations

import argparse
import gc
import json
from pathlib import Path
from typing import TYPE_CHECKING

from siamese.cli import options
from siamese.errors import ConfigError, printable

if TYPE_CHECKING:
    from siamese.inference.pair_verdicts import PairVerdicts
    from siamese.inference.verifier import Verifier

# Options that have no meaning for two images, and what each is without being given.
_OF_LISTS = {"out": None, "root": None, "columns": None, "jobs": None, "overwrite": False}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """A list instead of two images, and what becomes of it."""
    group = parser.add_argument_group("a list of pairs, instead of A and B")
    group.add_argument(
        "--pairs",
        dest="list",  # what other commands call pairs is a rule
        metavar="FILE",
        help="a CSV file of two columns of files (a,b or left,right or photo_1,photo_2, ..., or "
        "without a header); further columns are carried through",
    )
    group.add_argument(
        "--root",
        metavar="DIR",
        help="the folder that its files are relative to (default: that of the list)",
    )
    group.add_argument(
        "--columns",
        nargs=2,
        metavar=("A", "B"),
        help="names of the two columns, where they are called otherwise",
    )
    group.add_argument(
        "--out",
        metavar="FILE",
        help="where the list is written to with verdicts, .csv; where it is stopped, the same "
        "command goes on",
    )
    options.add_overwrite(parser)
    options.add_jobs(group)


def check(args: argparse.Namespace) -> None:
    """Either two images or a list, and no option of the other one.

    Raises:
        ConfigError: otherwise.
    """
    if args.list is None:
        for name, default in _OF_LISTS.items():
            if getattr(args, name) != default:
                raise ConfigError(
                    f"--{name} is for lists of pairs (--pairs FILE); leave it out with two images"
                )
        missing = [name for name in ("A", "B") if getattr(args, name.lower()) is None]
        if missing:
            raise ConfigError(
                f"the following arguments are required: {', '.join(missing)} (two images), or "
                f"--pairs FILE --out FILE"
            )
    elif args.a is not None:
        raise ConfigError(f"--pairs {args.list} names the images; leave out {args.a}")
    elif args.out is None:
        raise ConfigError("--pairs needs a place for the verdicts: --out verdicts.csv")


def run(args: argparse.Namespace, verifier: Verifier) -> int:
    """Print a summary; 0 where a pair was compared, 2 where none could be."""
    from siamese.inference.pair_lists import verify_list

    gc.enable()  # which the command turns off for a verdict alone
    found = verify_list(
        verifier,
        args.list,
        args.out,
        args.root,
        columns=args.columns,
        jobs=args.jobs,
        overwrite=args.overwrite,
        progress=not args.json,
    )
    notes = _notes(found, verifier, args)
    for text in notes:
        options.note(text)
    if args.json:
        facts = {
            "out": args.out,
            "bundle": args.bundle,
            "threshold": verifier.threshold,
            "notes": notes,
        }
        print(json.dumps(found.to_dict() | facts, allow_nan=False))
    else:
        _show(found, verifier, args)
    return 0 if found.counts["failed"] < len(found) else 2


def note_on_chance(verifier: Verifier) -> str | None:
    """What to say of a network whose verdicts mean nothing; None of another one."""
    from siamese.verification.curves import CHANCE

    kept = verifier.bundle.calibration
    if kept is None or (area := kept.curve.auc) >= CHANCE:
        return None
    return (
        f"the network is hardly better than chance (AUC {area:.3f} where its threshold was chosen; "
        f"0.5 is guessing): its verdicts mean nothing"
    )


def _notes(found: PairVerdicts, verifier: Verifier, args: argparse.Namespace) -> list[str]:
    """What must be known beside the verdicts, in sentences."""
    root = Path(args.list).parent if args.root is None else Path(args.root)
    compared = next((pair for pair in found if pair.verification is not None), None)
    pictures = [] if compared is None else [root / compared.a, root / compared.b]
    known = (note_on_chance(verifier), options.on_no_search(verifier.cropper, pictures))
    return [*found.notes, *(text for text in known if text)]


def _show(found: PairVerdicts, verifier: Verifier, args: argparse.Namespace) -> None:
    counts = found.counts
    print(
        f"{counts['pairs']:,} pairs of {found.photographs:,} photographs: {counts['same']:,} same, "
        f"{counts['different']:,} different, {counts['failed']:,} not compared"
    )
    if found.found:
        print(f"{found.found:,} photographs were there from a run that was stopped")
    if counts["uncertain"]:
        print(
            f"uncertain: {counts['uncertain']:,} of the verdicts (the distance lies within the "
            f"95 % interval of the threshold)"
        )
    for reason, count in found.failures.items():
        print(f"not compared, {printable(reason)}: {count:,}")
    print(f"bundle: {options.shown(args.bundle)}, threshold {verifier.threshold:.4f}")
    print(f"verdicts: {args.out}")
