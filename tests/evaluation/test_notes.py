"""What is said beside figures: hardly better than chance, images without a face left out."""

import shutil
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from tests.helpers import assert_says, orl_folder

import siamese
from siamese.cli.main import main
from siamese.evaluation.stages import note_on_chance
from siamese.weight_files import RESNET, pretrained_file


def figures(auc, low=None):
    return SimpleNamespace(auc=auc, ci95={} if low is None else {"auc": (low, auc + 0.1)})


@pytest.mark.parametrize(
    ("split", "auc", "low", "said"),
    [
        ("test", 0.52, 0.48, True),
        ("test", 0.52, None, True),  # too few identities for an interval
        ("calibration", 0.60, 0.49, True),
        ("test", 0.90, 0.80, False),
        ("test", 0.60, 0.56, False),
        ("train", 0.50, 0.40, False),  # what counts is other people
    ],
)
def test_a_network_that_guesses_is_called_so(split, auc, low, said):
    found = note_on_chance({"train": figures(0.9, 0.8), split: figures(auc, low)})
    assert (found is not None) == said
    if said:
        assert_says(found, "hardly better than chance", split, f"AUC {auc:.3f}", "train longer")


def test_so_it_is_where_labels_mean_nothing():
    rng = np.random.default_rng(0)
    pairs = siamese.measure_pairs(
        rng.normal(size=(120, 4)).astype(np.float32), np.arange(120) // 4, siamese.AllPairs()
    )
    assert note_on_chance({"test": siamese.evaluate_pairs(pairs, 1.0)})


@pytest.fixture
def people(tmp_path):
    """Six people of ORL, five photographs each, and one picture of noise among them."""
    pytest.importorskip("dlib")
    try:
        pretrained_file(RESNET)
    except siamese.MissingDependencyError as error:
        pytest.skip(str(error))
    for person in range(1, 7):
        folder = tmp_path / "people" / f"s{person}"
        folder.mkdir(parents=True)
        for number in range(1, 6):
            shutil.copy(orl_folder() / f"s{person}" / f"{number}.pgm", folder)
    noise = np.random.default_rng(0).integers(0, 256, (112, 92), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "people" / "s1" / "noise.png")
    return tmp_path / "people"


def test_what_verify_refuses_is_left_out_of_a_calibration(people, capsys):
    assert main(["calibrate", "pretrained", "--data", str(people)]) == 0
    said = capsys.readouterr()
    assert "1 of 31 images are left out: no usable face was found" in said.err
    bundle = siamese.pretrained_bundle()
    found = siamese.recalibrate(bundle, people, progress=False)
    assert found.data.splits["data"].counts["skipped"] == 1
    assert found.new.images == 30
    (people / "s1" / "noise.png").rename(people.parent / "noise.png")
    without = siamese.recalibrate(bundle, people, progress=False)
    assert (found.old, found.new) == (without.old, without.new)
    (people.parent / "noise.png").rename(people / "s1" / "noise.png")
    whole = siamese.recalibrate(bundle, people, no_face="whole_image", progress=False)
    assert whole.new.images == 31
    assert whole.old.figures["recall"] < found.old.figures["recall"]
    with pytest.raises(siamese.FaceError):
        siamese.recalibrate(bundle, people, no_face="error", progress=False)
    evaluated = siamese.evaluate_run(bundle, people, progress=False)
    assert any("1 of 31 images are left out" in note for note in evaluated.notes)


def test_a_verdict_and_a_probability_that_contradict_each_other_are_explained(people, capsys):
    a, b = (str(people / person / "1.pgm") for person in ("s1", "s2"))
    assert main(["verify", a, b, "--threshold", "1.2"]) == 0
    said = capsys.readouterr().out
    assert "same person: distance" in said
    assert "threshold: a number that was given; it has, on 140 genuine" in said
    assert "note: the two differ: the given threshold accepts pairs at this distance" in said
    assert "show different people" in said
    assert main(["verify", a, b]) == 1
    assert "the two differ" not in capsys.readouterr().out
