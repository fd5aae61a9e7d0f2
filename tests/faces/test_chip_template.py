"""The chip's template against dlib: images whose colours say where a pixel came from."""

import numpy as np
import pytest

from siamese.faces.chip_template import chip_points, spread

dlib = pytest.importorskip("dlib")


def similarity(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """(2, 3): rotation, scale and shift with the least squares from (n, 2) to (n, 2) points.

    By complex numbers: target = a * source + b is linear in a and b.
    """
    z, w = (points[:, 0] + 1j * points[:, 1] for points in (source, target))
    (a, b), *_ = np.linalg.lstsq(np.stack([z, np.ones_like(z)], axis=1), w, rcond=None)
    return np.array([[a.real, -a.imag, b.real], [a.imag, a.real, b.imag]])


def landmarks_of(seed: int, larger: int = 1) -> np.ndarray:
    """(5, 2) whole pixels of a face that is turned, scaled, moved and a little deformed."""
    rng = np.random.default_rng(seed)
    face = np.array([(0.86, 0.21), (0.65, 0.23), (0.12, 0.21), (0.33, 0.23), (0.49, 0.63)])
    angle, side = rng.uniform(-0.6, 0.6), rng.uniform(60, 110)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    noise = rng.normal(0, 0.03, face.shape)
    places = (face - 0.5 + noise) @ turn.T * side + 128 + rng.uniform(-9, 9, 2)
    return np.round(places * larger)


@pytest.mark.parametrize(("size", "margin"), [(150, 0.25), (96, 0.4), (64, 0.0)])
@pytest.mark.parametrize(("seed", "larger"), [(0, 1), (1, 1), (2, 1), (3, 1), (0, 5), (1, 7)])
def test_each_pixel_comes_from_where_the_template_says(size, margin, seed, larger):
    landmarks = landmarks_of(seed, larger)
    rows, columns = np.mgrid[: 256 * larger, : 256 * larger] // larger
    image = np.stack([columns, rows, np.full_like(rows, 255)], axis=2).astype(np.uint8)
    found = dlib.full_object_detection(
        dlib.rectangle(0, 0, 99, 99), [dlib.point(int(x), int(y)) for x, y in landmarks]
    )
    chip = dlib.get_face_chip(image, found, size, margin).astype(float)
    points = np.array([(point.x, point.y) for point in chip_points(size, margin)])
    mapping = similarity(points, landmarks)
    middle, scale = (size - 1) / 2, np.hypot(*mapping[:, 0])
    places = np.mgrid[:size, :size][::-1].transpose(1, 2, 0)  # columns, rows
    places = (places - middle) * spread(size, scale) + middle
    expected = (places @ mapping[:, :2].T + mapping[:, 2] + 0.5) / larger - 0.5
    inside = chip[..., 2] == 255  # black beyond the image
    assert inside.mean() > 0.5
    apart = (chip[..., :2] - expected)[inside]
    across = np.polyfit(places[inside][:, 0], apart, 1)[0] * size
    assert np.abs(across).max() < 0.05  # no drift from one edge to the other
    # Colours are whole numbers, which dlib rounds down: from nothing to 1 is missing.
    if scale < 2:
        assert np.abs(apart + 0.5).max() < 0.51
    else:  # It halves the image before, and places it on whole pixels of the half.
        assert np.abs(apart.mean(axis=0) + 0.5).max() * larger / scale < 1


def test_places_of_dlibs_own_chips():
    points = chip_points(150, 0.25)
    assert [round(p.x, 2) for p in points] == [110.46, 89.11, 36.56, 57.91, 73.51]
    assert [round(p.y, 2) for p in points] == [45.85, 47.4, 45.87, 47.41, 87.28]
