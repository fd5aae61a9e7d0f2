"""The geometry of a crop.

Nothing is distorted, everything lands where the box says, and beyond the image it is black.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw
from tests.random_cases import random_cases

from siamese.faces.align import Box, crop_to_square, whole


def test_box_measures():
    box = Box(10, 20, 30, 60)
    assert (box.width, box.height, box.area) == (20, 40, 800)
    assert box.grown(0.25) == Box(5, 10, 35, 70)
    assert box.grown(0) == box


@pytest.mark.parametrize(("width", "height"), [(300, 120), (120, 300), (200, 200)])
@pytest.mark.parametrize("size", [64, 97, 160, 400])
def test_a_circle_stays_a_circle(width, height, size):
    canvas = Image.new("RGB", (width, height))
    radius = 50
    centre = (width / 2, height / 2)
    ImageDraw.Draw(canvas).ellipse(
        [centre[0] - radius, centre[1] - radius, centre[0] + radius, centre[1] + radius],
        fill="white",
    )
    crop = crop_to_square(np.asarray(canvas), whole(np.asarray(canvas)), size)
    white = crop[..., 0] > 127
    across = white.any(axis=0).sum(), white.any(axis=1).sum()
    expected = 2 * radius * size / max(width, height)
    assert abs(across[0] - expected) <= 2
    assert abs(across[1] - expected) <= 2
    assert white.sum() == pytest.approx(math.pi * (expected / 2) ** 2, rel=0.1)


def test_a_painted_box_fills_the_crop_and_nothing_else_is_on_it():
    image = np.zeros((120, 200, 3), dtype=np.uint8)
    image[:] = (0, 0, 255)
    image[30:70, 50:90] = (255, 0, 0)
    crop = crop_to_square(image, Box(50, 30, 90, 70), 80)
    assert (crop[3:-3, 3:-3] == (255, 0, 0)).all()
    # One to one: not a pixel of the blue.
    assert (crop_to_square(image, Box(50, 30, 90, 70), 40) == (255, 0, 0)).all()


@pytest.mark.parametrize(
    ("box", "rows", "columns"),
    [((0, 0, 40, 20), (10, 30), (0, 40)), ((0, 0, 20, 40), (0, 40), (10, 30))],
)
def test_a_long_box_is_centred_on_black(box, rows, columns):
    crop = crop_to_square(np.full((40, 40, 3), 255, dtype=np.uint8), Box(*box), 40)
    expected = np.zeros((40, 40, 3), dtype=np.uint8)
    expected[slice(*rows), slice(*columns)] = 255
    np.testing.assert_array_equal(crop, expected)


@pytest.mark.parametrize("corner", [(-50, -50), (50, -50), (-50, 50), (50, 50)])
def test_beyond_the_image_is_black_and_the_scale_is_kept(corner):
    x, y = corner
    crop = crop_to_square(
        np.full((100, 100, 3), 255, dtype=np.uint8), Box(x, y, x + 100, y + 100), 200
    )
    seen = (crop == 255).all(axis=2)
    assert (seen | (crop == 0).all(axis=2)).all()
    expected = np.zeros((200, 200), dtype=bool)
    expected[
        slice(100, None) if y < 0 else slice(100), slice(100, None) if x < 0 else slice(100)
    ] = True
    np.testing.assert_array_equal(seen, expected)


def test_padding_by_the_edge_repeats_the_outermost_pixels():
    image = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    crop = crop_to_square(image, Box(-10, 25, 30, 65), 40, "edge")  # one to one
    rows, columns = np.clip(np.arange(25, 65), 0, 39), np.clip(np.arange(-10, 30), 0, 39)
    np.testing.assert_array_equal(crop, image[rows][:, columns])


@pytest.mark.parametrize("padding", ["black", "edge"])
@pytest.mark.parametrize(
    "box",
    [
        (-999, 0, 1, 1000),
        (0, -999, 1000, 1),
        (99, 0, 1099, 1000),
        (-999, -999, 1, 1),
        (0, 99, 1, 1099),
    ],
)
def test_a_box_that_touches_the_image_by_less_than_a_pixel_of_the_crop(box, padding):
    crop = crop_to_square(np.full((100, 100, 3), 255, dtype=np.uint8), Box(*box), 100, padding)
    assert crop.shape == (100, 100, 3)


def test_a_mark_is_as_large_near_the_edge_as_in_the_middle():
    image = np.full((100, 100, 3), 50, dtype=np.uint8)
    image[0:10, 0:10] = image[45:55, 45:55] = 255
    middle = crop_to_square(image, Box(30, 30, 70, 70), 160)
    edge = crop_to_square(image, Box(-15, -15, 25, 25), 160)
    assert (middle > 150).all(axis=2).sum() == pytest.approx(40 * 40, abs=170)
    assert (edge > 150).all(axis=2).sum() == pytest.approx(40 * 40, abs=170)


def test_an_image_is_shrunk_without_aliasing():
    stripes = np.zeros((200, 200, 3), dtype=np.uint8)
    stripes[:, ::2] = 255  # finer than the result can show: its mean is grey
    crop = crop_to_square(stripes, whole(stripes), 25)
    assert np.abs(crop[:, 2:-2].astype(int) - 127).max() <= 3


def test_one_to_one_is_a_copy():
    image = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    np.testing.assert_array_equal(crop_to_square(image, Box(7, 11, 47, 51), 40), image[11:51, 7:47])


@pytest.mark.parametrize(
    "box",
    [
        (10, 10, 10, 20),
        (20, 10, 10, 20),
        (100, 0, 120, 20),
        (-20, 0, 0, 20),
        (0, 80, 20, 99),
        (0, -9, 20, 0),
    ],
)
def test_an_empty_box_or_one_beside_the_image_is_refused(box):
    with pytest.raises(ValueError, match="does not touch an image of 100 x 80"):
        crop_to_square(np.zeros((80, 100, 3), dtype=np.uint8), Box(*box), 32)


def map_image(width: int, height: int) -> np.ndarray:
    """Each pixel tells where it is: red its column, green its row; blue that it is image at all."""
    image = np.full((height, width, 3), 255, dtype=np.uint8)
    image[..., 0], image[..., 1] = np.arange(width)[None, :], np.arange(height)[:, None]
    return image


@random_cases(300)
@given(
    width=st.integers(1, 250),
    height=st.integers(1, 250),
    left=st.floats(-100, 240),
    top=st.floats(-100, 240),
    box_width=st.floats(0.5, 400),
    box_height=st.floats(0.5, 400),
    size=st.integers(8, 200),
)
def test_every_pixel_comes_from_where_the_box_says(
    width, height, left, top, box_width, box_height, size
):
    box = Box(left, top, left + box_width, top + box_height)
    touches = (
        box.left < width - 1e-3
        and box.top < height - 1e-3
        and box.right > 1e-3
        and box.bottom > 1e-3
    )
    if not touches:
        return
    crop = crop_to_square(map_image(width, height), box, size)
    assert crop.shape == (size, size, 3)
    assert crop.dtype == np.uint8
    # The oracle: pixel centres, both axes by one scale, the box's centre in the square's centre.
    source_per_pixel = max(box_width, box_height) / size
    offset = (np.arange(size) + 0.5 - size / 2) * source_per_pixel
    x = (box.left + box.right) / 2 + offset
    y = (box.top + box.bottom) / 2 + offset
    slack = 1.01 * source_per_pixel  # half a pixel of rounding on each side

    def within(at: np.ndarray, low: float, high: float, by: float) -> np.ndarray:
        return (at > low + by) & (at < high - by)

    def shown(by: float) -> np.ndarray:
        columns = within(x, max(0, box.left), min(width, box.right), by)
        rows = within(y, max(0, box.top), min(height, box.bottom), by)
        return rows[:, None] & columns[None, :]

    assert (crop[shown(slack)][:, 2] == 255).all()
    assert (crop[~shown(-slack)] == 0).all()
    # At an image's edge an interpolation has neighbours on one side only.
    inner = shown(slack + 2 + 2 * source_per_pixel)
    tolerance = 1.5 + slack
    error_x = np.abs(crop[..., 0] - (x[None, :] - 0.5))
    error_y = np.abs(crop[..., 1] - (y[:, None] - 0.5))
    assert (error_x[inner] <= tolerance).all()
    assert (error_y[inner] <= tolerance).all()


@random_cases(200)
@given(
    width=st.integers(1, 60),
    height=st.integers(1, 60),
    box=st.tuples(*[st.integers(-60, 120)] * 4),
    size=st.integers(8, 64),
)
def test_any_whole_numbered_box_gives_a_square_or_a_value_error(width, height, box, size):
    try:
        crop = crop_to_square(map_image(width, height), Box(*box), size)
    except ValueError:
        left, top, right, bottom = box
        assert (
            left >= right
            or top >= bottom
            or left >= width
            or top >= height
            or right <= 0
            or bottom <= 0
        )
    else:
        assert crop.shape == (size, size, 3)
