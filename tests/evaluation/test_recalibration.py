"""recalibrate: a finished bundle's threshold on other data, beside the old one."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

import siamese
from siamese.cli.main import main
from siamese.errors import ConfigError
from siamese.evaluation import embedding
from siamese.inference.origin import chosen_on
from siamese.report import galleries, plots
from siamese.verification.thresholds import calibrate


def write(root, count, spread, seed):
    """Identities that are plain colours: how far their images vary is known."""
    rng = np.random.default_rng(seed)
    for identity, colour in enumerate(rng.uniform(0.2, 0.8, (count, 3))):
        for i in range(4):
            pixels = np.clip(colour + spread * rng.normal(size=3), 0, 1)
            path = root / f"p{identity:02d}" / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.full((16, 16, 3), 255 * pixels, dtype=np.uint8)).save(path)
    return root


@siamese.BACKBONES.register("mean_colour_of_a_test")
class MeanColour(siamese.Backbone):
    """An embedding that can be worked out by hand."""

    embedding_size = 3

    def forward(self, images):
        pixels = images.float() / 255 if images.dtype == torch.uint8 else images
        return pixels.mean(dim=(2, 3))


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    folder = write(tmp_path_factory.mktemp("own"), 30, 0.02, 0)
    table = siamese.IdentityTable.from_folder(folder)
    colours = np.stack([siamese.read_image(p).mean(axis=(0, 1)) / 255 for p in table.paths])
    found = calibrate(colours.astype(np.float32), table.identities)
    parts = MeanColour(), siamese.EuclideanDistance(), siamese.NoCropper(16)
    return siamese.Bundle(*parts, found.point, calibration=found)


def test_data_of_the_same_kind_show_no_drift_and_others_do(bundle, tmp_path):
    same = siamese.recalibrate(bundle, write(tmp_path / "same", 30, 0.02, 1), progress=False)
    other = siamese.recalibrate(bundle, write(tmp_path / "other", 30, 0.1, 2), progress=False)
    assert (same.drifted, other.drifted) == (False, True)
    assert same.findings == tuple(same.to_dict()["findings"]) == ()
    assert other.new.threshold > same.new.threshold
    low, high = other.shift
    assert low < other.new.threshold - bundle.operating_point.threshold < high
    assert other.reliability.calibration_error > same.reliability.calibration_error


def test_a_threshold_of_more_identities_may_well_be_kept_where_no_drift_is_shown(
    bundle, tmp_path, capsys
):
    few, more = (write(tmp_path / f"of{n}", n, 0.02, 3) for n in (12, 40))
    other = write(tmp_path / "other", 12, 0.1, 2)
    own = str(bundle.save(tmp_path / "own"))

    def said(data, *options):
        assert main(["calibrate", own, "--data", str(data), *options]) == 0
        return " ".join(capsys.readouterr().out.split())

    told = said(few)
    old = bundle.operating_point.threshold
    kept = f"the earlier threshold, {old:.4f}, was chosen on more identities (30, here 12)"
    assert f"not shown to have moved; {kept} and may well be kept" in told
    for data, options in ((more, ()), (other, ()), (few, ("--policy", "eer"))):
        assert "may well be kept" not in said(data, *options)
    assert "not shown to have moved" in said(more)
    assert "take the new threshold" in said(other)


def test_pairs_are_counted_where_the_network_computes(bundle, tmp_path, monkeypatch):
    data, asked = write(tmp_path / "data", 20, 0.05, 3), []
    measure_pairs = embedding.measure_pairs

    def measured(*arguments, device=None):
        asked.append(device)
        return measure_pairs(*arguments, device=device)

    monkeypatch.setattr(embedding, "measure_pairs", measured)
    settings = {"pairs": "all_pairs", "device": "cpu:0", "progress": False}
    siamese.recalibrate(bundle, data, distance="cosine", **settings)
    siamese.evaluate_run(bundle, data, **settings)
    assert asked == ["cpu:0"] * 3


def grey(root, count):
    """Identities that are of one grey, up to noise: no embedding of colours tells them apart."""
    rng = np.random.default_rng(5)
    for identity in range(count):
        for i in range(4):
            path = root / f"p{identity:02d}" / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            colour = 255 * (0.5 + 0.02 * rng.normal(size=3))
            Image.fromarray(np.full((16, 16, 3), colour, dtype=np.uint8)).save(path)
    return root


def test_it_is_said_of_a_bundle_that_it_tells_nobody_apart_here(bundle, tmp_path, capsys):
    data = grey(tmp_path / "grey", 20)
    found = siamese.recalibrate(bundle, data, progress=False)
    own, here = bundle.operating_point.figures["fmr"], found.old.figures["fmr"]
    assert here > 0.5 > 0.1 > own
    worse, hopeless = found.findings
    assert f"false match rate is {here:.3g} here" in worse
    assert f"identities {own:.3g} (" in worse
    assert "no threshold helps" in hopeless
    assert found.to_dict()["findings"] == [worse, hopeless]
    # Embeddings that are averaged otherwise have other distances.
    noisy = replace(bundle, augmentation=siamese.Augmentation(brightness=0.01))
    assert siamese.recalibrate(noisy, data, tta=2, progress=False).worse is None
    folder = str(bundle.save(tmp_path / "own"))
    assert main(["calibrate", folder, "--data", str(data)]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert worse in said
    assert hopeless in said
    assert "take the new threshold" not in said


def test_old_and_new_thresholds_are_counted_on_the_new_pairs(bundle, tmp_path):
    data = write(tmp_path / "data", 20, 0.05, 3)
    found = siamese.recalibrate(bundle, data, "eer", pairs="all_pairs", progress=False)
    table = siamese.IdentityTable.from_folder(data)
    colours = np.stack([siamese.read_image(p).mean(axis=(0, 1)) / 255 for p in table.paths])
    again = calibrate(colours.astype(np.float32), table.identities, "eer")
    assert found.new.threshold == pytest.approx(again.threshold, abs=1e-6)
    distances = np.linalg.norm(colours[:, None] - colours[None], axis=2)
    upper = np.triu_indices(len(table), 1)
    same = table.labels[upper[0]] == table.labels[upper[1]]
    accepted = distances[upper] <= bundle.operating_point.threshold
    assert abs(found.old.tp - (accepted & same).sum()) <= 1  # of 8-bit colours, at the very edge
    assert abs(found.old.fp - (accepted & ~same).sum()) <= 1
    assert found.old.threshold == bundle.operating_point.threshold
    saved = siamese.Bundle.load(found.bundle.save(tmp_path / "bundle"))
    assert saved.operating_point == found.new
    assert saved.provenance["recalibrated"]["data"] == "data"
    assert "* On: `data`, the images given to `siamese calibrate`, 20 identities" in saved.card
    assert json.dumps(found.to_dict(), allow_nan=False)
    assert len(repr(found)) < 100


def test_other_data_are_named_where_they_are_read_and_their_split_in_files_alone(
    bundle, tmp_path, monkeypatch, capsys
):
    people = write(tmp_path / "[red]my people", 10, 0.05, 3)  # no markup
    words = "all identities of [red]my people"
    bundle.save(tmp_path / "first")
    drawn = []
    draw, curves = galleries.pair_gallery, plots.verification_curves
    monkeypatch.setattr(
        galleries, "pair_gallery", lambda *a, **k: drawn.append(k["title"]) or draw(*a, **k)
    )
    monkeypatch.setattr(
        plots, "verification_curves", lambda d, *a: drawn.extend(d) or curves(d, *a)
    )
    out = tmp_path / "out"
    on = ["--data", str(people)]
    assert main(["evaluate", str(tmp_path / "first"), *on, "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert words in " ".join(said.split())
    assert "│ data" not in said
    assert set(drawn) == {words}
    assert list(json.loads((out / "evaluation.json").read_text())) == ["data"]
    assert (out / "plots" / "samples_data.png").exists()

    second = str(tmp_path / "second")
    assert main(["calibrate", str(tmp_path / "first"), *on, "--out", second]) == 0
    said = capsys.readouterr().out
    assert "all identities of [red]my" in said  # the table breaks it
    assert "│ data" not in said
    assert siamese.Bundle.load(second).operating_point.split == "data"
    image = str(people / "p00" / "0.png")
    assert main(["verify", image, image, "--bundle", second]) == 0
    assert f"impostor pairs ({words}): recall" in capsys.readouterr().out
    assert main(["evaluate", second, *on]) == 0
    assert f"on {words}" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({}, "all identities of other data"),
        ({"recalibrated": ["no", "names"]}, "all identities of other data"),
        ({"recalibrated": {"data": 3}}, "all identities of other data"),
        (
            {"recalibrated": {"data": "a\x1b[1m", "distance": {}}},
            r"half of the identities of a\x1b[1m",
        ),
        ({"recalibrated": {"data": "x" * 200}}, f"all identities of {'x' * 80}..."),
    ],
)
def test_what_a_stranger_wrote_of_the_data_is_only_read(told, words):
    assert chosen_on("data", told) == words
    assert chosen_on("calibration", told) == "calibration"


def test_a_folder_is_named_however_it_was_given(bundle, tmp_path, monkeypatch):
    monkeypatch.chdir(write(tmp_path / "mine", 10, 0.05, 3))
    found = siamese.recalibrate(bundle, ".", progress=False)
    assert found.bundle.provenance["recalibrated"]["data"] == "mine"


def test_a_table_is_data_too_and_a_missing_calibration_leaves_drift_open(bundle, tmp_path):
    table = siamese.IdentityTable.from_folder(write(tmp_path / "data", 10, 0.05, 3))
    plain = replace(bundle, calibration=None)
    found = siamese.recalibrate(plain, table, progress=False)
    assert (found.shift, found.drifted, found.reliability) == (None, None, None)
    assert found.new.policy == "max_f1"
    given = replace(plain, operating_point=plain.operating_point.with_threshold(0.3))
    with pytest.raises(ConfigError, match="chosen by no policy"):
        siamese.recalibrate(given, table, progress=False)
    assert siamese.recalibrate(given, table, "max_f1", progress=False).old.policy == "given"


def test_a_bundle_remembers_the_test_time_augmentation_it_was_calibrated_with(bundle, tmp_path):
    data = write(tmp_path / "data", 10, 0.05, 3)
    noisy = replace(bundle, augmentation=siamese.Augmentation(brightness=0.3))
    found = siamese.recalibrate(noisy, data, tta=3, progress=False)
    assert found.bundle.tta == 3
    # Distances between other means: no sign of other data.
    assert (found.drifted, found.reliability) == (None, None)
    assert "belongs to tta=0, these figures to tta=3" in found.notes[-1]
    assert siamese.recalibrate(found.bundle, data, progress=False).new == found.new
    assert siamese.recalibrate(found.bundle, data, tta=0, progress=False).bundle.tta == 0
    with pytest.raises(ConfigError, match="no augmentation"):
        siamese.recalibrate(bundle, data, tta=3, progress=False)


def coloured(root, count, seed):
    """Identities that differ in green, images of one that differ in red and blue far more."""
    rng = np.random.default_rng(seed)
    for identity, green in enumerate(rng.uniform(0.3, 0.7, count)):
        for i in range(4):
            colour = np.clip([*(0.5 + 0.15 * rng.normal(size=2)), green], 0, 1)[[0, 2, 1]]
            path = root / f"p{identity:03d}" / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.full((16, 16, 3), 255 * colour, dtype=np.uint8)).save(path)
    return root


def test_plda_is_fitted_to_one_half_and_its_threshold_chosen_on_the_other(bundle, tmp_path, capsys):
    data = coloured(tmp_path / "data", 60, 3)
    settings = {"pairs": "all_pairs", "progress": False}
    found = siamese.recalibrate(bundle, data, distance="plda", **settings)
    table = siamese.IdentityTable.from_folder(data)
    colours = np.stack([siamese.read_image(p).mean(axis=(0, 1)) / 255 for p in table.paths])
    half = np.isin(table.labels, np.arange(60)[::2])  # all have four images: every second name
    rows = torch.tensor(colours, dtype=torch.float32)
    fitted = siamese.PldaDistance.fit(rows[half], table.labels[half])
    again = calibrate(rows[~half], table.labels[~half], distance=fitted)
    assert found.new.threshold == pytest.approx(again.threshold, abs=1e-4)
    assert (found.new.identities, found.gain.fitted_to) == (30, 30)
    assert found.gain.auc == pytest.approx(again.curve.auc, abs=1e-4)
    own = calibrate(rows[~half], table.labels[~half])
    assert found.gain.own_auc == pytest.approx(own.curve.auc, abs=1e-4)
    assert found.gain.own_eer == pytest.approx(own.curve.eer, abs=1e-3)
    assert found.gain.auc_gain[0] > 0.05
    # The old threshold is one of the old distance.
    assert (found.old.distance, found.new.distance) == ("euclidean", "plda")
    assert abs(found.old.tp - own.with_policy(bundle.operating_point.threshold).point.tp) <= 1
    assert (found.shift, found.drifted, found.reliability) == (None, None, None)
    for word in ("plda", "fitted to 30 other identities", "euclidean", "95 % interval +0."):
        assert word in str(found.gain)
    words = ("--data", str(data), "--pairs", "all_pairs", "--distance", "plda")
    assert main(["calibrate", str(bundle.save(tmp_path / "own")), *words]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert str(found.gain) in shown
    assert "old threshold, euclidean" in shown
    saved = siamese.Bundle.load(found.bundle.save(tmp_path / "bundle"))
    assert isinstance(saved.distance, siamese.PldaDistance)
    assert len(saved.seen.identities) == 60
    assert json.dumps(found.to_dict(), allow_nan=False)
    assert saved.provenance["recalibrated"]["distance"]["fitted_to"] == 30
    again = siamese.recalibrate(saved, data, **settings)  # keeps its distance
    assert (again.gain, again.new.distance, again.new.identities) == (None, "plda", 60)


def test_a_distance_that_needs_no_fit_is_compared_on_everybody(bundle, tmp_path):
    data = coloured(tmp_path / "data", 12, 3)
    found = siamese.recalibrate(bundle, data, distance="cosine", progress=False)
    assert (found.gain.fitted_to, found.new.identities) == (0, 12)
    assert (found.new.distance, found.bundle.distance.squared) == ("cosine", True)
    few = siamese.IdentityTable.from_folder(coloured(tmp_path / "few", 3, 0))
    with pytest.raises(siamese.CalibrationError, match=r"four with two images.*there are 3"):
        siamese.recalibrate(bundle, few, distance="plda", progress=False)
    with pytest.raises(ConfigError, match="weights that must be trained"):
        siamese.recalibrate(bundle, few, distance="learned", progress=False)


def test_figures_of_another_distance_are_not_carried_along(bundle, tmp_path):
    """The card would show them as those of the new one."""
    data = write(tmp_path / "new", 30, 0.05, 3)
    facts = {"test": {"auc": 0.9}, "benchmarks": [], "dataset": "colours"}
    given = replace(bundle, provenance=facts)
    for settings, kept in (({"distance": "cosine"}, {"dataset"}), ({}, set(facts))):
        found = siamese.recalibrate(given, data, progress=False, **settings).bundle.provenance
        assert set(found) & set(facts) == kept
