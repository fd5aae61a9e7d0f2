"""`siamese search GALLERY PHOTO ...`: who is on photographs, among people who were enrolled."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from siamese.cli import options
from siamese.cli.enrol import open_gallery
from siamese.errors import ConfigError, FaceError, ImageError, printable

if TYPE_CHECKING:
    from siamese.inference.gallery.gallery import Gallery
    from siamese.inference.gallery.results import Identification

HELP = "find who is on a photograph, in a gallery"
DESCRIPTION = (
    "Find who is on photographs, among the people who were enrolled (siamese enrol). Every face on "
    "a photograph is searched. Nobody is an answer: a name is given only where the distance is "
    "within the threshold for a whole search."
)
_SHOWN = 3  # examples of wrong answers
EPILOG = "exit code: 0 somebody was found, 1 nobody, 2 error"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    from siamese.inference.gallery.search_threshold import RATE

    parser.add_argument("gallery", metavar="GALLERY", help="folder of the gallery")
    parser.add_argument("photographs", nargs="*", metavar="PHOTO", help="photographs to look for")
    parser.add_argument(
        "--evaluate",
        metavar="PEOPLE",
        help="search photographs of known people instead, enrolled or not, and count the answers: "
        "a folder of one folder per person, or a CSV or Parquet file (path, identity)",
    )
    parser.add_argument("--root", metavar="DIR", help="where the photographs of a CSV file lie")
    parser.add_argument(
        "--k",
        type=int,
        default=5,
        metavar="K",
        help="how many of the nearest people to show (default: %(default)s)",
    )
    parser.add_argument(
        "--rate",
        type=float,
        default=RATE,
        metavar="R",
        help="of searches for people who are not enrolled, how many may name somebody (default: "
        "%(default)s)",
    )
    parser.add_argument(
        "--confidence",
        type=float,
        metavar="C",
        help="with which that rate is promised for other people than those of the calibration, "
        "such as 0.95 (default: no promise; a promise finds fewer)",
    )
    options.add_threshold(parser, "the one that keeps --rate in a gallery of this size")
    parser.add_argument(
        "--bundle", metavar="DIR", help="where the gallery's network lies now (default: as before)"
    )
    options.add_low_quality(parser, "faces of low quality: say so, or pass them over")
    options.add_plugin(parser)
    options.add_device(parser)
    options.add_json(
        parser, "photographs (photograph, faces, error) and threshold, or the figures,"
    )


def run(args: argparse.Namespace) -> int:
    """Print whom each face shows; 0 somebody, 1 nobody, 2 error."""
    options.import_plugins(args)
    if bool(args.photographs) == bool(args.evaluate):
        raise ConfigError("give photographs to search for, or people with --evaluate")
    _check_order(args)
    gallery = open_gallery(args.gallery, args)
    if args.evaluate:
        return _evaluate(gallery, args)
    limits = {"rate": args.rate, "threshold": args.threshold, "confidence": args.confidence}
    threshold = gallery.threshold(**limits)
    rows: list[dict[str, Any]] = []
    for photograph in args.photographs:
        found: list[Identification] = []
        error = None
        try:
            found = gallery.search(photograph, args.k, **limits)
        except (FaceError, ImageError) as failed:
            error = str(failed)
        rows.append(
            {"photograph": photograph, "faces": [one.to_dict() for one in found], "error": error}
        )
        if not args.json:
            _show(photograph, found, error)
    if args.json:
        facts = {
            "photographs": rows,
            "threshold": threshold.threshold,
            "rate": threshold.rate,
            "pair_rate": threshold.pair_rate,
            "basis": threshold.basis,
            "promise": threshold.in_words,
        }
        print(json.dumps(facts, allow_nan=False))
    elif not all(row["error"] for row in rows):
        print(f"threshold {threshold.threshold:.4f}: {threshold.in_words}")
    if all(row["error"] for row in rows):
        return 2
    return 0 if any(face["name"] for row in rows for face in row["faces"]) else 1


def _check_order(args: argparse.Namespace) -> None:
    """Say so where the gallery does not stand first."""
    from siamese.inference.gallery.stored import INDEX

    if not (Path(args.gallery) / INDEX).exists():
        for word in args.photographs:
            if (Path(word) / INDEX).exists():
                raise ConfigError(f"{word} is a gallery: it comes first: siamese search {word} ...")


def _evaluate(gallery: Gallery, args: argparse.Namespace) -> int:
    """Print how often searches name the right person, a wrong one, and nobody."""
    from siamese.evaluation.search_run import evaluate_gallery

    found = evaluate_gallery(
        gallery,
        args.evaluate,
        root=args.root,
        rate=args.rate,
        confidence=args.confidence,
        threshold=args.threshold,
        progress=not args.json,
    )
    if args.json:
        print(json.dumps(found.to_dict(), allow_nan=False))
        return 0
    search, at = found.search, found.figures
    mated = int(search.mated.sum())
    print(
        f"{mated:,} photographs of people who are enrolled, {len(search.mated) - mated:,} of "
        f"others; searched among {search.people:,} people, {search.photographs:,} photographs"
    )
    for reason, count in sorted(Counter(found.left_out.values()).items()):
        print(f"left out, {reason}: {count:,}")
    print(f"threshold {at.threshold:.4f}: {found.threshold.in_words}")
    chance = f"guessing: {1 / search.people:.4f}"
    for what, value, ends, beside in (
        ("the nearest person is the right one (rank 1)", search.rank(1), "rank1", chance),
        ("mean average precision", search.mean_average_precision, "mean_average_precision", ""),
        ("enrolled, and not named rightly (FNIR)", at.fnir, "fnir", "naming nobody: 1"),
        ("enrolled, and named wrongly", at.misnamed, "misnamed", ""),
        ("not enrolled, and named (FPIR)", at.fpir, "fpir", "naming the nearest always: 1"),
    ):
        if value is not None:
            low, high = {**search.ci95, **at.ci95}.get(ends, (None, None))
            interval = f" ({low:.4f}-{high:.4f})" if low is not None else ""
            print(f"{what}: {value:.4f}{interval}{f'; {beside}' if beside else ''}")
    for one in found.mistakes[:_SHOWN]:
        whom = one.named or f"nobody (nearest: {one.nearest})"
        print(
            f"wrong: {printable(one.photograph)} shows {printable(one.identity)}"
            f"{'' if one.enrolled else ', who is not enrolled'}; found {printable(whom)}, "
            f"{one.distance:.4f}"
        )
    if len(found.mistakes) > _SHOWN:
        print(f"wrong: {len(found.mistakes) - _SHOWN:,} more (--json lists all)")
    return 0


def _show(photograph: str, found: list[Identification], error: str | None) -> None:
    if error is not None:
        print(f"error: {printable(error if photograph in error else f'{photograph}: {error}')}")
        return
    for number, one in enumerate(found, start=1):
        where = printable(photograph)
        if one.box is not None and len(found) > 1:
            left, top, right, bottom = (round(v) for v in one.box)
            where += f", face {number} (x {left}-{right}, y {top}-{bottom})"
        name = "nobody enrolled" if one.name is None else printable(one.name)
        print(f"{where}: {name}")
        for candidate in one.candidates:
            sign = "<=" if candidate.accepted else ">"
            photo = f" ({printable(candidate.photograph)})" if candidate.photograph else ""
            print(
                f"  {candidate.distance:.4f} {sign} {one.threshold.threshold:.4f}  "
                f"{printable(candidate.name)}{photo}"
            )
        for said in one.quality.warnings if one.quality else ():
            print(f"  note: {said}")
