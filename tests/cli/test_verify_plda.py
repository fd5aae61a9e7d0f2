"""``siamese verify`` with PLDA's distance says what a distance means: a log-likelihood ratio."""

import json
import re

import pytest
from tests.helpers import UNTRAINED, write_identities

import siamese
from siamese.cli.main import main


@pytest.mark.filterwarnings("ignore:PLDA was fitted to")
def test_the_ratio_is_told_with_that_of_the_threshold(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    root = write_identities(tmp_path / "people", [3] * 12)
    assert main(["train", f"data.root={root}", *UNTRAINED, "distance=plda"]) == 0
    one, other, *_ = sorted(root.rglob("*.png"))
    verify = ["verify", str(one), str(other), "--bundle", "runs/latest"]
    capsys.readouterr()
    main(verify)
    said = capsys.readouterr().out
    found = re.search(r"log-likelihood ratio .*: ([+-].*) \(at the threshold ([+-].*)\)", said)
    main([*verify, "--json"])
    answer = json.loads(capsys.readouterr().out)
    ratio = answer["log_likelihood_ratio"]
    assert float(found[1]) == pytest.approx(ratio, abs=0.01)
    # A distance is what the ratio lacks of a bound.
    lacking = answer["distance"] - answer["threshold"]
    assert float(found[2]) - ratio == pytest.approx(lacking, abs=0.02)
    a, b = siamese.Verifier.load("runs/latest").embed([one, other]).double()
    model = siamese.Bundle.load("runs/latest").distance
    assert ratio == pytest.approx(float(model.ratios(model(a[None], b[None]))), abs=1e-3)
