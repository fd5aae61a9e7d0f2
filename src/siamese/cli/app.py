"""`siamese app [BUNDLE]`: a page in the browser to try a bundle."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from siamese.cli import options
from siamese.cli.options import LATEST, PRETRAINED
from siamese.errors import ConfigError

if TYPE_CHECKING:
    from siamese.app.folder import FolderFigures
    from siamese.app.server import Loaded
    from siamese.evaluation.stages import RunEvaluation

HELP = "try a bundle on a page in the browser"
DESCRIPTION = (
    "Open a page that only this machine can reach: compare two photographs, or the camera's, slide "
    "the threshold and see what it costs, search a gallery, see the figures of a folder of people. "
    "Nothing that is sent is kept. Ctrl-C ends it."
)
HOST, PORT = "127.0.0.1", 8420


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument(
        "bundle",
        nargs="?",
        metavar="BUNDLE",
        help=f"bundle, or folder of a training run ({LATEST} is the newest), or {PRETRAINED} "
        f"(default: {PRETRAINED}, or the network of the gallery)",
    )
    parser.add_argument(
        "--gallery", metavar="GALLERY", help="people to search among (siamese enrol makes one)"
    )
    options.add_data(parser, "people whose figures are shown")
    parser.add_argument(
        "--host",
        default=HOST,
        metavar="HOST",
        help="where to listen (default: %(default)s, this machine alone; 0.0.0.0 lets everybody on "
        "the network use the page, unencrypted)",
    )
    parser.add_argument(
        "--port",
        type=int,
        default=PORT,
        metavar="PORT",
        help="0 takes any that is free (default: %(default)s)",
    )
    parser.add_argument("--open", action="store_true", help="open the page in the browser")
    parser.add_argument(
        "--trusted", metavar="KEYS", help="refuse a bundle that none of these public keys signed"
    )
    parser.add_argument(
        "--no-face",
        choices=("error", "whole_image"),
        help="a photograph on which no face is found: refuse it, or compare the whole image "
        "(default: what the bundle says)",
    )
    options.add_low_quality(parser, "photographs of low quality: say so, or refuse them")
    options.add_plugin(parser)
    options.add_device(parser)
    options.add_json(parser, "the address, once the page is there,")


def run(args: argparse.Namespace) -> int:
    """Serve the page until Ctrl-C; 0."""
    from siamese.app.needed import require_packages

    require_packages()
    from siamese.app.guard import address, is_private
    from siamese.app.server import make_app
    from siamese.app.serving import listen, serve

    options.import_plugins(args)
    with listen(args.host, args.port) as place:
        loaded = _load(args)
        url = address(args.host, place.getsockname()[1])
        if not is_private(args.host):
            options.note(
                f"{args.host} can be reached from other machines: anybody on the network can use "
                f"this page, and can listen, since it is not encrypted"
            )
        if args.json:
            print(json.dumps({"address": url}), flush=True)
        else:
            print(f"{url}  (Ctrl-C ends it)", flush=True)
        if loaded.folder is not None:
            loaded.folder.start()
        if args.open:
            import webbrowser

            webbrowser.open(url)
        try:
            serve(make_app(loaded, args.host), place)
        except KeyboardInterrupt:
            print("stopped", file=sys.stderr)
    if loaded.folder is not None and not loaded.folder.abandon():
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)  # an evaluation that nobody waits for would be waited for
    return 0


def _load(args: argparse.Namespace) -> Loaded:
    """What the page works with."""
    from siamese.app.server import Loaded
    from siamese.inference.gallery.gallery import Gallery
    from siamese.inference.gallery.stored import read_index

    own = read_index(Path(args.gallery).expanduser()).bundle if args.gallery else None
    source = args.bundle or own or PRETRAINED
    folder = _folder(args, source)  # first: what is wrong with it is soon said
    verifier = options.open_verifier(
        source,
        args.trusted,
        no_face=args.no_face,
        low_quality=args.low_quality,
        device=args.device,
    )
    gallery = Gallery.load(args.gallery, verifier) if args.gallery else None
    return Loaded(verifier, gallery, folder)


def _folder(args: argparse.Namespace, source: str) -> FolderFigures | None:
    """The evaluation of ``--data``, by a network of its own: the other one is in use."""
    if args.data is None:
        return None
    if source.lower().endswith(".onnx"):
        raise ConfigError(
            "--data is evaluated with a bundle, and an .onnx file is none; give the bundle that it "
            "was exported from"
        )
    from siamese.app.folder import FolderFigures
    from siamese.evaluation.data import other_table
    from siamese.evaluation.run import evaluate_run

    people = other_table(args.data, args.root)
    bundle = options.open_bundle(source, args.trusted)
    name = Path(args.data).name or str(args.data)

    def evaluate() -> RunEvaluation:
        return evaluate_run(
            bundle,
            people,
            bad_images="quarantine",
            device=args.device,
            progress=False,
        )

    return FolderFigures(name, evaluate)
