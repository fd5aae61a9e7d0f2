"""What a Lightning user writes without reading our documentation: it works, or says what to do."""

import functools
import json
import os

import albumentations as A
import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import CSVLogger, Logger
from tests.helpers import assert_says, quiet_trainer, write_identities
from torch import nn

import siamese
from siamese.backbones.base import ModuleBackbone
from siamese.data.adapters import TorchBatches
from siamese.data.embedding import embed
from siamese.evaluation.sources import process_now
from siamese.training.folder import holds_run
from siamese.verification.figures import evaluate_pairs


@pytest.fixture(scope="module")
def identities(tmp_path_factory):
    return write_identities(tmp_path_factory.mktemp("identities"), [4] * 12)


def data_of(root, **settings):
    settings = {"sampler": siamese.IdentitySampler(4, 2, steps=3)} | settings
    return siamese.FolderDataModule(
        root, cropper=siamese.NoCropper(32), workers=0, progress=False, **settings
    )


def small(**settings):
    return siamese.SmallResNet(widths=(8,), depths=(1,), learned_size=8, **settings)


def fitted(root, module=None, callbacks=(), epochs=2, **settings):
    """A module trained in a plain Trainer, the trainer and the data."""
    torch.manual_seed(0)
    module = module or siamese.SiameseModule(small(), siamese.ContrastiveLoss())
    data = data_of(root, **settings)
    trainer = quiet_trainer(
        max_epochs=epochs, callbacks=[siamese.ThresholdCalibrator(), *callbacks]
    )
    trainer.fit(module, datamodule=data)
    return module, trainer, data


def test_fit_validate_test_and_predict_need_nothing_but_the_data(identities):
    module, trainer, data = fitted(identities)
    fit_metrics = set(trainer.callback_metrics)
    (validated,) = trainer.validate(module, datamodule=data, verbose=False)
    (tested,) = trainer.test(module, datamodule=data, verbose=False)
    names = {"loss", "auc", "eer", "threshold", "f1", "accuracy", "precision", "recall", "fmr"}
    assert {f"calibration/{name}" for name in names} <= fit_metrics
    assert {f"calibration/{name}" for name in names} == set(validated)
    assert {f"test/{name}" for name in names} == set(tested)
    # An oracle of our own: the whole split embedded by hand, judged at the module's threshold.
    test = data.dataset("test")
    found = siamese.measure_pairs(
        embed(module.backbone, test), test.labels, siamese.BalancedPairs(), module.distance
    )
    expected = evaluate_pairs(found, float(module.threshold))
    for name in names - {"loss", "threshold"}:
        assert tested[f"test/{name}"] == pytest.approx(getattr(expected, name), abs=1e-6)
    predicted = trainer.predict(module, datamodule=data)
    rows = torch.cat([batch["index"] for batch in predicted])
    assert rows.tolist() == list(range(len(test)))
    assert torch.equal(torch.cat([b["embeddings"] for b in predicted]), embed(module, test))


def test_a_checkpoint_alone_is_a_module_again(identities, tmp_path):
    module, trainer, data = fitted(identities)
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    again = siamese.SiameseModule.load_from_checkpoint(tmp_path / "a.ckpt")
    state, restored = module.state_dict(), again.state_dict()
    assert state.keys() == restored.keys()
    assert all(torch.equal(state[k], restored[k]) for k in state)
    assert again.operating_point == module.operating_point
    assert repr(again.loss) == repr(module.loss)
    assert again.schedule.factor(5, 10) == module.schedule.factor(5, 10)
    (one,), (other,) = (
        quiet_trainer().test(m, datamodule=data, verbose=False) for m in (module, again)
    )
    assert one == other


