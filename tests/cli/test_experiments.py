"""The experiments of the baselines and ours, as named, from the command line to a verdict.

They run on drawings in LFW's layout.
"""

import json

import numpy as np
import pytest
from PIL import Image, ImageDraw

from siamese.cli.main import main
from siamese.report.history import read_history

LATEST = ("--bundle", "runs/latest")
GALLERIES = ("samples", "false_matches", "false_non_matches")


@pytest.fixture(scope="module")
def lfw(tmp_path_factory):
    """Thirty identities with five drawings of 250 x 250 pixels each, and pairs of five of them."""
    root = tmp_path_factory.mktemp("lfw")
    for identity in range(30):
        rng = np.random.default_rng(identity)
        ground, skin, eyes = (tuple(rng.integers(40, 255, 3).tolist()) for _ in range(3))
        width, height = rng.integers(30, 50), rng.integers(40, 60)
        for shot in range(5):
            x, y = 125 + np.random.default_rng([identity, shot]).normal(0, 3, 2)
            image = Image.new("RGB", (250, 250), ground)
            draw = ImageDraw.Draw(image)
            draw.ellipse((x - width, y - height, x + width, y + height), fill=skin)
            for side in (-1, 1):
                draw.ellipse((x + side * 15 - 5, y - 15, x + side * 15 + 5, y - 5), fill=eyes)
            path = root / f"Person_{identity:02d}" / f"Person_{identity:02d}_{shot:04d}.jpg"
            path.parent.mkdir(exist_ok=True)
            # Some are drawn alike to the pixel: their files are not.
            image.save(path, comment=f"{identity} {shot}")
    for file in ("pairsDevTrain", "pairsDevTest"):
        who = [f"Person_{i:02d}" for i in (range(5) if file.endswith("Train") else range(25, 30))]
        lines = ["5", *(f"{name}\t0\t1" for name in who)]
        lines += [f"{who[i]}\t0\t{who[i - 1]}\t1" for i in range(5)]
        (root / f"{file}.txt").write_text("\n".join(lines) + "\n")
    return root


