"""The command `siamese`, run as a user runs it.

Train, evaluate, verify, Hydra's features, and mistakes.
"""

import csv
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw
from tests.helpers import assert_says

from siamese.cli.main import main
from siamese.inference.bundle import Bundle

QUICK = [
    "experiment=quick",
    "data/cropper=none",
    "data.cropper.size=32",
    "data.workers=0",
    "module.backbone.widths=[8]",
    "module.backbone.depths=[1]",
    "plots=false",  # they take longer than the training
]


def face(path, identity, shot, size=48):
    """A drawing: colours and proportions tell the identity; each shot differs a little."""
    rng, jitter = np.random.default_rng(identity), np.random.default_rng([identity, shot])
    image = Image.new("RGB", (size, size), tuple(rng.integers(60, 200, 3).tolist()))
    x, y = (size / 2 + jitter.normal(0, 1, 2)).tolist()
    w, h = rng.uniform(8, 20, 2).tolist()
    ImageDraw.Draw(image).ellipse(
        (x - w, y - h, x + w, y + h), fill=tuple(rng.integers(0, 256, 3).tolist())
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)


@pytest.fixture(scope="module")
def identities(tmp_path_factory):
    root = tmp_path_factory.mktemp("identities")
    for identity in range(10):
        for shot in range(4):
            face(root / f"p{identity}" / f"{shot}.png", identity, shot)
    return root


