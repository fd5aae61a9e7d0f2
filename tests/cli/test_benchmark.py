"""`siamese evaluate --benchmark` and `--pairs-file`, on made-up identities in LFW's layout."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.helpers import write_image

import siamese
from siamese.cli.main import main
from siamese.verification.thresholds import calibrate

SMALL = {"widths": (4,), "depths": (1,), "learned_size": 8, "gradient_cells": 0, "whiten": False}


@pytest.fixture(scope="module")
def lfw(tmp_path_factory) -> Path:
    """Six identities with four images each, in LFW's layout, with the files of both views."""
    root = tmp_path_factory.mktemp("lfw")
    names = [f"P{k}" for k in range(6)]
    for k, name in enumerate(names):
        for i in range(1, 5):
            write_image(root / "lfw" / name / f"{name}_{i:04d}.jpg", 100 * k + i)

    def fold(a: str, b: str) -> str:
        return f"{a} 1 2\n{b} 3 4\n{a} 1 {b} 1\n{a} 3 {b} 2\n"

    (root / "pairs.txt").write_text(
        "3 2\n" + fold("P0", "P1") + fold("P2", "P3") + fold("P4", "P5")
    )
    (root / "pairsDevTrain.txt").write_text("2\n" + fold("P0", "P1"))
    (root / "pairsDevTest.txt").write_text("2\n" + fold("P2", "P3"))
    return root


@pytest.fixture(scope="module")
def bundle(tmp_path_factory) -> str:
    torch.manual_seed(0)
    generator = np.random.default_rng(0)
    labels = np.repeat(np.arange(8), 3)
    point = calibrate(
        generator.normal(size=(8, 8))[labels] + 0.3 * generator.normal(size=(24, 8)), labels
    ).point
    made = siamese.Bundle(
        siamese.SmallResNet(**SMALL), siamese.EuclideanDistance(), siamese.NoCropper(32), point
    )
    return str(made.save(tmp_path_factory.mktemp("made") / "bundle"))


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SIAMESE_CACHE", str(tmp_path / "cache"))


