"""`siamese enrol`, `search` and `cluster`, with real faces (ORL) and dlib's network."""

import csv
import json
from collections import defaultdict
from pathlib import Path

import pytest
from PIL import Image

import siamese
from siamese.cli.main import main
from siamese.evaluation.sorted_files import FaceRow, link_people, read_table, write_table
from siamese.faces.align import Box
from siamese.inference import looks
from siamese.inference.gallery import stored

pytest.importorskip("dlib")


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    """Three people of ORL with three photographs each, and others: in folders, as PNG."""
    home = tmp_path_factory.mktemp("faces")
    table = siamese.load_orl()
    photos = defaultdict(list)
    for path, name in zip(table.paths, table.identities, strict=True):
        photos[name].append(path)
    names = sorted(photos, key=lambda name: int(name[1:]))
    for number, (folder, name) in enumerate(
        [("Ann", names[0]), ("Bob", names[1]), ("Zoë", names[2]), ("other", names[3])]
    ):
        for k, path in enumerate(photos[name][:5]):
            kind = "people" if folder != "other" and k < 3 else "probes"
            place = home / kind / folder / f"{number}_{k}.png"
            place.parent.mkdir(parents=True, exist_ok=True)
            Image.open(path).resize((184, 224), Image.Resampling.BICUBIC).save(place)
    return home


@pytest.fixture(scope="module")
def gallery(people):
    assert main(["enrol", str(people / "gallery"), str(people / "people")]) == 0
    return people / "gallery"


def said(capsys, *words):
    code = main([str(word) for word in words])
    return code, capsys.readouterr()


def answer(capsys, *words):
    code, out = said(capsys, *words, "--json")
    return code, json.loads(out.out)


def test_who_is_enrolled_is_found_and_who_is_not_is_nobody(people, gallery, capsys):
    code, out = said(capsys, "search", gallery, people / "probes" / "Ann" / "0_4.png", "--k", 2)
    assert code == 0
    lines = out.out.splitlines()
    assert lines[0].endswith("0_4.png: Ann")
    assert "<=" in lines[1]
    assert " Ann (" in lines[1]
    assert lines[-1].startswith("threshold 0.")
    assert "1 % of searches among 9 photographs" in lines[-1]
    code, out = said(capsys, "search", gallery, people / "probes" / "other" / "3_0.png")
    assert code == 1
    assert "nobody enrolled" in out.out


def test_every_face_of_a_picture_is_searched_with_its_box(people, gallery, capsys, tmp_path):
    group = Image.new("RGB", (500, 260), (80, 80, 80))
    for left, photo in ((20, "Ann/0_3.png"), (280, "other/3_1.png")):
        group.paste(Image.open(people / "probes" / photo), (left, 20))
    group.save(tmp_path / "group.png")
    code, found = answer(capsys, "search", gallery, tmp_path / "group.png")
    (photograph,) = found["photographs"]
    faces = sorted(photograph["faces"], key=lambda face: face["box"][0])
    assert code == 0
    assert [face["name"] for face in faces] == ["Ann", None]
    assert faces[0]["box"][2] <= 260 <= faces[1]["box"][0]
    assert found["basis"] == "observed"


def test_photographs_that_cannot_be_searched_stop_no_others(people, gallery, capsys, tmp_path):
    Image.new("RGB", (100, 100)).save(tmp_path / "black.png")
    probe = people / "probes" / "Bob" / "1_3.png"
    code, found = answer(capsys, "search", gallery, tmp_path / "black.png", probe, "nowhere.jpg")
    assert code == 0
    errors = [row["error"] for row in found["photographs"]]
    assert "no face found" in errors[0]
    assert errors[1] is None
    assert "no such file" in errors[2]
    code, _ = said(capsys, "search", gallery, "nowhere.jpg")
    assert code == 2


