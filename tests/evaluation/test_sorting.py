"""Heaps of photographs: by any number of processes, stopped anywhere, the same table."""

import errno
import json
import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from tests.evaluation.crowd import Crowd
from tests.helpers import assert_says, write_image
from tests.inference.test_bundle import bundle
from tests.interrupted import stopped_after

import siamese
from siamese.cli.main import main
from siamese.errors import CalibrationError, ConfigError, DataError, FaceError, ImageError
from siamese.evaluation import sorted_files
from siamese.evaluation.folder_sorting import sort_folder
from siamese.evaluation.sorting import sort_photographs
from siamese.faces.croppers.base import CROPPERS
from siamese.inference import looks
from siamese.inference.pair_lists import verify_list
from siamese.inference.verifier import Verifier
from siamese.plugins import import_plugin


@pytest.fixture(scope="module", autouse=True)
def registered():
    """While these tests run: others try every cropper that there is."""
    CROPPERS._classes |= {"crowd_of_a_test": Crowd}
    yield
    del CROPPERS._classes["crowd_of_a_test"]


@pytest.fixture
def heap(tmp_path):
    """Ten photographs with 0 to 3 faces, of which the third is small; one broken, and links."""
    folder = tmp_path / "heap"
    for seed in range(10):
        place = write_image(folder / ("more" if seed % 2 else "") / f"{seed}.png", seed)
        image = np.asarray(Image.open(place)).copy()
        image[0, 0] = seed % 4
        Image.fromarray(image).save(place)
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    (folder / "gone.png").symlink_to(tmp_path / "nowhere.png")
    (folder / "twice.png").symlink_to("3.png" if (folder / "3.png").exists() else "more/3.png")
    return folder


def crowd(low_quality="warn"):
    limits = siamese.QualityLimits(width=45, sharpness=None)
    made = Verifier(bundle(threshold=0.3), low_quality=low_quality, limits=limits)
    made.cropper = Crowd(32)
    return made


def one_by_one(verifier, files):
    """What a user would write: each photograph by itself."""
    faces, rows, left_out = [], [], {}
    for path in files:
        try:
            found = verifier.all_faces(path)
        except (FaceError, ImageError) as error:
            left_out[path] = str(error)
            continue
        for number, face in enumerate(found, start=1):
            if not verifier.is_refused(face):
                warnings = verifier.quality(face).warnings
                faces.append((path, number, len(found), face.box, warnings))
                rows.append(verifier.embed_faces([face])[0])
    return faces, np.stack(rows), left_out


@pytest.mark.parametrize(("jobs", "low_quality"), [(1, "warn"), (1, "error"), (2, "error")])
def test_faces_are_those_of_each_photograph_by_itself(heap, jobs, low_quality):
    verifier = crowd(low_quality)
    files = siamese.IdentityTable.from_heap(heap).paths
    found = sort_photographs(heap, verifier, jobs=jobs, progress=False)
    faces, rows, left_out = one_by_one(verifier, [*files])
    assert [(f.photograph, f.number, f.faces, f.box, f.warnings) for f in found.faces] == faces
    assert found.embeddings.tobytes() == rows.tobytes()
    assert found.left_out == left_out
    # 3 of 0 faces, 3 of 1, 2 of 2 and, with a link to one of them, 3 of 3; one broken, one gone.
    assert len(left_out) == 5
    assert len(faces) == (3 + 4 + 9 if low_quality == "warn" else 3 + 4 + 6)


def test_a_photograph_that_is_named_twice_is_looked_at_once(heap, monkeypatch):
    done = stopped_after(monkeypatch, 99)
    again = sort_photographs([heap / "2.png", heap / "more" / ".." / "2.png"], crowd())
    assert [face.number for face in again.faces] == [1, 2, 1, 2]
    assert len(done) == 1


