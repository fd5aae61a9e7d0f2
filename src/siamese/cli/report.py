"""`siamese report RUN [RUN ...]`: one HTML file on a run, or on several side by side."""

from __future__ import annotations

import argparse
import json

from siamese.cli import options
from siamese.cli.options import LATEST
from siamese.errors import printable

HELP = "write one HTML file on a run, or on several side by side"
DESCRIPTION = (
    "Write the report on a run, or on several side by side, as one HTML file that needs no network "
    "and no other file: the verdict, the threshold and its promise, learning, distances, errors, "
    "groups, the worst mistakes, data and settings. It is made of what lies in the runs' folders, "
    "without their images."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument(
        "runs",
        nargs="*",
        default=[LATEST],
        metavar="RUN",
        help=f"folder of a run, or of an evaluation (evaluate --out); several are compared "
        f"(default: {LATEST})",
    )
    parser.add_argument(
        "--out", metavar="FILE", help="where it goes (default: report.html in the only RUN)"
    )
    parser.add_argument(
        "--no-faces",
        action="store_true",
        help="leave out every image, so that the file can be given to others; names of people and "
        "files stay",
    )
    options.add_json(parser, "the path of the file, and its size in bytes")


def run(args: argparse.Namespace) -> int:
    """Print where the report lies."""
    from siamese.report.run_report import write_report

    path = write_report(args.runs, args.out, faces=not args.no_faces)
    size = path.stat().st_size
    if args.json:
        print(json.dumps({"report": str(path), "bytes": size}, allow_nan=False))
    else:
        print(printable(f"report: {path} ({size / 1e6:.2f} MB)"))
    return 0