@pytest.mark.parametrize(
    "loss",
    [
        siamese.ContrastiveLoss(1.5, 0.2, "balanced", siamese.CosineDistance(), 0.5),
        siamese.TripletLoss(None, "all"),
        siamese.SupervisedContrastiveLoss(0.2),
        siamese.MarginSoftmaxLoss(5, 8, kind="arcface", warmup_steps=3),
        siamese.PairCrossEntropyLoss(siamese.LearnedDistance(embedding_size=8)),
        siamese.CombinedLoss(
            [siamese.ContrastiveLoss(distance=siamese.CosineDistance()), siamese.TripletLoss()],
            [1, 2],
        ),
    ],
    ids=lambda loss: type(loss).__name__,
)
def test_every_loss_comes_back_with_its_settings_and_weights(loss, tmp_path):
    optimizer = functools.partial(torch.optim.SGD, lr=0.1, momentum=0.9)
    schedule = functools.partial(torch.optim.lr_scheduler.StepLR, step_size=5)
    module = siamese.SiameseModule(
        small(whiten=False, gradient_cells=0), loss, None, optimizer, schedule, layer_decay=1.0
    )
    trainer = quiet_trainer()
    trainer.strategy.connect(module)
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    again = siamese.SiameseModule.load_from_checkpoint(tmp_path / "a.ckpt")
    generator = torch.Generator().manual_seed(0)
    embeddings = torch.randn(10, 8, generator=generator)
    labels = torch.arange(10) // 2
    assert torch.equal(loss.eval()(embeddings, labels), again.loss.eval()(embeddings, labels))
    assert type(again.distance) is type(module.distance)
    assert again.optimizer.keywords == optimizer.keywords
    assert again.schedule.keywords == schedule.keywords


class OwnLoss(siamese.EmbeddingLoss):
    def forward(self, embeddings, labels, pairs=None):
        return embeddings.square().mean()


def test_parts_that_a_checkpoint_cannot_name_are_asked_for(identities, tmp_path):
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 6))
    module, trainer, _ = fitted(identities, siamese.SiameseModule(network, OwnLoss()), epochs=1)
    path = tmp_path / "a.ckpt"
    trainer.save_checkpoint(path)
    load = siamese.SiameseModule.load_from_checkpoint
    with pytest.raises(siamese.ConfigError) as caught:
        load(path)
    assert_says(caught.value, "backbone", "Sequential", "give it: load_from_checkpoint(path, back")
    fresh = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 6))
    with pytest.raises(siamese.ConfigError) as caught:
        load(path, backbone=fresh)
    assert_says(caught.value, "loss", "OwnLoss", "load_from_checkpoint(path, loss=...)")
    again = load(path, backbone=fresh, loss=OwnLoss())
    assert torch.equal(fresh[1].weight, module.backbone.network[1].weight)
    assert again.operating_point == module.operating_point


@pytest.mark.parametrize("content", [None, b"", b"no zip", "a bundle"])
def test_what_is_no_checkpoint_is_refused_in_one_line(content, tmp_path):
    path = tmp_path / "a.ckpt"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content:
        torch.save({"weights": torch.zeros(1)}, path)
    with pytest.raises(siamese.ConfigError) as caught:
        siamese.SiameseModule.load_from_checkpoint(path)
    assert_says(caught.value, path, "give")


class Everything(Logger):
    """A logger of a user's own."""

    name, version = "own", "1"

    def __init__(self):
        super().__init__()
        self.seen = set()

    def log_metrics(self, metrics, step=None):
        self.seen |= set(metrics)

    def log_hyperparams(self, params, *_, **__):
        pass


def train(module, data, folder, **settings):
    return siamese.train(module, data, folder, max_epochs=1, plots=False, verbose=False, **settings)


def test_a_logger_and_a_callback_of_ones_own_leave_the_history_as_it_is(identities, tmp_path):
    own, rates = Everything(), pl.callbacks.LearningRateMonitor()
    module = siamese.SiameseModule(small(), siamese.ContrastiveLoss())
    settings = {"logger": [own, CSVLogger(tmp_path / "other")], "callbacks": [rates]}
    run = train(module, data_of(identities), tmp_path / "run", trainer=settings)
    history = (run.folder / "history.csv").read_text().splitlines()[0].split(",")
    assert {"train/loss", "calibration/loss", "calibration/f1"} <= set(history)
    assert {"train/loss", "calibration/eer"} <= own.seen
    assert any(name.startswith("lr-") for name in own.seen)
    assert list((tmp_path / "other").rglob("metrics.csv"))
    without = train(module, data_of(identities), tmp_path / "none", trainer={"logger": False})
    assert (without.folder / "history.csv").is_file()
    with pytest.raises(siamese.ConfigError) as caught:
        train(module, data_of(identities), tmp_path / "no", trainer={"logger": "tensorbord"})
    assert_says(caught.value, "'tensorbord' is unknown", "did you mean 'tensorboard'")


