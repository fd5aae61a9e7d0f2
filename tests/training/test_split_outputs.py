"""The loss and figures of a split: whatever part of it is seen, and whoever gives the loader."""

import functools

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from tests.helpers import quiet_trainer, write_identities

import siamese
from siamese.data.embedding import embed
from siamese.training.split_outputs import accuracy, genuine_share, measured, some_pairs


@pytest.fixture(scope="module")
def identities(tmp_path_factory):
    """A calibration split of 80 images: two batches."""
    return write_identities(tmp_path_factory.mktemp("many"), [4] * 100)


def data_of(root, **settings):
    settings = {"sampler": siamese.IdentitySampler(4, 2, steps=2)} | settings
    return siamese.FolderDataModule(
        root, cropper=siamese.NoCropper(16), workers=0, progress=False, **settings
    )


def module_of(loss=None, **settings):
    torch.manual_seed(0)
    net = siamese.SmallResNet(widths=(4,), depths=(1,), learned_size=4)
    return siamese.SiameseModule(net, loss or siamese.ContrastiveLoss(), **settings)


def fit(module, data, epochs=1, **settings):
    settings = {"callbacks": [siamese.ThresholdCalibrator()]} | settings
    trainer = quiet_trainer(max_epochs=epochs, **settings)
    trainer.fit(module, datamodule=data)
    return trainer


@pytest.mark.parametrize("limits", [{"fast_dev_run": True}, {"limit_val_batches": 1}])
@pytest.mark.parametrize("sampler", [siamese.IdentitySampler(4, 2), siamese.BalancedPairSampler(8)])
def test_a_part_of_a_split_will_do(identities, limits, sampler):
    module, data = module_of(), data_of(identities, sampler=sampler)
    trainer = fit(module, data, limit_test_batches=1, **limits)
    assert np.isfinite(float(trainer.callback_metrics["calibration/loss"]))
    (tested,) = trainer.test(module, datamodule=data, verbose=False)
    assert {"test/loss", "test/eer", "test/f1"} <= set(tested)


def test_figures_are_of_the_loader_that_was_given(identities):
    """A trainer that was fitted before keeps its data module; the loader says whose it is."""
    module, data = module_of(), data_of(identities)
    trainer = fit(module, data)
    for split in ("train", "test"):
        (stale,) = trainer.test(module, data.eval_dataloader(split), verbose=False)
        (fresh,) = quiet_trainer().test(module, data.eval_dataloader(split), verbose=False)
        (seen,) = trainer.validate(module, data.eval_dataloader(split), verbose=False)
        assert stale == fresh == seen
        assert {name.partition("/")[0] for name in stale} == {split}
        dataset = data.dataset(split)
        found = siamese.measure_pairs(
            embed(module.backbone, dataset), dataset.labels, siamese.BalancedPairs(), "euclidean"
        )
        assert stale[f"{split}/eer"] == pytest.approx(found.eer(), abs=1e-6)
    with pytest.raises(siamese.ConfigError, match=r"2 loaders at once.*one loader at a time"):
        trainer.test(module, [data.eval_dataloader(s) for s in ("train", "test")], verbose=False)


class Counting(siamese.EmbeddingLoss):
    """A loss of all that it is given; remembers how much that was."""

    def __init__(self):
        super().__init__()
        self.sizes = []

    def forward(self, embeddings, labels, pairs=None):
        self.sizes.append(len(embeddings))
        return embeddings.square().mean()


def test_no_loss_is_given_a_whole_split(identities):
    rows = torch.utils.data.RandomSampler(range(200))
    data = data_of(identities, sampler=torch.utils.data.BatchSampler(rows, 16, True))
    loss = Counting()
    trainer = fit(module_of(loss), data)
    assert "calibration/loss" in trainer.callback_metrics
    assert max(loss.sizes) <= 64


def test_a_plateau_is_watched_under_the_splits_own_name(identities):
    data = data_of(identities)
    data.setup()
    for splits in (data.manifest.splits, data.prepared.splits):
        splits["validation"] = splits.pop("calibration")
    plateau = functools.partial(
        torch.optim.lr_scheduler.ReduceLROnPlateau, patience=0, threshold=10, threshold_mode="abs"
    )
    calibrator = siamese.ThresholdCalibrator(split="validation")
    trainer = fit(module_of(schedule=plateau), data, epochs=3, callbacks=[calibrator])
    assert "validation/eer" in trainer.callback_metrics
    assert trainer.optimizers[0].param_groups[0]["lr"] < 1e-3  # began at 2e-3


