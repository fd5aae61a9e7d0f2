"""`siamese download lfw DIR`: fetch a public data set, resuming where an earlier try stopped."""

from __future__ import annotations

import argparse
from typing import Any


def add_parser(commands: Any) -> argparse.ArgumentParser:
    """Enter the sub-command."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "download",
        help="download a public data set",
        description="Download Labeled Faces in the Wild (13,233 photographs, 233 MB) with its official pairs. Checksums are "
        "verified; run the same command again to resume after a broken connection.",
    )
    parser.add_argument("dataset", choices=("lfw",), help="which data set")
    parser.add_argument("folder", metavar="DIR", help="where to put it")
    return parser


def run(args: argparse.Namespace) -> int:
    """Download, and print how to train on it."""
    from siamese.datasets.lfw import download_lfw

    print(f"done; train on it with: siamese train data=lfw data.root={download_lfw(args.folder)}")
    return 0
