"""`siamese embed`: all images of a data set, or of any folder, to a file of embeddings."""

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
    from siamese.datasets.identities import IdentityTable

HELP = "embed all images of a data set, into a file"
DESCRIPTION = (
    "Embed all images of a data set with a bundle's network, and write embeddings, files and "
    "identities to one file, which siamese calibrate --embeddings reads. Where it is stopped, the "
    "same command goes on. siamese embed PHOTOGRAPHS --out FILE embeds all photographs of a folder "
    "with the pretrained network. By several processes: torchrun --nproc-per-node 2 -m siamese "
    "embed ..."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    what = (
        "bundle, or folder of a training run (default: %(default)s); a folder of photographs is "
        "embedded with the pretrained network, as --data with --unlabelled"
    )
    options.add_run(parser, "RUN", what, LATEST)
    options.add_data(parser, "images, or a split.json (default: those of the run)")
    parser.add_argument(
        "--unlabelled",
        action="store_true",
        help="--data is any folder of photographs, in folders or not, and nobody has said whom "
        "they show: each counts as an identity of its own, called as its file",
    )
    parser.add_argument(
        "--splits", nargs="+", metavar="NAME", help="only these splits of the run, e.g. test"
    )
    parser.add_argument(
        "--out",
        metavar="FILE",
        required=True,
        help="where to: .npz (arrays embeddings, files, identities), .npy (with a .csv of files "
        "and identities beside it) or .parquet",
    )
    options.add_overwrite(parser)
    options.add_tta(parser, "the embeddings are those averages")
    options.add_no_face(parser)
    options.add_cropping(parser)
    options.add_plugin(parser)
    options.add_device(parser)
    options.add_json(parser, "path, images, kept, size, left_out, parts, found")


def run(args: argparse.Namespace) -> int:
    """Print how many images were embedded, and why others were not."""
    from siamese.evaluation.embedding_parts import embed_files
    from siamese.processes import across_processes

    options.import_plugins(args)
    if _is_heap(args):
        args.run, args.data, args.unlabelled = PRETRAINED, args.run, True
        options.note(f"{args.data} is a folder of photographs: embedded with {PRETRAINED}")
    data = _unlabelled(args) if args.unlabelled else args.data
    pretrained = args.run == PRETRAINED
    with across_processes() as processes:
        found = embed_files(
            options.open_bundle(args.run) if pretrained else args.run,
            data,
            args.out,
            splits=args.splits,
            tta=args.tta,
            no_face=args.no_face,
            root=args.root,
            bad_images=args.bad_images,
            cache=args.cache,
            device=options.device(args.device),
            progress=not args.json,
            overwrite=args.overwrite,
        )
    if not processes.first:
        return 0
    for text in found.notes:
        options.note(text)
    if args.json:
        print(json.dumps(found.to_dict(), allow_nan=False))
        return 0
    if found.found:
        print(f"{found.found} of {found.parts} parts were there from a run that was stopped")
    print(f"{found.kept:,} of {found.images:,} images: {found.size} numbers each in {found.path}")
    for reason, count in sorted(Counter(found.left_out.values()).items()):
        files = [file for file, why in found.left_out.items() if why == reason]
        shown = printable(", ".join(files[:3]))  # a name may be no UTF-8, or steer a terminal
        print(f"left out, {reason}: {count:,} ({shown}{', ...' if count > 3 else ''})")
    if not args.unlabelled:  # there are no genuine pairs to calibrate on
        print(f"next: siamese calibrate --embeddings {found.path}")
    return 0


def _is_heap(args: argparse.Namespace) -> bool:
    """Whether photographs were given instead of a run: a folder that is none, and holds some."""
    from siamese.datasets.scanning import OUTSIDE, scan
    from siamese.inference.bundle import RUN, SWEEP, bundle_in

    folder = Path(args.run).expanduser()
    if args.data is not None or args.run == PRETRAINED or not folder.is_dir():
        return False
    if bundle_in(folder) or (folder / RUN).exists() or (folder / SWEEP).exists():
        return False
    return any(found.reason in ("", OUTSIDE) for found in scan(folder))


def _unlabelled(args: argparse.Namespace) -> IdentityTable:
    """All photographs of a folder.

    Raises:
        ConfigError: no folder was given.
        DataError: there are none.
    """
    from siamese.datasets.identities import IdentityTable

    for name in ("root", "splits"):
        if getattr(args, name) is not None:
            raise ConfigError(
                f"--{name} has no meaning with --unlabelled, which takes all photographs of a "
                f"folder; leave it out"
            )
    if args.data is None or not Path(args.data).expanduser().is_dir():
        raise ConfigError("--unlabelled needs a folder of photographs: --data FOLDER")
    return IdentityTable.from_heap(Path(args.data).expanduser())
