"""`siamese cluster FOLDER --out people.csv`: an unsorted heap of photographs, by person."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from siamese.cli import options
from siamese.cli.options import LATEST, PRETRAINED
from siamese.errors import ConfigError, printable

if TYPE_CHECKING:
    from siamese.evaluation.sorted_files import FaceRow
    from siamese.evaluation.sorting import Sorting

HELP = "sort a heap of photographs by person"
DESCRIPTION = (
    "Find every face on the photographs of a folder, and sort them into people nobody has named "
    "yet: a first labelling to look through and correct, then to train and to calibrate on. "
    "Correct the column identity of the table (names instead of numbers; nothing for what shows "
    "nobody), and make the folders of the corrected one: siamese cluster FOLDER --corrected "
    "people.csv --link DIR."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument("folder", metavar="FOLDER", help="of photographs, in any order and folders")
    parser.add_argument(
        "--out",
        metavar="CSV",
        help="table to write: a line for each face; where it is stopped, the same command goes on",
    )
    parser.add_argument(
        "--link",
        metavar="DIR",
        help="also make a folder for each person, as siamese train reads them: links to "
        "photographs with one face, and the faces cut out of those with several",
    )
    parser.add_argument(
        "--corrected", metavar="CSV", help="sort nothing, but link what this table says"
    )
    parser.add_argument(
        "--bundle",
        default=PRETRAINED,
        metavar="DIR",
        help=f"bundle, .onnx file, or folder of a training run ({LATEST} is the newest) (default: "
        "%(default)s)",
    )
    parser.add_argument(
        "--threshold",
        type=float,
        metavar="D",
        help="join clusters up to this mean distance: less makes more people of them (default: "
        "chosen on the bundle's calibration pairs, for as many people as there seem to be)",
    )
    options.add_low_quality(parser, "faces of low quality: say so, or leave them out")
    options.add_overwrite(parser)
    options.add_jobs(parser)
    options.add_plugin(parser)
    options.add_device(parser)
    options.add_json(
        parser, "people, faces, photographs, sizes, left_out, found, notes, threshold, out, link"
    )


def run(args: argparse.Namespace) -> int:
    """Print how many people were told apart."""
    from siamese.evaluation.folder_sorting import check_table
    from siamese.evaluation.sorted_files import check_free, link_people, read_table

    if args.corrected:
        if not args.link or args.out:
            raise ConfigError("--corrected FILE links what the table says: give --link DIR alone")
        counts = link_people(read_table(args.corrected), args.folder, args.link)
        _print_links(counts, args)
        return 0
    if not args.out:
        raise ConfigError("give the table to write: --out people.csv")
    check_table(Path(args.out).expanduser(), args.overwrite)
    if args.link:
        check_free(args.link, args.folder)
    return _sort(args)


def _sort(args: argparse.Namespace) -> int:
    from siamese.evaluation.folder_sorting import sort_folder
    from siamese.evaluation.sorted_files import link_people, rows_of

    options.import_plugins(args)
    verifier = options.open_verifier(args.bundle, low_quality=args.low_quality, device=args.device)
    sorting = sort_folder(
        args.folder,
        verifier,
        args.out,
        threshold=args.threshold,
        jobs=args.jobs,
        overwrite=args.overwrite,
        progress=not args.json,
    )
    for text in sorting.notes:
        options.note(text)
    rows = rows_of(sorting, args.folder)
    counts = link_people(rows, args.folder, args.link) if args.link else None
    if args.json:
        facts = {
            "people": sorting.clusters,
            "faces": len(sorting.faces),
            "photographs": len({face.photograph for face in sorting.faces}),
            "sizes": sorted(Counter(face.identity for face in sorting.faces).values())[::-1],
            "left_out": {str(photo): why for photo, why in sorting.left_out.items()},
            "found": sorting.found,
            "notes": sorting.notes,
            "threshold": sorting.threshold,
            "out": str(Path(args.out).expanduser()),
            "link": args.link,
        }
        print(json.dumps(facts, allow_nan=False))
        return 0
    _show(sorting, rows, args)
    if counts is not None:
        _print_links(counts, args)
    return 0


def _show(sorting: Sorting, rows: list[FaceRow], args: argparse.Namespace) -> None:
    sizes = Counter(Counter(row.identity for row in rows).values())
    photographs = len({row.path for row in rows})
    print(
        f"{sorting.clusters:,} people on {photographs:,} photographs ({len(rows):,} faces); "
        f"{sizes[1]:,} of them once"
    )
    if sorting.found:
        print(f"{sorting.found:,} photographs were there from a run that was stopped")
    for photo, why in list(sorting.left_out.items())[:3]:
        print(f"left out: {printable(why if str(photo) in why else f'{photo}: {why}')}")
    if len(sorting.left_out) > 3:
        print(f"left out: {len(sorting.left_out) - 3:,} more (in the table, without an identity)")
    print(f"threshold: {sorting.threshold:.4f}, of the mean distance of two groups of faces")
    print(f"written: {args.out}; look through it: the sorting is a guess")
    if not args.link:
        print(
            f"next: correct the column identity, then siamese cluster {args.folder} --corrected "
            f"{args.out} --link DIR"
        )


def _print_links(counts: dict[str, int], args: argparse.Namespace) -> None:
    if args.json:
        print(json.dumps({"people": len(counts), "images": counts, "link": args.link}))
        return
    several = sum(count > 1 for count in counts.values())
    print(
        f"linked: {sum(counts.values()):,} images of {len(counts):,} people in {args.link}, "
        f"{several:,} of them with several"
    )
    print(f"next: siamese calibrate {PRETRAINED} --data {args.link} --out DIR")
