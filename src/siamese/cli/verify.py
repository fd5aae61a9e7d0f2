"""`siamese verify A B`: do two images show the same person? The answer is also the exit code."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from siamese.cli import options, verify_pairs
from siamese.cli.options import LATEST, PRETRAINED

if TYPE_CHECKING:
    from siamese.faces.croppers.base import Cropper
    from siamese.inference.verdict import Verification
    from siamese.inference.verifier import Verifier
    from siamese.verification.point import OperatingPoint

HELP = "say whether two images show the same person"
DESCRIPTION = "Say whether two images show the same person."
EPILOG = (
    "exit code: 0 same person, 1 different people, 2 error; of a list (--pairs): 0 done, 2 error, "
    "or no pair could be compared"
)
_ANYTHING = ("same identity", "different identities")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Two images and how to compare them."""
    parser.add_argument("a", metavar="A", nargs="?", help="an image")
    parser.add_argument("b", metavar="B", nargs="?", help="another image")
    verify_pairs.add_arguments(parser)
    parser.add_argument(
        "--bundle",
        default=PRETRAINED,
        metavar="DIR",
        help=f"bundle, folder of a training run ({LATEST} is the newest), or .onnx file (siamese "
        f"export); default: "
        f"{PRETRAINED}, "
        f"dlib's face recognition network with a threshold calibrated on people of LFW",
    )
    parser.add_argument(
        "--trusted",
        metavar="KEYS",
        help="refuse a bundle that none of these public keys signed (siamese sign): a file with "
        f"one in a line, or a key; SIAMESE_TRUSTED_KEYS names such a file for every command "
        f"({PRETRAINED} is part of this package, and needs no signature)",
    )
    options.add_threshold(parser)
    options.add_policy(parser, "choose the threshold on the bundle's calibration pairs")
    options.add_tta(parser, "another N needs another threshold: siamese calibrate --tta N")
    parser.add_argument(
        "--no-face",
        choices=("error", "whole_image"),
        help=f"an image on which no face is found: stop (exit code 2), or compare the whole image "
        f"(default: error with {PRETRAINED}, else what the bundle says)",
    )
    options.add_low_quality(parser, "photographs of low quality: say so, or stop (exit code 2)")
    options.add_plugin(parser)
    options.add_device(parser)
    options.add_json(
        parser,
        "same, distance, threshold, faces, probability, prevalence, uncertain, quality, "
        "log_likelihood_ratio (PLDA's), bundle, tta, notes",
    )


def parse(argv: list[str]) -> argparse.Namespace:
    """The arguments of ``siamese verify``, for another command that runs it."""
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return parser.parse_args(argv)


def run(args: argparse.Namespace) -> int:
    """Print the verdict; 0 same, 1 different."""
    verify_pairs.check(args)
    options.import_plugins(args)
    verifier = options.open_verifier(
        args.bundle,
        args.trusted,
        policy=options.parse_policy(args.policy),
        threshold=args.threshold,
        no_face=args.no_face,
        tta=args.tta,
        low_quality=args.low_quality,
        device=args.device,
    )
    if verifier.tta != verifier.bundle.tta and args.threshold is None:
        options.note(
            f"the threshold was chosen with tta={verifier.bundle.tta}; siamese evaluate --tta "
            f"{verifier.tta} --out DIR makes a bundle with the one for {verifier.tta}"
        )
    if args.list:
        return verify_pairs.run(args, verifier)
    verdict = verifier.verify(args.a, args.b)
    if args.json:
        facts = {
            "log_likelihood_ratio": _ratio(verdict.distance, verifier),
            "bundle": args.bundle,
            "tta": verifier.tta,
            "policy": verifier.operating_point.policy_settings,
            "promise": dict(verifier.operating_point.promise) or None,
            "notes": _notes(verdict, verifier, args),
        }
        print(json.dumps(verdict.to_dict() | facts, allow_nan=False))
    else:
        _show(verdict, verifier, args)
    return 0 if verdict.same else 1


