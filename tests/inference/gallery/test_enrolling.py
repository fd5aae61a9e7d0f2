"""Enrolling many people: what each would be by itself, and by any number of processes."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.inference.gallery.test_gallery import photograph, verifier

import siamese
from siamese.errors import FaceError, ImageError
from siamese.faces.croppers.base import Crop, Face, Look
from siamese.faces.croppers.none import NoCropper
from siamese.inference import looks


@pytest.fixture
def people(tmp_path):
    """Photographs by name: some are the same, broken, missing, or in memory."""
    paths = [photograph(tmp_path / f"{n}.png", n) for n in range(12)]
    copy, broken = tmp_path / "copy.png", tmp_path / "broken.png"
    copy.write_bytes(paths[0].read_bytes())
    broken.write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    return {
        "Zoë": [paths[0], str(paths[1]), copy, broken],
        "Ann": [copy, paths[2], np.asarray(Image.open(paths[3])), Image.open(paths[3])],
        "Nobody": [tmp_path / "gone.png"],
        " zoë": [paths[4], paths[0]],
        "Bob": paths[5:],
    }


def one_by_one(made, people):
    """Each photograph by itself: rows in order, and why the others have none."""
    rows, left_out, known = [], [], set()
    for name, photographs in people.items():
        for given in photographs:
            try:
                look = made.look(given)
            except (ImageError, FaceError) as error:
                left_out.append(str(error))
                continue
            (row,) = made.embed_faces([look.face])
            person = name.strip().casefold()
            if (person, row.tobytes()) not in known:
                known.add((person, row.tobytes()))
                rows.append((person, row))
    return rows, left_out


@pytest.mark.parametrize(("jobs", "every"), [(1, None), (1, 1), (1, 5), (2, None)])
def test_many_people_are_enrolled_as_each_by_itself(people, tmp_path, jobs, every):
    made = siamese.Gallery(verifier())
    made.save(tmp_path / "gallery")
    done = made.enrol_people(people, jobs=jobs, save_every=every)
    rows, left_out = one_by_one(made.verifier, people)
    enrolled = [
        (name.casefold(), row.tobytes())
        for segment in made._enrolled.segments
        for name, row in zip(segment.names, segment.embeddings, strict=True)
    ]
    assert sorted(enrolled) == sorted((name, row.tobytes()) for name, row in rows)
    assert [one.name for one in done] == ["Zoë", "Ann", "Nobody", "Zoë", "Bob"]
    assert [(one.added, one.known) for one in done] == [(2, 1), (3, 1), (0, 0), (1, 1), (7, 0)]
    assert [why for one in done for why in one.left_out.values()] == left_out
    assert done[1].notes == {str(people["Ann"][0]): ("it is enrolled as 'Zoë', too",)}
    # The same as person by person.
    each = siamese.Gallery(verifier())
    alone = [each.enrol(name, given, required=False) for name, given in people.items()]
    assert alone == done
    saved = siamese.Gallery.load(tmp_path / "gallery", made.verifier) if every else made
    for one, other in zip(saved.rows(), each.rows(), strict=True):
        assert np.array_equal(one, other)
    assert saved.people == each.people == {"Ann": 3, "Bob": 7, "Zoë": 3}


class Finder(NoCropper):
    """Finds as many faces as the first pixel says."""

    def look(self, image):
        return Look(Face(self(image).image), int(image[0, 0, 0]))

    def __call__(self, image):
        return Crop(super().__call__(image).image, int(image[0, 0, 0]))


def test_photographs_without_a_face_are_left_out_wherever_they_lie(tmp_path):
    made = verifier()
    made.cropper = Finder(32)
    gallery = siamese.Gallery(made)
    given = []
    for faces in (0, 1, 2):
        image = Image.fromarray(np.full((40, 40, 3), faces, np.uint8))
        image.save(tmp_path / f"{faces}.png")
        given += [tmp_path / f"{faces}.png", image]
    done = gallery.enrol("Ann", given)
    assert done.left_out == {
        str(given[0]): f"{given[0]}: no face found",
        "<photograph 2>": "<photograph 2>: no face found",
    }
    said = ("2 faces; one of them was enrolled",)
    assert done.notes == {str(given[4]): said, "<photograph 6>": said}
    assert done.added == 4


def test_it_is_saved_now_and_then_and_what_is_there_is_not_looked_at(tmp_path, monkeypatch):
    paths = [photograph(tmp_path / f"{n}.png", n) for n in range(10)]
    people = {"Ann": paths[:4], "Bob": paths[4:]}
    made, seen, read = siamese.Gallery(verifier()), [], looks.read_image
    made.save(tmp_path / "gallery")

    def reading(path):
        seen.append(path)
        if len(seen) == 8:
            raise KeyboardInterrupt
        return read(path)

    monkeypatch.setattr(looks, "read_image", reading)
    with pytest.raises(KeyboardInterrupt):
        made.enrol_people(people, save_every=3, jobs=1)
    again = siamese.Gallery.load(tmp_path / "gallery", verifier())
    assert again.people == {"Ann": 4, "Bob": 2}
    seen[:] = []
    done = again.enrol_people(people, save_every=3, jobs=1)
    assert len(seen) == 4
    assert [(one.added, one.known) for one in done] == [(0, 4), (4, 2)]
    assert siamese.Gallery.load(tmp_path / "gallery", verifier()).people == {"Ann": 4, "Bob": 6}


@pytest.mark.parametrize("kind", [str, Path, Image.open, lambda path: np.asarray(Image.open(path))])
def test_one_photograph_of_a_person_is_no_list(tmp_path, kind):
    """Neither the letters of its name nor its rows of pixels."""
    path = photograph(tmp_path / "0.png", 0)
    made = siamese.Gallery(verifier())
    (done,) = made.enrol_people({"Ann": kind(path)})
    assert (done.added, dict(done.left_out)) == (1, {})


def test_no_more_is_lost_than_lies_between_two_savings(tmp_path, monkeypatch):
    """Though fewer were added than were looked at."""
    paths = [photograph(tmp_path / f"{n}.png", n) for n in range(5)]
    made, read = siamese.Gallery(verifier()), looks.read_image
    made.save(tmp_path / "gallery")

    def reading(path):
        if path == str(paths[4]):
            raise KeyboardInterrupt
        return read(path)

    monkeypatch.setattr(looks, "read_image", reading)
    given = [*paths[:2], tmp_path / "gone.png", *paths[2:]]
    with pytest.raises(KeyboardInterrupt):
        made.enrol_people({"Ann": given}, save_every=3, jobs=1)
    assert siamese.Gallery.load(tmp_path / "gallery", verifier()).people == {"Ann": 2}


def test_settings_are_refused_before_anybody_is_enrolled(tmp_path):
    made = siamese.Gallery(verifier())
    path = photograph(tmp_path / "0.png", 0)
    for people, settings in (
        ({"Ann": [path], " ": [path]}, {}),
        ({"Ann": [path]}, {"jobs": 0}),
        ({"Ann": [path]}, {"save_every": 0}),
        ({"Ann": [path], "Bob": 5}, {}),
        ([("Ann", path)], {}),
    ):
        with pytest.raises(siamese.ConfigError):
            made.enrol_people(people, **settings)
    with pytest.raises(siamese.ConfigError):
        made.enrol("Ann", path, jobs=1.5)
    with pytest.raises(siamese.GalleryError, match="no folder yet"):
        made.enrol_people({"Ann": [path]}, save_every=1)
    assert len(made) == 0
    assert made.enrol_people({}) == []