def test_an_albumentations_pipeline_is_an_augmentation(identities):
    pipeline = A.Compose([A.HorizontalFlip(p=0.5), A.RandomBrightnessContrast(p=1.0)])
    data = data_of(identities, augmentation=pipeline)
    (first, again) = (next(iter(data.train_dataloader()))["image"] for _ in range(2))
    assert torch.equal(first, again)  # a function of the seed, not of what was drawn before
    plan = next(iter(data.training_batches()))
    plain = np.stack([data.dataset("train").image(int(row)) for row in plan.indices])
    assert not np.array_equal(first.permute(0, 2, 3, 1).numpy(), plain)
    single = data_of(identities, augmentation=A.VerticalFlip(p=1.0))
    turned = next(iter(single.train_dataloader()))["image"].permute(0, 2, 3, 1).numpy()
    assert np.array_equal(turned, plain[:, ::-1])


@pytest.mark.parametrize(
    ("augmentation", "words"),
    [
        (A.Compose([A.Normalize()]), ["float", "leave out", "Normalize and ToTensorV2"]),
        (A.Compose([A.ToGray(num_output_channels=1)]), ["(32, 32)"]),
    ],
)
def test_a_pipeline_whose_output_is_no_image_says_so(identities, augmentation, words):
    with pytest.raises(siamese.ConfigError) as caught:
        next(iter(data_of(identities, augmentation=augmentation).train_dataloader()))
    assert_says(caught.value, *words)


@pytest.mark.parametrize("wrong", [lambda image: image, "flip", A.Compose])
def test_what_is_no_augmentation_is_refused_at_once(wrong):
    with pytest.raises(siamese.ConfigError) as caught:
        data_of("nowhere", augmentation=wrong)
    assert_says(caught.value, "augmentation", "give a siamese.Augmentation", "seed")


def test_a_torch_batch_sampler_decides_who_is_in_a_batch(identities):
    drawn = torch.utils.data.BatchSampler(
        torch.utils.data.RandomSampler(range(20), generator=torch.Generator().manual_seed(0)),
        8,
        True,
    )
    data = data_of(identities, sampler=drawn)
    assert len(data.dataset("train")) >= 20
    batches = [batch["index"].tolist() for batch in data.train_dataloader()]
    again = torch.utils.data.BatchSampler(
        torch.utils.data.RandomSampler(range(20), generator=torch.Generator().manual_seed(0)),
        8,
        True,
    )
    assert batches == list(again)
    _, trainer, _ = fitted(identities, sampler=drawn, epochs=2)
    assert trainer.global_step == 2 * len(drawn)
    assert {"train/loss", "train/accuracy", "calibration/loss"} <= set(trainer.callback_metrics)


@pytest.mark.parametrize(
    ("sampler", "words"),
    [
        (
            torch.utils.data.RandomSampler(range(9)),
            ["RandomSampler", "BatchSampler(sampler, batch"],
        ),
        ([0, 1, 2], ["single images (0)", "BatchSampler"]),
        ([[0, 1], [5, 99]], ["row 99", "28 images"]),
        (7, ["sampler=7 is no sampler", "IdentitySampler"]),
    ],
)
def test_a_sampler_that_cannot_be_used_says_what_to_give(identities, sampler, words):
    with pytest.raises(siamese.ConfigError) as caught:
        list(data_of(identities, sampler=sampler).train_dataloader())
    assert_says(caught.value, *words)


