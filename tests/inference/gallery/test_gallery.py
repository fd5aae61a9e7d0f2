"""A gallery: who is enrolled, who is found, what its files hold, and what is refused."""

import hashlib
import itertools
import json
import os
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tests.helpers import assert_says

import siamese
from siamese.inference.gallery import gallery as gallery_module
from siamese.inference.gallery import stored
from siamese.inference.gallery.without_network import erase, people_of

SIZE = 520  # numbers of an embedding


def point(threshold=0.5):
    return siamese.OperatingPoint(
        threshold, "max_f1", "euclidean", "calibration", {"name": "all_pairs"},
        1, 1, 0.5, 1.0, 1, 0, 0, 1,
    )  # fmt: skip


def verifier(seed=0, **parts):
    torch.manual_seed(seed)
    net = siamese.SmallResNet(widths=(8,), depths=(1,), learned_size=8)
    made = {
        "backbone": net,
        "distance": siamese.EuclideanDistance(),
        "cropper": siamese.NoCropper(32),
        "operating_point": point(),
    }
    return siamese.Verifier(siamese.Bundle(**(made | parts)))


def photograph(path, seed):
    array = np.random.default_rng(seed).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    Image.fromarray(array).save(path)
    return path


@pytest.fixture
def photographs(tmp_path):
    folder = tmp_path / "photographs"
    folder.mkdir()
    return [photograph(folder / f"{n}.png", n) for n in range(9)]


@pytest.fixture
def gallery(photographs):
    made = siamese.Gallery(verifier())
    for n, name in enumerate(("Ann", "Bob", "Zoë")):
        made.enrol(name, photographs[3 * n : 3 * n + 2])
    return made


def contents(folder):
    return {p.name: p.read_bytes() for p in folder.iterdir() if p.name != stored.LOCK}


def test_the_nearest_photograph_of_each_person_counts(gallery, photographs):
    (found,) = gallery.search(photographs[0], k=3, threshold=1e-6)
    assert found.name == "Ann"
    assert found.people == 3
    assert found.candidates[0] == siamese.Candidate("Ann", 0.0, str(photographs[0]), True)
    for candidate in found.candidates[1:]:
        person = ["Ann", "Bob", "Zoë"].index(candidate.name)
        own = photographs[3 * person : 3 * person + 2]
        verdicts = [gallery.verifier.verify(photographs[0], photo) for photo in own]
        assert candidate.distance == min(v.distance for v in verdicts)
        assert not candidate.accepted


def test_nobody_is_an_answer(gallery, photographs):
    (found,) = gallery.search(photographs[2], threshold=0.0)
    assert found.name is None
    assert len(found.candidates) == 3


def test_the_threshold_is_included(gallery, photographs):
    (far,) = gallery.search(photographs[2], threshold=0.0)
    nearest = far.candidates[0]
    (found,) = gallery.search(photographs[2], threshold=nearest.distance)
    assert found.name == nearest.name
    below = float(np.nextafter(np.float32(nearest.distance), np.float32(0)))
    assert gallery.search(photographs[2], threshold=below)[0].name is None


def test_names_that_differ_in_case_are_one_person(gallery, photographs):
    made = gallery.enrol(" ann ", photographs[2])
    assert (made.name, made.added) == ("Ann", 1)
    assert gallery.people == {"Ann": 3, "Bob": 2, "Zoë": 2}
    assert "ZOË" in gallery


def test_a_photograph_is_enrolled_once(gallery, photographs, tmp_path):
    copy = tmp_path / "copy.png"
    copy.write_bytes(photographs[0].read_bytes())
    made = gallery.enrol("Ann", [copy, photographs[2]])
    assert (made.added, made.known) == (1, 1)
    assert gallery.people["Ann"] == 3


def test_photographs_may_be_given_in_many_ways(photographs):
    made = siamese.Gallery(verifier())
    image = Image.open(photographs[0])
    assert made.enrol("Ann", image).added == 1
    assert made.enrol("Bob", np.asarray(image)).added == 1
    assert made.enrol("Zoë", (path for path in photographs[1:3])).added == 2
    assert made.enrol("Eve", [str(photographs[3]), np.asarray(image)]).added == 2
    with pytest.raises(siamese.ConfigError, match="no photographs of 'Max'"):
        made.enrol("Max", [])


