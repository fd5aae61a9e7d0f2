"""From groups in a CSV file to the figures, sentences and pictures of the commands."""

import csv
import json

import pytest
from tests.helpers import UNTRAINED, write_identities

import siamese
from siamese.cli.main import main


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    """40 identities of 3 images, by sex, and by glasses, which are no property of an identity."""
    root = write_identities(tmp_path_factory.mktemp("people"), [3] * 40)
    rows = [
        [f"person_{p:02d}/{i}.png", f"person_{p:02d}", "fm"[p % 2], ["none", "glasses", ""][i]]
        for p in range(40)
        for i in range(3)
    ]
    with (root / "people.csv").open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([["path", "identity", "group_sex", "group_glasses"], *rows])
    return root / "people.csv"


@pytest.fixture(scope="module")
def run(people, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    words = [word for word in UNTRAINED if word != "data=folder"]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        train = ["train", "data=csv", f"data.csv={people}", *words, "pairs=all_pairs"]
        assert main(train) == 0
    return folder / "runs" / "latest"


def recount(run, split, column):
    """Cells of a split, from its images, the bundle's verdicts and the manifest, pair by pair."""
    manifest = siamese.SplitManifest.load(run / "split.json")
    table = manifest.table(split)
    verifier = siamese.Verifier.load(run / "bundle")
    embeddings = verifier.embed(table.paths)
    measured = siamese.measure_pairs(embeddings, table.labels, "all_pairs")
    counts = {}
    for i, j, same, distance in zip(
        measured.pairs.left,
        measured.pairs.right,
        measured.pairs.same,
        measured.distances,
        strict=True,
    ):
        values = sorted((table.groups[column][i], table.groups[column][j]))
        if all(values):
            cell = counts.setdefault(
                tuple(values), dict.fromkeys(("genuine", "impostor", "tp", "fp"), 0)
            )
            cell["genuine" if same else "impostor"] += 1
            cell["tp" if same else "fp"] += bool(siamese.is_match(distance, verifier.threshold))
    return counts


@pytest.mark.parametrize("column", ["group_sex", "group_glasses"])
def test_training_writes_the_figures_of_every_group(run, column):
    written = json.loads((run / "evaluation.json").read_text(encoding="utf-8"))
    for split in ("train", "calibration", "test"):
        found = written[split]["groups"][column]
        cells = {tuple(cell["groups"]): cell for cell in found["cells"]}
        expected = recount(run, split, column)
        assert set(cells) == set(expected)
        for groups, counts in expected.items():
            assert {name: cells[groups][name] for name in counts} == counts
        assert found["unknown"] == (written[split]["images"] // 3 if column != "group_sex" else 0)
        assert found["threshold"] == written[split]["threshold"]


def test_evaluating_says_whether_groups_differ_and_draws_them(run, people, capsys, tmp_path):
    assert main(["evaluate", str(run), "--data", str(people), "--out", str(tmp_path / "new")]) == 0
    said = capsys.readouterr().out
    assert f"all identities of {people.stem} by group_sex, at threshold" in said
    assert "group_glasses: " in said
    written = json.loads((tmp_path / "new" / "evaluation.json").read_text(encoding="utf-8"))
    assert set(written["data"]["groups"]) == {"group_sex", "group_glasses"}
    assert (tmp_path / "new" / "plots" / "groups.png").exists()
    assert main(["evaluate", str(run), "--data", str(people), "--json"]) == 0
    assert set(json.loads(capsys.readouterr().out)["data"]["groups"]) == set(
        written["data"]["groups"]
    )


def test_calibrating_tells_the_groups_at_the_new_threshold(run, people, capsys):
    found = siamese.recalibrate(run, people, "eer", pairs="all_pairs", progress=False)
    cells = found.groups["group_sex"].cells
    assert found.groups["group_sex"].threshold == found.new.threshold != found.old.threshold
    assert sum(cell.fp for cell in cells) == found.new.fp
    assert sum(cell.tp for cell in cells) == found.new.tp
    assert main(["calibrate", str(run), "--data", str(people), "--policy", "eer"]) == 0
    assert f"all identities of {people.stem} by group_sex, at" in capsys.readouterr().out


def test_a_folder_has_no_groups(run, people, capsys):
    assert main(["evaluate", str(run), "--data", str(people.parent), "--json"]) == 0
    assert "groups" not in json.loads(capsys.readouterr().out)["data"]
    assert main(["evaluate", str(run), "--data", str(people.parent)]) == 0
    assert "within group" not in capsys.readouterr().out
