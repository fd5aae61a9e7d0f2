"""`siamese embed` on a folder of photographs that nobody has sorted."""

import json

import numpy as np
import pytest
from tests.helpers import write_image
from tests.inference.test_bundle import bundle

from siamese.cli.main import main
from siamese.inference.verifier import Verifier


@pytest.fixture
def heap(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SIAMESE_CACHE", str(tmp_path / "cache"))
    for seed, name in enumerate(("heap/a.png", "heap/deep/er/b.png", "heap/A.png")):
        write_image(tmp_path / name, seed)
    bundle().save(tmp_path / "bundle")
    return tmp_path / "heap"


def embedded(path):
    with np.load(path) as stored:
        return stored["files"].tolist(), stored["embeddings"]


def test_all_photographs_in_any_folder(heap, capsys):
    words = ["embed", "bundle", "--data", "heap", "--out", "e.npz"]
    assert main([*words, "--unlabelled", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["kept"] == 3
    files, rows = embedded("e.npz")
    assert files == ["A.png", "a.png", "deep/er/b.png"]
    expected = Verifier(bundle()).embed([heap / file for file in files], progress=False)
    np.testing.assert_allclose(rows, expected, atol=1e-6)
    for wrong in (["--root", "x"], ["--splits", "test"]):
        assert main([*words, "--unlabelled", "--overwrite", *wrong]) == 2
        assert "no meaning with --unlabelled" in capsys.readouterr().err
    assert main(["embed", "bundle", "--unlabelled", "--out", "f.npz"]) == 2
    assert "needs a folder of photographs" in capsys.readouterr().err


def test_a_folder_of_photographs_instead_of_a_run(heap, capsys, monkeypatch):
    asked = []

    def opened(name, trusted=None):
        asked.append(name)
        return bundle()

    monkeypatch.setattr("siamese.cli.options.open_bundle", opened)
    assert main(["embed", "heap", "--out", "e.npz"]) == 0
    assert asked == ["pretrained"]
    said = capsys.readouterr()
    assert "heap is a folder of photographs: embedded with pretrained" in said.err
    assert "calibrate" not in said.out
    assert embedded("e.npz")[0] == ["A.png", "a.png", "deep/er/b.png"]
    # A bundle, a run without one, and what is neither, are what they were.
    assert main(["embed", "nowhere", "--out", "f.npz"]) == 2
    assert main(["embed", "bundle", "--out", "f.npz"]) == 2
    assert asked == ["pretrained"]
