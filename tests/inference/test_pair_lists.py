"""Lists of pairs: verdicts are verify's own, bad rows are told, and a kill changes nothing."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
from tests.helpers import assert_says, write_image
from tests.inference.test_bundle import bundle
from tests.interrupted import stopped_after

import siamese.inference.looks as looks
from siamese.cli.main import main
from siamese.errors import ConfigError, ImageError, SiameseError
from siamese.faces.croppers.base import Face, Look
from siamese.faces.croppers.none import NoCropper
from siamese.inference.list_journal import ListJournal, Stamp
from siamese.inference.pair_lists import verify_list
from siamese.inference.pair_verdicts import COLUMNS
from siamese.inference.photograph import KeptFace, Photograph
from siamese.inference.verifier import Verifier


@pytest.fixture
def photographs(tmp_path):
    for seed in range(6):
        write_image(tmp_path / "photos" / f"{seed}.png", seed)
    (tmp_path / "photos" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    (tmp_path / "photos" / "link.png").symlink_to("0.png")
    return tmp_path / "photos"


@pytest.fixture
def listed(photographs):
    rows = [
        "a,b,id",
        "0.png,1.png,first",
        "nowhere.png,1.png,missing",
        "2.png,./2.png,itself",
        "broken.png,nowhere.png,both",
        "3.png",
        "",
        "link.png,4.png,link",
        f"{photographs}/5.png,0.png,absolute",
        ",1.png,none",
    ]
    (photographs.parent / "pairs.csv").write_text("\n".join(rows))
    return photographs.parent / "pairs.csv"


def rows_of(path):
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.mark.parametrize("jobs", [1, 2])
def test_verdicts_are_those_of_verify_and_bad_rows_say_why(
    listed, photographs, tmp_path, monkeypatch, jobs
):
    monkeypatch.setattr(looks, "_CHUNK", 2)  # so few photographs would be one process's
    verifier = Verifier(bundle(threshold=0.3))
    found = verify_list(verifier, listed, tmp_path / "out.csv", photographs, jobs=jobs)
    rows = rows_of(tmp_path / "out.csv")
    assert [row["id"] for row in rows if row["id"]] == [
        *("first", "missing", "itself", "both", "link", "absolute", "none"),
    ]
    assert tuple(rows[0]) == ("a", "b", "id", *COLUMNS)
    for row, pair in zip(rows, found, strict=True):
        if row["error"]:
            assert not any(row[name] for name in COLUMNS if name != "error")
            continue
        expected = verifier.verify(photographs / row["a"], photographs / row["b"])
        assert pair.verification == expected
        assert float(row["distance"]) == expected.distance
        assert row["same"] == str(expected.same).lower()
        # Whoever compares the two numbers comes to the same verdict.
        assert (float(row["distance"]) <= float(row["threshold"])) == expected.same
    assert rows[1]["error"] == "nowhere.png: no such file; check the path"
    assert rows[3]["error"].startswith("broken.png: ")
    assert " | nowhere.png: no such file" in rows[3]["error"]
    assert [rows[n]["error"] for n in (4, 5, 8)] == [
        "too few columns",
        "empty row",
        "no file named",
    ]
    assert found.counts["pairs"] == 9
    assert found.counts["failed"] == sum(found.failures.values()) == 5
    assert found.photographs == 7  # 3.png is in no pair
    assert not (tmp_path / "out.csv.parts").exists()


def test_each_photograph_is_looked_at_once(listed, photographs, tmp_path, monkeypatch):
    seen = []
    look = NoCropper.look
    monkeypatch.setattr(NoCropper, "look", lambda self, image: seen.append(1) or look(self, image))
    verifier = Verifier(bundle())
    pairs = [(f"{a}.png", f"{b}.png") for a in range(6) for b in range(6)]
    found = verifier.verify_pairs([*pairs, ("link.png", "0.png")], photographs)
    assert len(seen) == 6
    assert len(found) == 37
    assert found[36].verification.distance == 0


def test_rows_for_python(photographs):
    found = Verifier(bundle()).verify_pairs([("0.png", "1.png"), ("0.png", "")], photographs)
    first, second = found.to_rows()
    assert first["distance"] == found[0].verification.distance
    assert (first["a"], first["error"]) == ("0.png", None)
    assert (second["same"], second["error"]) == (None, "no file named")
    assert json.loads(json.dumps(found.to_dict()))["failures"] == {"no file named": 1}
    verifier = Verifier(bundle())
    for wrong in ("pairs.csv", [("a",)], ["ab"], [(1, 2)]):
        with pytest.raises(ConfigError):
            verifier.verify_pairs(wrong)
    for jobs in (0, True, 1.5):
        with pytest.raises(ConfigError, match="jobs"):
            verifier.verify_pairs([("a", "b")], jobs=jobs)
    assert len(verifier.verify_pairs([])) == 0


class Finder(NoCropper):
    """Finds as many faces as the first pixel says."""

    no_face = several_faces = "error"

    def look(self, image):
        return Look(Face(self(image).image), int(image[0, 0, 0]))

    def verdict(self, faces):
        return "keep" if faces == 1 else "stop"


def test_refusals_are_counted_by_their_reason(tmp_path, monkeypatch):
    from PIL import Image

    for faces in (0, 1, 2):
        Image.fromarray(np.full((40, 40, 3), faces, np.uint8)).save(tmp_path / f"{faces}.png")
    verifier = Verifier(bundle())
    verifier.cropper = Finder(32)
    found = verifier.verify_pairs(
        [("0.png", "1.png"), ("1.png", "2.png"), ("1.png", "1.png")], tmp_path
    )
    assert found.failures == {"no face": 1, "several faces": 1}
    assert found[0].error.startswith("0.png: no face found")
    assert found[1].error.startswith("2.png: 2 faces found")
    assert found[2].verification.faces == (1, 1)


@pytest.mark.parametrize("n", [0, 1, 4, 6])
def test_stopped_anywhere_it_ends_with_the_same_file(listed, photographs, tmp_path, monkeypatch, n):
    verifier = Verifier(bundle(threshold=0.3))
    verify_list(verifier, listed, tmp_path / "whole.csv", photographs)
    with monkeypatch.context() as patch:
        stopped_after(patch, n)
        with pytest.raises(KeyboardInterrupt):
            verify_list(verifier, listed, tmp_path / "out.csv", photographs)
    assert not (tmp_path / "out.csv").exists()
    lines = tmp_path / "out.csv.parts" / "photographs.jsonl"
    assert lines.stat().st_mode & 0o077 == 0
    with lines.open("ab") as stream:  # a line that a kill cut short
        stream.write(b'{"file":"')
    # Another threshold, and another list, need no other embeddings.
    other = Verifier(replace_threshold(verifier.bundle, 0.9))
    with monkeypatch.context() as patch:
        done = stopped_after(patch, 99)
        found = verify_list(other, listed, tmp_path / "out.csv", photographs)
    assert found.found + len(done) == 7
    verify_list(verifier, listed, tmp_path / "again.csv", photographs)
    assert (tmp_path / "again.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()
    assert [row["distance"] for row in rows_of(tmp_path / "out.csv")] == [
        row["distance"] for row in rows_of(tmp_path / "whole.csv")
    ]


def test_stopped_twice_it_keeps_what_both_did(listed, photographs, tmp_path, monkeypatch):
    verifier, out = Verifier(bundle()), tmp_path / "out.csv"
    for n in (3, 2):  # the third photograph is no file
        with monkeypatch.context() as patch:
            stopped_after(patch, n)
            with pytest.raises(KeyboardInterrupt):
                verify_list(verifier, listed, out, photographs)
        with (tmp_path / "out.csv.parts" / "photographs.jsonl").open("ab") as stream:
            stream.write(b'{"file":"')
    assert verify_list(verifier, listed, out, photographs).found == 3


def replace_threshold(made, threshold):
    return replace(made, operating_point=replace(made.operating_point, threshold=threshold))


def test_work_of_another_network_or_photograph_is_not_used(
    listed, photographs, tmp_path, monkeypatch
):
    out, verifier = tmp_path / "out.csv", Verifier(bundle())
    expected = verify_list(verifier, listed, tmp_path / "whole.csv", photographs)

    def stop():
        with monkeypatch.context() as patch:
            stopped_after(patch, 5)
            with pytest.raises(KeyboardInterrupt):
                verify_list(verifier, listed, out, photographs)

    stop()
    for tensor in (other := bundle()).backbone.parameters():
        tensor.data += 0.01
    found = verify_list(Verifier(other), listed, out, photographs)
    assert found.found == 0
    assert "of another network" in found.notes[0]
    out.unlink()
    stop()
    write_image(photographs / "0.png", 77, 41)
    found = verify_list(verifier, listed, out, photographs)
    assert found[0].verification == verifier.verify(photographs / "0.png", photographs / "1.png")
    assert found[0] != expected[0]


@pytest.mark.parametrize(
    "fault", [b"", b"\n", b"{}\n", b"[" * 10_000 + b"\n", b'{"version":1}\n', b"\xff" * 99]
)
def test_a_journal_of_anything_is_begun_anew(tmp_path, fault, listed, photographs):
    folder = tmp_path / "out.csv.parts"
    folder.mkdir()
    (folder / "photographs.jsonl").write_bytes(fault)
    verify_list(Verifier(bundle()), listed, tmp_path / "out.csv", photographs)
    verify_list(Verifier(bundle()), listed, tmp_path / "whole.csv", photographs)
    assert (tmp_path / "out.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()


def test_a_journal_line_of_another_length_is_no_line_of_it(tmp_path, listed, photographs):
    verifier = Verifier(bundle())
    journal = ListJournal(tmp_path / "out.csv", verifier.settings)
    with journal:
        for n, length in enumerate((8, 8, 5, 8)):
            row = Photograph(1, (KeptFace(1, None, None, np.zeros(length, np.float32)),))
            journal.keep(f"{n}.jpg", Stamp(1, 1), row)
    with ListJournal(tmp_path / "out.csv", verifier.settings) as again:
        assert sorted(again.kept) == ["0.jpg", "1.jpg"]


def test_a_journal_that_cannot_be_read_locks_nobody_out(tmp_path):
    first, second = (ListJournal(tmp_path / "out.csv", {}) for _ in range(2))
    first.folder.mkdir()
    os.mkfifo(first.folder / "photographs.jsonl")
    with pytest.raises(SiameseError), first:
        pass
    (first.folder / "photographs.jsonl").unlink()
    with second:
        assert second.kept == {}


def test_two_programs_do_not_make_one_file(tmp_path, listed, photographs):
    verifier = Verifier(bundle())
    journal = ListJournal(tmp_path / "out.csv", verifier.settings)
    with journal, pytest.raises(ConfigError) as error:
        verify_list(verifier, listed, tmp_path / "out.csv", photographs)
    assert_says(error.value, "another program makes the same file")
    verify_list(verifier, listed, tmp_path / "out.csv", photographs)


def test_places_that_are_refused(tmp_path, listed, photographs):
    verifier = Verifier(bundle())
    (tmp_path / "there.csv").write_text("mine")
    for out, words in (
        (tmp_path / "there.csv", "--overwrite"),
        (tmp_path / "out.txt", "ends in .csv"),
        (tmp_path / "no" / "out.csv", "no folder"),
        (listed, "the list itself"),
    ):
        with pytest.raises(ConfigError) as error:
            verify_list(verifier, listed, out, photographs)
        assert_says(error.value, words)
    assert (tmp_path / "there.csv").read_text() == "mine"
    assert verify_list(verifier, listed, tmp_path / "there.csv", photographs, overwrite=True)
    with pytest.raises(ConfigError, match="a column is named 'distance'"):
        verify_list(verifier, tmp_path / "there.csv", tmp_path / "twice.csv", photographs)
    with pytest.raises(ConfigError, match="no such folder"):
        verify_list(verifier, listed, tmp_path / "out.csv", tmp_path / "nowhere")


def test_the_command(tmp_path, listed, photographs, capsys):
    folder, out = bundle(threshold=0.3).save(tmp_path / "bundle"), tmp_path / "out.csv"
    words = ["verify", "--pairs", str(listed), "--root", str(photographs), "--bundle", str(folder)]
    assert main([*words, "--out", str(out)]) == 0
    streams = capsys.readouterr()
    assert streams.err.count("this bundle looks for no face") == 1
    said = streams.out
    assert "9 pairs of 7 photographs" in said
    assert "not compared, no such file: 1" in said
    assert main([*words, "--out", str(out), "--json"]) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert main([*words, "--out", str(out), "--json", "--overwrite"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["pairs"], found["failed"], found["threshold"]) == (9, 5, 0.3)
    # Nothing that could be compared.
    (tmp_path / "none.csv").write_text("x.jpg,y.jpg\n")
    words[2] = str(tmp_path / "none.csv")
    assert main([*words, "--out", str(tmp_path / "none_out.csv")]) == 2
    for wrong, text in (
        (["verify", "a", "--pairs", "x"], "leave out a"),
        (["verify", "--pairs", "x"], "--out verdicts.csv"),
        (["verify", "a", "b", "--out", "x"], "--out is for lists of pairs"),
        (["verify", "a"], "required: B"),
    ):
        assert main(wrong) == 2
        assert text in capsys.readouterr().err


def test_killed_and_started_again_it_is_the_same_file(tmp_path):
    """SIGKILL, in a process of its own, at a moment that nobody chose."""
    for seed in range(40):
        write_image(tmp_path / "photos" / f"{seed}.png", seed, 300, 300)
    rows = [f"{seed}.png,{(7 * seed + 1) % 40}.png" for seed in range(40)]
    (tmp_path / "pairs.csv").write_text("\n".join(rows))
    folder = bundle().save(tmp_path / "bundle")
    words = ["verify", "--pairs", str(tmp_path / "pairs.csv"), "--root", str(tmp_path / "photos")]
    words += ["--bundle", str(folder), "--jobs", "1", "--out"]
    assert main([*words, str(tmp_path / "whole.csv")]) == 0
    out = tmp_path / "out.csv"
    process = subprocess.Popen(
        [sys.executable, "-m", "siamese", *words, str(out)], stdout=subprocess.DEVNULL
    )
    lines = tmp_path / "out.csv.parts" / "photographs.jsonl"
    until = time.monotonic() + 60
    while time.monotonic() < until and process.poll() is None:
        if lines.exists() and lines.read_bytes().count(b"\n") > 5:
            break
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not out.exists()
    assert lines.exists()
    assert main([*words, str(out)]) == 0
    assert out.read_bytes() == (tmp_path / "whole.csv").read_bytes()
    assert not lines.parent.exists()


def test_what_could_not_be_read_is_read_again(listed, photographs, tmp_path, monkeypatch):
    """A permission, or a package that reads a format, changes neither size nor time of a file."""
    verifier, out = Verifier(bundle()), tmp_path / "out.csv"
    look, done = looks.read_image, []

    def read(path):
        done.append(path)
        if len(done) == 1:
            raise ImageError(path, "cannot be read (Permission denied)")
        if len(done) > 4:
            raise KeyboardInterrupt
        return look(path)

    with monkeypatch.context() as patch:
        patch.setattr(looks, "read_image", read)
        with pytest.raises(KeyboardInterrupt):
            verify_list(verifier, listed, out, photographs)
    found = verify_list(verifier, listed, out, photographs)
    assert found.found > 0
    assert found[0].error is None


@pytest.mark.skipif(os.name == "nt", reason="its names are no bytes")
def test_folders_of_any_name(photographs, tmp_path, monkeypatch):
    folder = tmp_path / os.fsdecode(b"\xe9t\xe9 \xc3\xa9")
    try:
        photographs.rename(folder)
    except OSError:
        pytest.skip("the file system takes no such names")
    verifier, out = Verifier(bundle()), tmp_path / "out.csv"
    (tmp_path / "pairs.csv").write_text("0.png,1.png\n2.png,3.png\n")
    with monkeypatch.context() as patch:
        stopped_after(patch, 3)
        with pytest.raises(KeyboardInterrupt):
            verify_list(verifier, tmp_path / "pairs.csv", out, folder)
    found = verify_list(verifier, tmp_path / "pairs.csv", out, folder)
    assert (found.found, found.counts["failed"]) == (3, 0)


def test_what_another_program_wrote_meanwhile_is_kept(listed, photographs, tmp_path, monkeypatch):
    out, enter = tmp_path / "out.csv", ListJournal.__enter__

    def entered(journal):
        out.write_text("theirs")
        return enter(journal)

    monkeypatch.setattr(ListJournal, "__enter__", entered)
    with pytest.raises(ConfigError, match="exists"):
        verify_list(Verifier(bundle()), listed, out, photographs)
    assert out.read_text() == "theirs"


def test_a_wrong_number_of_jobs_leaves_nothing_behind(listed, photographs, tmp_path):
    with pytest.raises(ConfigError, match="jobs"):
        verify_list(Verifier(bundle()), listed, tmp_path / "out.csv", photographs, jobs=0)
    assert not (tmp_path / "out.csv.parts").exists()


@pytest.mark.parametrize("pairs", [None, 3, [1], [None], ["ab"], [("a",)], [("a", 1)], "x.csv"])
def test_what_is_no_list_of_pairs_is_refused(pairs):
    with pytest.raises(ConfigError):
        Verifier(bundle()).verify_pairs(pairs)


def test_on_a_full_disk_it_says_that_it_goes_on(listed, photographs, tmp_path):
    """Closing the file fails once more, with what could not be written: that hides nothing."""
    resource = pytest.importorskip("resource")
    verifier, out = Verifier(bundle()), tmp_path / "out.csv"
    with ListJournal(out, verifier.settings) as journal:
        room = (journal.folder / "photographs.jsonl").stat().st_size + 4000  # one photograph
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, before[1]))
    try:
        with pytest.raises(ConfigError, match="it goes on"):
            verify_list(verifier, listed, out, photographs, jobs=1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    assert verify_list(verifier, listed, out, photographs).found > 0


def test_nothing_of_another_network_is_left_behind_a_stopped_run(
    listed, photographs, tmp_path, monkeypatch
):
    """The shorter journal of the second network must not end in lines of the first one."""
    other = bundle()
    for tensor in other.backbone.parameters():
        tensor.data += 0.01
    out = tmp_path / "out.csv"
    for made, n in ((bundle(), 6), (other, 1)):
        with monkeypatch.context() as patch:
            stopped_after(patch, n)
            with pytest.raises(KeyboardInterrupt):
                verify_list(Verifier(made), listed, out, photographs)
    found = verify_list(Verifier(other), listed, out, photographs)
    assert found.found == 1
    whole = verify_list(Verifier(other), listed, tmp_path / "whole.csv", photographs)
    assert found.pairs == whole.pairs