class Plain(nn.Module):
    """A network as anybody writes it: floating point images in, embeddings out."""

    def __init__(self, width=6):
        super().__init__()
        self.width = width
        self.layers = nn.Sequential(
            nn.Conv2d(3, width, 3, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
        )

    def forward(self, images):
        return self.layers(images)


def test_a_plain_network_is_trained_and_verifies_without_a_bundle(identities, tmp_path, capsys):
    module = siamese.SiameseModule(Plain(), siamese.ContrastiveLoss())
    run = train(module, data_of(identities), tmp_path / "run")
    assert "no bundle is saved" in capsys.readouterr().out
    assert not run.bundle.exists()
    a, b = sorted(identities.rglob("*.png"))[:2]
    verdict = run.verifier.verify(a, b)
    images = torch.stack(
        [torch.from_numpy(data_of(identities).cropper(siamese.read_image(p)).image) for p in (a, b)]
    )
    one, other = module.backbone.network.eval()(images.permute(0, 3, 1, 2) / 255)
    assert verdict.distance == pytest.approx(float((one - other).norm()), rel=1e-5)


def test_a_plain_network_that_is_registered_has_a_bundle(identities, tmp_path):
    siamese.BACKBONES.register("plain_of_tests")(Plain)
    module = siamese.SiameseModule(Plain(4), siamese.ContrastiveLoss())
    run = train(module, data_of(identities), tmp_path / "run")
    loaded = siamese.Bundle.load(run.folder).backbone
    assert isinstance(loaded, ModuleBackbone)
    assert loaded.network.width == 4
    images = torch.zeros(2, 3, 32, 32, dtype=torch.uint8)
    assert torch.equal(loaded(images), module.backbone.eval()(images))


def test_a_network_whose_output_is_no_embedding_says_so(identities, tmp_path):
    module = siamese.SiameseModule(nn.Conv2d(3, 4, 3), siamese.ContrastiveLoss())
    with pytest.raises(siamese.ConfigError) as caught:
        train(module, data_of(identities), tmp_path / "run")
    assert_says(caught.value, "Conv2d gives (2, 4, 30, 30)", "(B, D)", "nn.Flatten()")


@pytest.mark.parametrize("whiten", [False, True])
def test_the_loss_of_both_splits_is_of_pairs_chosen_alike(identities, whiten):
    """Weights that stand still, no augmentation, the same images: the same loss, near enough.

    The batches are other draws of the same rule. A loss over all pairs of the split would be
    dominated by its impostors.
    """
    torch.manual_seed(0)
    still = functools.partial(torch.optim.SGD, lr=0.0)
    net = small(whiten=whiten, gradient_cells=0)
    module = siamese.SiameseModule(net, siamese.ContrastiveLoss(margin=5), optimizer=still)
    for part in net.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.momentum = None  # averages over all batches, so that both modes agree in the end
    data = data_of(identities, augmentation=None, sampler=siamese.IdentitySampler(2, 2, steps=40))
    data.setup()
    data.prepared.splits["calibration"] = data.prepared.splits["train"]
    trainer = quiet_trainer(max_epochs=2)
    trainer.fit(module, datamodule=data)
    train_loss, loss = (
        float(trainer.callback_metrics[name]) for name in ("train/loss", "calibration/loss")
    )
    assert loss == pytest.approx(train_loss, rel=0.15)


@pytest.mark.parametrize(
    "sampler",
    [
        siamese.IdentitySampler(4, 2, steps=3),
        siamese.BalancedPairSampler(8, steps=3),
        siamese.OrderedPairSampler(),
    ],
)
@pytest.mark.parametrize("net", [{}, {"whiten": False, "gradient_cells": 0}])
def test_train_accuracy_is_there_for_every_sampler_and_network(identities, sampler, net):
    module = siamese.SiameseModule(small(**net), siamese.ContrastiveLoss())
    _, trainer, _ = fitted(identities, module, sampler=sampler)
    assert 0 <= float(trainer.callback_metrics["train/accuracy"]) <= 1


@pytest.mark.parametrize(
    "settings",
    [
        {"loss": siamese.ContrastiveLoss(margin=np.linspace(0.5, 2, 4)[1])},
        {"layer_decay": np.float64(1.0)},
        {"optimizer": functools.partial(torch.optim.AdamW, lr=np.float64(1e-3))},
        {"schedule": functools.partial(torch.optim.lr_scheduler.StepLR, step_size=np.int64(2))},
    ],
)
def test_numbers_of_numpy_are_numbers(identities, settings, tmp_path):
    module = siamese.SiameseModule(
        small(dropout=np.float64(0.1)), **({"loss": siamese.ContrastiveLoss()} | settings)
    )
    run = train(module, data_of(identities), tmp_path / "run")
    again = siamese.SiameseModule.load_from_checkpoint(run.folder / "checkpoints" / "best.ckpt")
    assert again.backbone.dropout == 0.1
    assert type(again.backbone.dropout) is float
    assert again.layer_decay == module.layer_decay


def test_a_schedule_of_ones_own_is_saved_and_asked_for(identities, tmp_path):
    rates = functools.partial(torch.optim.lr_scheduler.LambdaLR, lr_lambda=[lambda e: 0.5] * 2)
    module = siamese.SiameseModule(small(), siamese.ContrastiveLoss(), schedule=rates)
    _, trainer, _ = fitted(identities, module, epochs=1)
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    with pytest.warns(
        UserWarning, match=r"its schedule was a function of your own.*schedule=\.\.\."
    ):
        again = siamese.SiameseModule.load_from_checkpoint(tmp_path / "a.ckpt")
    assert type(again.schedule).__name__ == "WarmupCosine"  # the default
    stepped = functools.partial(torch.optim.lr_scheduler.StepLR, step_size=3)
    stepped.interval = "step"
    module = siamese.SiameseModule(small(), siamese.ContrastiveLoss(), schedule=stepped)
    _, trainer, _ = fitted(identities, module, epochs=1)
    trainer.save_checkpoint(tmp_path / "b.ckpt")
    assert (
        siamese.SiameseModule.load_from_checkpoint(tmp_path / "b.ckpt").schedule.interval == "step"
    )


def test_a_sampler_without_batches_is_no_default(identities):
    empty = torch.utils.data.BatchSampler(torch.utils.data.RandomSampler(range(20)), 64, True)
    for sampler in (empty, []):
        with pytest.raises(siamese.ConfigError, match="gives 0 batches"):
            data_of(identities, sampler=sampler).train_dataloader()


def test_several_processes_share_the_batches_of_a_torch_sampler():
    rows = [[i, i + 1] for i in range(0, 10, 2)]
    shares = [TorchBatches(rows, 10, 0, rank, 2) for rank in range(2)]
    assert [[p.indices.tolist() for p in share] for share in shares] == [rows[0:4:2], rows[1:4:2]]
    inner = [torch.utils.data.DistributedSampler(range(8), 2, rank, False) for rank in range(2)]
    drawn = [
        [row for plan in TorchBatches(torch.utils.data.BatchSampler(s, 2, True), 8, 0, rank, 2)
         for row in plan.indices.tolist()]
        for rank, s in enumerate(inner)
    ]  # fmt: skip
    assert sorted(drawn[0] + drawn[1]) == list(range(8))  # it shards itself: none is lost
    with pytest.raises(siamese.ConfigError, match="1 batches for 2 processes"):
        TorchBatches([[0, 1]], 2, 0, 0, 2)


@pytest.mark.parametrize("augmentation", [A.RandomScale(p=1.0), A.RandomCrop(24, 24)])
def test_an_augmentation_that_changes_the_size_is_refused(identities, augmentation):
    with pytest.raises(siamese.ConfigError) as caught:
        next(iter(data_of(identities, augmentation=augmentation).train_dataloader()))
    assert_says(caught.value, "the augmentation makes uint8", "(32, 32, 3)", "cropper's size")


class Forgets(Plain):
    def __init__(self, width=6):
        super().__init__(width)
        del self.width


@pytest.mark.parametrize(
    ("augmentation", "mirror", "told"),
    [
        (siamese.Augmentation(flip=0.0), True, True),
        (None, True, True),
        (siamese.Augmentation(flip=0.5), True, False),
        (A.Compose([A.HorizontalFlip(p=0.5)]), True, False),
        (siamese.Augmentation(flip=0.0), False, False),
    ],
)
def test_who_mirrors_at_use_alone_is_told(
    augmentation, mirror, told, identities, tmp_path, recwarn
):
    data = data_of(identities, augmentation=augmentation)
    for run in ("first", "second"):  # the next training is told again
        module = siamese.SiameseModule(
            siamese.DescribedNet(small(mirror=mirror), 4, mirror=mirror), siamese.ContrastiveLoss()
        )
        train(module, data, tmp_path / run, baselines=())
        said = [str(w.message) for w in recwarn if "mirrors no image" in str(w.message)]
        recwarn.clear()
        assert len(said) == told
        assert all("DescribedNet and SmallResNet averages" in text for text in said)


def test_networks_that_cannot_be_used_are_refused_before_training(identities, tmp_path):
    siamese.BACKBONES.register("forgets_of_tests")(Forgets)
    for network, words in (
        (Forgets(), ["Forgets does not keep its argument 'width'"]),
        (nn.Sequential(nn.Flatten(), nn.Linear(7, 2)), ["(B, 3, 32, 32)", "cropper's size"]),
    ):
        module = siamese.SiameseModule(network, siamese.ContrastiveLoss())
        with pytest.raises(siamese.ConfigError) as caught:
            train(module, data_of(identities), tmp_path / "run")
        assert_says(caught.value, *words)
        assert not (tmp_path / "run").exists()
    wide = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 5000))
    module = siamese.SiameseModule(wide, siamese.ContrastiveLoss(), distance="plda")
    with pytest.raises(siamese.ConfigError, match="5,000: take their principal components"):
        train(module, data_of(identities), tmp_path / "run")
    assert not (tmp_path / "run").exists()
    with pytest.raises(siamese.ConfigError, match=r"backbone\.compile\(\)"):
        siamese.SiameseModule(torch.compile(small()), siamese.ContrastiveLoss())
    hidden = siamese.SiameseModule(nn.Sequential(small()), siamese.ContrastiveLoss())
    with pytest.raises(siamese.ConfigError, match="training and use differ"):
        train(hidden, data_of(identities), tmp_path / "run")


