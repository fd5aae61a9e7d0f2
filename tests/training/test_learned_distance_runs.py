"""A learned distance goes the whole way that euclidean distance goes.

What does not fit it is told before training.
"""

import pytest
from tests.helpers import assert_says, write_identities

import siamese
from siamese.errors import ConfigError


def run(root, folder, backbone, distance, loss=None):
    siamese.seed_everything(0, workers=True, verbose=False)
    data = siamese.FolderDataModule(
        root,
        cropper=siamese.NoCropper(32),
        sampler=siamese.BalancedPairSampler(8, steps=2),
        workers=0,
        progress=False,
    )
    module = siamese.SiameseModule(
        backbone, loss or siamese.PairCrossEntropyLoss(distance), distance
    )
    return module, siamese.train(module, data, folder, max_epochs=2, plots=False, verbose=False)


@pytest.fixture
def identities(tmp_path):
    return write_identities(tmp_path / "identities", [4] * 12)


def net(**settings):
    return siamese.SmallResNet(widths=(8,), depths=(1,), learned_size=8, **settings)


def test_from_training_to_the_verdict(identities, tmp_path):
    distance = siamese.LearnedDistance(embedding_size=8, hidden=4)
    before = {k: v.clone() for k, v in distance.state_dict().items()}
    module, found = run(identities, tmp_path / "run", net(whiten=False, gradient_cells=0), distance)
    assert module.distance is module.loss.distance is distance
    assert any(not (before[k] == v).all() for k, v in distance.state_dict().items())
    assert found.operating_point.distance == "learned"
    assert 0 <= found.operating_point.threshold <= 1
    # The verifier, from the bundle alone, repeats the counts of the test split.
    files = siamese.SplitManifest.load(found.folder / "split.json").table("test")
    pairs = siamese.BalancedPairs()(files.labels)
    verdicts = [
        found.verifier.verify(files.paths[a], files.paths[b]).same
        for a, b in zip(pairs.left, pairs.right, strict=True)
    ]
    confusion = found.evaluations["test"].confusion
    assert sum(v and s for v, s in zip(verdicts, pairs.same, strict=True)) == confusion.tp
    assert sum(v and not s for v, s in zip(verdicts, pairs.same, strict=True)) == confusion.fp


def test_equal_settings_mean_one_distance_and_others_are_refused():
    loss = siamese.PairCrossEntropyLoss(siamese.LearnedDistance(8, 4))
    twin = siamese.LearnedDistance(8, 4)
    assert siamese.SiameseModule(net(), loss, twin).distance is loss.distance
    with pytest.raises(ConfigError, match="give the same object to both"):
        siamese.SiameseModule(net(), loss, siamese.LearnedDistance(8, 5))
    with pytest.raises(ConfigError, match="pair_cross_entropy_loss"):
        siamese.SiameseModule(net(), siamese.ContrastiveLoss(), siamese.LearnedDistance(8, 4))


@pytest.mark.parametrize(
    ("backbone", "words"),
    [
        (
            lambda: net(whiten=False, gradient_cells=0),
            ("16 numbers", "gives 8", "distance.embedding_size=8"),
        ),
        (
            lambda: net(gradient_cells=0),
            ("other embeddings at use", "module.backbone.whiten=false"),
        ),
        (net, ("other embeddings at use", "module.backbone.whiten=false")),
    ],
)
def test_lengths_that_do_not_fit_are_told_before_anything_is_written(
    identities, tmp_path, backbone, words
):
    with pytest.raises(ConfigError) as caught:
        run(identities, tmp_path / "run", backbone(), siamese.LearnedDistance(16, 4))
    assert_says(caught.value, *words)
    assert not (tmp_path / "run").exists()
