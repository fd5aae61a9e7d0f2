"""The card of a bundle: its figures are the run's own, and a forged one is not vouched for."""

import json
import re
import warnings
from dataclasses import replace
from hashlib import sha256

import numpy as np
import pytest
from tests.helpers import as_of_version, assert_says, reseal
from tests.inference.test_bundle import bundle, point

from siamese.errors import BundleError
from siamese.inference.bundle import Bundle
from siamese.inference.card_figures import CardFigures, number
from siamese.inference.signature import new_key, sign
from siamese.notices import forget_what_was_said
from siamese.pairs.all_pairs import AllPairs
from siamese.verification.figures import evaluate_pairs
from siamese.verification.measure import measure_pairs
from siamese.verification.thresholds import calibrate


@pytest.fixture(autouse=True)
def anew():
    forget_what_was_said()


@pytest.fixture(scope="module")
def figures():
    """A calibration and test figures of made-up people, as a run leaves them."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(12), 4)
    centres = rng.normal(size=(12, 8))
    embeddings = centres[labels] + 0.5 * rng.normal(size=(48, 8))
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    embeddings = embeddings.astype(np.float32)
    calibration = calibrate(embeddings, labels, "max_f1")
    groups = {"group_age": ["young" if label < 6 else "old" for label in labels]}
    measured = measure_pairs(embeddings, labels, AllPairs(), "euclidean")
    found = evaluate_pairs(measured, calibration.point.threshold, groups=groups)
    return calibration, found


def documented(figures, **facts):
    calibration, found = figures
    other = {"auc": 0.625, "gain_in_auc": [0.25, 0.125, 0.375]}
    own = found.to_dict() | {"baselines": {"untrained": found.to_dict() | other}}
    splits = {"train": {"identities": 30, "images": 120}}
    told = {"dataset": "made up", "test": own, "splits": splits} | facts
    return bundle(operating_point=calibration.point, calibration=calibration, provenance=told)


def cells(card, row):
    line = next(li for li in card.splitlines() if li.startswith(f"| {row} |"))
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_every_figure_is_the_runs_own_and_stands_beside_its_baselines(figures):
    calibration, found = figures
    card = documented(figures).card
    chance = found.one_verdict
    tested = card.partition("## Figures on people")[2]
    low, high = found.ci95["auc"]
    assert cells(tested, "ROC AUC") == [
        "ROC AUC",
        f"{found.auc:.3f} ({low:.3f}-{high:.3f})",
        "0.500",
        f"0.625 ({low:.3f}-{high:.3f})",
        "not measured",
        "not measured",
    ]
    assert cells(tested, "gain in ROC AUC over it")[3] == "+0.250 (+0.125 to +0.375)"
    assert cells(tested, "F1")[1].startswith(f"{found.f1:.3f} (")
    assert cells(tested, "F1")[2] == number(chance["f1"])
    assert cells(tested, "accuracy")[2] == number(chance["accuracy"])
    assert cells(tested, "recall")[2] == cells(tested, "false match rate")[2] == "1.000"
    assert f"{found.genuine:,} genuine and {found.impostor:,} impostor pairs" in tested
    assert cells(card, "train") == ["train", "30", "120"]
    young = next(c for c in found.groups["group_age"].cells if c.groups == ("young", "young"))
    counts = [str(n) for n in (young.identities, young.genuine, young.impostor)]
    assert cells(tested, "young")[1:4] == counts
    assert f"distance <= {calibration.point.threshold:.4f}" in card
    chosen = card.partition("## Threshold")[2]
    assert cells(chosen, "F1")[1].startswith(number(calibration.point.figures["f1"]))
    share = calibration.point.target_prevalence
    assert cells(chosen, "F1")[2] == number(2 * share / (1 + share))


def test_what_is_not_known_is_said_to_be_not_known(figures):
    card = bundle().card
    for words in (
        "Which data it was trained on is not known",
        "How many people and images it was trained on is not known",
        "it has no interval",
        "Not known. Measure them on people of your own",
        "Not stated: fill in",
        "license: unknown # not stated: fill in",
    ):
        assert words in card
    assert not re.search(r"\bnan\b", card.lower())
    given = replace(point(), **dict.fromkeys(["genuine", "impostor", "prevalence", "f1"]))
    given = replace(given, policy="given", tp=None, fp=None, fn=None, tn=None)
    assert "chosen without any pairs" in bundle(operating_point=given).card
    calibration, _ = figures
    moved = documented(figures)
    other = calibration.with_policy(0.5)
    moved = replace(moved, operating_point=other.point, calibration=other)
    assert "the other figures at the present one are not known" in moved.card
    assert "the other figures" not in documented(figures).card


def test_the_front_matter_is_yaml_whatever_a_stranger_wrote(figures):
    yaml = pytest.importorskip("yaml")
    hostile = "cc0-1.0\n---\n# owned"
    for licence, expected in (("mit", "mit"), (hostile, "unknown"), (["mit"], "unknown")):
        card = documented(figures, licence=licence, network="x`<script>\n# y").card
        head = yaml.safe_load(card.split("---\n")[1])
        assert head["license"] == expected
        assert head["library_name"] == "siamese-lightning"
        assert "siamese" in head["tags"]
        assert "# owned" not in card
        assert "`x'<script> # y`" in card  # inline code, from its first character to its last
        assert "\n# y" not in card
    table = documented(figures, splits={"a|b\n<img>": {"identities": 1, "images": 1}}).card
    assert "<img>" not in table.replace("\\<img\\>", "")
    assert len(
        {line.count("|") - line.count("\\|") for line in table.splitlines() if "img" in line}
    )


@pytest.mark.parametrize("fault", ["", [], {"auc": "high"}, {"auc": 1}, None, 3.5])
def test_provenance_may_hold_anything(figures, fault):
    for part in ("test", "splits", "benchmarks", "recalibrated", "dataset", "licence", "network"):
        found = documented(figures, **{part: fault})
        assert "## Limits" in found.card
    test = documented(figures).provenance["test"]
    for part in ("baselines", "groups"):
        broken = test | {part: {"untrained": fault, "group_age": fault}}
        assert "ROC AUC" in documented(figures, test=broken).card
    assert CardFigures.of(documented(figures, test=fault)).test is None


def test_the_card_is_saved_and_summed_and_an_edited_one_is_told(tmp_path, figures):
    saved = documented(figures)
    folder = saved.save(tmp_path / "bundle")
    assert (folder / "README.md").read_text() == saved.card
    assert "README.md" in (folder / "SHA256SUMS").read_text()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert Bundle.load(folder).card == saved.card  # the figures are in the bundle itself
    (folder / "README.md").write_text("Accuracy 1.0")
    with pytest.warns(UserWarning, match="was edited"):
        Bundle.load(folder)
    (folder / "README.md").unlink()
    with pytest.warns(UserWarning, match="was removed"):
        Bundle.load(folder)
    (folder / "README.md").mkdir()
    forget_what_was_said()
    with pytest.warns(UserWarning, match="was edited"):
        Bundle.load(folder)


def test_bundles_without_a_card_load_as_before(tmp_path):
    folder = bundle().save(tmp_path / "bundle")
    (folder / "README.md").unlink()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Bundle.load(reseal(folder))
        Bundle.load(as_of_version(folder, 4))


def test_a_signed_bundle_carries_no_forged_card(tmp_path):
    pytest.importorskip("cryptography")
    key, folder = new_key(tmp_path / "key.pem"), bundle().save(tmp_path / "bundle")
    card = folder / "README.md"
    # The maker fills in the licence, and signs it.
    card.write_text(card.read_text().replace("unknown # not stated: fill in", "mit"))
    sign(folder, tmp_path / "key.pem")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Bundle.load(folder, [key])
        Bundle.load(folder)
    filled = card.read_bytes()
    for forged in (b"Accuracy 1.0", filled + b" ", None):
        card.unlink() if forged is None else card.write_bytes(forged)
        with pytest.raises(BundleError) as error:
            Bundle.load(folder, [key])
        assert_says(error.value, folder, "is not the one that was signed")
    # With a digest that fits it is the digest that was not signed.
    card.write_bytes(b"Accuracy 1.0")
    sums = (folder / "SHA256SUMS").read_text()
    line = f"{sha256(b'Accuracy 1.0').hexdigest()}  README.md"
    (folder / "SHA256SUMS").write_text(re.sub(r"^\S+  README.md", line, sums))
    with pytest.raises(BundleError, match="altered after it was signed"):
        Bundle.load(folder, [key])


def test_a_bundle_saved_from_its_provenance_is_plain_json(tmp_path, figures):
    folder = documented(figures).save(tmp_path / "bundle")
    stored = json.loads((folder / "bundle.json").read_text())
    assert stored["provenance"]["test"]["baselines"]["untrained"]["auc"] == 0.625


def test_addresses_are_no_links_and_names_no_mentions(figures):
    said = "https://a.example www.b.example ~~c~~ $d$ @e &lt;"
    card = documented(
        figures, limits=said, splits={"val_seen": {"identities": 1, "images": 1}}
    ).card
    line = next(line for line in card.splitlines() if "Stated by" in line)
    assert not re.search(r"(?<!\\)(://|[~$@&])|www\.", line)
    assert re.sub(r"\\(?=\W)", "", line).endswith(said)
    assert "| val\\_seen |" in card  # once, however many hands it goes through


def test_a_licence_without_a_network_names_none(figures):
    assert "None" not in documented(figures, licence="mit").card


def test_a_readme_that_is_no_card_is_left_alone(tmp_path):
    (tmp_path / "README.md").write_text("mine")
    with pytest.raises(BundleError, match="left alone"):
        bundle().save(tmp_path)
    assert (tmp_path / "README.md").read_text() == "mine"
    bundle().save(bundle().save(tmp_path / "bundle"))


VIEW2 = {
    "name": "made-up pairs",
    "figure": "accuracy",
    "value": 0.75,
    "standard_error": 0.01,
    "baselines": {"one verdict for all pairs": 0.5},
    "command": "none",
}


def test_a_threshold_chosen_anew_is_not_told_with_the_old_ones_people_and_figures(figures):
    facts = {"calibrated_on": "old people", "benchmarks": [VIEW2], "test": None}
    before = documented(figures, **facts).card
    assert "* Threshold calibrated on: `old people`" in before
    assert "## Figures on people that neither training nor threshold has seen" in before
    assert "the split `calibration`" in before
    assert "chosen anew" not in before
    found = documented(figures, **facts, recalibrated={"data": "mine", "threshold_before": 0.1})
    card = found.card
    assert "Threshold calibrated on" not in card
    assert "that it came with, no longer in use, was calibrated on: `old people`" in card
    assert "* Threshold chosen anew on: `mine`" in card
    assert "* On: `mine`, the images given to `siamese calibrate`, 12 identities" in card
    assert "the split `" not in card
    assert "has seen" not in card
    _, heading, told = card.partition("## Figures from before the threshold was chosen anew\n")
    assert heading
    caution, _, benchmark = told.partition("made-up pairs")
    chosen = f"{found.operating_point.threshold:.4f} was chosen, and is not of that threshold"
    assert chosen in caution
    assert "accuracy 0.7500" in benchmark
    nameless = documented(figures, recalibrated={"data": ""}).card
    assert "* On: the images given to `siamese calibrate`, 12 identities" in nameless
    assert "chosen anew on" not in nameless
    # The very people of the test may have chosen the threshold, even where it is the same number.
    assert "## Figures on the test people of its training" in nameless
    assert "has seen" not in nameless
