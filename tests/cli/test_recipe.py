"""The shipped recipe learns.

Test F1 on ORL, on people never seen, is far from chance (0.667) on one split.
"""

import json

import pytest

from siamese.cli.main import main


@pytest.mark.slow
def test_orl(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["train", "data.seed=0"]) == 0
    test = json.loads((tmp_path / "runs" / "latest" / "evaluation.json").read_text())["test"]
    assert test["identities"] == 8
    assert test["f1"] > 0.82