IMAGE_DISJOINT = [
    "data.split.train=60",
    "data.split.calibration=12",
    "data.split.validation=12",
    "data.split.test=12",
]
HELD_OUT = ["data.split.test=0.2"]
# No faces to be found on drawings: the middle of each, as large as descriptors need it.
SMALL_NET = [
    "module.backbone.network.width=4",
    "module.backbone.network.size=32",
    "module.backbone.network.views=[0.9,0.7]",
    "module.backbone.components=10",
    "data/cropper=none",
    "data.cropper.size=96",
    "baselines=[]",
]
EXPERIMENTS = {
    "face_comparer": [*IMAGE_DISJOINT, "data.sampler.steps=2", "data.sampler.pairs=16"],
    "face_comparer_plus": [
        *IMAGE_DISJOINT,
        *SMALL_NET,
        "data.sampler.steps=2",
        "data.sampler.identities=4",
    ],
    # Images of 160 pixels through the whole network take long: few of them, and no faces to be
    # found on drawings.
    "face_similarity": [
        *HELD_OUT,
        "data.sampler.steps=2",
        "data.sampler.pairs=4",
        "pairs.limit=20",
        "data/cropper=none",
        "baselines=[]",
    ],
    "face_similarity_plus": [
        *HELD_OUT,
        *SMALL_NET,
        "data.sampler.steps=2",
        "data.sampler.identities=4",
    ],
    "lfw": [
        *SMALL_NET,
        "data.split.calibration=0.2",
        "data.sampler.steps=2",
        "data.sampler.identities=4",
        "baselines=[untrained,descriptors]",
    ],
}


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_an_experiment_runs_as_named_and_leaves_every_plot(
    name, lfw, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    settings = [f"data.root={lfw}", "data.workers=0", "max_epochs=2", *EXPERIMENTS[name]]
    # Without a threshold after the first epoch the second has no train accuracy.
    settings.append("trainer.check_val_every_n_epoch=1")
    assert main(["train", f"experiment={name}", *settings]) == 0
    run = tmp_path / "runs" / "latest"
    figures = json.loads((run / "evaluation.json").read_text())
    point = json.loads((run / "bundle" / "bundle.json").read_text())["operating_point"]
    assert point["policy"] == ("max_f1" if name.startswith("face_similarity") else "max_accuracy")
    protocol = {"face_c": "image_disjoint", "face_s": "held_out_identities", "lfw": ""}[name[:6]]
    splits = {"train", "test"} | ({"validation"} if protocol else set())
    assert set(figures) == splits | ({"calibration"} if name != "face_similarity" else set())
    drawn = {f"{gallery}_{split}.png" for gallery in GALLERIES for split in figures}
    drawn |= {
        "loss_curves.png",
        "curves.png",
        "distances.png",
        "reliability.png",
        "training_pairs.png",
    }
    # Where all identities have as many images, there is no skew to be drawn.
    drawn |= set() if name == "lfw" else {"skew.png"}
    assert {p.name for p in (run / "plots").iterdir()} == drawn
    assert json.loads((run / "skew.json").read_text())["all"]["images"] == (
        135 if name == "lfw" else 150
    )  # strangers have no others
    history = read_history(run / "history.csv")
    assert history["train/loss"][0] == [0, 1]
    assert np.isfinite(history["train/loss"][1]).all()
    assert "train/accuracy" in history
    # Classifiers have nothing to say about others.
    losses = {logged for logged in history if logged.endswith("/loss")}
    assert (losses > {"train/loss"}) == (name in ("face_comparer", "face_similarity"))
    shown = capsys.readouterr().out
    # Labelled wherever figures stand.
    assert all(figures[split]["caution"].startswith(protocol) for split in figures)
    assert protocol in shown
    if name == "lfw":
        beside = figures["test"]["baselines"]
        assert list(beside) == ["untrained", "descriptors"]
        assert (figures["test"]["genuine"], figures["test"]["impostor"]) == (5, 5)
        assert "training" in shown.partition("note: ")[2]
    if protocol == "image_disjoint":
        assert [figures[s]["genuine"] for s in ("train", "validation", "test")] == [30, 6, 6]
        assert [figures[s]["impostor"] for s in ("train", "validation", "test")] == [30, 6, 6]
        assert figures["validation"]["pair_rule"] == {
            "name": "fixed_pairs",
            "source": "image_disjoint",
        }
    # The same figures again from the bundle, and a verdict.
    assert main(["evaluate", "--json"]) == 0
    again = json.loads(capsys.readouterr().out)
    for split, was in figures.items():
        assert again[split]["confusion"] == was["confusion"]
    a, b = (str(lfw / "Person_00" / f"Person_00_{i:04d}.jpg") for i in (0, 1))
    code = main(["verify", a, b, "--json", *LATEST])
    forward = json.loads(capsys.readouterr().out)
    assert forward["threshold"] == figures["test"]["threshold"]
    assert code == (0 if forward["distance"] <= forward["threshold"] else 1)
    just_below = repr(float(np.nextafter(forward["distance"], -1)))
    assert main(["verify", b, a, "--json", *LATEST, "--threshold", just_below]) == 1
    assert json.loads(capsys.readouterr().out)["distance"] == pytest.approx(
        forward["distance"], abs=1e-6
    )
    if name == "face_comparer":
        assert 0 <= forward["distance"] <= 1  # a probability


def test_tta_finds_a_threshold_of_its_own(lfw, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    settings = [
        f"data.root={lfw}",
        "data.workers=0",
        "max_epochs=1",
        "plots=false",
        *EXPERIMENTS["face_comparer_plus"],
    ]
    assert main(["train", "experiment=face_comparer_plus", *settings]) == 0  # never validated
    capsys.readouterr()
    assert main(["evaluate", "--json", "--tta", "3", "--out", "averaged"]) == 0
    found = json.loads(capsys.readouterr().out)
    plain = json.loads((tmp_path / "runs" / "latest" / "evaluation.json").read_text())
    assert found["calibration"]["threshold"] != plain["calibration"]["threshold"]
    assert len({figures["threshold"] for figures in found.values()}) == 1
    assert {p.name for p in (tmp_path / "averaged" / "plots").iterdir()} >= {
        "false_matches_test.png",
        "curves.png",
    }
    a, b = (str(lfw / "Person_00" / f"Person_00_{i:04d}.jpg") for i in (0, 1))
    main(["verify", a, b, "--json", "--bundle", "averaged/bundle"])  # it remembers
    answer = json.loads(capsys.readouterr().out)
    assert (answer["tta"], answer["threshold"]) == (3, found["test"]["threshold"])
    assert answer["probability"] is not None
    main(["verify", a, b, "--tta", "2", "--json", *LATEST])
    streams = capsys.readouterr()
    assert "the threshold was chosen with tta=0" in streams.err
    assert json.loads(streams.out)["tta"] == 2
    assert main(["evaluate", "--data", str(lfw), "--tta", "2"]) == 2
    assert "or give a threshold" in capsys.readouterr().err
    words = ["evaluate", "--data", str(lfw), "--tta", "2", "--threshold", "1.25", "--json"]
    assert main(words) == 0
    assert json.loads(capsys.readouterr().out)["data"]["threshold"] == 1.25
    assert main(["evaluate", "--json", "--tta", "3", "--splits", "test"]) == 0
    few = json.loads(capsys.readouterr().out)
    assert {split: few[split]["confusion"] for split in few} == {"test": found["test"]["confusion"]}
    assert main(["evaluate", "--splits", "tets"]) == 2
    assert "did you mean 'test'" in capsys.readouterr().err
    assert main(["evaluate", "--tta", "-1"]) == 2
    assert "tta must be a whole number of copies of at least 0" in capsys.readouterr().err