def test_names_that_are_not_utf8_are_kept_with_escapes(gallery, photographs, tmp_path):
    name = os.fsdecode(b"Jos\xe9")
    made = gallery.enrol(name, photographs[8])
    folder = gallery.save(tmp_path / "gallery")
    again = siamese.Gallery.load(folder, verifier())
    assert made.name in again
    assert again.people == gallery.people
    assert again.people["Jos\\udce9"] == 1
    assert again.enrol(name, photographs[8]).known == 1
    assert again.remove(name) == 1


def test_what_a_file_could_not_hold_is_no_embedding(gallery):
    with pytest.raises(siamese.ConfigError, match="finite as float32"):
        gallery.add_embeddings("Eve", np.full((1, SIZE), 1e300))
    with pytest.raises(siamese.ConfigError, match="finite as float32"):
        gallery.search_embeddings(np.full((1, SIZE), 1e300))
    with pytest.raises(siamese.ConfigError, match=r"shape \(1, 0\)"):
        siamese.Gallery(verifier()).add_embeddings("Eve", np.zeros((1, 0)))
    with pytest.raises(siamese.ConfigError, match="more than 10,000 characters"):
        gallery.add_embeddings("Eve", np.ones((1, SIZE)), ["x" * 10_001])
    assert "Eve" not in gallery


def test_a_folder_that_was_emptied_is_written_again(gallery, tmp_path):
    folder = gallery.save(tmp_path / "gallery")
    shutil.rmtree(folder)
    gallery.add_embeddings("Eve", np.ones((1, SIZE), dtype=np.float32))
    gallery.save()
    assert len(siamese.Gallery.load(folder, verifier())) == 4


def test_a_gallery_stays_where_it_is_in_another_working_folder(gallery, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    gallery.save("gallery")
    loaded = siamese.Gallery.load("gallery", verifier())
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path / "other")
    loaded.add_embeddings("Eve", np.ones((1, SIZE), dtype=np.float32))
    assert loaded.save() == loaded.save(tmp_path / "gallery") == tmp_path / "gallery"
    assert len(siamese.Gallery.load(tmp_path / "gallery", verifier())) == 4
    assert not list((tmp_path / "other").iterdir())


def test_a_photograph_of_two_people_is_said(gallery, photographs, tmp_path):
    made = gallery.enrol("Bob", photographs[0])
    assert made.notes == {str(photographs[0]): ("it is enrolled as 'Ann', too",)}
    again = siamese.Gallery.load(gallery.save(tmp_path / "gallery"), verifier())
    again.remove("Bob")
    assert again.enrol("Zoë", photographs[0]).notes == made.notes
    again.remove("Ann")
    assert again.enrol("Eve", photographs[0]).notes == {
        str(photographs[0]): ("it is enrolled as 'Zoë', too",)
    }


def test_what_cannot_be_enrolled_is_named_and_the_rest_is(gallery, photographs, tmp_path):
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no image")
    made = gallery.enrol("Eve", [broken, photographs[8]])
    assert made.added == 1
    assert list(made.left_out) == [str(broken)]
    with pytest.raises(siamese.FaceError, match=r"no photograph of 'Max' was enrolled: .*broken"):
        gallery.enrol("Max", broken)
    assert "Max" not in gallery


def test_why_a_photograph_was_left_out_is_read_from_no_file_name(gallery, tmp_path):
    odd = tmp_path / "no face found; 1.jpg"
    odd.write_bytes(b"no image")
    why = gallery.enrol("Eve", odd, required=False).left_out[str(odd)]
    assert_says(why, odd, "not an image in a known format", "remove")
    content = np.frombuffer(b"no image", dtype=np.uint8)[None].astype(np.float64)
    made = gallery.enrol("Eve", [content], required=False)
    assert list(made.left_out) == ["<photograph 1>"]
    assert made.left_out["<photograph 1>"].startswith("<photograph 1>: ")


