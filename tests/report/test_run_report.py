"""The page on a run: what stands in it, what strangers wrote, what lacks, and several runs."""

import json
import os
import re
from dataclasses import replace

import pytest
from tests.helpers import assert_says
from tests.report.reported import HOSTILE, ORDER, TAIL, Elements, small_run, write_table

import siamese
from siamese.cli.main import main
from siamese.errors import ConfigError
from siamese.report.record import read_record
from siamese.report.run_report import report_page
from siamese.report.side_by_side import paired


@pytest.fixture(scope="module")
def page(runs):
    return siamese.write_report(runs[0]).read_text(encoding="utf-8")


def test_the_verdict_comes_first_and_every_part_is_there_once(page):
    found = Elements(page)
    assert found.ids("section") == ORDER
    links = [a["href"][1:] for name, a in found.found if name == "a"]
    assert links == ORDER


def test_ids_are_unique_and_references_resolve(page):
    ids = re.findall(r'\bid="([^"]*)"', page)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'(?:url\(|href=")#([^)"]*)', page)) <= set(ids)


def test_nothing_is_fetched_and_but_one_script_runs(page):
    found = Elements(page)
    kinds = {"link": "href", "img": "src", "script": "src", "a": "href", "use": "href"}
    for name, attrs in found.found:
        address = attrs.get(kinds.get(name, ""), "")
        assert address == "" or address.startswith(("#", "data:"))
        assert not [a for a in attrs if a.startswith("on")]
    running = [a for name, a in found.found if name == "script" and "type" not in a]
    assert len(running) == 1
    # The one address is the name of a language.
    addresses = set(re.findall(r"\w+://[^\s\"')]*", page))
    assert addresses == {"http://www.w3.org/2000/svg"}


def test_names_of_strangers_are_text(page):
    found = Elements(page)
    said = "".join(found.text)
    for text in (HOSTILE, TAIL, "group_<b>site</b>", "a & b <"):
        assert text in said
    assert all(not a.get("src", "").startswith("x") for _, a in found.found)
    assert "<script>alert" not in page
    assert not [name for name, _ in found.found if name == "b" and "site" in name]


def test_names_that_steer_what_stands_beside_them_are_shown_escaped(copy):
    path = copy / "report.json"
    stored = json.loads(path.read_text())
    stored["name"] = "a\u202egnp.\x1b[31m"
    stored["identities"] = ["Zoë 日本"] * len(stored["identities"])
    path.write_text(json.dumps(stored))
    page = report_page([read_record(copy)])
    assert "a\\u202egnp.\\x1b[31m" in page
    assert "\u202e" not in page
    assert "\x1b" not in page
    assert "Zoë 日本" in page


def test_the_same_run_gives_the_same_bytes_and_a_small_page(runs, page, tmp_path):
    again = siamese.write_report(str(runs[0].folder), tmp_path / "again.html")
    assert again.read_text(encoding="utf-8") == page
    assert len(page.encode()) < 3_000_000


def test_figures_are_those_of_the_run_beside_the_baseline(runs, page):
    said = "".join(Elements(page).text)
    evaluation = runs[0].evaluations["test"]
    low, high = evaluation.ci95["auc"]
    assert f"{evaluation.auc:.3f} ({low:.3f} to {high:.3f})" in said
    before = runs[0].evaluation.baselines[0].evaluations["test"]
    assert f"{before.auc:.3f}" in said
    assert f"{runs[0].operating_point.threshold:.4f}" in said


def test_without_faces_there_is_no_pixel(runs, copy, tmp_path):
    shown = siamese.write_report(copy).read_text(encoding="utf-8")
    assert shown.count("data:image") > 10
    hidden = siamese.write_report(copy, tmp_path / "hidden.html", faces=False)
    assert "data:image" not in hidden.read_text(encoding="utf-8")
    # A run that was told so keeps none, and no later report shows any.
    for told in ({"plots": False}, {"plots": False, "faces": False}):
        runs[0].evaluation.write(tmp_path / "evaluated", **told, overwrite=True)
        stored = (tmp_path / "evaluated" / "report.json").read_text(encoding="utf-8")
        assert "/9j/" not in stored
    assert "/9j/" in (copy / "report.json").read_text(encoding="utf-8")
    late = siamese.write_report(tmp_path / "evaluated").read_text(encoding="utf-8")
    assert "data:image" not in late
    assert "left out" in late


