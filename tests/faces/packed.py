"""Crops for the tests of packs: made of random images, and compared with what the cropper cuts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from tests.helpers import random_image

from siamese.faces.croppers.fixed_box import FixedBoxCropper
from siamese.faces.crops import CropResult, crop_files, read_crop

BOX = FixedBoxCropper(size=32, left=2, top=2, right=30, bottom=30)
N = 12


def crop(paths: list[Path], cache: Path) -> CropResult:
    return crop_files(paths, BOX, cache=cache, progress=False, workers=1)


def folder_of(result: CropResult) -> Path:
    return result.files[0].parents[1]


def assert_whole(result: CropResult) -> None:
    for seed, file in enumerate(result.files):
        np.testing.assert_array_equal(read_crop(file), BOX(random_image(seed)).image)
