"""compare: two bundles on a run, a folder, pairs in folds; against embedding and counting apart."""

import json
import statistics
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from tests.helpers import UNTRAINED, assert_says, write_identities

import siamese
from siamese.cli.main import main
from siamese.errors import ConfigError, DataError, SplitError
from siamese.faces.croppers.base import CROPPERS, Crop
from siamese.faces.croppers.none import NoCropper

SMALL = {"widths": (4,), "depths": (1,), "learned_size": 8, "gradient_cells": 0, "whiten": False}
DARK = 125  # mean of the pixels of an image


@pytest.fixture(scope="module", autouse=True)
def registered():
    """While these tests run: others try every cropper that there is."""
    CROPPERS._classes["finds_nothing_on_dark_images"] = Picky
    yield
    del CROPPERS._classes["finds_nothing_on_dark_images"]


@dataclass(frozen=True)
class Picky(NoCropper):
    darkest: float = 0.0
    brightest: float = 256.0

    def __call__(self, image):
        seen = self.darkest <= image.mean() < self.brightest
        return Crop(super().__call__(image).image, int(seen))

    def verdict(self, faces):
        return "keep" if faces else "skip"


def made(seed, distance=None, cropper=None, threshold=1.0):
    """A network as it comes, with a threshold."""
    torch.manual_seed(seed)
    distance = distance or siamese.EuclideanDistance()
    name = "cosine" if isinstance(distance, siamese.CosineDistance) else "euclidean"
    rule = siamese.AllPairs().describe()
    point = siamese.OperatingPoint(threshold, "given", name, "nothing", rule)
    net = siamese.SmallResNet(**SMALL).eval()
    return siamese.Bundle(net, distance, cropper or siamese.NoCropper(32), point)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Ten identities of three images each; random, so that a network's verdicts are, too."""
    return write_identities(tmp_path_factory.mktemp("identities"), [3] * 10)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished run on twenty identities of its own."""
    root = write_identities(tmp_path_factory.mktemp("others"), [3] * 40)
    where = tmp_path_factory.mktemp("run")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(where)
        assert main(["train", f"data.root={root}", *UNTRAINED]) == 0
    return (where / "runs" / "latest").resolve()


def compare(*args, **settings):
    return siamese.compare(*args, progress=False, **settings)


def apart(bundle, paths, who):
    rows = siamese.Verifier(bundle).embed(list(paths), progress=False)
    return siamese.measure_pairs(rows, who, siamese.AllPairs(), bundle.distance)


def test_on_a_folder_each_is_measured_as_it_is_in_use(folder):
    a, b = made(0), made(1, siamese.CosineDistance(), siamese.NoCropper(24), 0.1)
    found = compare(a, b, on=folder)
    table = siamese.IdentityTable.from_folder(folder)
    sides = [apart(bundle, table.paths, table.labels) for bundle in (a, b)]
    assert found.splits == {"data": siamese.compare_pairs(*sides, 1.0, 0.1)}
    assert found.splits["data"].images == 30
    assert (found.left_out, found.folds) == ({"data": 0}, None)
    assert found.sentences("x", "y")[0].startswith("which of x and y is better is not shown")
    assert len(json.dumps(found.to_dict(), allow_nan=False)) > 100
    assert len(repr(found)) < 350
    back = compare(b, a, on=table)
    for name, figure in found.splits["data"].figures.items():
        other = back.splits["data"].figures[name]
        assert (figure.a, figure.difference) == (other.b, -other.difference)
    few = compare(a, b, on=folder, pairs="balanced_pairs").splits["data"]
    assert (few.genuine, few.impostor) == (30, 30)


def test_a_bundle_that_averages_over_copies_is_compared_so(folder):
    plain, pairs = made(0), pairs_file(folder, known=True)
    averaged = replace(plain, augmentation=siamese.Augmentation(), tta=2)
    figures = compare(plain, averaged, on=folder, pairs="all_pairs").splits["data"].figures
    alone = siamese.evaluate_run(averaged, folder, pairs="all_pairs", progress=False)
    assert figures["auc"].b == alone.evaluations["data"].auc != figures["auc"].a
    folds = compare(plain, averaged, on=pairs).folds
    assert folds.b == siamese.evaluate_benchmark(averaged, pairs, progress=False) != folds.a


def test_images_that_one_leaves_out_are_left_out_of_both(folder):
    light = [
        path for path in siamese.IdentityTable.from_folder(folder).paths
        if siamese.read_image(path).mean() >= DARK
    ]  # fmt: skip
    assert 15 < len(light) < 30
    a, b = made(0, cropper=Picky(32, darkest=DARK)), made(1)
    found = compare(a, b, on=folder)
    who = np.unique([path.parent.name for path in light], return_inverse=True)[1]
    sides = [apart(bundle, light, who) for bundle in (replace(a, cropper=b.cropper), b)]
    assert found.splits["data"] == siamese.compare_pairs(*sides, 1.0, 1.0)
    lost = 30 - len(light)
    assert found.left_out == {"data": lost}
    assert any(f"{lost} of 30 images are left out of both" in note for note in found.notes)
    with pytest.raises(SplitError, match="A and B both see 0 images of 0 identities"):
        compare(a, made(1, cropper=Picky(32, brightest=DARK)), on=folder)


def test_on_a_run_its_test_people_are_taken_and_its_files_checked(run, folder, tmp_path):
    own, other = siamese.Bundle.load(run), made(0)
    found = compare(other, run, on=run)
    manifest = siamese.SplitManifest.load(run / "split.json")
    table = manifest.table("test")
    assert list(found.splits) == ["test"]
    alone = siamese.evaluate_run(run, splits="test", progress=False).evaluations["test"]
    figures = found.splits["test"].figures
    assert {name: figures[name].b for name in ("auc", "eer", "f1", "fmr")} == {
        name: getattr(alone, name) for name in ("auc", "eer", "f1", "fmr")
    }
    assert found.splits["test"].images == len(table)
    beside = siamese.evaluate_run(other, on=run, splits="test", progress=False)
    assert figures["auc"].a == beside.evaluations["test"].auc
    same = compare(own, run, on=run, splits=["calibration", "test"])
    assert list(same.splits) == ["calibration", "test"]
    assert same.splits["test"].figures["auc"].ci95 == (0, 0)
    assert same.sentences()[1].startswith("test: which of A and B is better is not shown")
    # The people that the threshold was chosen on are known to both.
    assert any(n.startswith("A and B: the bundle was trained or calib") for n in same.notes)
    assert not any("was trained or calibrated on" in note for note in found.notes)
    moved = tmp_path / "moved"
    moved.mkdir()
    with pytest.raises(SplitError, match="cannot be read"):
        compare(other, run, on=run, root=moved)


def test_training_people_among_those_that_are_compared_are_noticed(run):
    manifest = siamese.SplitManifest.load(run / "split.json")
    found = compare(made(0), siamese.Bundle.load(run), on=manifest.table("train"))
    assert [n for n in found.notes if "B: the bundle was trained or calibrated on" in n]


def pairs_file(folder, known, each_once=False, folds=3):
    """Pairs of the ten identities in folds of whole identities."""
    rows = []
    for k in range(0, 9, 3):
        who = [f"person_0{k + i}" for i in range(3)]
        fold = str(k % (3 * folds))
        if each_once:
            rows.append((f"{who[0]}/0.png", f"{who[0]}/1.png", True, fold))
            rows.append((f"{who[1]}/0.png", f"{who[2]}/0.png", False, fold))
            continue
        for i in range(3):
            rows.append((f"{who[i]}/0.png", f"{who[i]}/1.png", True, fold))
            rows.append((f"{who[i]}/2.png", f"{who[(i + 1) % 3]}/0.png", False, fold))
    names = {file: file.split("/")[0] for row in rows for file in row[:2]} if known else None
    return siamese.PairsFile.build(folder, rows, "mine", names)


def test_on_pairs_in_folds_accuracies_are_paired_by_fold(folder):
    a, b, pairs = made(0), made(1), pairs_file(folder, known=True)
    found = compare(a, b, on=pairs)
    one, other = (siamese.evaluate_benchmark(x, pairs, progress=False) for x in (a, b))
    assert (found.folds.a, found.folds.b) == (one, other)
    differences = [y.accuracy - x.accuracy for x, y in zip(one.folds, other.folds, strict=True)]
    assert found.folds.difference == pytest.approx(other.mean - one.mean)
    expected = statistics.stdev(differences) / 3**0.5
    assert found.folds.standard_error == pytest.approx(expected)
    compared = found.splits["mine"]
    figures = compared.figures
    # Folds are equally large, so the accuracy of all pairs is the mean over them.
    assert (figures["accuracy"].a, figures["accuracy"].b) == pytest.approx((one.mean, other.mean))
    assert (figures["auc"].a, figures["eer"].b) == pytest.approx((one.auc, other.eer))
    low, high = figures["accuracy"].ci95
    assert low <= found.folds.difference <= high
    assert (compared.threshold_a, compared.mcnemar, compared.identities) == (None, None, 9)
    assert_says(str(found.folds), "paired by fold, 3 folds")


def test_who_is_not_known_gets_no_interval_but_where_each_is_in_one_pair(folder):
    a, b = made(0), made(1)
    found = compare(a, b, on=pairs_file(folder, known=False)).splits["mine"]
    assert found.figures["auc"].ci95 is None
    assert_says(found.why_no_interval, "does not say who is on the images")
    pairs = pairs_file(folder, known=False, each_once=True)
    once = compare(a, b, on=pairs)
    compared = once.splits["mine"]
    assert compared.figures["auc"].ci95 is not None
    folds = (once.folds.a.folds, once.folds.b.folds)
    right = [sum(f.tp + f.tn for f in of_one) for of_one in folds]
    test = compared.mcnemar
    assert (test.both + test.only_a, test.both + test.only_b) == tuple(right)
    assert test.both + test.only_a + test.only_b + test.neither == len(pairs)


def test_one_fold_is_judged_at_each_bundles_own_threshold(folder):
    a, b = made(0, threshold=0.3), made(1, threshold=2.0)
    found = compare(a, b, on=pairs_file(folder, known=True, folds=1))
    compared = found.splits["mine"]
    assert (compared.threshold_a, compared.threshold_b) == (0.3, 2.0)
    assert found.to_dict()["folds"]["standard_error"] is None
    assert "paired by fold" not in str(found.folds)


def test_pairs_with_an_image_that_one_leaves_out_are_left_out_of_both(folder):
    pairs, b = pairs_file(folder, known=True, folds=1), made(1)
    found = compare(made(0, cropper=Picky(32, darkest=DARK)), b, on=pairs)
    dark = np.array([siamese.read_image(path).mean() < DARK for path in pairs.paths])
    kept = ~(dark[pairs.left] | dark[pairs.right])
    assert 2 < kept.sum() < len(pairs)
    assert found.left_out == {"mine": int(dark.sum())}
    assert found.folds.b.folds[0].pairs == int(kept.sum())
    rows = siamese.Verifier(b).embed(pairs.paths, progress=False)
    d = b.distance.between(rows, pairs.left, pairs.right)[kept]
    accuracy = np.mean((d <= 1.0) == pairs.same[kept])
    assert found.splits["mine"].figures["accuracy"].b == pytest.approx(accuracy)
    assert any(f"{len(pairs) - kept.sum()} pairs with them" in note for note in found.notes)
    dark_alone = made(1, cropper=Picky(32, brightest=DARK))
    with pytest.raises(DataError, match="no pair is left"):
        compare(made(0, cropper=Picky(32, darkest=DARK)), dark_alone, on=pairs)


def test_beginners_mistakes_name_the_remedy(run, folder, tmp_path):
    a, b = made(0), made(1)
    bundle = a.save(tmp_path / "bundle")
    for settings, said in (
        ({"on": a}, "a bundle alone knows no images"),
        ({"on": "pretrained"}, "a bundle alone knows no images"),
        ({"on": bundle}, "a bundle without its run knows no images"),
        ({"on": 5}, "on is a int: give a run, a folder"),
        ({"on": folder, "splits": "test"}, "splits (--splits) are those of a run"),
        ({"on": folder, "root": folder}, "leave it out with a folder"),
        ({"on": folder, "no_face": "skip"}, "looks for no face; leave it out"),
        ({"on": run, "splits": "tets"}, "did you mean 'test'"),
        ({"on": pairs_file(folder, known=True), "pairs": "all_pairs"}, "pairs (--pairs) has no"),
    ):
        with pytest.raises(ConfigError) as caught:
            compare(a, b, **settings)
        assert_says(caught.value, said)
    with pytest.raises(DataError, match="no such folder"):
        compare(a, b, on=tmp_path / "nowhere")
    (tmp_path / "sweep").mkdir()
    (tmp_path / "sweep" / "sweep.csv").write_text("")
    with pytest.raises(ConfigError, match="a sweep, which holds several runs"):
        compare(a, b, on=tmp_path / "sweep")