def test_a_run_of_a_plain_network_is_evaluated_in_this_process(identities, tmp_path):
    module = siamese.SiameseModule(Plain(5), siamese.ContrastiveLoss())
    siamese.BACKBONES._classes.pop("plain_of_tests", None)
    run = train(module, data_of(identities), tmp_path / "run")
    found = siamese.evaluate_run(run, progress=False)
    assert found.evaluations == run.evaluations
    assert list(siamese.evaluate_run(run, identities, progress=False).evaluations) == ["data"]


def test_what_may_be_the_users_own_is_not_removed(identities, tmp_path):
    picture = tmp_path / "plots" / "thesis.png"
    picture.parent.mkdir()
    picture.touch()
    module = siamese.SiameseModule(small(), siamese.ContrastiveLoss())
    with pytest.raises(siamese.ConfigError) as caught:
        train(module, data_of(identities), tmp_path)
    assert_says(caught.value, tmp_path / "plots", "may be yours", "overwrite=True")
    assert picture.exists()


def test_a_run_that_goes_on_in_its_folder_keeps_its_best_epoch(identities, tmp_path):
    still = functools.partial(torch.optim.SGD, lr=0.0)
    for epochs, resume in ((1, None), (2, tmp_path / "run")):  # no epoch is better than the first
        torch.manual_seed(0)
        module = siamese.SiameseModule(small(), siamese.ContrastiveLoss(), optimizer=still)
        run = siamese.train(
            module, data_of(identities), tmp_path / "run", max_epochs=epochs, keep="best",
            monitor="train/loss", mode="max", resume=resume, plots=False, verbose=False,
        )  # fmt: skip
    assert (run.folder / "checkpoints" / "best.ckpt").is_file()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: siamese.SiameseModule(siamese.SmallResNet, "contrastive_loss"), ["SmallResNet()"]),
        (lambda: siamese.SiameseModule("small_res_net", "contrastive"), ["'contrastive_loss'"]),
        (lambda: siamese.SiameseModule("small_res_net", 3), ["loss=3", "torch.nn.Module"]),
        (lambda: siamese.SmallResNet(widths=8), ["widths=[32, 64]"]),
        (lambda: siamese.FolderDataModule("x", batch_size=9), ["batch_size", "IdentitySampler("]),
        (lambda: siamese.FolderDataModule("x", cropper="dlib_hgo"), ["'dlib_hog'"]),
        (lambda: siamese.FolderDataModule("x", cropper=siamese.NoCropper), ["NoCropper()"]),
        (lambda: siamese.FolderDataModule("x", split=0.2), ["split protocol", "identity_disjoint"]),
        (lambda: siamese.FolderDataModule("x", sampler="random"), ["BatchSampler", "IdentitySam"]),
        (lambda: siamese.evaluate_run(siamese.SmallResNet()), ["neither a run nor a bundle"]),
        (lambda: siamese.recalibrate("pretrained", ["a"]), ["list", "IdentityTable"]),
    ],
)
def test_arguments_of_a_wrong_kind_are_refused_at_once(make, words):
    with pytest.raises(siamese.ConfigError) as caught:
        make()
    assert_says(caught.value, *words)


