"""Files that version 0.1.0 wrote before names changed: they still load and give the same answers.

``tests/fixtures/version_0_1_0.tar.xz`` holds two runs on made-up images and a calibration, with
what that version answered about them. The images are made again here, byte for byte.
"""

import json
import struct
import tarfile
from pathlib import Path

import numpy as np
import pytest

import siamese
from siamese.cli.main import main

ARCHIVE = Path(__file__).parents[1] / "fixtures" / "version_0_1_0.tar.xz"


def bitmap(pixels):
    """An uncompressed BMP file: no encoder's version changes its bytes."""
    height, width, _ = pixels.shape
    pad = b"\0" * (-3 * width % 4)
    body = b"".join(pixels[y, :, ::-1].tobytes() + pad for y in reversed(range(height)))
    head = struct.pack("<IHHI", 54 + len(body), 0, 0, 54)
    info = (40, width, height, 1, 24, 0, len(body), 2835, 2835, 0, 0)
    return b"BM" + head + struct.pack("<IiiHHIIiiII", *info) + body


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("earlier")
    with tarfile.open(ARCHIVE) as archive:
        # Python 3.11 has filters from its fourth release on.
        safe = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
        archive.extractall(folder, **safe)
    for identity in range(40):
        base = np.random.default_rng(identity).integers(40, 216, (12, 12, 3))
        for i in range(4):
            noise = np.random.default_rng(1000 + 10 * identity + i).integers(-40, 41, (12, 12, 3))
            path = folder / "people" / f"p{identity:02d}" / f"{i}.bmp"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(bitmap(np.clip(base + noise, 0, 255).astype(np.uint8)))
    return folder


@pytest.fixture
def expected(folder, monkeypatch):
    monkeypatch.chdir(folder)
    return json.loads((folder / "expected.json").read_text())


@pytest.mark.parametrize("run", ["far", "learned"])
def test_a_bundle_gives_the_same_verdicts(run, expected):
    verifier = siamese.Verifier.load(run)
    assert verifier.threshold == expected[run]["threshold"]
    for (a, b), was in zip(expected[run]["pairs"], expected[run]["verdicts"], strict=True):
        verdict = verifier.verify(a, b)
        assert (verdict.same, verdict.faces) == (was["same"], tuple(was["faces"]))
        assert verdict.distance == pytest.approx(was["distance"], abs=1e-6)
        assert verdict.probability == pytest.approx(was["probability"], abs=1e-6)
        assert verdict.uncertain == was["uncertain"]


@pytest.mark.parametrize("run", ["far", "learned"])
def test_a_run_gives_the_same_figures(run, expected):
    found = siamese.evaluate_run(run, root="people", progress=False)
    renamed = {"far": "fmr", "people": "identities"}
    for split, figures in expected[run]["evaluation"].items():
        evaluation = found.evaluations[split].to_dict()
        for name, value in figures.items():
            assert evaluation[renamed.get(name, name)] == pytest.approx(value, abs=1e-9), name


def test_names_of_today_are_read_from_files_of_then(expected):
    point = siamese.Bundle.load("far").operating_point
    assert (point.policy, point.settings["rate"]) == ("fmr", 0.1)
    assert (point.pair_rule, point.identities) == ({"name": "all_pairs"}, 8)
    assert "fmr" in point.figures
    assert "fmr" in point.ci95
    assert point.target_prevalence == pytest.approx(48 / 496)
    # Its calibration chooses another threshold, and is stored by today's names.
    assert siamese.Bundle.load("far").with_policy("eer").point.identities == 8
    assert siamese.OperatingPoint.from_dict(point.to_dict()) == point
    protocol = siamese.SplitManifest.load("learned/split.json").protocol
    assert protocol == "held_out_identities"
    assert "held_out_identities" in siamese.SplitManifest.load("learned/split.json").caution


def test_a_calibration_is_read_and_applied(expected):
    found = siamese.Calibration.load("calibration.npz")
    assert found.threshold == expected["calibration"]["threshold"]
    assert found.point.figures["fmr"] == expected["calibration"]["far"]
    # Then the smallest threshold with as many genuine pairs was taken, now the largest of the rate.
    again = found.with_policy(siamese.Fmr(0.05)).point
    assert again.threshold >= found.threshold
    assert found.point.figures["fmr"] <= again.figures["fmr"] <= 0.05


def test_what_an_earlier_version_wrote_is_written_again(expected, tmp_path):
    found = siamese.Calibration.load("calibration.npz")
    with np.load(found.save(tmp_path / "again.npz"), allow_pickle=False) as kept:
        assert all(kept[name].dtype.kind != "O" for name in kept.files)
    assert siamese.Calibration.load(tmp_path / "again.npz").point == found.point
    bundle = siamese.Bundle.load("far/bundle")
    bundle.save(tmp_path / "bundle")
    assert siamese.Bundle.load(tmp_path / "bundle").operating_point == bundle.operating_point
    with pytest.raises(siamese.CalibrationError) as error:
        found.with_policy(siamese.Fmr(0.05, confidence=0.9))
    assert "earlier version" in str(error.value)


def test_a_run_is_resumed_with_its_settings(expected, capsys):
    words = ["data.root=people", "max_epochs=3", "plots=false", "hydra.run.dir=on"]
    assert main(["train", "resume=far", *words]) == 0
    point = siamese.Bundle.load("on").operating_point
    assert (point.policy, point.settings["rate"], point.epoch) == ("fmr", 0.1, 2)
    history = Path("on/history.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in history] == ["epoch", "0", "1", "2"]


def test_a_threshold_that_was_given_has_no_counts():
    """0 stood for unknown."""
    was = {
        "threshold": 0.5,
        "policy": "given",
        "distance": "euclidean",
        "split": "nothing",
        "protocol": {"name": "all_pairs"},
        **dict.fromkeys(("genuine", "impostor", "tp", "fp", "fn", "tn"), 0),
        "prevalence": 0.0,
        "f1": 0.0,
    }
    point = siamese.OperatingPoint.from_dict(was)
    assert (point.genuine, point.f1, point.confusion) == (None, None, None)
