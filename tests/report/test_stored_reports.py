"""Reports on what lies in a folder: of earlier versions, damaged, tampered with."""

import json
import re
import tarfile
import warnings
from pathlib import Path

import numpy as np
import pytest
from tests.report.reported import ORDER, TAIL, Elements

from siamese.report.record import read_record
from siamese.report.run_report import report_page


def test_an_old_run_is_reported_as_far_as_it_goes(runs, copy):
    for name in ("report.json", "report.npz"):
        (copy / name).unlink()
    record = read_record(copy)
    assert record.point.threshold == runs[0].operating_point.threshold
    page = report_page([record])
    found = Elements(page)
    assert found.ids("section") == ORDER
    assert "no report.json" in "".join(found.text)


def test_a_run_of_the_first_version_is_reported(tmp_path):
    with tarfile.open(Path(__file__).parents[1] / "fixtures" / "version_0_1_0.tar.xz") as archive:
        archive.extractall(tmp_path)
    for name in ("far", "learned"):
        record = read_record(tmp_path / name)
        stored = json.loads((tmp_path / name / "evaluation.json").read_text())["test"]
        figures = record.figures["test"]
        assert (figures.identities, figures.fmr) == (stored["people"], stored["far"])
        assert record.point is not None
        said = "".join(Elements(report_page([record])).text)
        assert f"{stored['auc']:.3f}" in said
        assert "no report.json" in said


PARTS = {
    "history.csv": "history",
    "run.json": "provenance",
    "skew.json": "skew",
    "report.npz": "pairs",
    "report.json": "stored",
}


@pytest.mark.parametrize("name", PARTS)
def test_a_part_that_lacks_or_is_damaged_costs_no_other(copy, name):
    whole = read_record(copy)
    needing = {"report.json": {"stored", "pairs"}}.get(name, {PARTS[name]})
    for damage in (lambda path: path.write_bytes(b"{\xff"), lambda path: path.unlink()):
        damage(copy / name)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = read_record(copy)
        for part in PARTS.values():
            assert bool(getattr(whole, part)), part
            assert bool(getattr(found, part)) == (part not in needing), part


@pytest.mark.filterwarnings("ignore:.*damaged near line")
def test_a_run_of_which_nothing_but_the_figures_is_left_is_reported(copy):
    for name in (*PARTS, "timing.json", "crops.json", "bundle/bundle.json"):
        (copy / name).write_bytes(b"{\xff")
    page = report_page([read_record(copy)])
    assert Elements(page).ids("section") == ORDER
    assert page.count("it is damaged") >= 6
    assert "How that was chosen is not known" in page


@pytest.mark.parametrize(
    "change",
    [
        lambda stored: stored["splits"]["test"]["curve"]["tp"].pop(),
        lambda stored: stored["splits"]["test"]["curve"]["fp"].__setitem__(-1, 10**9),
        lambda stored: stored["false_matches"][0]["left"].__setitem__("thumbnail", '"><script>'),
        lambda stored: stored["splits"]["test"]["histogram"]["edges"].append(1.0),
        lambda stored: stored.__setitem__("version", 99),
        lambda stored: stored.pop("splits"),
    ],
)
def test_a_report_that_was_tampered_with_is_not_shown(copy, change):
    path = copy / "report.json"
    stored = json.loads(path.read_text())
    change(stored)
    path.write_text(json.dumps(stored))
    record = read_record(copy)
    assert record.stored is None
    assert "report.json says" in record.missing[0]
    assert '"><script>' not in report_page([record])


def test_hostile_names_of_splits_and_distances_end_no_script_and_are_no_formula(copy):
    path = copy / "report.json"
    stored = json.loads(path.read_text())
    stored["splits"]["test"]["called"] = TAIL + "&lt;"
    stored["point"]["distance"] = "$\\frac{" + TAIL
    path.write_text(json.dumps(stored))
    page = report_page([read_record(copy)])
    blocks = re.findall(r'<script type="application/json" class="values">(.*?)</script>', page)
    charts = {name: chart for block in blocks for name, chart in json.loads(block).items()}
    assert charts["roc"]["series"][0]["name"] == TAIL + "&lt;"
    assert "<img src=x" not in page
    assert page.count("<script") == page.count("</script>") == len(blocks) + 1


def test_pairs_of_rows_that_are_not_there_are_refused(copy):
    arrays = dict(np.load(copy / "report.npz"))
    arrays["left"][0] = len(arrays["labels"])
    np.savez(copy / "report.npz", **arrays)
    record = read_record(copy)
    assert record.pairs is None
    assert any("report.npz" in text for text in record.missing)


def test_the_identities_of_the_threshold_are_no_proof_of_it(copy):
    path = copy / "evaluation.json"
    figures = json.loads(path.read_text())
    assert not read_record(copy).chosen_on_judged
    path.write_text(json.dumps({"calibration": figures["calibration"]}))
    record = read_record(copy)
    assert record.judged == "calibration"
    said = "".join(Elements(report_page([record])).text)
    assert "chosen on these same identities" in said
    assert "they prove nothing here" in said
    assert "Are stated probabilities kept?" not in said
