"""`siamese evaluate RUN`: the figures of a finished run again, on its own splits or on other people."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from siamese.cli.verify import LATEST, device
from siamese.errors import ConfigError

if TYPE_CHECKING:
    from siamese.data.splits import SplitManifest


def add_parser(commands: Any) -> argparse.ArgumentParser:
    """Enter the sub-command."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "evaluate",
        help="evaluate a finished run on its splits, or on other people",
        description="Evaluate a finished run: on its own train, calibration and test splits, whose manifest and files are "
        "checked first, or, with --data, on all people of another folder or CSV file, at the run's threshold.",
    )
    parser.add_argument("run", nargs="?", default=LATEST, metavar="RUN", help="folder of a training run (default: %(default)s)")
    parser.add_argument(
        "--data", metavar="PATH", help="other people: a folder of one folder per person, or a CSV file (path, identity)"
    )
    parser.add_argument("--root", metavar="DIR", help="where the run's pictures lie now, if they moved")
    parser.add_argument(
        "--pairs", choices=("balanced_pairs", "all_pairs"), help="which pairs (default: as the threshold was calibrated)"
    )
    parser.add_argument(
        "--bad-images",
        choices=("error", "quarantine"),
        default="error",
        help="pictures that cannot be read: stop, or leave out",
    )
    parser.add_argument(
        "--cache", metavar="DIR", help="folder of the crop cache (default: SIAMESE_CACHE, or the user's cache folder)"
    )
    parser.add_argument("--out", metavar="DIR", help="write evaluation.json and the distance histograms there")
    parser.add_argument("--device", default="cpu", help="where to compute: cpu, cuda, mps (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON instead of tables")
    return parser


def run(args: argparse.Namespace) -> int:
    """Print the figures."""
    from siamese.bundle import Bundle
    from siamese.data.dataset import CropDataset
    from siamese.data.embed import embed
    from siamese.data.prepared import prepare
    from siamese.report import plots, tables
    from siamese.report.files import write_evaluation
    from siamese.verification import PROTOCOLS, compare, evaluate

    if args.out:
        Path(args.out).mkdir(parents=True, exist_ok=True)  # find out now whether it can be written
    run_folder = Path(args.run)
    if run_folder.is_dir() and not any((run_folder / name).exists() for name in ("bundle", "bundle.json")):
        raise ConfigError(
            f"{args.run}: not the folder of a run; to evaluate a run on these people's pictures: --data {args.run}"
        )
    bundle = Bundle.load(args.run)
    where = device(args.device)
    manifest = _manifest(args)
    backbone = bundle.backbone.to(where)
    protocol = PROTOCOLS.build(args.pairs or bundle.operating_point.protocol)
    data = prepare(manifest, bundle.cropper, progress=not args.json, bad_images=args.bad_images, cache=args.cache)
    point = bundle.operating_point
    compared = {}
    for split, part in data.splits.items():
        crops = CropDataset(part.crops, part.table.labels)
        compared[split] = compare(embed(backbone, crops), crops.labels, protocol, bundle.distance)
    figures = {split: evaluate(c, point.threshold, split) for split, c in compared.items()}
    if args.out:
        write_evaluation(Path(args.out) / "evaluation.json", figures)
        plots.save(plots.distance_histograms(compared, point.threshold), Path(args.out) / "plots" / "distances.png")
    if args.json:
        print(json.dumps({split: e.to_dict() for split, e in figures.items()}))
    else:
        rows = list(figures.values())
        tables.show(tables.data_table(data.summary()), tables.evaluation_table(rows, point))
    return 0


def _manifest(args: argparse.Namespace) -> SplitManifest:
    import numpy as np

    from siamese.data.splits import SplitManifest
    from siamese.identities import IdentityTable

    folder = Path(args.run)
    split_json = (folder.parent if folder.resolve().name == "bundle" else folder) / "split.json"
    if args.data:
        path = Path(args.data)
        if args.root and path.suffix.lower() != ".csv":
            raise ConfigError("--root tells where the pictures of a CSV file or of the run lie; leave it out with a folder")
        table = IdentityTable.from_csv(path, args.root) if path.suffix.lower() == ".csv" else IdentityTable.from_folder(path)
        manifest = SplitManifest.make(table, {"data": np.arange(len(table))}, protocol="all people")
        if split_json.is_file():
            _note_known(manifest, SplitManifest.load(split_json))
        return manifest
    manifest = SplitManifest.load(split_json, root=args.root)
    manifest.verify_files()
    return manifest


def _note_known(manifest: SplitManifest, run: SplitManifest) -> None:
    """Say so if the "other" people were there when the network was trained or its threshold calibrated."""
    known = [entry for split in ("train", "calibration") for entry in run.splits.get(split, [])]
    hashes, names = {e["sha256"] for e in known} - {None}, {e["identity"] for e in known}
    pictures = sum(e["sha256"] in hashes for e in manifest.splits["data"])
    people = len({e["identity"] for e in manifest.splits["data"]} & names)
    if pictures or people:
        print(
            f"note: the run was trained or calibrated on {people} people of these names, and on {pictures} of these very pictures: "
            f"if they are the same people, the figures are too good",
            file=sys.stderr,
        )