def test_several_runs_are_compared_on_the_same_pairs(runs):
    a, b = (read_record(run.folder) for run in runs)
    wanted = siamese.compare_pairs(
        *(run.evaluation.distances["test"] for run in runs),
        *(run.operating_point.threshold for run in runs),
    )
    found = paired(a, b)
    assert found.to_dict() == wanted.to_dict()
    page = report_page([a, b])
    sentence = wanted.sentence("run0", "run1")
    assert sentence[1:] in "".join(Elements(page).text)


def test_runs_that_were_tested_on_other_images_are_not_compared(runs, copy):
    stored = json.loads((copy / "report.json").read_text())
    stored["pairs"] = "0" * 64
    (copy / "report.json").write_text(json.dumps(stored))
    a, b = read_record(copy), read_record(runs[1].folder)
    assert "other images" in paired(a, b)
    said = "".join(Elements(report_page([a, b])).text)
    assert "Which run is better is not known" in said


def test_settings_that_are_not_recorded_are_not_called_different(runs, copy):
    (copy / "run.json").unlink()
    a, b = read_record(copy), read_record(runs[1].folder)
    page = report_page([a, b])
    assert "No settings are recorded of run." in page
    assert "(not set)" not in page
    # The facts of a run have other names than the settings of the command.
    c = replace(b, name="c", provenance=b.provenance | {"config": {"seed": 1}})
    assert '<th scope="row">seed</th>' not in report_page([b, c])


def test_what_cannot_be_reported_is_refused(runs, tmp_path):
    with pytest.raises(ConfigError) as error:
        siamese.write_report(tmp_path)
    assert_says(error.value, "evaluation.json", "siamese evaluate")
    with pytest.raises(ConfigError) as error:
        siamese.write_report(runs)
    assert_says(error.value, "--out")
    mine = tmp_path / "mine.html"
    mine.write_text("<p>mine</p>")
    with pytest.raises(ConfigError) as error:
        siamese.write_report(runs[0], mine)
    assert_says(error.value, "no report of siamese")
    pipe = tmp_path / "pipe.html"
    os.mkfifo(pipe)
    with pytest.raises(ConfigError) as error:
        siamese.write_report(runs[0], pipe)
    assert_says(error.value, "no regular file")
    with pytest.raises(ConfigError) as error:
        siamese.write_report([3])
    assert_says(error.value, "int")


def test_the_command_says_where_the_page_lies(runs, tmp_path, capsys):
    out = tmp_path / "both.html"
    folders = [str(run.folder) for run in runs]
    assert main(["report", *folders, "--out", str(out), "--no-faces", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told == {"report": str(out), "bytes": out.stat().st_size}
    assert main(["report", folders[0]]) == 0
    assert "report.html" in capsys.readouterr().out


def test_a_report_that_fails_loses_no_run(runs, tmp_path, monkeypatch, capsys):
    def fail(*args, **settings):
        raise OSError("no room")

    monkeypatch.setattr("siamese.training.reporting.write_run_report", fail)
    table = write_table(tmp_path / "people")
    run = small_run(table, tmp_path / "run", plots=False, baselines=[])
    assert (run.folder / "timing.json").exists()
    assert "no report was written: no room" in capsys.readouterr().out


def test_labels_that_look_wrong_are_marked(copy):
    path = copy / "report.json"
    stored = json.loads(path.read_text())
    image = stored["false_non_matches"][0]["left"]
    doubt = {
        "file": image["file"], "identity": image["identity"], "own": 0.9, "other": 0.25,
        "other_file": "b.png", "other_identity": "Somebody else",
    }  # fmt: skip
    for pair in (*stored["false_matches"], *stored["false_non_matches"]):
        pair["left"]["doubt"] = pair["right"]["doubt"] = None
    image["doubt"], stored["doubts"] = doubt, [doubt]
    path.write_text(json.dumps(stored))
    page = report_page([read_record(copy)])
    said = " ".join("".join(Elements(page).text).split())
    assert "label doubtful: nearer to Somebody else (0.250) than to its own (0.900)" in said
    assert page.count('class="face doubtful"') == 1
