"""dlib's detector out of the cache: the same faces, and only ever dlib's own bytes."""

import os

import numpy as np
import pytest
from tests.helpers import orl_folder

from siamese.faces import frontal_detector as module
from siamese.faces.frontal_detector import NAME, kept_detector
from siamese.faces.images import read_image

dlib = pytest.importorskip("dlib")


class Counted:
    """dlib, with a count of the detectors that it makes."""

    def __init__(self):
        self.made = 0
        self.fhog_object_detector = dlib.fhog_object_detector

    def get_frontal_face_detector(self):
        self.made += 1
        return dlib.get_frontal_face_detector()


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SIAMESE_CACHE", str(tmp_path))
    return tmp_path / "detectors"


def test_a_kept_one_finds_the_same_faces(cache):
    counted = Counted()
    made = kept_detector(counted)
    kept = kept_detector(counted)
    if not (cache / NAME).exists():
        pytest.skip("another dlib than the one whose detector is known")
    assert counted.made == 1
    assert [p.name for p in cache.iterdir()] == [NAME]
    for photograph in sorted(orl_folder().rglob("*.pgm"))[:40:8]:
        image = np.repeat(np.repeat(read_image(photograph), 2, 0), 2, 1)
        for low in (0.0, -1.0):
            (a, b, c), (d, e, f) = made.run(image, 0, low), kept.run(image, 0, low)
            assert ([str(r) for r in a], list(b), list(c)) == (
                [str(r) for r in d],
                list(e),
                list(f),
            )


@pytest.mark.parametrize("content", [b"", b"x" * 155_005, b"x" * 10**6])
def test_other_bytes_are_never_given_to_dlib(content, cache):
    cache.mkdir()
    (cache / NAME).write_bytes(content)
    counted = Counted()
    counted.fhog_object_detector = None  # calling it would raise
    kept_detector(counted)
    assert counted.made == 1
    assert (cache / NAME).read_bytes() != content


def test_of_another_dlib_nothing_is_kept(cache, monkeypatch):
    monkeypatch.setattr(module, "SHA256", "0" * 64)
    counted = Counted()
    for _ in range(2):
        kept_detector(counted)
    assert counted.made == 2
    assert not list(cache.iterdir())


def test_where_nothing_can_be_written_it_is_made(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SIAMESE_CACHE", str(tmp_path / "file" / "below"))
    assert kept_detector(dlib) is not None


@pytest.mark.skipif(os.name == "nt", reason="its names are no bytes")
def test_a_cache_of_a_name_that_dlib_does_not_take_costs_time_only(tmp_path, monkeypatch):
    monkeypatch.setenv("SIAMESE_CACHE", os.fsdecode(bytes(tmp_path) + b"/\xe9"))
    assert kept_detector(dlib) is not None
