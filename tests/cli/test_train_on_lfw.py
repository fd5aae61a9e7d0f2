"""A small part of the real LFW through dlib's crops, from the command line to a verdict.

It runs where SIAMESE_LFW names LFW's folder.
"""

import csv
import json
import os
from pathlib import Path

import pytest

from siamese.cli.main import main
from siamese.datasets.lfw import load_lfw

ROOT = os.environ.get("SIAMESE_LFW")
pytestmark = pytest.mark.skipif(
    not ROOT or not Path(ROOT).is_dir(), reason="SIAMESE_LFW does not name the folder of LFW"
)


def test_photographs_to_verdict(tmp_path, monkeypatch, capsys):
    table = load_lfw(ROOT)
    often = sorted(identity for identity, n in table.counts.items() if n >= 10)[:12]
    rows: dict[str, list[str]] = {identity: [] for identity in often}
    for path, identity in zip(table.paths, table.identities, strict=True):
        if identity in rows and len(rows[identity]) < 5:
            rows[identity].append(str(path))
    with (tmp_path / "identities.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["path", "identity"])
        writer.writerows((path, identity) for identity, paths in rows.items() for path in paths)
    monkeypatch.chdir(tmp_path)
    settings = [
        "data=csv",
        "data.csv=identities.csv",
        "max_epochs=1",
        "data.sampler.identities=6",
        "data.sampler.steps=3",
        "baselines=[]",
        "plots=false",
    ]
    assert main(["train", *settings]) == 0
    run = tmp_path / "runs" / "latest"
    crops = json.loads((run / "crops.json").read_text())["splits"]
    assert sum(split["images"] for split in crops.values()) == 60
    # The detector was trained on these photographs.
    assert sum(split["no_face"] for split in crops.values()) <= 2
    assert json.loads((run / "bundle" / "bundle.json").read_text())["cropper"]["name"] == "dlib_hog"
    capsys.readouterr()
    first = rows[often[0]]
    assert main(["verify", first[0], first[0], "--json", "--bundle", "runs/latest"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["faces"][0] >= 1
    assert answer["distance"] == 0
