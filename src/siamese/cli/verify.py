"""`siamese verify A B`: do two photographs show the same person? The answer is also the exit code."""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING, Any

from siamese.cli.bundles import PRETRAINED
from siamese.cli.bundles import open_bundle
from siamese.cli.bundles import shown
from siamese.cli.policies import HELP
from siamese.cli.policies import parse_policy

if TYPE_CHECKING:
    from siamese.faces.croppers.base import Cropper
    from siamese.verification.point import OperatingPoint

LATEST = "runs/latest"


def add_parser(commands: Any) -> argparse.ArgumentParser:
    """Enter the sub-command."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "verify",
        help="say whether two photographs show the same person",
        description="Say whether two photographs show the same person.",
        epilog="exit code: 0 same person, 1 different people, 2 error",
    )
    add_arguments(parser)
    return parser


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Two photographs and how to compare them."""
    parser.add_argument("a", metavar="A", help="a photograph")
    parser.add_argument("b", metavar="B", help="another photograph")
    parser.add_argument(
        "--bundle",
        default=PRETRAINED,
        metavar="DIR",
        help=f"bundle, or folder of a training run ({LATEST} is the newest); default: {PRETRAINED}, dlib's face recognition network with a "
        "threshold calibrated on LFW's development pairs",
    )
    parser.add_argument(
        "--threshold", type=float, metavar="D", help="accept up to this distance (default: the bundle's calibrated threshold)"
    )
    parser.add_argument(
        "--policy", metavar="POLICY", help=f"choose the threshold on the bundle's calibration pairs by another policy: {HELP}"
    )
    parser.add_argument(
        "--copies",
        type=int,
        default=0,
        metavar="N",
        help="average over N augmented copies of both (slower; threshold: siamese evaluate RUN --copies N)",
    )
    parser.add_argument(
        "--no-face",
        choices=("error", "whole_image"),
        help=f"a photograph on which no face is found: stop (exit code 2), or compare the whole picture (default: error with {PRETRAINED}, else what "
        "the bundle says)",
    )
    parser.add_argument("--device", default="cpu", help="where to compute: cpu, cuda, mps (default: %(default)s)")
    parser.add_argument(
        "--json",
        action="store_true",
        help="print one JSON object: same, distance, threshold, faces, probability, prevalence, uncertain, bundle, copies",
    )


def parse(argv: list[str]) -> argparse.Namespace:
    """The arguments of ``siamese verify``, for another command that runs it."""
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return parser.parse_args(argv)


def run(args: argparse.Namespace) -> int:
    """Print the verdict; 0 same, 1 different."""
    from siamese.inference.verifier import Verifier

    policy = parse_policy(args.policy) if args.policy else None
    no_face = args.no_face or ("error" if args.bundle == PRETRAINED else None)
    verifier = Verifier(open_bundle(args.bundle), device(args.device), args.threshold, args.copies, policy, no_face)
    verdict = verifier.verify(args.a, args.b)
    if args.copies and args.threshold is None:
        print(
            f"note: the threshold was chosen without copies; siamese evaluate --copies {args.copies} finds the one for them",
            file=sys.stderr,
        )
    if args.json:
        print(json.dumps(verdict.to_dict() | {"bundle": args.bundle, "copies": args.copies}, allow_nan=False))
    else:
        sign = "<=" if verdict.same else ">"
        print(
            f"{'same person' if verdict.same else 'different people'}: distance {verdict.distance:.4f} {sign} {verdict.threshold:.4f}"
        )
        if verdict.probability is not None:
            print(
                f"probability of the same person: {verdict.probability:.3f}, where {_share(verdict.prevalence)} of the pairs are"
            )
        if verdict.uncertain and verifier.calibration and verifier.calibration.band:
            low, high = verifier.calibration.band
            print(f"uncertain: the distance lies within the 95 % interval of the threshold ({low:.4f}-{high:.4f})")
        elif verdict.uncertain is None and verifier.calibration and not verifier.calibration.band:
            print(
                "how far the threshold holds is not known: the bundle has no interval for it, as where it was chosen on few people"
            )
        print(f"bundle: {shown(args.bundle)}")
        if verifier.operating_point.figures:
            print(f"threshold: {_origin(verifier.operating_point)}")
        for path, faces in zip((args.a, args.b), verdict.faces, strict=True):
            if faces == 0:
                print(
                    f"note: no face was found on {path}; the whole picture was compared, for which no threshold was calibrated"
                )
            elif faces is not None and faces > 1:
                print(f"note: {faces} faces were found on {path}; {_compared(verifier.bundle.cropper)} was compared")
    return 0 if verdict.same else 1


def _origin(point: OperatingPoint) -> str:
    """Where a threshold came from and what it does there."""
    return (
        f"{point.policy} on {point.genuine:,} genuine and {point.impostor:,} impostor pairs ({point.split}): recall "
        f"{point.figures['recall']:.3f}, false match rate {point.figures['fmr']:.2g}"
    )


def _compared(cropper: Cropper) -> str:
    choice = getattr(cropper, "several_faces", "largest")
    return "the whole picture" if choice == "whole_image" else f"the {choice} one"


def _share(prevalence: float | None) -> str:
    return f"{100 * (prevalence or 0):.3g} %"


def device(name: str) -> str:
    """Check that a device is there.

    Raises:
        ConfigError: it is not.
    """
    import torch

    from siamese.errors import ConfigError

    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ConfigError(f"device {name!r} cannot be used ({str(error).splitlines()[0]}); try cpu") from error
    return name
