"""`siamese download lfw DIR`: fetch a public data set, resuming where an earlier try stopped."""

from __future__ import annotations

import argparse

HELP = "download a public data set"
DESCRIPTION = (
    "Download Labeled Faces in the Wild (13,233 photographs, 233 MB) with its official pairs. "
    "Checksums are verified; run the same command again to resume after a broken connection."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument("dataset", choices=("lfw",), help="which data set")
    parser.add_argument("folder", metavar="DIR", help="where to put it")


def run(args: argparse.Namespace) -> int:
    """Download, and print how to train on it."""
    from siamese.datasets.lfw import download_lfw

    print(f"done; train on it with: siamese train data=lfw data.root={download_lfw(args.folder)}")
    return 0