def test_parts_are_made_by_name(identities, tmp_path):
    module = siamese.SiameseModule("small_res_net", "contrastive_loss", "cosine")
    assert type(module.loss) is siamese.ContrastiveLoss
    assert type(module.distance) is siamese.CosineDistance
    data = siamese.FolderDataModule(identities, cropper="none", split="image_disjoint")
    assert (data.cropper, data.split) == (siamese.NoCropper(), siamese.ImageDisjoint())
    with pytest.raises(siamese.ConfigError, match="as a dictionary, not a Trainer"):
        train(module, data, tmp_path / "run", trainer=quiet_trainer())


@pytest.mark.parametrize("name", list(siamese.LOSSES))
def test_a_loss_by_name_keeps_its_own_distance(name):
    if name == "combined_loss":  # needs losses
        return
    module = siamese.SiameseModule(small(whiten=False, gradient_cells=0), name)
    own = getattr(module.loss, "distance", None)
    assert own is None or module.distance is own


def test_a_folder_is_kept_while_another_process_writes_there(identities, tmp_path):
    """A run in its first epoch has no checkpoint yet."""
    folder = tmp_path / "run"
    folder.mkdir()
    here = process_now()
    for process, free in (
        (here, True),  # failed in this process
        (here | {"pid": os.getppid(), "started": None}, False),
        (here | {"pid": 2**22 + 1}, True),  # gone
        (here | {"host": "another"}, False),
    ):
        (folder / "run.json").write_text(json.dumps({"version": 1, "process": process}))
        assert holds_run(folder) is not free
    module = siamese.SiameseModule(small(), siamese.ContrastiveLoss())
    with pytest.raises(siamese.ConfigError, match="holds another run"):
        train(module, data_of(identities), folder)


