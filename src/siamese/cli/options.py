"""Options that several commands share, each declared once; their choices come from registries."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from siamese.errors import LINES, ConfigError, MissingDependencyError, first_line, printable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from siamese.data.prepared import PreparedData
    from siamese.faces.croppers.base import Cropper
    from siamese.inference.bundle import Bundle
    from siamese.inference.verifier import Verifier
    from siamese.verification.policies.base import Policy

PRETRAINED = "pretrained"
LATEST = "runs/latest"
# Of those whom the pretrained network has seen.
KNOWN_OF_PRETRAINED = (
    "the network was trained on public figures, and its threshold calibrated on people of LFW; of "
    "the former no list is known"
)


# --- declarations ---


def add_run(parser: argparse.ArgumentParser, name: str, what: str, default: str | None) -> None:
    """Which run or bundle, by position."""
    parser.add_argument(
        "run", nargs="?", default=default, metavar=name, help=f"{what}, or {PRETRAINED}"
    )


def add_data(parser: argparse.ArgumentParser, what: str, required: bool = False) -> None:
    """Images of the user's, and where those of a CSV file lie."""
    parser.add_argument(
        "--data",
        metavar="PATH",
        required=required,
        help=f"{what}: a folder of one folder per identity, or a CSV or Parquet file (path, "
        f"identity; columns named group or group_... give figures by group)",
    )
    parser.add_argument(
        "--root", metavar="DIR", help="where the images of a CSV file, or of the run, lie now"
    )


def add_pairs(parser: argparse.ArgumentParser) -> None:
    """Which pair rule; :func:`import_plugins` checks the name."""
    from siamese.pairs.base import PAIR_RULES

    parser.add_argument(
        "--pairs",
        metavar="NAME",
        help=f"which pairs: {', '.join(PAIR_RULES)} (default: as the bundle's threshold was "
        f"calibrated)",
    )


def add_policy(parser: argparse.ArgumentParser, what: str) -> None:
    """Another policy; :func:`parse_policy` reads it."""
    from siamese.verification.policies.base import POLICIES

    parser.add_argument(
        "--policy",
        metavar="POLICY",
        help=f"{what}: {', '.join(POLICIES)}, with settings after commas: fmr,rate=0.02   "
        f"recall,rate=0.99   cost,false_match=10   max_f1,prevalence=0.01   (prevalence: observed, "
        f"balanced or a number); confidence=0.95 promises the rate, or the cost, for other "
        f"identities; fmr,rate=0.01,gallery=50 is the rate of a search among 50; "
        f"max_f1,smooth=auto smooths distances first; weights=people lets everybody count alike",
    )


def add_distance(parser: argparse.ArgumentParser, what: str) -> None:
    """Another distance than the bundle's; :func:`import_plugins` checks the name."""
    from siamese.distances.base import DISTANCES

    # A network's weights are no matter of a name.
    names = ", ".join(name for name in DISTANCES if name != "learned")
    parser.add_argument(
        "--distance",
        metavar="NAME",
        help=f"measure by another distance than the bundle's: {names}; {what}",
    )


def add_threshold(
    parser: argparse.ArgumentParser, usual: str = "the bundle's calibrated threshold"
) -> None:
    """Another threshold; ``usual`` says which is used without it."""
    parser.add_argument(
        "--threshold",
        type=float,
        metavar="D",
        help=f"accept up to this distance (default: {usual})",
    )


def add_tta(parser: argparse.ArgumentParser, what: str) -> None:
    """Test-time augmentation."""
    parser.add_argument(
        "--tta",
        type=int,
        metavar="N",
        help=f"test-time augmentation: average each embedding over N augmented copies of the image "
        f"(default: as the bundle's threshold was chosen); {what}",
    )


def add_no_face(parser: argparse.ArgumentParser) -> None:
    """What becomes of images of a data set without a face."""
    parser.add_argument(
        "--no-face",
        choices=("skip", "whole_image", "error"),
        help="images on which no face is found: leave out, take whole, or stop (default: what the "
        "bundle says; what siamese verify refuses is left out)",
    )


