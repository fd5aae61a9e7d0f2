"""`siamese compare A B`: what it prints, and what it says to beginners."""

import json
from pathlib import Path

import pytest
import torch
from tests.helpers import assert_says, write_identities

import siamese
from siamese.cli.main import main
from siamese.report import tables

SMALL = {"widths": (4,), "depths": (1,), "learned_size": 8, "gradient_cells": 0, "whiten": False}


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """Two bundles, twelve identities in LFW's layout, and pairs of them in three folds."""
    root = tmp_path_factory.mktemp("here")
    for seed, name in enumerate("ab"):
        torch.manual_seed(seed)
        rule = siamese.AllPairs().describe()
        point = siamese.OperatingPoint(1.0 + seed, "given", "euclidean", "nothing", rule)
        net, crop = siamese.SmallResNet(**SMALL), siamese.NoCropper(32)
        siamese.Bundle(net, siamese.EuclideanDistance(), crop, point).save(root / name)
    people = write_identities(root / "people", [2] * 12)
    lines = ["left,right,same,fold"]
    for k in range(0, 12, 4):
        one, two, three, four = (f"person_{k + i:02d}" for i in range(4))
        lines += [f"{one}/0.png,{one}/1.png,1,{k}", f"{two}/0.png,{three}/0.png,0,{k}"]
        lines += [f"{four}/0.png,{four}/1.png,1,{k}"]
    (root / "pairs.csv").write_text("\n".join(lines) + "\n")
    assert len(list(people.iterdir())) == 12
    return root


@pytest.fixture(autouse=True)
def in_that_folder(here, monkeypatch):
    monkeypatch.chdir(here)


@pytest.mark.parametrize("named", ["people/", "../{here}/people", "{root}/people"])
def test_other_data_are_called_by_the_name_of_their_folder_alone(here, capsys, named):
    given = named.format(here=here.name, root=here)
    assert main(["compare", "a", "b", "--on", given]) == 0
    assert "all identities of people: 12" in " ".join(capsys.readouterr().out.split())


def test_a_table_and_a_sentence(capsys):
    assert main(["compare", "a", "b", "--on", "people"]) == 0
    said = capsys.readouterr()
    out = said.out
    in_python = siamese.compare("a", "b", on="people", progress=False)
    assert "A: a   B: b" in out
    assert in_python.sentences("a", "b")[0] in out.splitlines()
    title = "all identities of people: 12 identities, 24 images, 12 genuine and 264 impostor pairs"
    assert title in " ".join(out.split())
    assert "at thresholds: A 1.0000, B 2.0000" in out
    for name, figure in in_python.splits["data"].figures.items():
        form = "{:.2g}" if name == "fmr" else "{:.3f}"
        row = [form.format(figure.a), form.format(figure.b), f"{figure.difference:+.3f}"]
        low, high = figure.ci95
        row += [f"{low:+.3f} to {high:+.3f}", figure.verdict]
        assert any(all(cell in line for cell in row) for line in out.splitlines()), name
    assert "note: A and B: the bundle does not say whom it was trained" in said.err
    assert "note: A and B: this bundle looks for no face" in said.err


def test_json_is_what_the_function_gives(capsys):
    words = ["compare", "a", "b", "--on", "people", "--pairs", "balanced_pairs", "--json"]
    assert main(words) == 0
    found = json.loads(capsys.readouterr().out)
    in_python = siamese.compare("a", "b", on="people", pairs="balanced_pairs", progress=False)
    expected = {"a": "a", "b": "b"} | in_python.to_dict()
    assert found == json.loads(json.dumps(expected))
    assert found["splits"]["data"]["impostor"] == 12


def test_given_pairs_say_their_folds_and_mcnemars_test(capsys):
    words = ["compare", "a", "b", "--pairs-file", "pairs.csv", "--data", "people"]
    assert main(words) == 0
    out = capsys.readouterr().out
    pairs = siamese.PairsFile.read("pairs.csv", "people")
    in_python = siamese.compare("a", "b", on=pairs, progress=False)
    assert str(in_python.folds) in out.splitlines()
    assert str(in_python.splits["pairs"].mcnemar) in out.splitlines()
    assert "at thresholds: of each fold" in out
    shared = Path("pairs.csv").read_text() + "person_00/0.png,person_04/0.png,0,0\n"
    Path("shared.csv").write_text(shared)
    assert main(["compare", "a", "b", "--pairs-file", "shared.csv", "--data", "people"]) == 0
    said = capsys.readouterr().out
    assert "since it needs independent pairs: 3 of 10 pairs share an identity" in said


def test_a_bundle_beside_itself_is_called_a_and_b(capsys):
    assert main(["compare", "a", "a", "--on", "people"]) == 0
    assert "which of A and B is better is not shown: ROC AUC" in capsys.readouterr().out


def test_few_identities_are_told_to_be_few(tmp_path, capsys):
    write_identities(tmp_path / "few", [3] * 4)
    assert main(["compare", "a", "b", "--on", str(tmp_path / "few")]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "4 identities are too few for intervals" in out
    assert "is better is not known: ROC AUC" in out


def test_the_pretrained_network_says_whom_it_knows(here, monkeypatch, capsys):
    stand_in = siamese.Bundle.load(here / "a")
    monkeypatch.setattr("siamese.cli.options.open_bundle", lambda _: stand_in)
    assert main(["compare", "pretrained", "b", "--on", "people"]) == 0
    said = capsys.readouterr()
    assert "A: pretrained   B: b" in said.out
    assert "note: pretrained: the network was trained on public figures" in said.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["a"], "required: B; see siamese compare --help"),
        (["a", "b"], "say what to compare on: --on runs/latest"),
        (["a", "b", "--data", "people"], "--on people"),
        (["a", "b", "--on", "nowhere"], "no such folder"),
        (["a", "b", "--on", "a"], "a bundle without its run knows no images"),
        (["a", "b", "--on", "pretrained"], "a bundle alone knows no images"),
        (["a", "nowhere", "--on", "people"], "nowhere: no such folder; give a bundle"),
        (["a", "b", "--on", "people", "--splits", "test"], "are those of a run"),
        (["a", "b", "--on", "people", "--pairs", "al_pairs"], "did you mean 'all_pairs'"),
        (["a", "b", "--on", "people", "--no-face", "skip"], "looks for no face"),
        (["a", "b", "--benchmark", "lfw_view2"], "needs the folder of LFW: --data PATH"),
        (["a", "b", "--benchmark", "lfw_view2", "--data", "x", "--on", "people"], "--on has no"),
        (["a", "b", "--pairs-file", "pairs.csv", "--splits", "x"], "--splits has no meaning"),
        (["a", "b", "on=people"], "write --on people"),
    ],
)
def test_mistakes_are_one_line_and_name_the_remedy(words, said, capsys):
    try:
        code = main(["compare", *words])
    except SystemExit as stopped:  # argparse's own
        code = stopped.code
    assert code == 2
    error = capsys.readouterr().err.strip()
    assert_says(error.splitlines()[-1], "siamese compare: error: ", said)


def test_the_table_names_rates_and_prevalence():
    figure = siamese.PairedFigure(0.5, 0.75, 0.25, (0.1, 0.4))
    compared = siamese.PairedComparison(
        {"auc": figure, "f1@prevalence": figure, "recall@fmr=0.01": figure},
        9, 20, 10, 30, 1.0, 2.0, 0.125, None, 40,
    )  # fmt: skip
    titles = list(tables.paired_table(compared, "test").columns[0].cells)
    assert titles == ["ROC AUC", "F1 at prevalence 0.125", "recall at false match rate 0.01"]
