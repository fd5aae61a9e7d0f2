"""`siamese export BUNDLE --to onnx`: a bundle for programs without torch, or for dlib."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from siamese.cli import options
from siamese.cli.options import LATEST
from siamese.errors import ConfigError

HELP = "write a bundle's network for other programs: ONNX, dlib"
DESCRIPTION = (
    "Write a bundle as one .onnx file, which onnxruntime runs without torch, from Python, C++, "
    "JavaScript and others: normalisation, averaging over the mirror image and unit length are "
    "inside, threshold, distance, cropper and calibration are its metadata (extra onnx). Or write "
    "dlib's network as dlib's own file. The file is checked against the bundle before it is kept."
)
EPILOG = "siamese verify A B --bundle FILE.onnx uses such a file."
_NAMES = {"onnx": "model.onnx", "dlib": "model.dat"}
_MOST_IMAGES = 500


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    options.add_run(parser, "BUNDLE", "bundle, or folder of a run (default: %(default)s)", LATEST)
    parser.add_argument(
        "--to",
        choices=tuple(_NAMES),
        default="onnx",
        help="onnx: for onnxruntime; dlib: for dlib.face_recognition_model_v1, where the network "
        "is dlib's (default: %(default)s)",
    )
    parser.add_argument(
        "--out",
        metavar="FILE",
        help="where to (default: model.onnx, or model.dat for dlib); an existing file is kept "
        "unless --overwrite is given",
    )
    parser.add_argument(
        "--precision",
        choices=("float32", "float16", "int8"),
        help="of an .onnx file's weights: float16 halves the file, int8 quarters it and needs "
        "--images (default: float32)",
    )
    parser.add_argument(
        "--images",
        metavar="DIR",
        help="some dozens to hundreds of photographs of the kind that it will be used on, in a "
        "folder or in folders below it: int8 chooses its ranges by up to 500 of them",
    )
    parser.add_argument(
        "--trusted", metavar="KEYS", help="as for siamese verify: who must have signed the bundle"
    )
    options.add_overwrite(parser)
    options.add_plugin(parser)
    options.add_json(parser, "what was written, and how far it is from the bundle,")


def run(args: argparse.Namespace) -> int:
    """Write the file, and print what was written."""
    options.import_plugins(args)
    out = Path(args.out or _NAMES[args.to]).expanduser()
    if out.exists() and not args.overwrite:
        raise ConfigError(f"{out} exists; give another --out, or --overwrite to replace it")
    if args.to == "dlib":
        return _to_dlib(args, out)
    from siamese.inference.onnx.export import export_onnx

    images = None if args.images is None else _images(args.images)
    precision = args.precision or "float32"
    bundle = options.open_bundle(args.run, args.trusted)
    found = export_onnx(bundle, out, precision=precision, images=images)
    if args.json:
        print(json.dumps(found.to_dict(), allow_nan=False))
        return 0
    print(
        f"{found.path}: {found.bytes / 1e6:.1f} MB, {found.precision}, embeddings of "
        f"{found.embedding_size} numbers"
    )
    print(
        f"checked on {found.checked} crops: embeddings differ from torch's by "
        f"{found.largest_difference:.2g} of their length at most, distances by "
        f"{found.largest_distance_difference:.2g}"
    )
    if found.precision != "float32":
        options.note(
            "the threshold is the bundle's, chosen in float32; docs/export.md says what other "
            "precisions cost"
        )
    return 0


def _to_dlib(args: argparse.Namespace, out: Path) -> int:
    from siamese.inference.dlib_export import export_dlib

    if args.precision or args.images:
        raise ConfigError("--precision and --images are for --to onnx; leave them out")
    found = export_dlib(options.open_bundle(args.run, args.trusted), out)
    if args.json:
        print(json.dumps(found.to_dict(), allow_nan=False))
        return 0
    print(f"{found.path}: {found.bytes / 1e6:.1f} MB, for dlib.face_recognition_model_v1")
    for text in found.notes:
        print(f"note: {text}")
    return 0


def _images(folder: str) -> list[Path]:
    """Up to ``_MOST_IMAGES`` of a folder, evenly chosen."""
    from siamese.datasets.suffixes import is_image

    root = Path(folder).expanduser()
    found = sorted(p for p in root.rglob("*") if is_image(p.name)) if root.is_dir() else []
    if not found:
        raise ConfigError(f"{folder}: no folder with images; give one for --images")
    return found[:: -(-len(found) // _MOST_IMAGES)]