def test_a_saved_gallery_gives_the_same_answers(gallery, photographs, tmp_path):
    gallery.save(tmp_path / "gallery")
    again = siamese.Gallery.load(tmp_path / "gallery", verifier())
    assert again.people == gallery.people
    for photo in photographs:
        one, other = (g.search(photo, threshold=1.0) for g in (gallery, again))
        assert one == other


def test_embeddings_are_plain_safetensors(gallery, tmp_path):
    from safetensors.numpy import load_file

    gallery.save(tmp_path / "gallery")
    (file,) = (tmp_path / "gallery").glob("*.safetensors")
    names = json.loads(file.with_suffix(".json").read_text())
    rows = load_file(file)["embeddings"]
    assert rows.shape == (6, gallery.verifier.bundle.backbone.embedding_size)
    assert [names["people"][code] for code in names["codes"]] == sorted(["Ann", "Bob", "Zoë"] * 2)


def test_it_grows_by_what_is_added(gallery, photographs, tmp_path):
    folder = gallery.save(tmp_path / "gallery")
    before = contents(folder)
    gallery.enrol("Eve", photographs[8])
    gallery.save()
    after = contents(folder)
    assert before.keys() < after.keys()
    assert all(after[name] == before[name] for name in before if name != stored.INDEX)
    again = siamese.Gallery.load(folder, verifier())
    assert again.people == {"Ann": 2, "Bob": 2, "Eve": 1, "Zoë": 2}


def test_many_small_changes_are_joined(gallery, photographs, tmp_path):
    folder = gallery.save(tmp_path / "gallery")
    for n in range(12):
        gallery.add_embeddings(f"person {n}", np.full((1, SIZE), n, dtype=np.float32))
        gallery.save()
    assert len(list(folder.glob("*.safetensors"))) <= gallery_module._MOST_SMALL + 1
    assert len(siamese.Gallery.load(folder, verifier())) == 15


def test_who_is_removed_is_in_no_file(gallery, photographs, tmp_path):
    folder = gallery.save(tmp_path / "gallery")
    rows = [e.tobytes() for e in gallery.verifier.embed_faces(
        [gallery.verifier.look(p).face for p in photographs[3:5]])]  # fmt: skip
    everything = b"".join(contents(folder).values())
    assert all(row in everything for row in rows)
    assert b"Bob" in everything
    assert gallery.remove("BOB") == 2
    gallery.save()
    everything = b"".join(contents(folder).values())
    assert not any(row in everything for row in rows)
    assert b"Bob" not in everything
    again = siamese.Gallery.load(folder, verifier())
    assert again.people == {"Ann": 2, "Zoë": 2}
    assert gallery.search(photographs[3], threshold=0.0)[0].name is None
    with pytest.raises(siamese.GalleryError, match="nobody called 'Bob' is enrolled"):
        again.remove("Bob")


def test_people_are_taken_out_where_the_network_is_no_more(gallery, tmp_path):
    folder = gallery.save(tmp_path / "gallery")
    (row,) = gallery.verifier.embed_faces([gallery.verifier.look(next(iter(
        (tmp_path / "photographs").glob("3.png")))).face])  # fmt: skip
    assert people_of(folder) == {"Ann": 2, "Bob": 2, "Zoë": 2}
    with pytest.raises(siamese.GalleryError, match="nobody called 'Max'"):
        erase(folder, ["ann", "Max"])
    assert len(people_of(folder)) == 3  # all of them or none
    assert erase(folder, ["ann", " BOB", "Bob"]) == {"Ann": 2, "Bob": 2}
    everything = b"".join(contents(folder).values())
    assert row.tobytes() not in everything
    assert b"Bob" not in everything
    assert siamese.Gallery.load(folder, verifier()).people == {"Zoë": 2}
    with pytest.raises(siamese.GalleryError, match="no such folder"):
        erase(tmp_path / "nowhere", ["Ann"])
    assert not (tmp_path / "nowhere").exists()


