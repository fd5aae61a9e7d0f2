"""`siamese evaluate --out`: an evaluation is replaced only by another one, and then wholly."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from siamese.cli.main import main
from siamese.evaluation.artifacts import check_room, make_room
from siamese.evaluation.stages import RunEvaluation


class Evaluation(RunEvaluation):
    """Writes what a real one writes; its only figure is its test-time augmentation."""

    def __init__(self, tta):
        self.__dict__.update(tta=tta, recalibrated=tta > 0, notes=(), bundle=SimpleNamespace())
        self.bundle.save = lambda folder: write(folder / "bundle.json", tta)

    @property
    def documented_bundle(self):
        return self.bundle

    def write(self, folder, *, plots=True, overwrite=False):
        check_room(Path(folder), overwrite)
        make_room(Path(folder))
        write(Path(folder) / "evaluation.json", self.tta)

    def to_dict(self):
        return {"tta": self.tta}


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def contents(folder):
    return {str(p.relative_to(folder)): p.read_text() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture
def home(tmp_path, monkeypatch):
    """An empty working folder; evaluations take no time."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        "siamese.evaluation.run.evaluate_run",
        lambda *_, tta, **__: Evaluation(tta or 0),
    )
    return tmp_path


def evaluate(*words):
    return main(["evaluate", *words, "--json"])


def test_an_evaluation_that_fails_leaves_the_earlier_one(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name in ("evaluation.json", "plots/curves.png", "bundle/bundle.json"):
        write(tmp_path / "ev" / name, name)
    before = contents(tmp_path)
    assert evaluate("nonesuch", "--data", "none", "--out", "ev", "--overwrite") == 2
    assert evaluate("nonesuch", "--pairs-file", "none.csv", "--out", "ev", "--overwrite") == 2
    assert contents(tmp_path) == before


def test_an_evaluation_that_fails_leaves_no_empty_folder(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "old").mkdir()
    assert evaluate("nonesuch", "--out", "old/new/newest") == 2
    assert evaluate("nonesuch", "--out", "old") == 2
    assert [p.name for p in tmp_path.rglob("*")] == ["old"]


def test_no_bundle_stays_beside_the_figures_of_another(home, capsys):
    assert evaluate("run", "--tta", "2", "--out", "ev") == 0
    assert contents(home / "ev") == {"evaluation.json": "2", "bundle/bundle.json": "2"}
    assert evaluate("run", "--out", "ev") == 2
    assert "ev holds an evaluation: give another folder, or replace it" in capsys.readouterr().err
    assert evaluate("run", "--out", "ev", "--overwrite") == 0
    assert contents(home / "ev") == {"evaluation.json": "0"}
    assert not (home / "ev" / "bundle").exists()


def test_what_is_no_part_of_an_evaluation_stays(home):
    write(home / "ev" / "evaluation.json", "old")
    write(home / "ev" / "folds.json", "old")
    for name in ("mine.txt", "bundle/weights.txt", "plots/mine.png"):
        write(home / "ev" / name, "mine")
    assert evaluate("run", "--out", "ev", "--overwrite") == 0
    assert set(contents(home / "ev").values()) == {"0", '"mine"'}
    assert not (home / "ev" / "folds.json").exists()


@pytest.mark.parametrize("out", ["runs/a", "runs/a/bundle", "runs/b", "made"])
def test_no_run_is_taken_for_an_evaluation(home, out, capsys):
    for run in ("runs/a", "runs/b"):
        for name in ("evaluation.json", "split.json", "bundle/bundle.json"):
            write(home / run / name, name)
    write(home / "made" / "bundle" / "bundle.json", "")
    before = contents(home)
    source = "made/bundle" if out == "made" else "runs/a"
    benchmark = ("--benchmark", "lfw_view2", "--data", "lfw")
    for more in ((), benchmark):
        assert evaluate(source, *more, "--out", out, "--overwrite") == 2
        assert "give another folder" in capsys.readouterr().err
    assert contents(home) == before
