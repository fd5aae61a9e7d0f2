"""`siamese cache`: where crops are kept, how many, and how to pack or wipe them."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

HELP = "show, pack or wipe the cache, which holds faces of people"
DESCRIPTION = (
    "The cache holds the faces that were cut out of images, and numbers computed from them, so "
    "that each image is searched once. Without an action its place and size are shown; `clear` "
    "removes what it holds. It is made again where it is needed. `pack` puts millions of small "
    "files into a few large ones, which are read as before."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument(
        "action",
        nargs="?",
        choices=("clear", "pack"),
        help="remove what it holds, or pack its crops",
    )
    parser.add_argument("--cache", metavar="DIR", help="another cache (default: $SIAMESE_CACHE)")
    parser.add_argument(
        "--older-than", type=float, metavar="DAYS", help="remove only what is older"
    )
    parser.add_argument("--yes", action="store_true", help="do not ask")


def run(args: argparse.Namespace) -> int:
    """Show the cache, or wipe it."""
    from siamese.data.cache import PARTS, cache_parts, clear_cache, pack_cache
    from siamese.errors import ConfigError
    from siamese.faces.cache_folder import default_cache

    if args.action != "clear" and args.older_than is not None:
        raise ConfigError("--older-than goes with clear: siamese cache clear --older-than DAYS")
    if args.action == "pack":
        print(f"{pack_cache(args.cache):,} crops packed")
        return 0
    parts = cache_parts(args.cache)
    folder = Path(args.cache).expanduser() if args.cache is not None else default_cache()
    print(f"cache: {folder}{'' if folder.exists() else ' (not made yet)'}")
    for part in parts:
        size = part.bytes / 1e6
        print(f"{part.name}: {part.files:,} files, {size:,.1f} MB ({PARTS[part.name]})")
    if args.action is None:
        return 0
    chosen = cache_parts(args.cache, args.older_than)
    count, size = sum(part.files for part in chosen), sum(part.bytes for part in chosen) / 1e6
    if args.older_than is not None:
        print(f"older than {args.older_than:g} days: {count:,} files, {size:,.1f} MB")
    if not count:
        return 0
    if not args.yes:
        if not sys.stdin.isatty():
            raise ConfigError("nobody can be asked here: add --yes to remove these files")
        if input(f"remove {count:,} files? [y/N] ").strip().lower() not in ("y", "yes"):
            print("nothing is removed")
            return 0
    print(f"{clear_cache(args.cache, args.older_than):,} files removed")
    return 0
