"""`siamese audit DATA`: where every file is, duplicates, and images that may show somebody else."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from siamese.cli import options
from siamese.cli.options import LATEST, PRETRAINED
from siamese.errors import ConfigError, MissingDependencyError, printable

if TYPE_CHECKING:
    from siamese.evaluation.audit import Audit, Doublet
    from siamese.inference.bundle import Bundle

HELP = "say what is doubtful about a data set: lost files, duplicates, wrong labels"
DESCRIPTION = (
    "Read every image of a data set and say what is doubtful about it: files that are left out, "
    "and why; names that look alike; images that are the same or look it, under two names or in "
    "two splits; and, by a bundle's network, images nearer to another identity than to their own, "
    "and identities that look like one person. These are suspicions for somebody to look at."
)
NONE = "none"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument(
        "data",
        metavar="DATA",
        help=f"a folder of one folder per identity, a CSV file (path, identity), or a run "
        f"({LATEST}, or its split.json), whose splits are then compared, too",
    )
    parser.add_argument(
        "--root", metavar="DIR", help="where the images of a CSV file, or of the run, lie now"
    )
    parser.add_argument(
        "--pairs-file",
        metavar="FILE",
        help="only the images of these pairs, in LFW's format or a CSV (left,right,same,fold), "
        "with paths relative to DATA; their folds are compared as splits are",
    )
    parser.add_argument(
        "--bundle",
        metavar="DIR",
        help=f"bundle, or folder of a run, whose network compares images; {NONE}: no labels are "
        f"doubted (default: {PRETRAINED} where it is installed)",
    )
    parser.add_argument(
        "--near",
        type=int,
        metavar="BITS",
        help="in how many of 256 bits perceptual hashes of images may differ that count as the "
        "same (default: 32)",
    )
    parser.add_argument(
        "--show",
        type=int,
        default=20,
        metavar="N",
        help="print so many finds of each kind; --json and --out have all (default: %(default)s)",
    )
    parser.add_argument("--out", metavar="FILE", help="write everything that was found as JSON")
    parser.add_argument(
        "--cache",
        metavar="DIR",
        help="folder of the crop cache (default: SIAMESE_CACHE, or the user's cache folder)",
    )
    options.add_plugin(parser)
    options.add_device(parser)
    options.add_json(parser, "everything that was found")


def run(args: argparse.Namespace) -> int:
    """Print what was found; 0 whatever it is."""
    from siamese.datasets.pairs_file import PairsFile
    from siamese.evaluation.audit import NEAR_BITS, audit_data
    from siamese.storage import write_json

    options.import_plugins(args)
    near = NEAR_BITS if args.near is None else args.near
    if not 0 <= near <= 256:
        raise ConfigError(f"--near {near}: give a number of bits from 0 to 256")
    if args.pairs_file and args.root:
        raise ConfigError("--root is where DATA's images lie; with --pairs-file DATA says so")
    data = PairsFile.read(args.pairs_file, args.data) if args.pairs_file else args.data
    bundle = _bundle(args.bundle)
    found = audit_data(
        data,
        root=args.root,
        bundle=bundle,
        near_bits=near,
        cache=args.cache,
        device=options.device(args.device),
        progress=not args.json,
    )
    if args.out:
        write_json(Path(args.out).expanduser(), found.to_dict())
    if args.json:
        print(json.dumps(found.to_dict(), allow_nan=False))
        return 0
    for text in found.notes:
        options.note(text)
    for line in _lines(found, max(0, args.show)):
        print(line)
    return 0


def _bundle(name: str | None) -> Bundle | None:
    """The bundle that is meant; by default the pretrained one, if it is installed."""
    if name == NONE:
        return None
    try:
        bundle = options.open_bundle(name or PRETRAINED)
        bundle.cropper.check()
    except MissingDependencyError as error:
        if name is not None:
            raise
        options.note(f"labels are not doubted: {error}")
        return None
    return bundle


def _lines(found: Audit, show: int) -> Iterable[str]:
    """What is printed."""
    yield printable(f"{found.name}: {found.identities:,} identities")
    yield printable(f"{found.accounts}")
    across = [d for d in (*found.same_files, *found.same_pixels, *found.near) if d.is_across]
    names = "under two names or in two splits"
    sections: list[tuple[str, Sequence[Any]]] = [
        ("files left out", [f"{file}: {reason}" for file, reason in found.left_out.items()]),
        ("names that are taken for one identity", [" = ".join(g) for g in found.spellings]),
        ("names that look alike, but count as two", [" ~ ".join(g) for g in found.look_alikes]),
        (f"the same image {names}", across),
        ("the same file of one identity", _within(found.same_files)),
        ("the same pixels of one identity, in different files", _within(found.same_pixels)),
        ("images of one identity that look the same", _within(found.near)),
        (
            "images nearer to another identity than to any of their own (distances: to the other, "
            "to the nearest own)",
            [
                f"{d.file} ~ {d.other_file} ({d.distance:.3f}, own {d.own:.3f})"
                for d in found.mislabelled
            ],
        ),
        (
            "identities that look like one person, by their nearest images (distance, median of "
            "all)",
            [f"{d.file} ~ {d.other_file} ({d.distance:.3f}, {d.own:.3f})" for d in found.two_names],
        ),
    ]
    for title, finds in sections:
        if not finds:
            continue
        yield f"\n{title}: {len(finds):,}"
        yield from (f"  {printable(str(find))}" for find in finds[:show])
        if len(finds) > show:
            yield f"  and {len(finds) - show:,} more (--show N, --json, --out FILE)"


def _within(doublets: Sequence[Doublet]) -> list[Doublet]:
    return [d for d in doublets if not d.is_across]
