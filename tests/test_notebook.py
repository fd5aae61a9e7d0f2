"""The notebooks run from top to bottom, and hold no results (and so no images of people)."""

import re
from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")
NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))
# Changes that make it short; then patterns of what it prints, and the folder of its run.
TO_SHORTEN = {
    "01_train": {"EPOCHS = 8": "EPOCHS = 1", "steps=50": "steps=5"},
    "02_digits": {"steps=40": "steps=5"},
}
PRINTED = {
    "01_train": [r"people never seen: F1 \d"],
    "02_digits": [
        # Three digits: a difference, but no interval.
        r"training helped is not certain \(ROC AUC .*; before training \d\.\d+, [+-]\d\.\d+\)",
        r"digits never seen, before training: F1 \d",
        r"digits never seen, after: F1 \d",
        r"Verification\(same=",
    ],
}
RUNS = {"01_train": "notebook", "02_digits": "digits"}


def test_there_are_notebooks():
    assert [p.stem for p in NOTEBOOKS] == list(PRINTED)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_it_is_committed_without_results(path):
    for cell in nbformat.read(path, as_version=4).cells:
        assert not cell.get("outputs")
        assert not cell.get("execution_count")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_it_runs(path, tmp_path):
    notebook = nbformat.read(path, as_version=4)
    for long, short in TO_SHORTEN[path.stem].items():
        assert any(long in cell.source for cell in notebook.cells)
        for cell in notebook.cells:
            cell.source = cell.source.replace(long, short)
    nbclient.NotebookClient(
        notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}
    ).execute()
    outputs = [o for cell in notebook.cells for o in cell.get("outputs", [])]
    assert any("image/png" in o.get("data", {}) for o in outputs)
    printed = "".join(o.get("text", "") for o in outputs)
    for said in PRINTED[path.stem]:
        assert re.search(said, printed), said
    assert (tmp_path / "runs" / RUNS[path.stem] / "bundle" / "bundle.json").is_file()
