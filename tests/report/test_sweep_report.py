"""The report on a sweep: the chosen run by calibration people, and test figures of it alone."""

import json
import re

import pytest
from tests.helpers import assert_says
from tests.report.reported import HOSTILE

import siamese
from siamese.errors import ConfigError
from siamese.report.sweep_runs import read_sweep


def figures(eer, **more):
    known = dict.fromkeys(("accuracy", "precision", "recall", "f1", "auc", "prevalence"), 0.9)
    counts = {"identities": 8, "images": 40, "genuine": 100, "impostor": 100}
    ci95 = {"eer": [eer / 2, eer * 1.5]}
    return known | counts | {"fmr": 0.1, "threshold": 0.5, "eer": eer, "ci95": ci95} | more


def write_run(folder, settings, calibration, test):
    files = {
        "bundle/bundle.json": {"operating_point": {"split": "calibration"}},
        "split.json": {"splits": {"calibration": [{"file": "a.png"}]}},
        "evaluation.json": {"calibration": figures(calibration), "test": test},
        ".hydra/overrides.yaml": settings,
    }
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content))


@pytest.fixture
def sweep(tmp_path):
    """Three runs; the chosen one has the worst figures on test identities."""
    for name, lr, loss, eer, test in (
        ("0", "0.0001234567891", "a", 0.20, 0.013),
        ("1", "0.01", HOSTILE, 0.05, 0.377),
        ("2", "0.001", "b", 0.07, 0.027),
    ):
        words = [f"module.lr={lr}", f"+loss={loss}", "data=folder"]
        write_run(tmp_path / "s" / name, words, eer, figures(test))
    (tmp_path / "s" / "sweep.csv").write_text("run\n")
    return tmp_path / "s"


def test_the_run_is_chosen_by_calibration_people_and_only_its_test_figures_are_shown(sweep):
    page = siamese.write_report(sweep).read_text()
    assert "Run 1 was chosen of 3" in page
    assert "1 of the 2 other runs has an equal error rate within" in page
    assert "0.377" in page
    assert "0.013" not in page
    assert "0.027" not in page
    assert "test figures of the other runs chose nothing" in page
    assert "0.0001235" in page
    assert page.count('<figure class="chart"') == 3  # two settings, and the order


def test_what_the_test_people_say_changes_nothing_but_the_figures_of_the_chosen_run(sweep):
    """The choice, the table and the pictures are the same, bit for bit."""

    def parts():
        page = siamese.write_report(sweep).read_text()
        return [s for s in re.split("<section", page) if not s.startswith(' id="tested"')]

    before = parts()
    for name in "012":
        path = sweep / name / "evaluation.json"
        content = json.loads(path.read_text())
        content["test"] = figures(0.001 if name == "0" else 0.45)
        path.write_text(json.dumps(content))
    assert parts() == before
    # And where those of the other runs cannot be read at all.
    for name in "02":
        path = sweep / name / "evaluation.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"test": "not to be read"}))
    assert parts() == before


def test_a_report_that_is_not_there_is_not_named(sweep):
    assert (
        "has no report of its own yet: siamese report 1 " in siamese.write_report(sweep).read_text()
    )
    (sweep / "1" / "report.html").write_text("")
    assert "this run: 1/report.html" in siamese.write_report(sweep).read_text()


def test_a_reason_of_any_length_is_shortened(sweep):
    (sweep / "2" / "failed.txt").write_text("no " * 5000)
    assert len(read_sweep(sweep)[-1].failure) < 1100
    (sweep / "2" / "failed.txt").write_bytes(b"x" * (2 << 20))
    assert "cannot be read" in read_sweep(sweep)[-1].failure


def test_text_of_strangers_stays_text(sweep):
    page = siamese.write_report(sweep).read_text()
    assert HOSTILE not in page
    assert "&lt;script&gt;alert(1)" in page


def test_a_run_without_figures_is_told_and_one_whose_figures_are_damaged(sweep):
    (sweep / "2" / "failed.txt").write_text("out of memory\n")
    path = sweep / "0" / "evaluation.json"
    path.write_text(json.dumps({"calibration": 3}))
    page = siamese.write_report(sweep).read_text()
    assert "failed: out of memory" in page
    assert "2 of 3 runs have no figures" in page
    assert [run.finished for run in read_sweep(sweep)] == [True, False, False]


def test_figures_that_are_none_do_not_stop_the_others(sweep):
    path = sweep / "1" / "evaluation.json"
    path.write_text(json.dumps({"calibration": figures(0.05) | {"eer": "small"}}))
    assert [run.name for run in read_sweep(sweep)] == ["2", "0", "1"]


def test_where_nothing_ran_that_is_said(sweep, tmp_path):
    for name in "012":
        (sweep / name / "failed.txt").write_text("no")
    assert "so none was chosen" in siamese.write_report(sweep, tmp_path / "r.html").read_text()
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "sweep.csv").write_text("")
    with pytest.raises(ConfigError) as caught:
        siamese.write_report(tmp_path / "empty")
    assert_says(caught.value, "holds no run of a sweep")


def test_settings_that_would_unpack_to_more_are_not_read(sweep):
    (sweep / "1" / ".hydra" / "overrides.yaml").write_text("&a [" + "[" * 5000)
    assert {run.name: run.settings for run in read_sweep(sweep)}["1"] == {}
