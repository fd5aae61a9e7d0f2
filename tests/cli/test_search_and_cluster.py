"""`siamese enrol`, `search` and `cluster`, with real faces (ORL) and dlib's network."""

import csv
import json
from collections import defaultdict
from pathlib import Path

import pytest
from PIL import Image

import siamese
from siamese.cli.main import main
from siamese.evaluation.sorted_files import read_table

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
    _, made = answer(capsys, "enrol", copy, people / "people")
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


def test_what_cannot_be_enrolled_is_listed(people, capsys, tmp_path):
    black = tmp_path / "mixed" / "Max" / "black.png"
    black.parent.mkdir(parents=True)
    Image.new("RGB", (100, 100)).save(black)
    code, out = said(capsys, "enrol", tmp_path / "g", tmp_path / "mixed")
    assert code == 2
    assert f"left out: {black}: no face found" in out.out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["enrol", "g"], "nobody to enrol"),
        (["enrol", "g", "--name", "Ann"], "no photographs of 'Ann'"),
        (["enrol", "g", "a.jpg", "b.jpg"], "give --name NAME"),
        (["search", "g"], "give photographs to search for"),
        (["search", "g", "a.jpg"], "no such folder; make one: siamese enrol"),
        (["cluster", "photos"], "give the table to write"),
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
    assert "9 it is enrolled itself" in out.err
    code, out = said(capsys, "search", gallery, "--evaluate", people / "probes")
    assert "naming the nearest always: 1" in out.out


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
    code, second = said(capsys, "cluster", heap, "--out", out)
    assert code == 2
    assert "perhaps with corrections" in second.err
    code, third = said(capsys, "cluster", heap, "--corrected", out, "--link", linked)
    assert code == 2
    assert "is not empty and is left alone" in third.err


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
