"""`siamese calibrate --embeddings FILE`: a threshold for embeddings of any network, from a file."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from siamese.cli import options
from siamese.errors import ConfigError

if TYPE_CHECKING:
    from siamese.verification.calibration import Calibration

# Options of `siamese calibrate` that have no meaning for embeddings.
_OTHERS = ("run", "data", "root", "tta", "no_face", "cache")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What says which embeddings."""
    parser.add_argument(
        "--embeddings",
        metavar="FILE",
        help="instead of a bundle and --data: embeddings of any network, as siamese embed writes "
        "them: .npz (arrays embeddings and identities), .npy (identities in a .csv of the same "
        "name) or .parquet (columns embedding and identity); then --out is a file of the "
        "calibration, .npz",
    )
    parser.add_argument(
        "--identities",
        metavar="FILE",
        help="the identities of --embeddings, where they lie in another file: .npy, .csv (column "
        "identity), or text with one a line",
    )


def run(args: argparse.Namespace) -> int:
    """Print the threshold with its figures; keep the calibration in ``--out``."""
    from siamese.evaluation.embedding_reading import read_embeddings
    from siamese.processes import across_processes
    from siamese.verification.thresholds import calibrate

    for name in _OTHERS:
        if getattr(args, name) is not None:
            what = "a bundle" if name == "run" else "--" + name.replace("_", "-")
            raise ConfigError(f"{what} has no meaning with --embeddings; leave out one of them")
    out = _free(args.out, args.overwrite) if args.out else None
    rows, who = read_embeddings(args.embeddings, args.identities)
    with across_processes() as processes:
        found = calibrate(
            rows,
            who,
            options.parse_policy(args.policy) or "max_f1",
            distance=args.distance or "euclidean",
            pairs=args.pairs or "all_pairs",
            probability=args.probability,
            device=options.device(args.device),
        )
    if not processes.first:
        return 0
    if out is not None:
        found.save(out)
    if args.json:
        print(
            json.dumps({"new": found.point.to_dict(), "band": found.band, "out": args.out or None})
        )
        return 0
    _show(found, args.embeddings)
    options.note_few_identities(found.point.identities)
    if out is not None:
        print(f"next: siamese.Calibration.load({args.out!r})")
    return 0


def _show(found: Calibration, source: str) -> None:
    point, counts = found.point, found.confusion
    print(
        f"{point.images:,} embeddings of {point.identities:,} identities in {source}: "
        f"{point.genuine:,} genuine and {point.impostor:,} impostor pairs"
    )
    between = f", 95 % interval {found.band[0]:.6g} to {found.band[1]:.6g}" if found.band else ""
    print(f"threshold {found.threshold:.6g} ({point.distance}, {point.policy}){between}")
    figures = ", ".join(f"{name} {value:.4f}" for name, value in point.figures.items())
    print(
        f"{figures}; accepted: {counts.tp:,} genuine and {counts.fp:,} impostor pairs, refused: "
        f"{counts.fn:,} and {counts.tn:,}"
    )
    if point.promise:
        print(f"promise: {point.promise_in_words}")


def _free(out: str, overwrite: bool) -> Path:
    path = Path(out).expanduser()
    if path.suffix.lower() != ".npz":
        raise ConfigError(f"--out {out}: of embeddings a calibration is kept in a file .npz")
    if path.exists() and not overwrite:
        raise ConfigError(f"--out {out} is there: give another name, or add --overwrite")
    if not path.parent.is_dir():
        raise ConfigError(f"--out {out}: {path.parent} is no folder; make it, or name another")
    return path