@pytest.mark.parametrize("n", [0, 1, 5, 11])
def test_stopped_anywhere_it_ends_with_the_same_table(heap, tmp_path, monkeypatch, n):
    verifier, out = crowd(), tmp_path / "made" / "people.csv"
    whole = sort_folder(heap, verifier, tmp_path / "whole.csv")
    with monkeypatch.context() as patch:
        stopped_after(patch, n)
        with pytest.raises(KeyboardInterrupt):
            sort_folder(heap, verifier, out)
    assert not out.exists()
    lines = out.parent / "people.csv.parts" / "photographs.jsonl"
    with lines.open("ab") as stream:  # a line that a kill cut short
        stream.write(b'{"file":"')
    with monkeypatch.context() as patch:
        done = stopped_after(patch, 99)
        found = sort_folder(heap, verifier, out)
    # One of the files is named twice; two that cannot be read are tried again.
    assert found.found + len(done) == 12
    assert found.found >= n - 2
    assert out.read_bytes() == (tmp_path / "whole.csv").read_bytes()
    assert found.embeddings.tobytes() == whole.embeddings.tobytes()
    assert found.faces == whole.faces
    assert not lines.parent.exists()


def test_other_settings_and_lists_of_pairs_are_no_work_of_it(heap, tmp_path, monkeypatch):
    verifier, out = crowd(), tmp_path / "people.csv"

    def stopped(work):
        with monkeypatch.context() as patch:
            stopped_after(patch, 4)
            with pytest.raises(KeyboardInterrupt):
                work()

    stopped(lambda: sort_folder(heap, verifier, out))
    strict = sort_folder(heap, crowd("error"), out)
    assert strict.found == 0
    assert "other settings" in strict.notes[0]
    out.unlink()
    (tmp_path / "pairs.csv").write_text("\n".join(f"{n}.png,{n + 2}.png" for n in range(0, 8, 2)))
    stopped(lambda: verify_list(verifier, tmp_path / "pairs.csv", out, heap))
    assert sort_folder(heap, verifier, out).found == 0
    out.unlink()
    # Another threshold needs no photograph anew.
    stopped(lambda: sort_folder(heap, verifier, out))
    assert sort_folder(heap, verifier, out, threshold=0.01).found > 0


def test_work_is_removed_when_the_table_is_on_the_disk_and_nothing_else(
    heap, tmp_path, monkeypatch
):
    """A loss of power would leave neither; and the folder may be somebody's own."""
    out, parts, synced = tmp_path / "people.csv", tmp_path / "people.csv.parts", []
    parts.mkdir()
    (parts / "mine.txt").write_text("mine")
    sync = os.fsync

    def syncing(descriptor):
        assert (parts / "photographs.jsonl").exists()
        synced.append(os.fstat(descriptor).st_ino)
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", syncing)
    sort_folder(heap, crowd(), out)
    assert synced == [out.stat().st_ino, tmp_path.stat().st_ino]
    assert [path.name for path in parts.iterdir()] == ["mine.txt"]