def test_removing_the_last_one_leaves_an_empty_gallery(gallery, photographs, tmp_path):
    folder = gallery.save(tmp_path / "gallery")
    for name in list(gallery.people):
        gallery.remove(name)
    gallery.save()
    again = siamese.Gallery.load(folder, verifier())
    assert len(again) == 0
    with pytest.raises(siamese.GalleryError, match="nobody is enrolled"):
        again.search(photographs[0])
    again.enrol("Ann", photographs[0])
    assert again.search(photographs[0], threshold=0.0)[0].name == "Ann"


class Killed(BaseException):
    """As from a signal that nothing can catch: no clean-up of ours must matter."""


@pytest.mark.parametrize("change", ["enrol", "remove"])
def test_stopped_at_any_step_it_is_the_old_or_the_new(
    change, gallery, photographs, tmp_path, monkeypatch
):
    """Every call of the system that changes a file is the last one, once."""
    folder = gallery.save(tmp_path / "gallery")
    old = gallery.people
    calls = {"replace": os.replace, "unlink": Path.unlink, "fsync": os.fsync}
    outcomes = set()
    for stop in itertools.count():
        again = siamese.Gallery.load(folder, verifier())
        if again.people != old:  # what the last round did
            if change == "enrol":
                again.remove("Eve")
            else:
                again.enrol("Bob", photographs[3:5])
            again.save()
        if change == "enrol":
            again.enrol("Eve", photographs[8])
        else:
            again.remove("Bob")
        left = itertools.count()

        def counted(call, left=left, stop=stop):
            def stopping(*args, **kwargs):
                if next(left) >= stop:
                    raise Killed
                return call(*args, **kwargs)

            return stopping

        with monkeypatch.context() as patch:
            patch.setattr(os, "replace", counted(calls["replace"]))
            patch.setattr(os, "fsync", counted(calls["fsync"]))
            patch.setattr(Path, "unlink", counted(calls["unlink"]))
            try:
                again.save()
                finished = True
            except Killed:
                finished = False
        found = siamese.Gallery.load(folder, verifier())
        assert found.people in (old, again.people)
        for photo in photographs[:2]:  # and every embedding is there
            assert found.search(photo, threshold=0.0)[0].name == "Ann"
        outcomes.add(found.people == old)
        if finished:
            break
    assert stop > 6
    assert outcomes == {True, False}
    if change == "remove":
        rest = b"".join(contents(folder).values())
        assert b"Bob" not in rest


def test_what_a_killed_writer_left_is_removed_by_the_next(gallery, tmp_path):
    folder = gallery.save(tmp_path / "gallery")
    for name in ("0123456789abcdef.safetensors", "0123456789abcdef.json.17.abc.tmp",
                 "gallery.json.17.abc.tmp"):  # fmt: skip
        (folder / name).write_bytes(b"left over")
    (folder / "notes.txt").write_text("the user's own")
    gallery.add_embeddings("Eve", np.ones((1, SIZE), dtype=np.float32))
    gallery.save()
    assert not [name for name, content in contents(folder).items() if content == b"left over"]
    assert (folder / "notes.txt").exists()


def test_a_gallery_of_another_network_is_refused(gallery, tmp_path):
    folder = gallery.save(tmp_path / "gallery")
    with pytest.raises(siamese.GalleryError, match="of another network, or of other crops"):
        siamese.Gallery.load(folder, verifier(seed=1))
    with pytest.raises(siamese.GalleryError, match="of another network, or of other crops"):
        siamese.Gallery.load(folder, verifier(cropper=siamese.NoCropper(24)))
    with pytest.raises(siamese.GalleryError, match="does not say where its network is"):
        siamese.Gallery.load(folder)
    other = verifier(operating_point=point(0.7))  # the threshold is no matter of embeddings
    assert len(siamese.Gallery.load(folder, other)) == 3


def test_it_finds_its_network_again(photographs, tmp_path):
    verifier().bundle.save(tmp_path / "bundle")
    made = siamese.Gallery(siamese.Verifier.load(tmp_path / "bundle"))
    made.enrol("Ann", photographs[:2])
    made.save(tmp_path / "gallery")
    found = siamese.Gallery.load(tmp_path / "gallery")
    assert found.search(photographs[0], threshold=0.0)[0].name == "Ann"