def _show(verdict: Verification, verifier: Verifier, args: argparse.Namespace) -> None:
    """The verdict, how sure it is, and where it comes from."""
    # A cropper that looks for faces is for people; others are for anything.
    of_people = verdict.faces[0] is not None
    one, two = ("same person", "different people") if of_people else _ANYTHING
    of = "person" if of_people else "identity"
    sign = "<=" if verdict.same else ">"
    found = one if verdict.same else two
    print(f"{found}: distance {verdict.distance:.4f} {sign} {verdict.threshold:.4f}")
    if (ratio := _ratio(verdict.distance, verifier)) is not None:
        print(
            f"log-likelihood ratio of the {one}: {ratio:+.2f} (at the threshold "
            f"{_ratio(verdict.threshold, verifier):+.2f})"
        )
    if verdict.probability is not None:
        from siamese.verification.policy_words import percent_in_words

        share = percent_in_words(verdict.prevalence or 0.0)
        print(
            f"probability of the {one}: {verdict.probability:.3f}, if {share} of all pairs show one"
        )
        if verdict.same != (verdict.probability >= 0.5):
            print(_contradiction(verdict, verifier, two if verdict.same else one, of))
    band = verifier.calibration.band if verifier.calibration else None
    if verdict.uncertain and band:
        print(
            f"uncertain: the distance lies within the 95 % interval of the threshold "
            f"({band[0]:.4f}-{band[1]:.4f})"
        )
    elif verdict.uncertain is None and verifier.calibration and not band:
        print(
            "how far the threshold holds is not known: the bundle has no interval for it, as where "
            "it was chosen on few identities"
        )
    print(f"bundle: {options.shown(args.bundle)}")
    if verifier.operating_point.figures:
        print(f"threshold: {_origin(verifier.operating_point, of, verifier.bundle.provenance)}")
        if verifier.operating_point.promise:
            print(f"promise: {verifier.operating_point.promise_in_words}")
    for text in _notes(verdict, verifier, args):
        print(f"note: {text}")


def _ratio(distance: float, verifier: Verifier) -> float | None:
    """What a distance of PLDA means; None for another one."""
    if verifier.bundle.distance_name != "plda":
        return None
    from siamese.distances.plda import PldaDistance

    measure = getattr(verifier.bundle, "distance", None)
    return float(measure.ratios(distance)) if isinstance(measure, PldaDistance) else None


def _notes(verdict: Verification, verifier: Verifier, args: argparse.Namespace) -> list[str]:
    """What must be known beside the verdict, in sentences."""
    notes = [text for text in [verify_pairs.note_on_chance(verifier)] if text]
    if (text := options.on_no_search(verifier.bundle.cropper, (args.a, args.b))) is not None:
        notes.append(text)
    for path, quality in zip((args.a, args.b), verdict.quality, strict=True):
        notes += [f"{path}: {said}" for said in quality.warnings] if quality else []
    for path, faces in zip((args.a, args.b), verdict.faces, strict=True):
        if faces == 0:
            notes.append(
                f"no face was found on {path}; the whole image was compared, for which no "
                f"threshold was calibrated"
            )
        elif faces is not None and faces > 1:
            which = _pair_of(verifier.bundle.cropper)
            notes.append(f"{faces} faces were found on {path}; {which} was compared")
    return notes


def _contradiction(verdict: Verification, verifier: Verifier, likelier: str, one: str) -> str:
    """Why the verdict is one thing and the probability says another."""
    from siamese.verification.point import GIVEN

    point = verifier.operating_point
    given = point.policy == GIVEN
    chosen = "the given threshold" if given else f"the threshold, {point.choice_in_words(one)},"
    does = "accepts" if verdict.same else "refuses"
    return (
        f"note: the two differ: {chosen} {does} pairs at this distance, while most pairs at this "
        f"distance show {'the ' if likelier.startswith('same') else ''}{likelier}; the verdict "
        f"follows the threshold, the probability only the distance"
    )


def _origin(point: OperatingPoint, one: str, provenance: Mapping[str, Any]) -> str:
    """Where a threshold came from and what it does there."""
    from siamese.inference.origin import chosen_on
    from siamese.verification.point import GIVEN

    how = point.choice_in_words(one)
    join = "; it has," if point.policy == GIVEN else ","
    return (
        f"{how}{join} on {point.genuine:,} genuine and {point.impostor:,} impostor pairs "
        f"({chosen_on(point.split, provenance)}): recall {point.figures['recall']:.3f}, false "
        f"match rate {point.figures['fmr']:.2g}"
    )


def _pair_of(cropper: Cropper) -> str:
    """Which of several faces."""
    choice = getattr(cropper, "several_faces", "largest")
    return "the whole image" if choice == "whole_image" else f"the {choice} one"
