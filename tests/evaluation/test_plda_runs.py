"""A run whose distance is fitted to the embeddings of its training images, after training."""

import shutil

import numpy as np
import pytest
import torch
from tests.helpers import quiet_trainer, write_identities

import siamese
from siamese.data.embedding import embed
from siamese.evaluation import embedding


def train(root, folder, distance):
    siamese.seed_everything(0, workers=True, verbose=False)
    data = siamese.FolderDataModule(
        root,
        cropper=siamese.NoCropper(32),
        sampler=siamese.IdentitySampler(4, 2, steps=2),
        workers=0,
        progress=False,
    )
    net = siamese.SmallResNet(
        widths=(8,), depths=(1,), learned_size=8, whiten=False, gradient_cells=0
    )
    module = siamese.SiameseModule(net, siamese.ContrastiveLoss(distance=distance), distance)
    options = {"max_epochs": 1, "plots": False, "verbose": False, "pairs": "all_pairs"}
    return module, data, siamese.train(module, data, folder, **options)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    root = write_identities(tmp_path_factory.mktemp("identities"), [4] * 14)
    folder = tmp_path_factory.mktemp("runs")
    times = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            embedding, "embed", lambda *a, **k: (times.append(len(a[1])), embed(*a, **k))[1]
        )
        fitted = train(root, folder / "fitted", siamese.PldaDistance())
        counted = list(times)
    plain = train(root, folder / "plain", siamese.EuclideanDistance())
    return fitted, plain, counted


def test_training_is_that_with_the_euclidean_distance(runs):
    (module, _, _), (plain, _, _), _ = runs
    weights = plain.backbone.state_dict()
    assert all(torch.equal(v, weights[k]) for k, v in module.backbone.state_dict().items())
    assert not module.loss.distance.is_fitted


def test_the_module_measures_as_its_threshold_was_chosen(runs):
    (module, data, run), _, _ = runs
    assert module.distance.is_fitted
    (figures,) = quiet_trainer().validate(module, datamodule=data, verbose=False)
    assert figures["calibration/f1"] == pytest.approx(run.evaluations["calibration"].f1, abs=1e-6)
    assert figures["calibration/threshold"] == pytest.approx(run.operating_point.threshold)


def test_it_is_fitted_to_the_training_images_alone_which_are_embedded_once(runs):
    (module, data, run), _, counted = runs
    part = data.dataset("train")
    # One pass over three splits, and perhaps one more for each baseline.
    assert len(counted) == 3 * counted.count(len(part)) > 0
    bundle = run.evaluation.bundle
    again = siamese.PldaDistance.fit(embed(module.backbone, part), part.labels)
    rows = embed(module.backbone, data.dataset("test"))
    assert torch.equal(again.matrix(rows, rows), bundle.distance.matrix(rows, rows))
    assert run.operating_point.distance == "plda"


def test_the_saved_bundle_repeats_the_counts_of_the_test_split(runs):
    (_, _, run), _, _ = runs
    bundle = siamese.Bundle.load(run.bundle)
    files = siamese.SplitManifest.load(run.folder / "split.json").table("test")
    i, j = np.triu_indices(len(files), 1)
    verifier = siamese.Verifier(bundle)
    rows = torch.cat([verifier.embed([path]) for path in files.paths])
    accepted = bundle.distance.between(rows, i, j) <= bundle.operating_point.threshold
    same = files.labels[i] == files.labels[j]
    confusion = run.evaluations["test"].confusion
    assert abs((accepted & same).sum() - confusion.tp) <= 1  # embedded alone: other last bits
    assert abs((accepted & ~same).sum() - confusion.fp) <= 1


def test_a_run_that_has_no_bundle_yet_is_fitted_as_it_would_have_been(runs, tmp_path):
    (_, _, run), _, _ = runs
    folder = tmp_path / "killed"
    shutil.copytree(run.folder, folder)
    shutil.rmtree(folder / "bundle")
    (folder / "evaluation.json").unlink()
    found = siamese.evaluate_run(folder, progress=False)
    assert found.operating_point.threshold == run.operating_point.threshold
    assert found.evaluations["test"].confusion == run.evaluations["test"].confusion
