"""Time cropping and verifying large photographs: a copy searched first, against the whole search.

    python benchmarks/large_photographs.py LFW [--photographs 6] [--rounds 3]

Photographs of LFW are enlarged and saved as JPEG: filling the picture; at half of its height, the
face on a third of its width; blurred, so that there is no face. Each is cropped both ways in turn,
as the pretrained bundle does it but for turning, and verified both ways against itself, reading the
files included; medians. *same* counts equal crops. LFW is the folder with the images' folder.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import itertools
import math
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import numpy as np
from PIL import Image, ImageFilter

import siamese
from siamese.faces import search
from siamese.faces.images import read_image
from siamese.inference.pretrained import CROPPER


def filling(photograph: Image.Image, height: int) -> Image.Image:
    side = photograph.resize((height, height), Image.Resampling.BICUBIC)
    picture = Image.new("RGB", (height * 4 // 3, height), (90, 90, 90))
    picture.paste(side, (height // 6, 0))
    return picture


def beside(photograph: Image.Image, height: int) -> Image.Image:
    picture = blurred(photograph, height)
    side = height // 2
    part = photograph.resize((side, side), Image.Resampling.BICUBIC)
    picture.paste(part, (picture.width // 3 - side // 2, height // 2 - side // 2))
    return picture


def blurred(photograph: Image.Image, height: int) -> Image.Image:
    blur = photograph.filter(ImageFilter.GaussianBlur(25))
    return blur.resize((height * 4 // 3, height), Image.Resampling.BICUBIC)


WAYS = ("whole", "copy")
KINDS = {
    "a face that fills the picture": filling,
    "a face beside the middle": beside,
    "no face": blurred,
}


@contextlib.contextmanager
def searching(way: str) -> Iterator[None]:
    """The whole of every image, or a copy of large ones first."""
    limit = math.inf if way == "whole" else search._LARGE
    with mock.patch.object(search, "_LARGE", limit):
        yield


def crop_and_verify(
    file: Path, cropper: siamese.Cropper, verifier: siamese.Verifier
) -> tuple[np.ndarray, float, float | None]:
    """The crop, the seconds it took, and those of a verdict; None where no face is found."""
    image = read_image(file)
    start = time.perf_counter()
    crop = cropper(image)
    cropped = time.perf_counter()
    if not crop.faces:
        return crop.image, cropped - start, None
    verifier.verify(file, file)
    return crop.image, cropped - start, time.perf_counter() - cropped


def row(
    files: list[Path], rounds: int, cropper: siamese.Cropper, verifier: siamese.Verifier
) -> list[str]:
    """Cells: seconds to crop, both ways and their ratio; equal crops; the same of verifying."""
    crops: dict[tuple[Path, str], np.ndarray] = {}
    to_crop: dict[str, list[float]] = {way: [] for way in WAYS}
    to_verify: dict[str, list[float]] = {way: [] for way in WAYS}
    for file, turn in itertools.product(files, range(rounds)):
        for way in WAYS if turn % 2 == 0 else WAYS[::-1]:
            with searching(way):
                crops[file, way], one, two = crop_and_verify(file, cropper, verifier)
            to_crop[way].append(one)
            to_verify[way] += [] if two is None else [two]
    same = sum(np.array_equal(*(crops[file, way] for way in WAYS)) for file in files)
    return [*compared(to_crop), f"{same} of {len(files)}", *compared(to_verify)]


def compared(seconds: dict[str, list[float]]) -> list[str]:
    if not all(seconds.values()):
        return ["", "", ""]
    whole, copy = (statistics.median(seconds[way]) for way in WAYS)
    return [f"{whole:.2f}", f"{copy:.2f}", f"{whole / copy:.1f}"]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("root", metavar="LFW")
    parser.add_argument("--photographs", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    cropper = dataclasses.replace(CROPPER, rotations=False, no_face="error")
    bundle = dataclasses.replace(siamese.pretrained_bundle(), cropper=cropper)
    verifier = siamese.Verifier(bundle)
    paths = siamese.load_lfw(args.root).paths
    chosen = np.random.default_rng(0).permutation(len(paths))[: args.photographs]
    print(
        "| photographs | megapixels | crop: whole search, s | copy first, s | ratio | same | "
        "verify two: whole search, s | copy first, s | ratio |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for (kind, draw), megapixels in itertools.product(KINDS.items(), (2, 12)):
        with tempfile.TemporaryDirectory() as folder:
            files = []
            for number in chosen:
                files.append(Path(folder) / f"{number}.jpg")
                with Image.open(paths[number]) as photograph:
                    height = round(math.sqrt(megapixels * 1e6 * 3 / 4))
                    draw(photograph, height).save(files[-1], quality=90)
            cells = row(files, args.rounds, cropper, verifier)
        print(f"| {kind} | {megapixels} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