def test_a_batch_too_large_to_compare_every_pair_is_sampled_evenly():
    labels = torch.randint(0, 20, (400,), generator=torch.Generator().manual_seed(0))
    left, right = some_pairs(labels)
    same = labels[left] == labels[right]
    assert 256 < int(same.sum()) <= 512
    assert 256 < int((~same).sum()) <= 512
    assert bool((left < right).all())
    assert len(torch.unique(left * 400 + right)) == len(left)
    # Weighed to their share, sampled pairs tell what all pairs do.
    every = torch.triu_indices(400, 400, 1)
    values = torch.randn(400, 8, generator=torch.Generator().manual_seed(1)) + labels[:, None] / 9
    distances = [(values[a] - values[b]).norm(dim=1) for a, b in (every, (left, right))]
    all_same = labels[every[0]] == labels[every[1]]
    whole = (distances[0] <= 4.0).eq(all_same).float().mean()
    part = accuracy(distances[1], same, 4.0, genuine_share(labels))
    assert genuine_share(labels) == pytest.approx(float(all_same.float().mean()))
    assert float(part) == pytest.approx(float(whole), abs=0.04)


@pytest.mark.parametrize("whiten", [False, True])
def test_train_accuracy_is_that_of_the_policys_threshold_for_what_the_loss_sees(identities, whiten):
    """Weights that stand still: the threshold, and the verdicts on a batch, found by hand."""
    net = siamese.SmallResNet(
        widths=(4,), depths=(1,), learned_size=4, whiten=whiten, gradient_cells=0
    )
    still = functools.partial(torch.optim.SGD, lr=0.0)
    module = siamese.SiameseModule(net, siamese.ContrastiveLoss(), optimizer=still)
    for part in net.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            part.eval()
            part.train = lambda mode=True: None  # statistics stand still, too
    data = data_of(identities, augmentation=None)
    trainer = fit(module, data, epochs=2)
    net.eval()
    with torch.no_grad():
        seen = {
            split: net._learned(embed_pixels(data.dataset(split)))
            for split in ("train", "calibration")
        }
    rule, policy = siamese.BalancedPairs(), siamese.MaxF1()
    chosen = siamese.measure_pairs(
        seen["calibration"], data.dataset("calibration").labels, rule, "euclidean"
    )
    threshold = chosen.choose(policy)[0]
    expected = []
    batches = data.training_batches()
    batches.set_epoch(1)
    for plan in batches:
        rows, labels = seen["train"][plan.indices], data.dataset("train").labels[plan.indices]
        found = {True: [], False: []}
        for i in range(len(rows)):
            for j in range(i):
                same = bool(labels[i] == labels[j])
                found[same].append((float((rows[i] - rows[j]).norm()) <= threshold) == same)
        expected.append((np.mean(found[True]) + np.mean(found[False])) / 2)
    logged = float(trainer.callback_metrics["train/accuracy"])
    assert logged == pytest.approx(np.mean(expected), abs=1e-5)


def embed_pixels(dataset):
    images = np.stack([dataset.image(i) for i in range(len(dataset))])
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255


class Tripled(siamese.SiameseModule):
    def forward(self, images):
        return 3 * super().forward(images)


def test_a_forward_of_ones_own_is_what_is_validated(identities):
    torch.manual_seed(0)
    module = Tripled(siamese.SmallResNet(widths=(4,), depths=(1,), learned_size=4), Counting())
    data = data_of(identities)
    batch = next(iter(data.val_dataloader()))
    module.eval()
    validated = module._evaluation_step(batch, 0)["embeddings"]
    assert torch.equal(validated, module.predict_step(batch, 0)["embeddings"])
    assert torch.equal(validated, 3 * module.backbone(batch["image"]))
    assert isinstance(fit(module, data), pl.Trainer)


@pytest.mark.parametrize(
    "distance",
    [
        siamese.EuclideanDistance(),
        siamese.CosineDistance(),
        siamese.LearnedDistance(5),
        siamese.PldaDistance.fit(
            torch.randn(60, 5, generator=torch.Generator().manual_seed(1)), [*range(20)] * 3
        ),
    ],
    ids=lambda distance: type(distance).__name__,
)
def test_pairs_of_a_batch_are_measured_bit_for_bit_as_ever(distance):
    generator = torch.Generator().manual_seed(0)
    embeddings = torch.randn(30, 5, generator=generator).bfloat16()
    left, right = torch.randint(0, 30, (2, 200), generator=generator)
    with torch.autocast("cpu", torch.bfloat16):
        found = measured(distance, embeddings, left, right)
    assert torch.equal(found, distance.measure(embeddings[left], embeddings[right]))
