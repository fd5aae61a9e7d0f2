"""evaluate_run: a run on its splits, on other data, from a checkpoint of a run that was killed."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from tests.helpers import write_identities

import siamese
from siamese.errors import BundleError, ConfigError

TRAIN = """
import sys, siamese
siamese.seed_everything(0)
data = siamese.FolderDataModule(
    sys.argv[1],
    cropper=siamese.NoCropper(32),
    sampler=siamese.IdentitySampler(4, 2, steps=3),
    workers=0,
    progress=False,
)
net = siamese.SmallResNet(widths=(8,), depths=(1,), learned_size=8)
module = siamese.SiameseModule(net, siamese.ContrastiveLoss(), schedule=None)
siamese.train(
    module, data, sys.argv[2], max_epochs=int(sys.argv[3]), keep="last", policy="eer", verbose=False
)
"""


def start(identities, folder, epochs):
    command = [sys.executable, "-c", TRAIN, str(identities), str(folder), str(epochs)]
    return subprocess.Popen(command, stderr=subprocess.PIPE)


@pytest.fixture(scope="module")
def identities(tmp_path_factory):
    return write_identities(tmp_path_factory.mktemp("identities"), [4] * 30)


@pytest.fixture(scope="module")
def run(identities, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "whole"
    process = start(identities, folder, 2)
    assert process.wait(120) == 0, process.stderr.read().decode()
    return folder


def test_a_finished_run_gives_the_figures_that_it_wrote(run, tmp_path):
    found = siamese.evaluate_run(run, progress=False)
    written = json.loads((run / "evaluation.json").read_text())
    assert json.loads(json.dumps(found.to_dict())) == written
    assert (found.notes, found.recalibrated) == ((), False)
    assert found.operating_point == siamese.Bundle.load(run).operating_point
    assert found.evaluations["calibration"].ci95["f1"] == found.operating_point.ci95["f1"]
    folder = found.write(tmp_path / "again")
    assert json.loads((folder / "evaluation.json").read_text()) == written
    assert (folder / "plots" / "curves.png").is_file()
    assert len(repr(found)) < 200


def test_a_run_killed_in_training_is_evaluated_and_made_a_bundle(identities, tmp_path):
    folder = tmp_path / "killed"
    process = start(identities, folder, 10_000)
    last = folder / "checkpoints" / "last.ckpt"
    for _ in range(1200):
        if last.exists() and (folder / "checkpoints" / "best.ckpt").exists():
            break
        time.sleep(0.05)
        assert process.poll() is None, process.stderr.read().decode()
    # While it is still training, too.
    assert siamese.evaluate_run(folder, splits=["test"], progress=False).recalibrated
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (folder / "bundle").exists()
    found = siamese.evaluate_run(folder, progress=False)
    checkpoint = torch.load(last, weights_only=True)
    point = found.operating_point
    assert (point.policy, point.epoch, point.step) == (
        "eer",
        checkpoint["epoch"],
        checkpoint["global_step"],
    )
    assert list(found.evaluations) == ["train", "calibration", "test"]
    assert "last checkpoint" in found.notes[0]
    for name, value in found.bundle.backbone.state_dict().items():
        trained = checkpoint["state_dict"][f"backbone.{name}"]
        assert torch.equal(value, trained) or "whiten" in name or "gradient" in name, name
    saved = found.bundle.save(tmp_path / "bundle")
    a, b = sorted((identities / "person_00").iterdir())[:2]
    verdict = siamese.Verifier.load(saved).verify(a, b)
    assert verdict.threshold == point.threshold
    # The very bundle that the run would have ended with: the same epoch, trained to its end.
    whole = tmp_path / "whole"
    assert start(identities, whole, checkpoint["epoch"] + 1).wait(300) == 0
    ended = siamese.Bundle.load(whole)
    for name, value in ended.backbone.state_dict().items():
        assert torch.equal(value, found.bundle.backbone.state_dict()[name]), name
    assert ended.operating_point == point
    assert siamese.evaluate_run(whole, progress=False).evaluations == found.evaluations


def test_what_is_no_run_is_refused_in_words(run, tmp_path):
    (tmp_path / "folder").mkdir()
    with pytest.raises(ConfigError, match="not the folder of a run"):
        siamese.evaluate_run(tmp_path / "folder")
    with pytest.raises(BundleError, match="no bundle"):
        siamese.evaluate_run(tmp_path / "nowhere")
    early = tmp_path / "early"
    early.mkdir()
    (early / "run.json").write_text((run / "run.json").read_text())
    with pytest.raises(BundleError, match="neither a bundle nor a checkpoint yet"):
        siamese.evaluate_run(early)
    (early / "checkpoints").mkdir()
    (early / "checkpoints" / "last.ckpt").write_bytes(b"half a file")
    with pytest.raises(BundleError, match="not a checkpoint"):
        siamese.evaluate_run(early)
    last = (run / "checkpoints" / "last.ckpt").read_bytes()
    (early / "checkpoints" / "last.ckpt").write_bytes(last)
    (early / "split.json").write_text((run / "split.json").read_text())
    for change in ({"backbone": {"name": "os.system"}}, {"version": 99}, {"policy": "magic"}):
        values = json.loads((run / "run.json").read_text()) | change
        (early / "run.json").write_text(json.dumps(values))
        with pytest.raises(BundleError):
            siamese.evaluate_run(early)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"policy": "eer", "threshold": 1.0}, "leave out the threshold"),
        ({"policy": "eer", "tta": 2}, "leave out tta"),
        ({"on": "x", "data": "y"}, "leave out the data"),
        ({"on": "x", "tta": 2}, "leave out tta"),
        ({"data": "y", "tta": 2}, "or give a threshold"),
        ({"threshold": float("inf")}, "finite number"),
        ({"policy": "max_f2"}, "did you mean 'max_f1'"),
        ({"splits": ["tset"]}, "did you mean 'test'"),
        ({"pairs": "all_piars"}, "did you mean 'all_pairs'"),
        ({"tta": -1}, "at least 0"),
    ],
)
def test_what_contradicts_itself_is_refused(run, settings, words):
    with pytest.raises(ConfigError, match=words):
        siamese.evaluate_run(run, progress=False, **settings)


def test_a_bundle_needs_data_and_other_data_are_one_split(run, identities, tmp_path):
    bundle = siamese.Bundle.load(run)
    with pytest.raises(ConfigError, match="knows no images"):
        siamese.evaluate_run(bundle)
    table = siamese.IdentityTable.from_folder(identities)
    by_table = siamese.evaluate_run(bundle, table, progress=False)
    by_folder = siamese.evaluate_run(run, identities, progress=False)
    assert by_table.evaluations == by_folder.evaluations
    assert list(by_table.evaluations) == ["data"]
    assert by_table.notes == ()
    assert "24 identities of these names" in by_folder.notes[0]


def test_another_policy_a_number_and_another_number_of_augmented_views(run):
    def at(**settings):
        return siamese.evaluate_run(run, splits=["calibration"], progress=False, **settings)

    strict = at(policy=siamese.Recall(1.0))
    assert strict.evaluations["calibration"].recall == 1
    assert strict.operating_point.policy == "recall"
    given = at(threshold=0.25)
    assert given.evaluations["calibration"].threshold == 0.25
    averaged = at(tta=3)
    assert (averaged.bundle.tta, averaged.recalibrated) == (3, True)
    assert averaged.operating_point.policy == "eer"
    figures = averaged.evaluations["calibration"]
    assert figures.confusion == averaged.operating_point.confusion
    assert averaged.operating_point.threshold != at().operating_point.threshold
