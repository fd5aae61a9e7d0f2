"""Warnings that are said once in a process, whatever other libraries do to Python's filters."""

import warnings

import numpy as np
import pytest
from tests.helpers import write_image

import siamese
from siamese.notices import warn_once


def test_the_same_words_are_said_once():
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        for text in ("one", "other", "one", "one"):
            warn_once(text)
    assert [str(w.message) for w in heard] == ["one", "other"]
    assert heard[0].filename == __file__


def test_one_cause_is_said_once_whatever_the_number():
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        for text in ("2 are few", "3 are few"):
            warn_once(text, about="few")
        warn_once("2 are few")
    assert [str(w.message) for w in heard] == ["2 are few", "2 are few"]


def test_a_warning_that_was_an_error_is_said_again():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(2):
            with pytest.raises(UserWarning, match="three"):
                warn_once("three")


def test_a_calibration_that_is_repeated_warns_once(tmp_path):
    """Between the calls an image is read and a library resets Python's memory of warnings."""
    embeddings = np.random.default_rng(0).normal(size=(40, 4))
    identities = [0] * 20 + list(range(1, 21))
    image = write_image(tmp_path / "a.png", 0)
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("default")
        for _ in range(3):
            siamese.calibrate(embeddings, identities)
            siamese.read_image(image)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
    assert len([w for w in heard if "one identity has 100%" in str(w.message)]) == 1


def test_reading_an_image_leaves_the_filters_alone(tmp_path, monkeypatch):
    """Entering ``catch_warnings`` once is enough to make Python forget what it has warned of."""

    class Entered(warnings.catch_warnings):
        def __enter__(self):
            raise AssertionError("the filters of the process were touched")

    image = write_image(tmp_path / "a.png", 0)
    siamese.read_image(image)  # whatever is imported for the first time
    monkeypatch.setattr(warnings, "catch_warnings", Entered)
    assert siamese.read_image(image).shape == (40, 48, 3)