def add_plugin(parser: argparse.ArgumentParser) -> None:
    """Components of the user's own."""
    parser.add_argument(
        "--plugin",
        metavar="FILE",
        action="append",
        default=[],
        help="a Python file, or a module, with a component of your own that the bundle names",
    )


def add_overwrite(parser: argparse.ArgumentParser) -> None:
    """Whether what lies in ``--out`` may be replaced."""
    parser.add_argument(
        "--overwrite", action="store_true", help="replace what lies in --out already"
    )


def add_cropping(parser: argparse.ArgumentParser) -> None:
    """How images are cropped."""
    parser.add_argument(
        "--bad-images",
        choices=("error", "quarantine"),
        default="error",
        help="images that cannot be read: stop, or leave out (default: %(default)s)",
    )
    parser.add_argument(
        "--cache",
        metavar="DIR",
        help="folder of the crop cache (default: SIAMESE_CACHE, or the user's cache folder)",
    )


def add_device(parser: argparse.ArgumentParser) -> None:
    """Where to compute."""
    parser.add_argument(
        "--device", default="cpu", help="where to compute: cpu, cuda, mps (default: %(default)s)"
    )


def add_low_quality(parser: argparse.ArgumentParser, what: str) -> None:
    """What becomes of photographs of low quality."""
    parser.add_argument(
        "--low-quality",
        choices=("warn", "error"),
        default="warn",
        help=f"{what} (default: %(default)s)",
    )


def add_jobs(parser: argparse._ActionsContainer) -> None:
    """How many processes look at photographs."""
    parser.add_argument(
        "--jobs",
        type=int,
        metavar="N",
        help="processes that look for faces (default: as many as pay, up to one per core)",
    )


def add_json(parser: argparse.ArgumentParser, what: str) -> None:
    """Output for programs."""
    parser.add_argument("--json", action="store_true", help=f"print {what} as one JSON object")


# --- what they mean ---


def import_plugins(args: argparse.Namespace) -> None:
    """Import what ``--plugin`` names, and check ``--distance`` and ``--pairs``, where there are.

    Only then are all names known, so a list of choices would refuse those of plug-ins.

    Raises:
        ConfigError: a plug-in that cannot be imported, an unknown name, or a distance whose weights
            must be trained.
    """
    from siamese.plugins import import_plugin

    for place in args.plugin:
        import_plugin(place)
    if getattr(args, "distance", None):
        from siamese.distances.base import as_distance

        as_distance(args.distance, to_be_fitted=True)
    if getattr(args, "pairs", None):
        from siamese.pairs.base import as_pair_rule

        as_pair_rule(args.pairs)


def open_bundle(name: str, trusted: str | None = None) -> Bundle:
    """The bundle in a folder, or, for the word ``pretrained``, the one that needs no training.

    A folder of that name is ``./pretrained``. ``trusted`` is a public key, or a file of them, as
    for :meth:`siamese.Bundle.load`.

    Raises:
        BundleError: no bundle there, or none that is trusted.
        MissingDependencyError, WeightsError: see :func:`siamese.pretrained_bundle`.
    """
    from siamese.inference.bundle import Bundle
    from siamese.inference.pretrained import pretrained_bundle

    if name != PRETRAINED:
        return Bundle.load(name, trusted)
    try:
        return pretrained_bundle()
    except MissingDependencyError as error:
        raise MissingDependencyError(
            f"{error}; or give the bundle of a training run, such as {LATEST}"
        ) from error


def open_verifier(name: str, trusted: str | None = None, **settings: Any) -> Verifier:
    """A verifier of a bundle, or of an ``.onnx`` file, for which torch is not needed.

    Args:
        name: see :func:`open_bundle`; or a file.
        trusted: see there.
        settings: see :class:`siamese.Verifier`; ``device`` is checked.
    """
    from siamese.inference.loading import is_onnx, load_verifiable, require_torch
    from siamese.inference.verifier import Verifier

    if is_onnx(name):  # onnxruntime says itself which devices it has
        made = Verifier(load_verifiable(name, trusted), **settings)
    else:
        require_torch(name)
        if "device" in settings:
            settings["device"] = device(settings["device"])
        made = Verifier(open_bundle(name, trusted), **settings)
    made.source = name
    return made