def test_enrolling_again_adds_nothing_and_names_go(people, capsys, tmp_path):
    copy = tmp_path / "gallery"
    code, out = said(capsys, "enrol", copy, people / "people", "--jobs", 0)
    assert (code, copy.exists()) == (2, False)
    assert "jobs must be a whole number" in out.err
    _, made = answer(capsys, "enrol", copy, people / "people", "--jobs", 2)
    assert (made["people"], made["added"], made["known"]) == (3, 9, 0)
    _, again = answer(capsys, "enrol", copy, people / "people")
    assert (again["added"], again["known"]) == (0, 9)
    _, more = answer(capsys, "enrol", copy, people / "probes" / "Ann" / "0_3.png", "--name", "ANN")
    assert (more["people"], more["added"]) == (3, 1)
    code, out = said(capsys, "enrol", copy, "--list")
    assert (code, out.out) == (0, "Ann\t4\nBob\t3\nZoë\t3\n")
    _, gone = answer(capsys, "enrol", copy, "--remove", "bob")
    assert (gone["people"], gone["removed"]) == (2, {"Bob": 3})
    code, out = said(capsys, "enrol", copy, "--remove", "Bop")
    assert code == 2
    assert "nobody called 'Bop' is enrolled" in out.err


def test_people_are_listed_while_another_process_writes(gallery, capsys):
    with stored.locked(gallery):
        code, out = said(capsys, "enrol", gallery, "--list")
        assert (code, out.out) == (0, "Ann\t3\nBob\t3\nZoë\t3\n")
        code, out = said(capsys, "enrol", gallery, "--remove", "Ann")
        assert code == 2
        assert "another process is writing" in out.err


def test_a_gallery_that_does_not_stand_first_is_said(gallery, capsys):
    code, out = said(capsys, "search", "group.jpg", gallery)
    assert code == 2
    assert f"{gallery} is a gallery: it comes first" in out.err