@pytest.fixture(scope="module")
def run_folder(identities, tmp_path_factory):
    """One finished run, in its own working folder."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        words = ["train", "data=folder", f"data.root={identities}", *QUICK, "plots=true"]
        assert main(words) == 0
    return home / "runs" / "latest"


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refused(capsys, *argv):
    """The one line that an error prints."""
    assert main([str(a) for a in argv]) == 2
    streams = capsys.readouterr()
    lines = [
        line
        for line in streams.err.splitlines()
        if "UserWarning" not in line and "warnings.warn" not in line
    ]
    assert len(lines) == 1, streams.err
    assert "Traceback" not in streams.err
    assert re.match(r"siamese \w+: error: ", lines[0])
    return lines[0]


def test_a_run_leaves_everything_behind(run_folder):
    assert {p.name for p in run_folder.iterdir()} >= {
        "bundle",
        "checkpoints",
        "split.json",
        "crops.json",
        "evaluation.json",
        "timing.json",
        "plots",
        "logs",
        ".hydra",
    }
    assert {p.name for p in (run_folder / "checkpoints").iterdir()} == {"best.ckpt", "last.ckpt"}
    for plot in ("loss_curves", "distances"):
        assert Image.open(run_folder / "plots" / f"{plot}.png").width > 400
    assert list((run_folder / "logs" / "tensorboard").glob("events.*"))
    rows = list(csv.DictReader((run_folder / "logs" / "csv" / "metrics.csv").open()))
    logged = {
        "train/loss",
        "calibration/loss",
        "calibration/f1",
        "calibration/threshold",
        "train/lr",
        "epoch",
    }
    assert logged <= set(rows[0])
    figures = json.loads((run_folder / "evaluation.json").read_text())
    assert set(figures) == {"train", "calibration", "test"}
    for split in figures.values():
        wanted = {
            "identities",
            "images",
            "genuine",
            "impostor",
            "prevalence",
            "threshold",
            "accuracy",
            "error",
            "precision",
            "recall",
            "f1",
            "auc",
            "eer",
            "confusion",
            "ci95",
        }
        assert wanted <= set(split)
        names = {"accuracy", "error", "precision", "recall", "fmr", "f1", "auc", "eer"}
        # Of fewer than five identities nothing is known.
        assert set(split["ci95"]) == (names if split["identities"] >= 5 else set())
        assert sum(split["confusion"].values()) == split["genuine"] + split["impostor"]
    counts = json.loads((run_folder / "crops.json").read_text())["splits"]
    assert {s: (c["identities"], c["images"]) for s, c in counts.items()} == {
        "train": (6, 24),
        "calibration": (2, 8),
        "test": (2, 8),
    }


def test_the_stored_threshold_gives_the_stored_counts_everywhere(run_folder, capsys):
    figures = json.loads((run_folder / "evaluation.json").read_text())
    point = json.loads((run_folder / "bundle" / "bundle.json").read_text())["operating_point"]
    assert figures["calibration"]["confusion"] == {k: point[k] for k in ("tp", "fp", "fn", "tn")}
    assert main(["evaluate", str(run_folder), "--json"]) == 0
    beside = [figures[split].pop("baselines") for split in ("calibration", "test")]
    assert all(list(b) == ["untrained", "descriptors"] for b in beside)
    assert json.loads(capsys.readouterr().out) == figures


def test_evaluating_prints_tables_and_writes_files(run_folder, here, capsys):
    words = ["evaluate", str(run_folder / "bundle"), "--out", "again", "--pairs", "all_pairs"]
    assert main(words) == 0
    assert "true matches" in capsys.readouterr().out
    assert json.loads((here / "again" / "evaluation.json").read_text())["test"]["impostor"] == 16
    assert (here / "again" / "plots" / "distances.png").is_file()


def test_evaluating_on_other_identities(run_folder, identities, here, capsys):
    other = here / "other"
    for identity in ("p0", "p1", "p2"):
        shutil.copytree(identities / identity, other / identity)
    assert main(["evaluate", str(run_folder), "--data", str(other), "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert (figures["data"]["identities"], figures["data"]["images"]) == (3, 12)
    assert "no images" in refused(
        capsys, "evaluate", run_folder, "--data", (here / "empty").mkdir() or here / "empty"
    )


def test_a_changed_image_or_manifest_is_noticed(run_folder, identities, here, capsys):
    moved = here / "moved"
    shutil.copytree(identities, moved)
    assert main(["evaluate", str(run_folder), "--root", str(moved), "--json"]) == 0
    capsys.readouterr()
    face(moved / "p3" / "0.png", 99, 99)
    assert "has changed since the split was made" in refused(
        capsys, "evaluate", run_folder, "--root", moved
    )
    run = here / "run"
    shutil.copytree(run_folder, run)
    manifest = json.loads((run / "split.json").read_text())
    manifest["splits"]["test"].append(manifest["splits"]["train"][0])
    (run / "split.json").write_text(json.dumps(manifest))
    assert "is in both train and test" in refused(capsys, "evaluate", run)


def test_verify_answers_by_exit_code_and_json(run_folder, identities, capsys):
    a = str(identities / "p0" / "0.png")
    bundle = ["--bundle", str(run_folder / "bundle")]
    assert main(["verify", a, a, *bundle]) == 0
    assert capsys.readouterr().out.startswith("same identity: distance 0.0000 <= ")
    codes = set()
    for identity in range(1, 10):
        code = main(["verify", a, str(identities / f"p{identity}" / "1.png"), "--json", *bundle])
        answer = json.loads(capsys.readouterr().out)
        assert code == (0 if answer["same"] else 1)
        assert answer["same"] == (answer["distance"] <= answer["threshold"])
        codes.add(code)
    assert 1 in codes
    assert main(["verify", a, "missing.jpg", "--json", *bundle]) == 2
    assert "no such file" in json.loads(capsys.readouterr().out)["error"]


def test_verify_takes_the_newest_run_where_it_is_asked_to(
    run_folder, identities, monkeypatch, capsys
):
    monkeypatch.chdir(run_folder.parent.parent)
    a = str(identities / "p0" / "0.png")
    assert main(["verify", a, a, "--bundle", "runs/latest"]) == 0


def test_multirun_gives_one_folder_each(identities, here, capsys):
    words = ["data=folder", f"data.root={identities}", "data.seed=1,2", "max_epochs=1", *QUICK]
    assert main(["train", "--multirun", *words]) == 0
    manifests = [
        json.loads(p.read_text()) for p in sorted(here.glob("runs/multirun/*/*/split.json"))
    ]
    assert [m["seed"] for m in manifests] == [1, 2]
    assert manifests[0]["splits"] != manifests[1]["splits"]
    said = capsys.readouterr().out
    assert "best by the calibration people's EER: runs/multirun/" in said
    assert "the calibration people are not the same in all runs" in said
    (table,) = here.glob("runs/multirun/*/sweep.csv")
    rows = {row["run"]: row for row in csv.DictReader(table.open())}
    for number, row in rows.items():
        figures = json.loads((table.parent / number / "evaluation.json").read_text())
        assert float(row["eer"]) == figures["calibration"]["eer"]


def test_cfg_job_shows_the_settings_and_trains_nothing(here, capsys):
    words = ["module.loss.margin=0.7", "data/cropper=dlib_hog", "data.cropper.margin=0.3"]
    assert main(["train", "--cfg", "job", *words]) == 0
    shown = capsys.readouterr().out
    assert "margin: 0.7" in shown
    assert "margin: 0.3" in shown
    assert not (here / "runs").exists()


@pytest.mark.parametrize("command", ["train", "evaluate", "verify", "demo", "download"])
def test_help(command, capsys):
    if command == "train":  # the others leave it to argparse, which stops the program
        assert main([command, "--help"]) == 0
    else:
        with pytest.raises(SystemExit) as stop:
            main([command, "--help"])
        assert stop.value.code == 0
    shown = capsys.readouterr().out
    assert f"usage: siamese {command}" in shown
    assert len(shown) > 300


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (["modle.loss.margin=1"], "did you mean 'module.loss.margin'"),
        (["module.optimizer.lrr=1"], "did you mean 'module.optimizer.lr'"),
        (["module.loss.margn=1"], "did you mean 'module.loss.margin'"),
        (["module.backbone.learned_siz=3"], "did you mean 'module.backbone.learned_size'"),
        (["data.bad_image=error"], "did you mean 'data.bad_images'"),
        (["max_epoch=3"], "did you mean 'max_epochs'"),
        (["trainer.gradient_clip_vall=1"], "did you mean 'trainer.gradient_clip_val'"),
        (
            ["data.root=x"],
            r"data.root belongs to another choice: add data=csv or data=folder or data=lfw",
        ),
        (["data.seed=abc"], "data.seed must be a whole number, not 'abc'"),
        (["data=lwf"], "did you mean 'lfw'"),
        (["module/schedule=null"], r"module/schedule has no choice 'null' \(choose one of: con"),
        (["data/croper=none"], "did you mean 'data/cropper'"),
        (["data.cropper=fixd_box"], r"write data/cropper=fixd_box \(did you mean 'fixed_box'"),
        (["experiment=quik"], "did you mean 'quick'"),
        (["--multirn"], "did you mean '--multirun'"),
        (["data=lfw"], r"data\.root is not given; add data\.root="),
        (["data=lfw", "data.root=/nowhere"], "no such folder"),
        (["data.bad_images=eror"], "did you mean 'error'"),
        (["data/cropper=dlib_hog", "data.cropper.no_face=skipp"], "did you mean 'skip'"),
        (["keep=bst"], "did you mean 'best'"),
        (["module.loss.margin=-1"], "margins must satisfy"),
        (["data.split.shares=[100,1,1]"], "calibration split of orl got 1 identities"),
        (["data.augmentation.flip=2"], "flip must be between 0 and 1"),
        (["+module.nonsense=1"], "SiameseModule has no argument 'nonsense'"),
        (["seed=abc"], "seed must be a whole number"),
        (["data.seed=-1"], "seeds must be"),
        (["max_epochs=abc"], "max_epochs must be"),
        (["max_epochs=0"], "max_epochs must be"),
        (["trainer.accelerator=cuda"], "Trainer refuses its settings"),
        (["trainer.devices=2", "trainer.strategy=ddp_spawn"], "trainer.strategy=ddp alone"),
        (["data.workers=-1"], "data.workers must be"),
        (["module.optimizer.lr=abc"], "optimizer"),
        (["monitor.name=val/f2"], "is not logged"),
        (["data.cropper.size=64.5"], "whole number"),
        (["=3"], "not understood"),
        (["max_epochs=[1"], "not understood"),
        (["policy=fmrr"], "did you mean 'fmr'"),
        (["policy=fmr", "policy.rat=1e-3"], "did you mean 'policy.rate'"),
        (["policy=fmr", "policy.rate=2"], "must be above 0 .* and below 1"),
        (["policy.prevalence=rare"], "prevalence must be"),
    ],
)
def test_a_mistake_is_one_line_that_names_the_remedy_and_leaves_nothing(
    words, answer, here, capsys
):
    assert re.search(answer, refused(capsys, "train", *words))
    assert list(here.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (["verfy"], "did you mean 'verify'"),
        (["verify", "a", "b", "--bundel", "x"], "did you mean '--bundle'"),
        (["verify", "a"], "required: B"),
        (["--versoin"], "did you mean '--version'"),
        (["evaluate", "--pairs", "al_pairs"], "did you mean 'all_pairs'"),
        (["evaluate", "--distance", "cosin"], "did you mean 'cosine'"),
        (
            ["calibrate", "--data", "x", "--distance", "learned"],
            r"bundle that was trained with it \(siamese train \.\.\. distance=learned\) and leave "
            r"out the distance \(--distance\)",
        ),
    ],
)
def test_a_misspelt_option_or_command(words, answer, here, capsys):
    try:
        status = main(words)
    except SystemExit as stop:
        status = stop.code
    assert status == 2
    assert re.search(answer, capsys.readouterr().err)


def folder_of(kind, root):
    if kind == "missing root":
        return root / "nowhere"
    root.mkdir()
    if kind == "one identity only":
        for shot in range(5):
            face(root / "p" / f"{shot}.png", 0, shot)
    elif kind == "one image each":
        for identity in range(12):
            face(root / f"p{identity}" / "0.png", identity, 0)
    elif kind != "empty folder":
        for identity in range(10):
            for shot in range(3):
                face(root / f"p{identity}" / f"{shot}.png", identity, shot)
        bad = root / "p4" / "bad.jpg"
        if kind == "text file":
            bad.write_text("not an image")
        elif kind == "truncated":
            Image.effect_noise((80, 80), 50).save(bad)
            bad.write_bytes(bad.read_bytes()[:900])
        elif kind == "0 bytes":
            bad.touch()
        elif kind == "huge":
            import struct
            import zlib

            def chunk(tag, body):
                return (
                    struct.pack(">I", len(body))
                    + tag
                    + body
                    + struct.pack(">I", zlib.crc32(tag + body))
                )

            header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
            bad.with_suffix(".png").write_bytes(
                b"\x89PNG\r\n\x1a\n"
                + chunk(b"IHDR", header)
                + chunk(b"IDAT", zlib.compress(b"\0"))
                + chunk(b"IEND", b"")
            )
    return root


@pytest.mark.parametrize(
    ("kind", "answer"),
    [
        ("missing root", "no such folder"),
        ("empty folder", "no images found.*expected .*<identity>/<image>.jpg"),
        ("one identity only", "1 identity; .*at least 6 identities"),
        ("one image each", "0 identities with two images or more.*add images"),
        ("text file", r"bad.jpg \(not an image in a known format\).*bad_images=quarantine"),
        ("truncated", r"bad.jpg \(damaged or truncated"),
        ("0 bytes", r"bad.jpg \(empty file"),
        ("huge", r"bad.png \(.*more than"),
    ],
)
def test_bad_data_is_one_line_and_leaves_nothing(kind, answer, tmp_path, here, capsys):
    root = folder_of(kind, tmp_path / "data")
    line = refused(capsys, "train", "data=folder", f"data.root={root}", *QUICK)
    assert re.search(answer, line)
    assert not (here / "runs").exists()


@pytest.mark.parametrize("kind", ["text file", "0 bytes"])
def test_bad_images_can_be_left_out_and_are_counted(kind, tmp_path, here, capsys):
    root = folder_of(kind, tmp_path / "data")
    words = ["data=folder", f"data.root={root}", "data.bad_images=quarantine", *QUICK]
    assert main(["train", *words]) == 0
    crops = json.loads((here / "runs" / "latest" / "crops.json").read_text())
    assert list(crops["quarantine"]) == ["p4/bad.jpg"]
    assert sum(split["bad"] for split in crops["splits"].values()) == 1
    manifest = json.loads((here / "runs" / "latest" / "split.json").read_text())
    assert manifest["quarantine"] == crops["quarantine"]


def test_a_bug_is_not_taken_for_a_verdict(run_folder, identities, capsys, monkeypatch):
    a = str(identities / "p0" / "0.png")
    monkeypatch.setattr("siamese.inference.verifier.Verifier.verify", lambda *_: 1 / 0)
    assert main(["verify", a, a, "--bundle", str(run_folder)]) == 2
    assert "unexpected ZeroDivisionError" in capsys.readouterr().err


def test_a_reader_that_has_gone_is_not_taken_for_a_verdict(run_folder, identities):
    a = str(identities / "p0" / "0.png")
    words = ["verify", a, a, "--bundle", str(run_folder)]
    command = [sys.executable, "-m", "siamese.cli.main", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        child.stdout.close()
        assert child.wait(60) == 2


def test_other_identities_that_are_not_other_are_noted(run_folder, identities, capsys):
    assert main(["evaluate", str(run_folder), "--data", str(identities), "--json"]) == 0
    said = capsys.readouterr().err
    assert "on 8 identities of these names, and on 32 of these very images" in said
    assert "to evaluate a run on these images: --data" in refused(capsys, "evaluate", identities)


@pytest.mark.parametrize(
    ("words", "replaced"),
    [([], "true"), (["--out", "mine"], "false"), (["--out", "mine", "--overwrite"], "true")],
)
def test_a_second_demo_replaces_the_first(here, monkeypatch, words, replaced):
    """But only in its own folder, unless it is told to."""
    given = []
    monkeypatch.setattr("siamese.cli.train.run_words", lambda settings: given.append(settings) or 7)
    assert main(["demo", *words]) == 7
    assert given == [
        [f"hydra.run.dir='{(words or ['', 'runs/demo'])[1]}'", f"overwrite={replaced}"]
    ]


def test_demo_fails_with_the_error_of_training(here, capsys, monkeypatch):
    monkeypatch.setattr("siamese.datasets.orl.importlib.metadata.distribution", _no_distribution)
    assert "pip install 'siamese-lightning[demo]'" in refused(capsys, "demo")
    assert not Path("runs").exists()


def _no_distribution(name):
    import importlib.metadata

    raise importlib.metadata.PackageNotFoundError(name)


def test_another_policy_and_other_identities_from_the_command_line(
    run_folder, identities, here, capsys
):
    a, b = (str(identities / "p0" / f"{shot}.png") for shot in range(2))
    verify = ["verify", a, b, "--bundle", str(run_folder)]
    evaluate = ["evaluate", str(run_folder)]
    data = ["--data", str(identities)]
    main([*verify, "--policy", "recall,rate=1", "--json"])
    lenient = json.loads(capsys.readouterr().out)
    main([*verify, "--policy", "recall,rate=0.5", "--json"])
    assert lenient["threshold"] > json.loads(capsys.readouterr().out)["threshold"]
    assert "rule of 30" in refused(capsys, *verify, "--policy", "fmr,rate=0.001")
    for wrong in ("fmr,0.1", "fmr,name=eer"):
        assert "write NAME,SETTING=VALUE" in refused(capsys, *verify, "--policy", wrong)
    assert main([*evaluate, "--policy", "recall,rate=1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["calibration"]["recall"] == 1
    assert "leave out the threshold (--threshold)" in refused(
        capsys, *evaluate, "--policy", "eer", "--threshold", "1"
    )
    assert "leave out tta (--tta)" in refused(capsys, *evaluate, "--policy", "eer", "--tta", "2")

    at_half = ["--splits", "calibration", "--threshold", "0.5", "--out", "at_half"]
    assert main([*evaluate, *at_half]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "distance <= 0.5000; a number that was given" in said
    # The calibration still tells chances, at its prevalence.
    assert (here / "at_half" / "plots" / "reliability.png").exists()
    for number in ("nan", "inf"):
        assert "finite" in refused(capsys, *evaluate, "--threshold", number)

    again = ["calibrate", str(run_folder), *data, "--policy", "eer", "--pairs", "all_pairs"]
    assert main([*again, "--json", "--out", "own"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["new"]["identities"] == 10
    assert (found["new"]["genuine"], found["new"]["impostor"]) == (60, 720)
    own = json.loads((here / "own" / "bundle.json").read_text())
    assert own["operating_point"] == found["new"]
    assert own["provenance"]["recalibrated"]["threshold_before"] == found["old"]["threshold"]
    assert found["drifted"] is None  # two identities calibrated the bundle
    # The old threshold's counts are what evaluating it on these identities gives.
    assert main([*evaluate, *data, "--pairs", "all_pairs", "--json"]) == 0
    counts = json.loads(capsys.readouterr().out)["data"]["confusion"]
    assert counts == {k: found["old"][k] for k in ("tp", "fp", "fn", "tn")}
    assert main(["verify", a, a, "--bundle", "own"]) == 0
    assert f"<= {found['new']['threshold']:.4f}" in capsys.readouterr().out
    assert main(again) == 0
    said = capsys.readouterr().out
    assert "too few identities or pairs, here or in the bundle's calibration" in said
    assert main(["calibrate", "own", *data]) == 0
    said = capsys.readouterr()
    # These are the very identities that it was calibrated on.
    assert "the policy's threshold is not shown to have moved" in said.out
    # The bundle lies in no run's folder, and knows all the same whom it has read.
    assert "calibrated on 10 identities of these names, and on 40 of these very images" in said.err
    assert main(["evaluate", "own", *data]) == 0
    assert "calibrated on 10 identities of these names" in capsys.readouterr().err
    assert "give some: data=PATH (--data PATH)" in refused(capsys, "evaluate", "own")
    # More pairs of the same identities are other pairs, not other identities.
    balanced = ["--policy", "max_f1", "--pairs", "balanced_pairs", "--out", "own2"]
    assert main(["calibrate", "own", *data, *balanced]) == 0
    every = ["calibrate", "own2", *data, "--pairs", "all_pairs", "--out", "own3"]
    assert main([*every, "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["drifted"] is False
    assert "own3 holds a bundle: give another folder, or add --overwrite" in refused(capsys, *every)
    assert main([*every, "--overwrite"]) == 0
    said = capsys.readouterr()
    assert "of the pairs here 7.69% are genuine, of the bundle's 50.00%" in said.out
    rare = [*evaluate, "--splits", "test", "--policy", "max_f1,prevalence=0.1"]
    assert main([*rare, "--json"]) == 0
    at = json.loads(capsys.readouterr().out)["test"]["at_prevalence"]
    assert (at["prevalence"], set(at)) == (0.1, {"prevalence", "precision", "f1", "accuracy"})
    assert main(rare) == 0
    assert "F1 at prevalence 0.1" in capsys.readouterr().out
    (here / "photos").mkdir()
    (here / "photos" / "one.jpg").touch()
    assert "holds something else than a bundle" in refused(capsys, *again, "--out", here / "photos")
    assert "is what is read; give another folder" in refused(
        capsys, *again, "--out", run_folder / "bundle"
    )


def test_a_finished_run_is_not_written_over(run_folder, here, capsys):
    before = {p: p.read_bytes() for p in run_folder.rglob("*.json")}
    for out in (run_folder, run_folder / "bundle"):
        words = ["evaluate", run_folder, "--splits", "test", "--out", out]
        assert "is what is read; give another folder" in refused(capsys, *words)
    assert {p: p.read_bytes() for p in run_folder.rglob("*.json")} == before


def test_a_run_with_a_policy_over_all_pairs(identities, here, capsys):
    settings = [
        "policy=cost",
        "policy.false_match=5",
        "policy.prevalence=balanced",
        "pairs=all_pairs",
    ]
    assert main(["train", "data=folder", f"data.root={identities}", *QUICK, *settings]) == 0
    bundle = json.loads((here / "runs" / "latest" / "bundle" / "bundle.json").read_text())
    point = bundle["operating_point"]
    assert (point["policy"], point["pair_rule"]["name"]) == ("cost", "all_pairs")
    assert point["target_prevalence"] == 0.5
    given = {name: value for name, value in point["settings"].items() if value is not None}
    assert given == {"false_match": 5, "false_non_match": 1.0, "prevalence": "balanced"}
    capsys.readouterr()
    assert main(["evaluate", "--tta", "2", "--json"]) == 0
    assert "5 expected" not in capsys.readouterr().out


def test_a_promise_for_other_people_is_made_at_the_end_of_a_training(tmp_path, here, capsys):
    for identity in range(30):
        for shot in range(4):
            face(tmp_path / "many" / f"p{identity}" / f"{shot}.png", identity, shot)
    words = ["data=folder", f"data.root={tmp_path / 'many'}", *QUICK, "pairs=all_pairs"]
    settings = ["policy=fmr", "policy.rate=0.3", "policy.confidence=0.9", "policy.weights=people"]
    assert main(["train", *words, *settings]) == 0
    out = " ".join(capsys.readouterr().out.split())  # on lines as wide as the terminal
    assert "for other identities, with a confidence of 0.9" in out
    bundle = Bundle.load(here / "runs" / "latest" / "bundle")
    promise = bundle.operating_point.promise
    assert (promise["figure"], promise["confidence"]) == ("fmr", 0.9)
    assert promise["bound"] <= 0.3
    assert bundle.operating_point.settings["weights"] == "people"
    # What so few people cannot promise is said before anything is trained.
    assert main(["train", *words, "policy=fmr", "policy.rate=0.01", "policy.confidence=0.95"]) == 2
    said = capsys.readouterr()
    assert "25 identities at the least" in said.err
    assert "Epoch" not in said.out + said.err


def test_more_pairs_than_are_held_leave_the_same_figures_and_plots(
    run_folder, here, capsys, monkeypatch
):
    words = ["evaluate", str(run_folder), "--pairs", "all_pairs", "--json"]
    assert main([*words, "--out", "held"]) == 0
    held = json.loads(capsys.readouterr().out)
    monkeypatch.setattr("siamese.verification.measure.HELD", 10)
    assert main([*words, "--out", "streamed"]) == 0
    streamed = json.loads(capsys.readouterr().out)
    for split, figures in held.items():
        assert streamed[split]["confusion"] == figures["confusion"]
        # Distances less than 0.1 % apart count as equal: half a pair of pairs each.
        assert streamed[split]["auc"] == pytest.approx(
            figures["auc"], abs=2.1 / (figures["genuine"] * figures["impostor"])
        )
    names = {p.name for p in (here / "held" / "plots").iterdir()}
    assert {p.name for p in (here / "streamed" / "plots").iterdir()} == names


@pytest.mark.parametrize(
    "words",
    [
        ["audit", "~nobody-of-here/people", "--bundle", "none"],
        ["evaluate", "pretrained", "--data", "~nobody-of-here/people"],
        ["cache", "--cache", "~nobody-of-here/cache"],
    ],
)
def test_the_folder_of_a_user_who_is_not_there_is_no_bug(words, capsys):
    assert main(words) == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert_says(said, "error: a path begins with ~", "write the whole path")
