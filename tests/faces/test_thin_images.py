"""Very long and very thin images: no face is on them, and no process ends over them."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from tests.helpers import orl_folder

from siamese.faces import detect, search
from siamese.faces.detect import WIDEST, detect_scored
from siamese.faces.images import read_image
from siamese.faces.search import Search

pytest.importorskip("dlib")

THIN = [(1, 2_100_000), (2, 1_100_000), (2_100_000, 1)]
CROP = """
import gc, sys
import numpy as np
from siamese.faces.croppers.dlib_croppers import DlibHogCropper
cropper = DlibHogCropper(size=48, min_score=-0.5, several_faces="prominent", rotations=True)
for height, width in eval(sys.argv[1]):
    noise = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    assert cropper(noise).faces == 0
    gc.collect()
print("done")
"""


def test_thin_images_are_cropped_without_a_face():
    """In a process of its own: dlib would end it."""
    command = [sys.executable, "-c", CROP, repr(THIN)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr


def written_past_the_end(width: int, made: int) -> int:
    """How many pixels dlib's ``resize_image`` writes past the end of a row of ``made`` ones.

    As it is written: four places at a time are moved on, in float32, until the last is outside.
    """
    scale = (width - 1) / (made - 1)
    steps = np.full(made // 4 + 100, np.float32(4 * scale), dtype=np.float32)
    steps[0] = np.float32(-4 * scale + 3 * scale)
    last = np.cumsum(steps, dtype=np.float32)[1:].astype(np.int64)
    return int(4 * np.argmax(last + 1 >= width)) - made


def test_rows_that_dlib_can_take():
    generator = np.random.default_rng(0)
    for width in (WIDEST, *generator.integers(100, WIDEST, 300)):
        assert written_past_the_end(width, width * 5 // 6) <= 0
        assert written_past_the_end(width // 2, width // 2 * 2) <= 0
    assert written_past_the_end(90_000, 75_000) > 0  # ends the process


@pytest.mark.parametrize("detector", ["hog", "cnn"])
@pytest.mark.parametrize("shape", [(1, 2_500_000), (100, 90_000), (20, 31_000), (3, 12_000)])
def test_dlib_sees_no_longer_row(monkeypatch, shape, detector):
    seen = []
    monkeypatch.setitem(
        detect._find, detector, lambda image, n, _: seen.append(image.shape[1] * 2**n) or []
    )
    monkeypatch.setattr(detect, "_import_dlib", lambda: pytest.fail("a copy was made"))
    image = np.zeros((*shape, 3), dtype=np.uint8)
    for upsample in (0, 3):
        Search(3, upsample, 0, detector, prominent_only=True)(image)
    assert 0 < max(seen) <= WIDEST
    if shape[1] < WIDEST / 2 and detector == "hog":
        assert max(seen) > shape[1]  # doubled as far as may be


def test_a_face_on_a_long_image_is_found_on_a_smaller_one(monkeypatch):
    image = np.full((300, 900, 3), 110, dtype=np.uint8)
    face = Image.fromarray(read_image(orl_folder() / "s1" / "1.pgm")).resize((200, 243))
    image[30:273, 600:800] = np.asarray(face.convert("RGB"))
    (expected,) = detect_scored(image, 0, 0, 0, "hog")
    monkeypatch.setattr(detect, "WIDEST", 600)
    (found,) = detect_scored(image, 0, 0, 0, "hog")
    np.testing.assert_allclose(
        found.box, expected.box, atol=25
    )  # HOG's boxes are of steps of 6 / 5


def test_of_an_image_on_whose_copy_no_face_fits_there_is_none():
    assert Search()._steps(np.zeros((1500, 1500, 3), np.uint8)) > 0
    assert Search()._steps(np.zeros((100, 30_000, 3), np.uint8)) == 0
    assert Search()._steps(np.zeros((200, 61_000, 3), np.uint8)) == 0
    assert search._WINDOW == 80
