"""Detection on the ORL faces: nearly all are found.

The crop is the detected box and its margin, as dlib itself sees it.
"""

from __future__ import annotations

import threading

import numpy as np
import pytest
from PIL import Image
from tests.helpers import orl_folder

from siamese.faces.croppers.dlib_croppers import DlibHogCropper
from siamese.faces.detect import detect_faces
from siamese.faces.images import read_image

dlib = pytest.importorskip("dlib")

IDENTITIES = [f"s{n}" for n in range(1, 41, 2)]


def face(identity: str = "s1", number: int = 1, zoom: float = 1) -> np.ndarray:
    image = Image.fromarray(read_image(orl_folder() / identity / f"{number}.pgm"))
    return np.asarray(
        image.resize(
            (round(image.width * zoom), round(image.height * zoom)), Image.Resampling.BICUBIC
        )
    )


def test_at_least_95_percent_of_orl_faces_are_found():
    cropper = DlibHogCropper(size=64)
    counts = [cropper(face(identity, n)).faces for identity in IDENTITIES for n in range(1, 11)]
    assert sum(n >= 1 for n in counts) >= 0.95 * len(counts)
    assert sum(n > 1 for n in counts) <= 0.02 * len(counts)


def test_no_face_on_an_image_without_one():
    assert detect_faces(np.full((200, 200, 3), 128, dtype=np.uint8)) == []


def test_looking_again_at_double_size_only_where_nothing_was_found():
    small, large = face(zoom=0.6), face(zoom=3)
    detector = dlib.get_frontal_face_detector()
    assert len(detector(small, 0)) == 0  # a face of some 50 pixels: too small without doubling
    assert detect_faces(small, 0) == []
    assert len(detect_faces(small, 1)) == 1
    assert detect_faces(large, 0) == detect_faces(large, 1) == detect_faces(large, 2)


def by_hand(
    image: np.ndarray, left: float, top: float, width: float, height: float, size: int
) -> np.ndarray:
    """The same box out of the image on a wide black canvas: nothing to clip, nothing to round."""
    pad = 300
    canvas = Image.fromarray(np.pad(image, ((pad, pad), (pad, pad), (0, 0))))
    box = (left + pad, top + pad, left + pad + width, top + pad + height)
    return np.asarray(canvas.resize((size, size), Image.Resampling.BICUBIC, box=box)).astype(float)


@pytest.mark.parametrize("identity", ["s1", "s9", "s17", "s30"])
def test_the_crop_is_the_box_and_a_fifth_of_it_on_every_side(identity):
    image = face(identity, zoom=2)
    (found,) = dlib.get_frontal_face_detector()(image, 0)
    width, height = found.width(), found.height()  # dlib counts both ends: right - left + 1
    crop = DlibHogCropper(size=128, margin=0.2)(image).image.astype(float)

    def difference(left: float, top: float, right: float, bottom: float) -> float:
        """Mean difference to the box with these shares of margin."""
        across, down = width * (1 + left + right), height * (1 + top + bottom)
        side = max(across, down)
        x = found.left() - left * width - (side - across) / 2
        y = found.top() - top * height - (side - down) / 2
        return float(np.abs(by_hand(image, x, y, side, side, 128) - crop).mean())

    exact = difference(0.2, 0.2, 0.2, 0.2)
    assert exact < 3.0
    for other in [
        (0.1, 0.1, 0.1, 0.1),
        (0.3, 0.3, 0.3, 0.3),
        (0.25, 0.2, 0.15, 0.2),
        (0.2, 0.15, 0.2, 0.25),
    ]:
        assert difference(*other) > 3 * exact


def test_the_largest_of_several_faces_is_taken():
    canvas = np.full((420, 640, 3), 127, dtype=np.uint8)
    small, large = face("s1", zoom=2), face("s9", zoom=3)
    # Upper left: found first by reading order.
    canvas[20 : 20 + small.shape[0], 20 : 20 + small.shape[1]] = small
    canvas[60 : 60 + large.shape[0], 320 : 320 + large.shape[1]] = large
    first, second = detect_faces(canvas)
    assert first.area > second.area
    assert first.left > 320 > second.right
    crop = DlibHogCropper(size=128)(canvas)
    assert crop.faces == 2
    alone = canvas.copy()
    alone[:, :300] = 127
    np.testing.assert_array_equal(crop.image, DlibHogCropper(size=128)(alone).image)


def test_threads_find_the_same_faces():
    images = [face(f"s{n}") for n in range(1, 9)]
    expected = [detect_faces(p) for p in images]
    found: dict[int, list] = {}

    def work(thread: int) -> None:
        found[thread] = [detect_faces(p) for p in images]

    threads = [threading.Thread(target=work, args=(i,)) for i in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert list(found.values()) == [expected] * 3