def check_out(out: str, run: str) -> None:
    """Keep a finished run, or a bundle, from being written over by its own evaluation.

    Raises:
        ConfigError: ``out`` is what is read.
    """
    from siamese.inference.bundle import DESCRIPTION

    source, target = Path(run).expanduser(), Path(out).expanduser().resolve()
    finished = (source / DESCRIPTION, source / "bundle" / DESCRIPTION)
    kept = {path.parent.resolve() for path in finished if path.is_file()}
    if target in kept or (kept and target == source.resolve()):
        raise ConfigError(
            f"--out {out} is what is read; give another folder, so that it is not lost"
        )


def shown(name: str) -> str:
    """How a bundle is named in what is printed."""
    return name if name == PRETRAINED else os.path.relpath(Path(name).resolve())


def parse_policy(text: str | None) -> Policy | None:
    """``fmr,rate=1e-4`` as a policy; None for none.

    Raises:
        ConfigError: an unknown name or setting, or a word that is no setting.
    """
    from siamese.verification.policies.base import as_policy

    if text is None:
        return None
    name, *words = (word.strip() for word in text.split(","))
    if "=" in name:
        policy, _, value = name.partition("=")
        raise ConfigError(
            f"{text!r} is not understood: a policy's settings follow its name after a comma, such "
            f"as fmr,rate=0.02 (for {policy!r}: {policy},SETTING={value})"
        )
    settings: dict[str, Any] = {"name": name}
    for word in words:
        key, equals, value = (part.strip() for part in word.partition("="))
        if not equals or key == "name":
            raise ConfigError(
                f"{word!r} in the policy {text!r} is not understood; write NAME,SETTING=VALUE such "
                f"as fmr,rate=1e-4"
            )
        settings[key] = _value(value)
    return as_policy(settings)


def device(name: str) -> str:
    """Check that a device is there.

    Raises:
        ConfigError: it is not.
    """
    if name == "cpu":  # nor is torch needed for that
        return name
    try:
        import torch
    except ImportError:  # the runtime that is there says what it has
        return name
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = first_line(error)
        raise ConfigError(f"device {name!r} cannot be used ({reason}); try cpu") from error
    return name


def note(text: str) -> None:
    """Something to know beside the output, on standard error."""
    print(f"note: {printable(text, LINES)}", file=sys.stderr, flush=True)


def note_few_identities(identities: int | None) -> None:
    """Say so if a threshold was chosen on fewer identities than intervals need."""
    from siamese.verification.bootstrap import MIN_IDENTITIES

    if identities and identities < MIN_IDENTITIES:
        note(
            f"the threshold was chosen on {identities} identities, too few to say how far it holds "
            f"for others; give more of them, better some dozens"
        )


def on_no_search(cropper: Cropper, pictures: Iterable[str | Path]) -> str | None:
    """What to know of a bundle that looks for no face, where it is given such pictures.

    None where it looks for one, and where every picture has the size of its crops: those have been
    cropped before. A picture that cannot be read is an error elsewhere, and is passed over here.
    """
    from siamese.errors import ImageError
    from siamese.faces.croppers.none import NoCropper
    from siamese.faces.images import read_image
    from siamese.inference.no_face import seen_without_search

    if (compared := seen_without_search(cropper)) is None:
        return None
    if isinstance(cropper, NoCropper):
        crop = (cropper.size, cropper.size)
        try:
            if all(read_image(picture).shape[:2] == crop for picture in pictures):
                return None
        except ImageError:
            return None
    return (
        f"this bundle looks for no face; {compared} is compared, as in its training (for "
        f"photographs of people train with a cropper that finds faces: data/cropper=dlib_hog)"
    )


def note_no_search(cropper: Cropper, data: PreparedData) -> None:
    """The same of a data set, by its first picture."""
    first = [path for split in data.splits.values() for path in split.table.paths[:1]]
    if (text := on_no_search(cropper, first[:1])) is not None:
        note(text)


def note_pretrained() -> None:
    """What is known of those whom the pretrained network has seen."""
    note(KNOWN_OF_PRETRAINED)


def _value(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text