def test_where_the_table_cannot_be_written_its_work_is_kept(heap, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(sorted_files, "write_whole", full)
        with pytest.raises(DataError) as caught:
            sort_folder(heap, crowd(), tmp_path / "people.csv")
    assert_says(caught.value, "people.csv", "No space left", "run it again", "goes on")
    assert sort_folder(heap, crowd(), tmp_path / "people.csv").found == 10


def test_crops_are_taken_before_many_more_are_made(monkeypatch):
    """joblib works on, however slowly its results are taken."""
    given = []

    def eager(work, tasks, *, workers):
        tasks = list(tasks)
        given.append(sum(len(files) for files, *_ in tasks))
        return [work(*task) for task in tasks]

    monkeypatch.setattr(looks, "over_processes", eager)
    monkeypatch.setattr(looks, "read_image", lambda path: np.full((40, 40, 3), 2, np.uint8))
    names = [f"{n}.png" for n in range(1000)]
    seen = looks.looks_at(names, Crowd(32), 3, every_face=True)
    assert len(next(seen).found) == 2
    assert given == [3 * looks._AHEAD]  # and no more before these are taken
    assert [one.file for one in seen] == names[1:]
    assert sum(given) == 1000


PLUGIN = """
import siamese


@siamese.CROPPERS.register("twins_of_a_test")
class Twins(siamese.NoCropper):
    def all_faces(self, image):
        return [self.look(image).face] * 2
"""


def test_no_more_processes_are_started_than_have_something_to_do(heap, monkeypatch):
    started = []

    def over(work, tasks, *, workers):
        started.append(workers)
        return [work(*task) for task in tasks]

    monkeypatch.setattr(looks, "over_processes", over)
    names = [str(heap / "0.png")] * 20
    assert [one.file for one in looks.looks_at(names, Crowd(32), 99_999)] == names
    assert started == [3]


def test_a_croppers_own_file_is_imported_by_the_processes(heap, tmp_path, monkeypatch):
    """They would not know its class: it is in no package."""
    monkeypatch.setattr(looks, "_CHUNK", 1)
    (tmp_path / "twins.py").write_text(PLUGIN)
    try:
        import_plugin(str(tmp_path / "twins.py"))
        cropper = CROPPERS.build({"name": "twins_of_a_test", "size": 32})
        names = [str(heap / "0.png"), str(heap / "2.png")]
        seen = {one.file: one for one in looks.looks_at(names, cropper, 2, every_face=True)}
    finally:
        CROPPERS._classes.pop("twins_of_a_test", None)
    assert sorted(seen) == names
    assert [len(one.found) for one in seen.values()] == [2, 2]


def test_what_is_refused_before_any_work(heap, tmp_path, monkeypatch):
    monkeypatch.setattr(looks, "read_image", None)
    (tmp_path / "there.csv").write_text("corrected")
    verifier = crowd()
    for settings, words in (
        ({"out": tmp_path / "there.csv"}, "perhaps with corrections"),
        ({"out": tmp_path}, "is a folder"),
        ({"jobs": 0}, "jobs must be"),
        ({"linkage": "mean"}, "linkage"),
        ({"threshold": "far"}, "threshold"),
    ):
        with pytest.raises((ConfigError, CalibrationError), match=words):
            sort_folder(heap, verifier, **{"out": tmp_path / "people.csv", **settings})
    with pytest.raises(DataError, match="no such folder"):
        sort_folder(tmp_path / "nowhere", verifier, tmp_path / "people.csv")
    assert not list(tmp_path.glob("*.parts"))
    with pytest.raises(ConfigError, match="jobs must be"):
        sort_photographs(heap, verifier, jobs=True)


# Imports once, and is killed in copies of itself, each when so many lines are written.
KILLS = """
import os, signal, sys, time
from pathlib import Path
import siamese.evaluation.folder_sorting
from siamese.cli.main import main

lines = Path(sys.argv[1])
for count in (0, 3, 20, 30):
    child = os.fork()
    if child == 0:
        os._exit(main(sys.argv[2:]))
    until = time.monotonic() + 30
    while time.monotonic() < until and not os.waitpid(child, os.WNOHANG)[0]:
        if lines.exists() and lines.read_bytes().count(b"\\n") > count:
            os.kill(child, signal.SIGKILL)
            print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
            break
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system copies no processes")
def test_killed_and_started_again_it_is_the_same_table(tmp_path, capsys):
    """SIGKILL, in processes of their own, at moments that nobody chose."""
    for seed in range(40):
        write_image(tmp_path / "photos" / f"{seed}.png", seed, 200, 200)
    folder = bundle().save(tmp_path / "bundle")
    words = ["cluster", str(tmp_path / "photos"), "--bundle", str(folder), "--jobs", "1", "--out"]
    assert main([*words, str(tmp_path / "whole.csv")]) == 0
    out, lines = tmp_path / "people.csv", tmp_path / "people.csv.parts" / "photographs.jsonl"
    killed = subprocess.run(
        [sys.executable, "-c", KILLS, lines, *words, out], capture_output=True, text=True
    )
    assert killed.stdout.split() == ["-9"] * 4, killed.stderr
    assert not out.exists()
    capsys.readouterr()
    assert main([*words, str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["found"] >= 30
    assert out.read_bytes() == (tmp_path / "whole.csv").read_bytes()
    assert not lines.parent.exists()
