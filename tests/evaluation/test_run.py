"""evaluate_run: a run on its splits, on other data, from a checkpoint of a run that was killed."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
import torch
from tests.helpers import write_identities

import siamese
from siamese.cli.main import main
from siamese.errors import BundleError, ConfigError

TRAIN = """
import sys, siamese, siamese.report.plots
siamese.seed_everything(0)
data = siamese.FolderDataModule(
    sys.argv[1],
    seed=int(sys.argv[4]),
    cropper=siamese.NoCropper(32),
    sampler=siamese.IdentitySampler(4, 2, steps=3),
    workers=0,
    progress=False,
)
net = siamese.SmallResNet(widths=(8,), depths=(1,), learned_size=8)
module = siamese.SiameseModule(net, siamese.ContrastiveLoss(), schedule=None)
siamese.train(
    module,
    data,
    sys.argv[2],
    max_epochs=int(sys.argv[3]),
    keep="last",
    policy="eer",
    pairs="all_pairs",
    resume=sys.argv[5] if len(sys.argv) > 5 else None,
    overwrite=True,
    plots=False,
    verbose=False,
)
"""


def start(identities, folder, epochs, seed=0, *resume):
    words = map(str, (identities, folder, epochs, seed, *resume))
    command = [sys.executable, "-c", TRAIN, *words]
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
    beside = {split: figures.pop("baselines", None) for split, figures in written.items()}
    assert [split for split, of in beside.items() if of] == ["calibration", "test"]
    assert json.loads(json.dumps(found.to_dict())) == written
    assert not found.recalibrated
    assert all("better than chance" in note for note in found.notes)  # after two epochs
    assert found.operating_point == siamese.Bundle.load(run).operating_point
    assert found.evaluations["calibration"].ci95["f1"] == found.operating_point.ci95["f1"]
    (tmp_path / "again" / "plots").mkdir(parents=True)
    for name in ("samples_other.png", "curves.png", "mine.png"):
        (tmp_path / "again" / "plots" / name).touch()
    with pytest.raises(ConfigError, match=r"holds an evaluation.*overwrite=True"):
        found.write(tmp_path / "again")
    folder = found.write(tmp_path / "again", overwrite=True)
    assert not (folder / "plots" / "samples_other.png").exists()  # of another evaluation
    assert (folder / "plots" / "mine.png").exists()
    assert json.loads((folder / "evaluation.json").read_text()) == written
    assert (folder / "plots" / "curves.png").is_file()
    assert len(repr(found)) < 200


def test_a_verdict_of_a_network_that_guesses_says_so(run, identities, capsys):
    a, b = (str(path) for path in sorted(identities.rglob("*.png"))[:2])
    assert siamese.Bundle.load(run).calibration.curve.auc < 0.55  # after two epochs on noise
    assert main(["verify", a, b, "--bundle", str(run)]) in (0, 1)
    assert "note: the network is hardly better than chance (AUC 0." in capsys.readouterr().out


def test_a_verdict_is_as_true_as_it_says(run, identities):
    a, b = sorted(identities.rglob("*.png"))[:2]
    for threshold in (0.0, 9.0):
        verdict = siamese.Verifier.load(run, threshold=threshold).verify(a, b)
        assert bool(verdict) is verdict.same is (threshold > 0)
    with pytest.raises(siamese.ImageError, match="a bytes; give a path"):
        siamese.Verifier.load(run).verify(a.read_bytes(), b)


def test_nothing_prints_pages(run, identities):
    """What a notebook shows of an object: a few lines, whatever it holds."""
    found = siamese.evaluate_run(run, progress=False)
    bundle, data = found.bundle, found.data
    split = data.prepared.splits["train"]
    shown = [
        found, bundle, bundle.calibration, bundle.components, bundle.seen, bundle.operating_point,
        bundle.calibration.curve, bundle.calibration.draws, bundle.calibration.probability,
        siamese.Verifier(bundle), data, data.manifest, data.prepared, split, split.table,
        data.datasets["train"], found.distances["train"], found.evaluations["test"],
        found.evaluations["test"].reliability, siamese.AllPairs()(split.table.labels),
        siamese.crop_files(split.table.paths, bundle.cropper, progress=False),
        found.distances["test"].pairs_to_show(5), siamese.FolderDataModule(identities),
    ]  # fmt: skip
    for each in shown:
        assert 10 < len(repr(each)) < 350, type(each).__name__
        assert type(each).__name__ in repr(each)
        assert "\n" not in repr(each)


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


@pytest.fixture
def unfinished(run, tmp_path):
    """A run as it is when it was killed after its last epoch."""
    folder = tmp_path / "unfinished"
    shutil.copytree(run, folder)
    shutil.rmtree(folder / "bundle")
    return folder


def test_a_folder_never_holds_one_runs_weights_beside_anothers_splits(run, identities, tmp_path):
    folder = tmp_path / "again"
    shutil.copytree(run, folder)
    before = (folder / "split.json").read_text()
    process = start(identities, folder, 10_000, seed=7)
    split = folder / "split.json"
    while not split.exists() or split.read_text() == before:
        time.sleep(0.01)
        assert process.poll() is None, process.stderr.read().decode()
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    # Most likely before its first checkpoint; after that, it is its own.
    assert not (folder / "bundle").exists()
    assert not (folder / "evaluation.json").exists()
    if not (folder / "checkpoints" / "last.ckpt").exists():
        with pytest.raises(BundleError, match="neither a bundle nor a checkpoint yet"):
            siamese.evaluate_run(folder, progress=False)
        process = start(identities, folder, 3, 7, folder)
        assert process.wait(120) != 0
        assert "resume" in process.stderr.read().decode()


def test_a_run_that_is_resumed_in_its_own_folder_keeps_what_it_has(run, identities, tmp_path):
    folder = tmp_path / "longer"
    shutil.copytree(run, folder)
    process = start(identities, folder, 3, 0, folder)
    assert process.wait(120) == 0, process.stderr.read().decode()
    assert siamese.Bundle.load(folder).operating_point.epoch == 2
    assert len((folder / "history.csv").read_text().splitlines()) > 2


def test_the_pairs_of_an_unfinished_run_are_its_own(run, unfinished):
    bundle = siamese.Bundle.load(run)
    whole = siamese.evaluate_run(bundle, on=run, splits="test", progress=False)
    half = siamese.evaluate_run(bundle, on=unfinished, splits="test", progress=False)
    assert whole.evaluations == half.evaluations
    assert half.evaluations["test"].pair_rule["name"] == "all_pairs"
    shutil.rmtree(unfinished / "checkpoints")  # they need no weights of it
    again = siamese.evaluate_run(bundle, on=unfinished, pairs="all_pairs", progress=False)
    assert again.evaluations["test"] == whole.evaluations["test"]


def test_an_unfinished_run_on_other_data_that_moved(run, unfinished, identities, tmp_path):
    table = tmp_path / "table.csv"
    names = [p.relative_to(identities) for p in sorted(identities.glob("person_0*/*.png"))]
    table.write_text("\n".join(["path,identity", *(f"{p},{p.parent}" for p in names)]))
    whole = siamese.evaluate_run(run, table, root=identities, progress=False)
    half = siamese.evaluate_run(unfinished, table, root=identities, progress=False)
    assert whole.evaluations == half.evaluations
    moved = tmp_path / "moved"
    shutil.copytree(identities, moved)
    found = siamese.evaluate_run(unfinished, moved, root=moved, progress=False)
    assert list(found.evaluations) == ["data"]
    again = siamese.recalibrate(unfinished, identities, progress=False)
    assert "last checkpoint" in again.notes[0]
    assert again.old.threshold == siamese.Bundle.load(run).operating_point.threshold


def test_what_is_no_run_is_refused_in_words(run, tmp_path):
    (tmp_path / "folder").mkdir()
    with pytest.raises(ConfigError, match="not the folder of a run"):
        siamese.evaluate_run(tmp_path / "folder")
    with pytest.raises(BundleError, match="no such folder"):
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
    for found in (by_table, by_folder):  # the bundle itself knows whom it has seen
        assert "24 identities of these names" in found.notes[0]


def test_a_bundle_that_chose_its_threshold_on_test_people_says_so(run, identities):
    """Recalibrated on everybody, then evaluated on the very splits of the run."""
    bundle = siamese.recalibrate(run, identities, progress=False).bundle
    found = siamese.evaluate_run(bundle, on=run, splits="test", progress=False)
    assert any("6 identities of these names, and on 24 of these" in note for note in found.notes)
    own = siamese.evaluate_run(siamese.Bundle.load(run), on=run, splits="test", progress=False)
    assert not any("these names" in note for note in own.notes)


def test_a_threshold_belongs_to_one_number_of_augmented_views(run, identities):
    averaged = siamese.evaluate_run(run, splits="test", tta=2, progress=False).bundle
    for bundle, tta in ((averaged, 0), (averaged, 3), (siamese.Bundle.load(run), 2)):
        with pytest.raises(ConfigError, match="or give a threshold"):
            siamese.evaluate_run(bundle, identities, tta=tta, progress=False)
    same = siamese.evaluate_run(averaged, identities, tta=2, progress=False)
    assert same.operating_point == averaged.operating_point


def test_another_policy_a_number_and_another_number_of_augmented_views(run):
    def at(**settings):
        return siamese.evaluate_run(run, splits=["calibration"], progress=False, **settings)

    strict = at(policy=siamese.Recall(1.0))
    assert strict.evaluations["calibration"].recall == 1
    assert (strict.operating_point.policy, strict.recalibrated) == ("recall", True)
    given = at(threshold=0.25)
    assert given.evaluations["calibration"].threshold == 0.25
    averaged = at(tta=3)
    assert (averaged.bundle.tta, averaged.recalibrated) == (3, True)
    assert averaged.operating_point.policy == "eer"
    figures = averaged.evaluations["calibration"]
    assert figures.confusion == averaged.operating_point.confusion
    assert averaged.operating_point.threshold != at().operating_point.threshold