def test_a_test_without_a_threshold_says_what_is_missing(identities):
    module = siamese.SiameseModule(small(), siamese.ContrastiveLoss())
    with pytest.warns(UserWarning, match=r"no threshold.*only auc and eer.*ThresholdCalibrator"):
        (found,) = quiet_trainer().test(module, datamodule=data_of(identities), verbose=False)
    assert set(found) == {"test/loss", "test/auc", "test/eer"}


class Fails(siamese.EmbeddingLoss):
    def forward(self, embeddings, labels, pairs=None):
        raise ArithmeticError("a first mistake")


def test_a_run_that_failed_at_once_does_not_keep_its_folder(identities, tmp_path):
    for loss in (Fails(), siamese.ContrastiveLoss()):
        module = siamese.SiameseModule(small(), loss)
        if isinstance(loss, Fails):
            with pytest.raises(ArithmeticError):
                train(module, data_of(identities), tmp_path / "run")
            with pytest.raises(siamese.BundleError, match="before its first epoch did"):
                siamese.Bundle.load(tmp_path / "run")
        else:
            assert train(module, data_of(identities), tmp_path / "run").bundle.is_dir()


def test_a_run_of_a_plain_network_says_why_it_has_no_bundle(identities, tmp_path):
    module = siamese.SiameseModule(nn.Sequential(*Plain(5).layers), siamese.ContrastiveLoss())
    run = train(module, data_of(identities), tmp_path / "run")
    for use in (siamese.Verifier.load, siamese.evaluate_run):
        with pytest.raises(siamese.BundleError, match="cannot say how to build a Sequential"):
            use(run.folder)


def test_a_plain_network_is_validated_before_its_first_step(identities):
    """As Lightning's sanity check does it, which looks at two batches before training."""
    module = siamese.SiameseModule(Plain(), siamese.ContrastiveLoss())
    trainer = quiet_trainer(max_epochs=1, num_sanity_val_steps=2)
    trainer.fit(module, datamodule=data_of(identities))
    assert module.backbone.embedding_size == 6
    fresh = siamese.SiameseModule(Plain(), siamese.ContrastiveLoss())
    (found,) = quiet_trainer().validate(fresh, datamodule=data_of(identities), verbose=False)
    assert {"calibration/loss", "calibration/auc", "calibration/eer"} == set(found)
