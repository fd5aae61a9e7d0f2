"""A bundle keeps its calibration.

Other policies, plain thresholds, probabilities and the uncertain band, later and elsewhere.
"""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from tests.helpers import as_of_version, assert_says, edit_bundle

from siamese.backbones.small_res_net import SmallResNet
from siamese.distances.euclidean import EuclideanDistance
from siamese.errors import BundleError, CalibrationError, ConfigError
from siamese.faces.croppers.none import NoCropper
from siamese.inference.bundle import Bundle
from siamese.inference.verifier import Verifier
from siamese.verification.policies.eer import Eer
from siamese.verification.policies.fmr import Fmr
from siamese.verification.policies.max_f1 import MaxF1
from siamese.verification.policies.recall import Recall
from siamese.verification.thresholds import calibrate


def embedded(identities=30, each=8, seed=0):
    rng = np.random.default_rng(seed)
    who = np.repeat(np.arange(identities), each)
    return rng.normal(size=(identities, 4))[who] + 0.5 * rng.normal(size=(len(who), 4)), who


@pytest.fixture(scope="module")
def calibration():
    return calibrate(*embedded())


@pytest.fixture
def folder(tmp_path, calibration):
    torch.manual_seed(0)
    net = SmallResNet(widths=(8,), depths=(1,), learned_size=8)
    bundle = Bundle(
        net, EuclideanDistance(), NoCropper(32), calibration.point, calibration=calibration
    )
    return bundle.save(tmp_path / "bundle")


@pytest.fixture
def random_images(tmp_path):
    rng = np.random.default_rng(3)
    paths = [tmp_path / f"{name}.png" for name in "ab"]
    for path in paths:
        Image.fromarray(rng.integers(0, 256, (40, 40, 3), dtype=np.uint8)).save(path)
    return paths


@pytest.mark.parametrize(
    "policy", [Eer(), Fmr(0.01), Recall(0.9), MaxF1(prevalence="balanced"), MaxF1(prevalence=0.01)]
)
def test_another_policy_later_is_as_if_it_had_been_chosen_at_once(folder, policy):
    verifier, at_once = Verifier.load(folder, policy=policy), calibrate(*embedded(), policy)
    assert verifier.threshold == at_once.threshold
    assert verifier.calibration.band == pytest.approx(at_once.band)
    assert {k: v for k, v in verifier.operating_point.to_dict().items() if k != "ci95"} == {
        k: v for k, v in at_once.point.to_dict().items() if k != "ci95"
    }
    x = np.linspace(0, 5, 50)
    assert verifier.calibration.probability(x) == pytest.approx(at_once.probability(x), abs=1e-9)


def test_a_verdict_comes_with_its_probability_and_says_where_it_is_open(
    folder, random_images, calibration
):
    verifier = Verifier.load(folder)
    verdict = verifier.verify(*random_images)
    assert verdict.threshold == calibration.threshold
    assert verdict.probability == pytest.approx(calibration.probability(verdict.distance))
    assert verdict.prevalence == calibration.point.prevalence
    low, high = calibration.band
    assert verdict.uncertain == (low <= verdict.distance <= high)
    written = json.loads(json.dumps(verdict.to_dict(), allow_nan=False))
    assert written["uncertain"] is verdict.uncertain
    # The band follows the threshold in use: right at the distance nothing is certain.
    assert Verifier.load(folder, threshold=verdict.distance).verify(*random_images).uncertain
    farther = Verifier.load(folder, threshold=verdict.distance + 3)
    assert not farther.verify(*random_images).uncertain
    other = Verifier.load(folder, policy=MaxF1(prevalence="balanced")).verify(*random_images)
    assert (other.prevalence, other.probability > verdict.probability) == (0.5, True)


def test_what_cannot_be_supported_or_is_asked_twice_is_refused(folder, tmp_path):
    with pytest.raises(CalibrationError) as unsupported:
        Verifier.load(folder, policy=Fmr(1e-6))
    assert_says(unsupported.value, "1e-06", "rule of 30", "more identities")
    with pytest.raises(ConfigError) as twice:
        Verifier.load(folder, threshold=1.0, policy="eer")
    assert_says(twice.value, "leave out one")
    with pytest.raises(ConfigError) as misspelt:
        Verifier.load(folder, policy="max_f2")
    assert_says(misspelt.value, "did you mean 'max_f1'")
    plain = replace(Bundle.load(folder), calibration=None)
    plain.save(tmp_path / "plain")
    assert Verifier.load(tmp_path / "plain").calibration is None
    # A plain number needs no calibration; the figures of the threshold that it replaces are not
    # taken for its own.
    point = Verifier.load(tmp_path / "plain", threshold=0.7).operating_point
    assert (point.threshold, point.policy, point.distance) == (0.7, "given", "euclidean")
    assert (point.confusion, point.f1) == (None, None)
    assert (dict(point.figures), dict(point.ci95), point.settings) == ({}, {}, {})
    with pytest.raises(CalibrationError) as none:
        Verifier.load(tmp_path / "plain", policy="eer")
    assert_says(none.value, "keeps no calibration", "siamese calibrate")


def test_a_bundle_of_the_version_before_still_loads(folder, random_images):
    def change(description):
        del description["calibration"]
        for added in ("settings", "target_prevalence", "figures", "ci95"):
            del description["operating_point"][added]

    edit_bundle(folder, change)
    as_of_version(folder, 2)
    verdict = Verifier.load(folder).verify(*random_images)
    assert (verdict.probability, verdict.uncertain) == (None, None)


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d["calibration"].pop("resolution"),
        lambda d: d["calibration"].update(band=[1]),
        lambda d: d["calibration"]["probability"].update(kind="magic"),
        lambda d: d["calibration"]["probability"].update(log_odds=[0.5]),
        lambda d: d["operating_point"].update(genuine=5),
        lambda d: d["operating_point"].update(threshold=0.01),
        lambda d: d["operating_point"].update(target_prevalence="half"),
        lambda d: d["operating_point"].update(target_prevalence=1.5),
        lambda d: d["operating_point"].update(tp=1.5),
        lambda d: d["operating_point"].update(fn=-1),
        lambda d: d["operating_point"].update(settings=[]),
        lambda d: d["operating_point"]["figures"].update(f1="high"),
        lambda d: d["operating_point"]["ci95"].update(f1=[0.1, "high"]),
        lambda d: d["calibration"].update(band=[9, 1]),
        lambda d: d["calibration"].update(band=[float("nan"), float("nan")]),
        lambda d: d["calibration"].update(resolution=float("nan")),
        lambda d: d["calibration"]["probability"].update(prevalence=0),
        lambda d: d["calibration"]["probability"]["distances"].reverse(),
    ],
)
def test_an_altered_calibration_is_refused(folder, change):
    edit_bundle(folder, change)
    with pytest.raises(BundleError) as refused:
        Bundle.load(folder)
    assert "checksum" not in str(refused.value)
    assert_says(refused.value, folder)


def test_a_calibration_of_another_threshold_is_refused(folder, calibration):
    with pytest.raises(BundleError, match="calibration"):
        replace(Bundle.load(folder), operating_point=replace(calibration.point, threshold=0.1))