def test_what_cannot_be_enrolled_is_listed(people, capsys, tmp_path):
    black = tmp_path / "mixed" / "Max" / "black.png"
    black.parent.mkdir(parents=True)
    Image.new("RGB", (100, 100)).save(black)
    code, out = said(capsys, "enrol", tmp_path / "g", tmp_path / "mixed")
    assert code == 2
    assert f"left out: {black}: no face found" in out.out
    assert not (tmp_path / "g").exists()
    assert "next:" not in out.out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["enrol", "g"], "nobody to enrol"),
        (["enrol", "g", "--name", "Ann"], "no photographs of 'Ann'"),
        (["enrol", "g", "a.jpg", "b.jpg"], "give --name NAME"),
        (["search", "g"], "give photographs to search for"),
        (["search", "g", "a.jpg"], "no such folder; make one: siamese enrol"),
        (["cluster", "photos"], "give the table to write"),
        (["cluster", "phtos", "--out", "p.csv"], "no such folder; give a folder of photographs"),
        (["cluster", "photos", "--out", "p.csv", "--link", "photos/in"], "lies in the folder of"),
        (["cluster", "photos", "--corrected", "c.csv"], "give --link DIR alone"),
    ],
)
def test_beginners_mistakes(words, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out = said(capsys, *words)
    assert code == 2
    assert message in out.err


def test_searches_are_counted(people, gallery, capsys):
    code, found = answer(capsys, "search", gallery, "--evaluate", people / "probes")
    assert code == 0
    assert (found["people"], found["probes"], found["mated"]) == (3, 11, 6)
    assert found["rank1"] == 1
    assert found["figures"]["fpir"] == 0
    code, out = said(capsys, "search", gallery, "--evaluate", people / "people")
    assert code == 2
    assert "9 enrolled already" in out.err
    code, found = answer(
        capsys, "search", gallery, "--evaluate", people / "probes", "--threshold", 1
    )
    assert found["figures"]["fpir"] == 1  # everybody is named
    wrong = found["mistakes"]
    assert len(wrong) == 5
    assert {(one["identity"], one["enrolled"]) for one in wrong} == {("other", False)}
    assert [one["distance"] for one in wrong] == sorted(one["distance"] for one in wrong)
    _, found = answer(capsys, "search", gallery, "--evaluate", people / "probes", "--threshold", 0)
    assert {one["named"] for one in found["mistakes"]} == {None}
    assert len(found["mistakes"]) == 6
    code, out = said(capsys, "search", gallery, "--evaluate", people / "probes")
    assert "naming the nearest always: 1" in out.out


def test_why_photographs_are_not_counted_is_read_from_no_file_name(people, gallery):
    odd = people / "of quality"
    (odd / "Ann").mkdir(parents=True)
    Image.new("RGB", (100, 100)).save(odd / "Ann" / "black.png")
    with pytest.raises(siamese.DataError, match="1 no face"):
        siamese.evaluate_gallery(siamese.Gallery.load(gallery), odd, progress=False)


@pytest.fixture(scope="module")
def heap(people):
    """All photographs in one folder under meaningless names, and one of two people."""
    folder = people / "heap"
    (folder / "more").mkdir(parents=True)
    photos = sorted(people.glob("p*/*/*.png"))
    for n, photo in enumerate(photos):
        place = folder / ("more" if n % 2 else ".") / f"img_{(n * 37) % 101}.png"
        place.write_bytes(photo.read_bytes())
    group = Image.new("RGB", (500, 260), (80, 80, 80))
    for left, photo in ((20, "Bob/1_3.png"), (280, "Zoë/2_3.png")):
        group.paste(Image.open(people / "probes" / photo), (left, 20))
    group.save(folder / "two.png")
    Image.new("RGB", (100, 100)).save(folder / "nobody.png")
    (folder / "notes.txt").write_text("no image")
    return folder


def test_a_heap_is_sorted_corrected_and_trained_on(people, heap, capsys, tmp_path):
    out, linked = tmp_path / "people.csv", tmp_path / "linked"
    code, found = answer(capsys, "cluster", heap, "--out", out, "--link", linked)
    assert code == 0
    assert (found["people"], found["faces"], found["photographs"]) == (4, 22, 21)
    assert found["sizes"] == [6, 6, 5, 5]
    lines = list(csv.DictReader(out.open()))
    assert len(lines) == 23  # and the one without a face
    nobody = next(line for line in lines if line["path"] == "nobody.png")
    assert (nobody["identity"], nobody["face"]) == ("", "0")
    assert "no face found" in nobody["note"]
    # Who is on a photograph is known by its content.
    truth = {p.read_bytes(): p.parent.name for p in people.glob("p*/*/*.png")}
    sorted_to = defaultdict(set)
    for line in lines:
        content = (heap / line["path"]).read_bytes()
        if content in truth:
            sorted_to[line["identity"]].add(truth[content])
    assert sorted(map(sorted, sorted_to.values())) == [["Ann"], ["Bob"], ["Zoë"], ["other"]]
    # The folders are what training reads: every image in one, no picture shows two people.
    table = siamese.IdentityTable.from_folder(linked)
    assert sorted(table.counts.values()) == [5, 5, 6, 6]
    cuts = sorted(p for p in linked.rglob("two_face*.png"))
    assert [p.is_symlink() for p in cuts] == [False, False]
    for cut in cuts:
        crop = siamese.Verifier.pretrained().look(cut)
        assert crop.faces == 1

    # Corrected by hand: a name for a number, one face of nobody's.
    text = out.read_text()
    ann = next(name for name, who in sorted_to.items() if who == {"Ann"})
    out.write_text(text.replace(ann, "Ann"))
    code, made = answer(
        capsys, "cluster", heap, "--corrected", out, "--link", tmp_path / "corrected"
    )
    assert code == 0
    assert made["images"]["Ann"] == 5
    assert len(list((tmp_path / "corrected" / "Ann").iterdir())) == 5
    out.write_text(out.read_text().replace("img_0", "gone_0"))
    code, gone = said(capsys, "cluster", heap, "--corrected", out, "--link", tmp_path / "again")
    assert code == 2
    assert "no such photograph" in gone.err
    assert not list(tmp_path.glob("*again*"))
    code, second = said(capsys, "cluster", heap, "--out", out)
    assert code == 2
    assert "perhaps with corrections" in second.err
    code, third = said(capsys, "cluster", heap, "--corrected", out, "--link", linked)
    assert code == 2
    assert "is not empty and is left alone" in third.err


def test_a_heap_of_which_too_many_hang_together_is_sorted(monkeypatch):
    """At the first guess most of ORL hangs together; a smaller threshold parts it."""
    from siamese.evaluation.sorting import sorting_threshold
    from siamese.verification import clustering

    verifier = siamese.Verifier.pretrained()
    table = siamese.load_orl()
    rows = verifier.embed([str(p) for p in table.paths[:120]], progress=False).numpy()
    usual = sorting_threshold(verifier, rows)
    monkeypatch.setattr(clustering, "LARGEST", 30)
    with pytest.raises(siamese.CalibrationError, match="hang together"):
        siamese.cluster_embeddings(rows, usual)
    assert sorting_threshold(verifier, rows) < usual


def test_the_threshold_is_that_of_the_heaps_own_prevalence():
    """Many people need a smaller threshold than few: of 40, and of 4 of them."""
    from siamese.evaluation.sorting import sorting_threshold

    verifier = siamese.Verifier.pretrained()
    table = siamese.load_orl()
    few = [p for p, n in zip(table.paths, table.identities, strict=True) if n in ("s1", "s2")][:12]
    rows = verifier.embed(few, progress=False).numpy()
    small = sorting_threshold(verifier, rows)
    policy = siamese.MaxF1(prevalence=0.01, smooth="auto")
    assert small > verifier.bundle.with_policy(policy).threshold
    assert siamese.evaluate_clusters(
        siamese.cluster_embeddings(rows, small), [Path(p).parent.name for p in few]
    ).bcubed_f1 == 1  # fmt: skip


@pytest.mark.parametrize("damage", ["", "path,identity\na,b\n", "no table", "path\n\0"])
def test_other_tables_are_refused(damage, tmp_path):
    table = tmp_path / "people.csv"
    table.write_text(damage)
    with pytest.raises(siamese.DataError, match="not a table of siamese cluster"):
        read_table(table)


def table_of(folder, delimiter=",", start="", rows=(("a.png", "Ann", 1, 1, 1, 2, 30, 40),)):
    names = ("path", "identity", "face", "faces", "left", "top", "right", "bottom", "distance",
             "note")  # fmt: skip
    lines = [names, *((*row, "", "") for row in rows)]
    text = start + "\r\n".join(delimiter.join(map(str, line)) for line in lines) + "\r\n"
    (folder / "people.csv").write_bytes(text.encode("utf-8", "surrogateescape"))
    return folder / "people.csv"


@pytest.mark.parametrize("start", ["", "\ufeff"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_tables_come_back_from_spreadsheets(start, delimiter, tmp_path):
    row = FaceRow("a.png", "Ann", 1, 1, Box(1, 2, 30, 40))
    assert read_table(table_of(tmp_path, delimiter, start)) == [row]
    assert read_table(table_of(tmp_path, delimiter, f"{start}sep={delimiter}\r\n")) == [row]


def test_short_and_empty_lines_of_a_table_show_nobody(tmp_path):
    table = table_of(tmp_path)
    table.write_text(table.read_text() + "b.png\n,,,,,,,,,\n")
    assert [row.identity for row in read_table(table)] == ["Ann", ""]


def test_names_of_files_need_not_be_utf8_those_of_people_must(tmp_path):
    odd = b"caf\xe9.png".decode("utf-8", "surrogateescape")
    (row,) = read_table(table_of(tmp_path, rows=[(odd, "Ann", 1, 1, "", "", "", "")]))
    assert row.path == odd
    with pytest.raises(siamese.DataError, match="save it as CSV, UTF-8"):
        read_table(table_of(tmp_path, rows=[("a.png", "J\udcf6rg", 1, 1, "", "", "", "")]))


def test_boxes_that_are_none_are_refused(tmp_path):
    heap = tmp_path / "heap"
    heap.mkdir()
    Image.new("RGB", (100, 100)).save(heap / "a.png")
    with pytest.raises(siamese.DataError, match="is none"):
        read_table(table_of(tmp_path, rows=[("a.png", "Ann", 1, 2, "nan", 0, 9, 9)]))
    beside = [FaceRow("a.png", "Ann", 1, 2, Box(500, 500, 600, 600))]
    with pytest.raises(siamese.DataError, match="does not touch an image"):
        link_people(beside, heap, tmp_path / "linked")


def test_long_names_of_folders_are_cut_by_their_bytes(tmp_path):
    place = tmp_path / "heap" / ("写真" * 40) / ("家族" * 30) / "x.png"
    place.parent.mkdir(parents=True)
    Image.new("RGB", (100, 100)).save(place)
    path = place.relative_to(tmp_path / "heap").as_posix()
    made = link_people([FaceRow(path, "人" * 200, 1, 1, None)], tmp_path / "heap", tmp_path / "l")
    assert list(made.values()) == [1]
    (linked,) = (tmp_path / "l").rglob("*.png")
    assert linked.resolve() == place.resolve()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--out", "made.csv", "--link", "full"], "is not empty and is left alone"),
        (["--out", "made.csv", "--link", "full/letter.txt"], "is a file and is left alone"),
        (["--out", "full", "--overwrite"], "is a folder"),
        (["--out", "made.csv", "--threshold", "nan"], "threshold must be a"),
    ],
)
def test_a_heap_is_not_sorted_in_vain(words, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder, name in (("heap", "a.png"), ("full", "letter.txt")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / name).write_bytes(b"")
    monkeypatch.setattr(looks, "read_image", None)  # no photograph is looked at
    code, out = said(capsys, "cluster", "heap", *words)
    assert code == 2
    assert message in out.err
    assert "unexpected" not in out.err


def test_a_photograph_of_two_is_not_linked_where_one_of_them_is_refused(people, tmp_path):
    """The small face of the two is poor; the link would show it beside the other."""
    heap = tmp_path / "heap"
    heap.mkdir()
    group = Image.new("RGB", (500, 260), (80, 80, 80))
    group.paste(Image.open(people / "probes" / "Bob" / "1_3.png"), (20, 20))
    small = Image.open(people / "probes" / "Zoë" / "2_3.png").resize((92, 112))
    group.paste(small, (320, 60))
    group.save(heap / "two.png")
    limits = siamese.QualityLimits(width=80, sharpness=None, yaw=None, score=None)
    verifier = siamese.Verifier.pretrained(low_quality="error", limits=limits)
    sorting = siamese.sort_photographs(heap, verifier, progress=False)
    # The cropper would take the small one, which is nearer to the middle.
    assert [(face.number, face.faces) for face in sorting.faces] == [(2, 2)]
    table = write_table(sorting, tmp_path / "people.csv", heap)
    link_people(read_table(table), heap, tmp_path / "linked")
    (cut,) = (tmp_path / "linked").rglob("*.png")
    assert not cut.is_symlink()


def test_folders_of_a_heap_may_be_linked_and_broken_links_are_said(people, tmp_path):
    heap = tmp_path / "heap"
    heap.mkdir()
    (heap / "linked").symlink_to(people / "people" / "Ann")
    (heap / "gone.png").symlink_to(tmp_path / "nowhere.png")
    sorting = siamese.sort_photographs(heap, siamese.Verifier.pretrained(), progress=False)
    assert len(sorting.faces) == 3
    assert [path.name for path in sorting.left_out] == ["gone.png"]
    rows = read_table(write_table(sorting, tmp_path / "people.csv", heap))
    assert sum(link_people(rows, heap, tmp_path / "people").values()) == 3


def test_the_help_of_search_says_which_threshold_is_usual(capsys):
    with pytest.raises(SystemExit):
        main(["search", "--help"])
    said = " ".join(capsys.readouterr().out.split())
    assert "accept up to this distance (default: the one that keeps --rate" in said