def test_two_writers_do_not_undo_each_other(gallery, photographs, tmp_path):
    folder = gallery.save(tmp_path / "gallery")
    one, other = (siamese.Gallery.load(folder, verifier()) for _ in range(2))
    one.enrol("Eve", photographs[8])
    one.save()
    other.enrol("Max", photographs[2])
    with pytest.raises(siamese.GalleryError, match="has changed the gallery since"):
        other.save()
    with one.exclusive():
        one.enrol("Lea", photographs[5])
        one.save()
        with pytest.raises(siamese.GalleryError, match="another process is writing"):
            siamese.Gallery.load(folder, verifier()).save()
    assert set(siamese.Gallery.load(folder, verifier()).people) == {
        "Ann", "Bob", "Eve", "Lea", "Zoë"
    }  # fmt: skip


def test_other_folders_are_left_alone(gallery, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    with pytest.raises(siamese.GalleryError, match="holds something else"):
        gallery.save(tmp_path / "mine")
    gallery.save(tmp_path / "gallery")
    other = siamese.Gallery(verifier())
    with pytest.raises(siamese.GalleryError, match="holds another gallery"):
        other.save(tmp_path / "gallery")
    with pytest.raises(siamese.GalleryError, match="has no folder yet"):
        other.save()


def damaged_index(folder, **values):
    index = json.loads((folder / stored.INDEX).read_text())
    (folder / stored.INDEX).write_text(json.dumps(index | values))


def cut(path):
    path.write_bytes(path.read_bytes()[:-4])


def flipped(path, place):
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


def long_head(path):
    path.write_bytes(struct.pack("<Q", 1 << 50) + path.read_bytes()[8:])


@pytest.mark.parametrize(
    "damage",
    [
        lambda f: (f / stored.INDEX).write_text("{"),
        lambda f: (f / stored.INDEX).write_text("[" * 100_000),
        lambda f: damaged_index(f, size=-1),
        lambda f: damaged_index(f, size=9),
        lambda f: damaged_index(f, segments=[{"id": "../../../../etc", "rows": 1}]),
        lambda f: damaged_index(f, more=1),
        lambda f: next(f.glob("[0-9a-f]*.json")).unlink(),
        lambda f: flipped(next(f.glob("[0-9a-f]*.json")), 20),
        lambda f: next(f.glob("*.safetensors")).unlink(),
        lambda f: cut(next(f.glob("*.safetensors"))),
        lambda f: flipped(next(f.glob("*.safetensors")), -1),
        lambda f: long_head(next(f.glob("*.safetensors"))),
    ],
)
def test_damage_is_refused_in_one_line(damage, gallery, tmp_path):
    folder = gallery.save(tmp_path / "gallery")
    damage(folder)
    with pytest.raises(siamese.GalleryError) as refused:
        siamese.Gallery.load(folder, verifier())
    assert str(refused.value).startswith(f"{folder}: not a whole gallery (")
    assert "\n" not in str(refused.value)


def test_embeddings_that_are_no_numbers_are_refused(gallery, photographs, tmp_path):
    folder = gallery.save(tmp_path / "gallery")
    (file,) = folder.glob("*.safetensors")
    file.write_bytes(file.read_bytes()[:-4] + struct.pack("<f", np.nan))
    index = json.loads((folder / stored.INDEX).read_text())
    index["segments"][0]["embeddings_sha256"] = hashlib.sha256(file.read_bytes()).hexdigest()
    damaged_index(folder, **index)
    again = siamese.Gallery.load(folder, verifier())
    with pytest.raises(siamese.GalleryError, match="some are NaN or infinite"):
        again.search(photographs[0])


def test_a_newer_version_is_named(gallery, tmp_path):
    folder = gallery.save(tmp_path / "gallery")
    damaged_index(folder, version=stored.VERSION + 1, news=True)
    with pytest.raises(siamese.GalleryError, match="newer siamese"):
        siamese.Gallery.load(folder, verifier())
    with pytest.raises(siamese.GalleryError, match="no such folder"):
        siamese.Gallery.load(tmp_path / "nowhere", verifier())
    with pytest.raises(siamese.GalleryError, match="no gallery"):
        siamese.Gallery.load(tmp_path, verifier())


@pytest.mark.parametrize("wrong", ["", "  ", None, 5, "n" * 1001])
def test_names_are_names(wrong, gallery, photographs):
    with pytest.raises(siamese.ConfigError, match="a person's name must be"):
        gallery.enrol(wrong, photographs[0])


def test_what_is_no_embedding_is_refused(gallery):
    for wrong in (np.ones((1, 7), np.float32), np.ones(8, np.float32), np.full((1, 8), np.nan),
                  np.ones((1, 8), int)):  # fmt: skip
        with pytest.raises(siamese.ConfigError, match="embeddings"):
            gallery.search_embeddings(wrong)
        with pytest.raises(siamese.ConfigError, match="embeddings"):
            gallery.add_embeddings("Eve", wrong)
    assert "Eve" not in gallery


def test_a_network_with_another_distance(photographs):
    """Of a distance that is no matter of products every pair is measured."""
    torch.manual_seed(0)
    distance = siamese.LearnedDistance(SIZE)
    made = verifier(
        distance=distance,
        operating_point=siamese.OperatingPoint.from_dict(
            point().to_dict() | {"distance": "learned"}
        ),
    )
    gallery = siamese.Gallery(made)
    gallery.enrol("Ann", photographs[:2])
    gallery.enrol("Bob", photographs[2:4])
    (found,) = gallery.search(photographs[4], k=2, threshold=1.0)
    for candidate in found.candidates:
        own = photographs[:2] if candidate.name == "Ann" else photographs[2:4]
        expected = min(made.verify(photographs[4], photo).distance for photo in own)
        assert candidate.distance == pytest.approx(expected)


def test_candidates_of_faiss_are_measured_as_exactly():
    pytest.importorskip("faiss")
    random = np.random.default_rng(0)
    made = siamese.Gallery(verifier())
    rows = random.normal(size=(600, 8)).astype(np.float32)
    for n in range(0, 600, 3):
        made.add_embeddings(f"p{n:03}", rows[n : n + 3])
    probes = random.normal(size=(20, 8)).astype(np.float32)
    exact = made.search_embeddings(probes, 4, threshold=1.0)
    made.approximate(lists=8, probes=8)  # all lists: nothing can be missed
    assert made.search_embeddings(probes, 4, threshold=1.0) == exact
    made.approximate(lists=50, probes=1)
    found = made.search_embeddings(probes, 1, threshold=1.0)
    hits = sum(a[:1] == b[:1] for a, b in zip(found, exact, strict=True))
    assert 0 < hits < 20
    made.add_embeddings("probe", probes[:1])  # the index is forgotten
    assert made.search_embeddings(probes[:1], 1, threshold=1.0)[0][0].name == "probe"


def test_labels_of_a_table_are_names_as_any_others(gallery, photographs):
    table = siamese.IdentityTable(photographs[0].parent, ("2.png", "8.png"), (" ANN", "Max"))
    found = siamese.evaluate_gallery(gallery, table, progress=False)
    assert found.search.mated.tolist() == [True, False]


def test_who_reads_while_another_writes_gets_the_new_gallery(gallery, tmp_path, monkeypatch):
    folder = gallery.save(tmp_path / "gallery")
    read, changes = stored._read_segment, iter(["once"])

    def reading(*args):
        for _ in changes:  # between the index and the files that it names
            gallery.remove("Bob")
            gallery.save()
        return read(*args)

    monkeypatch.setattr(stored, "_read_segment", reading)
    assert list(siamese.Gallery.load(folder, verifier()).people) == ["Ann", "Zoë"]


def test_an_index_ends_with_every_change(gallery, photographs):
    for change in (
        lambda: gallery.enrol("Eve", photographs[8]),
        lambda: gallery.add_embeddings("Max", np.ones((1, SIZE), dtype=np.float32)),
        lambda: gallery.remove("Max"),
    ):
        gallery._index = object()  # of who was there before
        change()
        assert gallery.search(photographs[0], threshold=0.0)[0].name == "Ann"