def answer(capsys, *words: object) -> dict:
    assert main(["evaluate", *map(str, words), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def refused(capsys, *words: object) -> str:
    assert main(["evaluate", *map(str, words)]) == 2
    return capsys.readouterr().err


def test_view_2_by_hand(lfw, bundle, capsys):
    found = answer(capsys, bundle, "--benchmark", "lfw_view2", "--data", lfw)["folds"]
    assert [f["fold"] for f in found["folds"]] == [0, 1, 2]
    assert [f["tp"] + f["fn"] for f in found["folds"]] == [2, 2, 2]
    # The same with nothing but a verifier: what it embeds, pair by pair.
    verifier, pairs = siamese.Verifier.load(bundle), siamese.lfw_view2(lfw)
    embeddings = torch.cat([verifier.embed([path]) for path in pairs.paths])
    distances = (embeddings[pairs.left] - embeddings[pairs.right]).double().norm(dim=1).numpy()
    expected = siamese.cross_validate(distances.astype(np.float32), pairs.same, pairs.fold)
    assert (found["images"], found["not_acquired"], found["benchmark"]) == (21, 0, "lfw_view2")
    assert (found["mean"], found["auc"]) == pytest.approx((expected.mean, expected.auc))
    assert [f["threshold"] for f in found["folds"]] == pytest.approx(
        [f.threshold for f in expected.folds], rel=1e-5
    )


def test_out_has_a_line_for_each_pair(lfw, bundle, tmp_path, capsys):
    out = tmp_path / "ev"
    found = answer(capsys, bundle, "--benchmark", "lfw_view2", "--data", lfw, "--out", out)["folds"]
    with (out / "pairs.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    pairs, verifier = siamese.lfw_view2(lfw), siamese.Verifier.load(bundle)
    assert len(rows) == len(pairs)
    counts = {f["name"]: [0, 0, 0, 0] for f in found["folds"]}
    thresholds = {f["name"]: f["threshold"] for f in found["folds"]}
    for row, a, b, same in zip(rows, pairs.left, pairs.right, pairs.same, strict=True):
        assert (row["left"], row["right"]) == (pairs.files[a], pairs.files[b])
        assert row["left_identity"] == pairs.identities[a]
        assert (row["genuine"] == "true") == same == (row["left_identity"] == row["right_identity"])
        assert float(row["threshold"]) == thresholds[row["fold"]]
        seen = verifier.verify(lfw / "lfw" / row["left"], lfw / "lfw" / row["right"]).distance
        assert float(row["distance"]) == pytest.approx(seen, rel=1e-5)
        accepted = float(row["distance"]) <= float(row["threshold"])
        assert row["same"] == str(accepted).lower()
        assert (row["right_verdict"] == "true") == (accepted == same)
        counts[row["fold"]][(0 if accepted else 2) if same else (1 if accepted else 3)] += 1
    kinds = ("tp", "fp", "fn", "tn")
    assert counts == {f["name"]: [f[kind] for kind in kinds] for f in found["folds"]}


def test_a_line_says_what_is_not_known(lfw, bundle, tmp_path, capsys, monkeypatch):
    """Own pairs in one fold; an image that is left out."""
    (lfw / "lfw" / "P0" / "broken.jpg").write_bytes(b"none")
    listed = ("P0/P0_0001.jpg,P0/P0_0002.jpg,1", "P0/P0_0001.jpg,P0/broken.jpg,1")
    rows = "\n".join(("left,right,same", *listed, "P0/P0_0001.jpg,P1/P1_0001.jpg,0"))
    (tmp_path / "own.csv").write_text(rows)
    words = (bundle, "--pairs-file", tmp_path / "own.csv", "--data", lfw / "lfw")
    answer(capsys, *words, "--out", tmp_path / "ev", "--bad-images", "quarantine")
    with (tmp_path / "ev" / "pairs.csv").open(newline="") as stream:
        whole, broken, _ = csv.DictReader(stream)
    assert (whole["left_identity"], whole["fold"], whole["note"]) == ("", "", "")
    assert (broken["distance"], broken["same"], broken["right_verdict"]) == ("", "false", "false")
    assert "left out" in broken["note"]
    (lfw / "lfw" / "P0" / "broken.jpg").unlink()
    # What lay there is not taken for another evaluation's.
    assert main(["evaluate", *map(str, words), "--out", str(tmp_path / "ev")]) == 2


def test_plda_is_fitted_for_each_fold_to_nobody_of_it(lfw, bundle, tmp_path, capsys):
    words = (bundle, "--benchmark", "lfw_view2", "--data", lfw)
    found = answer(capsys, *words, "--distance", "plda")
    verifier, pairs = siamese.Verifier.load(bundle), siamese.lfw_view2(lfw)
    rows = verifier.embed(list(pairs.paths), progress=False)
    whose, names = np.array(pairs.identities), {0: "P0 P1", 1: "P2 P3", 2: "P4 P5"}

    def ratios(fold, *without):
        kept = ~np.isin(whose, [p for k in without for p in names[k].split()])
        fitted = siamese.PldaDistance.fit(rows[kept], whose[kept])
        here = pairs.fold == fold
        measured = fitted.between(rows, pairs.left[here], pairs.right[here])
        return fitted.ratios(measured.astype(float)), pairs.same[here]

    right = []
    for k in range(3):
        own, same = ratios(k, k)
        others = [ratios(j, j, k) for j in range(3) if j != k]
        pool, kinds = (np.concatenate(part) for part in zip(*others, strict=True))
        # The strictest of the most accurate.
        limits = [np.inf, *sorted(pool.tolist(), reverse=True)]
        limit = max(limits, key=lambda limit: np.sum((pool >= limit) == kinds))
        right.append(np.mean((own >= limit) == same))
    assert [f["accuracy"] for f in found["folds"]["folds"]] == pytest.approx(right)
    plain = answer(capsys, *words)
    assert (found["own_distance"], found["own_threshold"]) == (
        plain["folds"],
        plain["own_threshold"],
    )
    assert main(["evaluate", *map(str, words), "--distance", "plda"]) == 0
    assert "by the bundle's own distance, euclidean" in capsys.readouterr().out
    in_python = siamese.evaluate_benchmark(bundle, pairs, distance="plda", progress=False)
    assert json.loads(json.dumps(in_python.to_dict())) == found["folds"]
    text = refused(capsys, bundle, "--benchmark", "lfw_view1", "--data", lfw, "--distance", "plda")
    assert "has 2 folds" in text
    text = refused(capsys, bundle, "--data", lfw / "lfw", "--distance", "plda")
    assert "siamese calibrate RUN" in text
    assert "--threshold is one" in refused(capsys, *words, "--distance", "plda", "--threshold", 1)
    one_fold = tmp_path / "one.csv"
    few = [f"{pairs.files[pairs.left[i]]},{pairs.files[pairs.right[i]]}" for i in (0, 2)]
    one_fold.write_text(f"left,right,same\n{few[0]},1\n{few[1]},0\n")
    text = refused(
        capsys, bundle, "--pairs-file", one_fold, "--data", pairs.root, "--distance", "cosine"
    )
    assert "in several folds (the column fold" in text


MINE = """
import siamese


@siamese.DISTANCES.register("cosine_of_a_file")
class Mine(siamese.CosineDistance):
    pass


@siamese.PAIR_RULES.register("all_of_a_file")
class AllOfAFile(siamese.AllPairs):
    pass
"""


def test_a_distance_and_a_pair_rule_of_ones_own_are_named(lfw, bundle, tmp_path, capsys):
    plugin = tmp_path / "mine.py"
    plugin.write_text(MINE)
    own = ("--plugin", plugin, "--distance", "cosine_of_a_file")
    try:
        words = (bundle, "--benchmark", "lfw_view2", "--data", lfw)
        expected = answer(capsys, *words, "--distance", "cosine")
        assert answer(capsys, *words, *own)["folds"]["mean"] == expected["folds"]["mean"]
        words = ("calibrate", bundle, "--data", lfw / "lfw", *own, "--pairs", "all_of_a_file")
        assert main([*map(str, words), "--json"]) == 0
        found = json.loads(capsys.readouterr().out)["new"]
        assert found["distance"] == "cosine_of_a_file"
        assert found["pair_rule"]["name"] == "all_of_a_file"
    finally:
        siamese.DISTANCES._classes.pop("cosine_of_a_file", None)
        siamese.PAIR_RULES._classes.pop("all_of_a_file", None)


def test_settings_of_hydra_belong_to_train_alone(lfw, bundle, capsys):
    words = (bundle, "benchmark=lfw_view1", f"data={lfw}")
    assert "write --benchmark lfw_view1: name=value is for siamese train" in _exit(capsys, *words)
    assert "did you mean '--benchmark'" in _exit(capsys, "benchmrk=lfw_view1", f"data={lfw}")


def test_the_folder_of_images_may_be_given(lfw, bundle, capsys):
    one = answer(capsys, bundle, "--benchmark", "lfw_view1", "--data", lfw)
    other = answer(capsys, bundle, "--benchmark", "lfw_view1", "--data", lfw / "lfw")
    assert one == other


@pytest.mark.parametrize(("old", "new"), [("--protocol", "--benchmark"), ("--copies", "--tta")])
def test_an_option_that_was_renamed_says_so(old, new, capsys):
    assert f"{old} is now called {new}" in _exit(capsys, old, "3")


def test_what_is_printed_and_written(lfw, bundle, tmp_path, capsys):
    words = ["evaluate", bundle, "--benchmark", "lfw_view2", "--data", str(lfw)]
    assert main([*words, "--out", str(tmp_path / "out")]) == 0
    printed = capsys.readouterr().out
    assert "mean and standard error of 3 folds), every pair answered" in printed
    assert "at the bundle's own threshold" in printed
    written = json.loads((tmp_path / "out" / "folds.json").read_text())
    assert f"accuracy {written['folds']['mean']:.4f}" in printed
    # Without being told so, no other figures take their place.
    (tmp_path / "out" / "folds.json").write_text("{}")
    assert "out holds an evaluation: give" in refused(capsys, *words[1:], "--out", tmp_path / "out")
    assert (tmp_path / "out" / "folds.json").read_text() == "{}"
    assert main([*words, "--out", str(tmp_path / "out"), "--overwrite"]) == 0
    assert json.loads((tmp_path / "out" / "folds.json").read_text()) == written


def test_a_csv_of_ones_own_at_a_policy_or_a_number(lfw, bundle, tmp_path, capsys):
    rows = [
        (f"lfw/P{k}/P{k}_0001.jpg", f"lfw/P{o}/P{o}_0002.jpg", int(k == o), k % 2)
        for k in range(6)
        for o in (k, (k + 2) % 6)
    ]
    path = tmp_path / "mine.csv"
    path.write_text("left,right,same,fold\n" + "".join(f"{a},{b},{s},{f}\n" for a, b, s, f in rows))
    found = answer(capsys, bundle, "--pairs-file", path, "--data", lfw, "--policy", "recall,rate=1")
    assert (found["folds"]["benchmark"], found["folds"]["policy"]) == ("mine", "recall")
    # One fold: the bundle's threshold.
    path.write_text("left,right,same\n" + "".join(f"{a},{b},{s}\n" for a, b, s, _ in rows))
    found = answer(capsys, bundle, "--pairs-file", path, "--data", lfw)
    assert found["folds"]["policy"] == "given"
    own = siamese.Bundle.load(bundle).operating_point.threshold
    assert found["folds"]["folds"][0]["threshold"] == own
    in_python = siamese.evaluate_benchmark(
        bundle, siamese.PairsFile.read(path, lfw), progress=False
    )
    assert json.loads(json.dumps(in_python.to_dict())) == found["folds"]
    found = answer(capsys, bundle, "--pairs-file", path, "--data", lfw, "--threshold", "0.5")
    assert found["folds"]["folds"][0]["threshold"] == 0.5


def test_images_that_are_left_out_answer_different(lfw, bundle, tmp_path, capsys, monkeypatch):
    """The cropper skips every first image: pairs with one are refused, and counted as missing."""
    monkeypatch.setattr(siamese.NoCropper, "verdict", lambda self, faces: "keep")
    pairs = siamese.lfw_view2(lfw)
    real = siamese.crop_files(pairs.paths, siamese.NoCropper(32))
    import dataclasses

    from siamese.evaluation import benchmark

    files = [
        None if path.name.endswith("_0001.jpg") else file
        for path, file in zip(pairs.paths, real.files, strict=True)
    ]
    faces = [0 if file is None else 1 for file in files]
    monkeypatch.setattr(
        benchmark,
        "crop_files",
        lambda *_, **__: dataclasses.replace(real, files=files, faces=faces),
    )
    network = siamese.Bundle.load(bundle).backbone
    found = siamese.measure_benchmark(
        network, siamese.EuclideanDistance(), siamese.NoCropper(32), pairs
    )
    assert found.refused.sum() == 6  # in each fold the first genuine and the first impostor pair
    assert found.not_acquired == 6
    result = found.evaluate(1e9)
    assert [(f.tp, f.fn, f.fp, f.tn) for f in result.folds] == [(1, 1, 1, 1)] * 3
    assert (result.mean, result.strict_mean) == (0.5, 0.25)
    assert len(found.pair_distances.pairs) == 6


def test_mistakes(lfw, bundle, tmp_path, capsys):
    view2 = (bundle, "--benchmark", "lfw_view2", "--data")
    assert "--data PATH" in refused(capsys, bundle, "--benchmark", "lfw_view2")
    assert "lfw_view1" in _exit(capsys, bundle, "--benchmark", "lfw_view3", "--data", lfw)
    assert "leave out one" in refused(capsys, *view2, lfw, "--pairs-file", "x.csv")
    for option in (["--pairs", "all_pairs"], ["--splits", "test"], ["--tta", "3"], ["--root", "x"]):
        said = refused(capsys, *view2, lfw, *option)
        assert option[0] in said
        assert "leave it out" in said
    assert "no such folder" in refused(capsys, *view2, tmp_path / "none")
    (tmp_path / "x.csv").write_text("left,right,same\n")
    assert "the paths in" in refused(
        capsys, bundle, "--pairs-file", tmp_path / "x.csv", "--data", tmp_path / "none"
    )
    both = ("--policy", "eer", "--threshold", "1")
    assert "leave out --threshold" in refused(capsys, *view2, lfw, *both)
    assert "finite" in refused(capsys, *view2, lfw, "--threshold", "nan")


def _exit(capsys, *words: object) -> str:
    with pytest.raises(SystemExit):
        main(["evaluate", *map(str, words)])
    return capsys.readouterr().err


def test_what_an_option_takes_and_what_follows_two_dashes_is_no_setting(
    lfw, bundle, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    words = ["evaluate", bundle, "--benchmark", "lfw_view1", "--data", str(lfw)]
    assert main([*words, "--json", "--out", "data=x"]) == 0
    assert (tmp_path / "data=x" / "folds.json").is_file()
    assert "data=y: no" in refused(capsys, "--", "data=y")


def test_mistakes_are_named_before_the_bundle_is_opened(capsys):
    assert "--data PATH" in refused(capsys, "no-such-bundle", "--benchmark", "lfw_view2")


def test_a_file_of_that_name_is_no_setting(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data=x").mkdir()
    assert "data=x: not the folder of a run" in refused(capsys, "data=x")
