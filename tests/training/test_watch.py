"""LearningWatch: each way of learning nothing, made on purpose, is named; health is not."""

import functools
import warnings

import numpy as np
import pytest
import torch
from pytorch_lightning.callbacks import GradientAccumulationScheduler
from tests.helpers import quiet_trainer
from torch import nn
from torch.utils.data import DataLoader

import siamese
from siamese.errors import ConfigError
from siamese.losses.base import EmbeddingLoss
from siamese.training.embedding_checks import area, median_distance
from siamese.training.watch import LearningWatch

IDENTITIES, EACH = 12, 4


def batches(noise=0.1, seed=0, identities=IDENTITIES, each=EACH, size=None):
    """Pictures of identities: a base of four numbers each, and noise; by default one batch."""
    rng = np.random.default_rng(seed)
    who = np.repeat(np.arange(identities), each)
    x = rng.normal(size=(identities, 4))[who] + noise * rng.normal(size=(len(who), 4))
    rows = [
        {
            "image": torch.from_numpy(x[i]).float(),
            "label": torch.tensor(int(who[i])),
            "index": torch.tensor(i),
        }
        for i in range(len(who))
    ]
    return DataLoader(rows, batch_size=size or len(rows))


class Net(nn.Module):
    """Four numbers in, three out."""

    embedding_size = 3

    def __init__(self, scale=1.0):
        super().__init__()
        torch.manual_seed(1)
        self.layer = nn.Linear(4, 3)
        with torch.no_grad():
            self.layer.weight.mul_(scale)

    def forward(self, x):
        return self.layer(x)


def warned(
    net=None,
    loss=None,
    lr=0.05,
    epochs=4,
    noise=0.1,
    watch=None,
    validated=None,
    callbacks=(),
    **settings,
):
    """What is said in a training; by default a healthy one."""
    validated = validated or batches(noise, seed=1)
    module = siamese.SiameseModule(
        net or Net(),
        loss or siamese.ContrastiveLoss(1.0),
        optimizer=functools.partial(torch.optim.SGD, lr=lr),
        schedule=None,
    )
    calibrator = siamese.ThresholdCalibrator(pairs="all_pairs", intervals=False, probability=None)
    trainer = quiet_trainer(
        max_epochs=epochs,
        callbacks=[calibrator, watch or LearningWatch(), *callbacks],
        **settings,
    )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trainer.fit(module, batches(noise), validated)
    words = ("epoch", "learning rate", "margin", "embedding")
    ours = [str(w.message) for w in caught if str(w.message).startswith(("epoch ", "for "))]
    assert all(any(word in text for word in words) for text in ours)
    return ours


def test_a_healthy_training_is_left_in_peace():
    assert warned() == []


def test_collapsed_embeddings_are_named():
    net = Net(scale=1e-3)  # what is left is the bias, for every image
    assert any("collapsed" in text for text in warned(net, lr=1e-6))


class Same(Net):
    """The same embedding for all images."""

    def forward(self, x):
        return super().forward(x) * 0


def collapsed(**settings):
    return any("collapsed" in text for text in warned(epochs=1, **settings))


class Hides(siamese.Backbone):
    """Appends the pictures, which tell identities apart, at use; what it learns is nothing."""

    embedding_size, trained_size, same_at_use = 7, 3, False

    def __init__(self, scale):
        super().__init__()
        self.net = Net(scale)

    def forward(self, images):
        return self.net(images) if self.training else self.embed_both(images)[0]

    def embed_both(self, images):
        learned = self.net(images)
        return torch.cat([learned, images], dim=1), learned


def test_what_is_appended_at_use_hides_no_collapse():
    assert any("collapsed" in text for text in warned(Hides(1e-3), lr=1e-6))
    assert warned(Hides(1.0)) == []


def test_what_is_appended_at_use_hides_no_guessing():
    class Scrambled(Net):
        def forward(self, x):
            return super().forward(torch.sin(1e4 * x))

    net = Hides(1.0)
    net.net = Scrambled()
    assert any("guessing" in text for text in warned(net, lr=1e-9))


def test_the_area_is_that_of_what_the_loss_sees():
    """One component tells the identities apart, in order; against all pairs, counted."""
    rng = np.random.default_rng(0)
    labels = torch.arange(30).repeat_interleave(4)
    rows = torch.from_numpy(labels[:, None].numpy() * 0.1 + rng.normal(size=(120, 1))).float()
    apart = (rows - rows.T).abs().numpy()
    same = (labels[:, None] == labels).numpy()
    above = np.triu(np.ones_like(same), 1)
    genuine, impostor = apart[same & above], apart[~same & above]
    exact = (genuine[:, None] < impostor).mean()
    module = siamese.SiameseModule(Net(), siamese.ContrastiveLoss(1.0))
    assert area(module, rows, labels) == pytest.approx(exact, abs=0.02)
    assert 0.55 < exact < 0.9
    assert area(module, rows, torch.arange(120)) is None  # no genuine pairs
    assert area(module, rows, labels * 0) is None  # no impostor pairs


def test_a_loss_far_above_that_of_one_embedding_which_does_not_fall_is_named():
    said = warned(Net(scale=1e3), lr=0.0, epochs=5)
    assert any("weights have diverged" in text and "10 times" in text for text in said)
    assert not any("diverged" in text for text in warned(Net(scale=1e3), lr=0.0, epochs=3))


class Squares(EmbeddingLoss):
    """Pulls every embedding to length 1; steps that are too long throw it ever further."""

    def forward(self, embeddings, labels, pairs=None):
        return (embeddings.norm(dim=1) - 1).square().mean() + 1


@pytest.mark.parametrize("lr", [1e-5, 50.0])
def test_a_rate_far_too_high_diverges_and_a_low_one_does_not(lr):
    net = Net(scale=100)
    said = warned(net, Squares(), lr=lr, epochs=6)
    assert any("diverged" in text for text in said) == (lr == 50.0)


def test_long_embeddings_whose_loss_falls_have_not_diverged():
    assert not any("diverged" in text for text in warned(Net(scale=500), lr=1.0, epochs=6))


def test_a_loss_that_is_0_of_one_embedding_is_compared_with_nothing():
    class Difference(EmbeddingLoss):
        """Genuine less impostor distances: 0 of one embedding for all."""

        def forward(self, embeddings, labels, pairs=None):
            apart = (embeddings[:, None] - embeddings).square().sum(-1)
            same = labels[:, None] == labels
            return apart[same].mean() - apart[~same].mean() * 0.5

    said = warned(loss=Difference(), lr=0.0, epochs=6, noise=10.0)
    assert not any("diverged" in text for text in said)


def test_images_of_one_identity_may_be_the_same():
    """They lie side by side; of the frames of a video, thousands do."""
    assert not collapsed(validated=batches(0.0, identities=10, each=120))
    assert not collapsed(validated=batches(0.0, identities=3, each=[90, 5, 5]))
    assert not collapsed(validated=batches(0.0, identities=2, each=1))  # far apart
    assert collapsed(net=Same(), validated=batches(identities=10, each=120))
    assert collapsed(net=Same(), validated=batches(identities=2, each=1))


def test_without_labels_any_two_images_are_different():
    class Unlabelled(siamese.SiameseModule):
        def validation_step(self, batch, batch_idx):
            return {"embeddings": self(batch["image"])}

    for net, each, expected in ((Net(), 120, 0), (Same(), 120, 1), (Net(), [1] + 9 * [0], 0)):
        module = Unlabelled(net, siamese.ContrastiveLoss(1.0), schedule=None)
        trainer = quiet_trainer(max_epochs=1, callbacks=[LearningWatch()])
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            trainer.fit(module, batches(), batches(0.0, identities=10, each=each, size=100))
        assert sum("collapsed" in str(w.message) for w in caught) == expected


def test_no_image_is_compared_with_itself(monkeypatch):
    ends = torch.tensor([[0.0], [1.0]])
    for pairs in range(1, 20):
        monkeypatch.setattr("siamese.training.embedding_checks.PAIRS", pairs)
        assert median_distance(ends, None) == 1
    assert median_distance(ends, torch.tensor([7, 7])) is None
    assert median_distance(ends[:1], None) is median_distance(ends[:0], None) is None


class Far(Net):
    """Far from the origin, and healthy: distances are what they were."""

    def forward(self, x):
        return super().forward(x) + 100


def test_far_from_the_origin_is_not_collapsed_and_nothing_at_all_is():
    assert warned(Far()) == []

    assert collapsed(net=Same())
    assert collapsed(net=Same(), loss=siamese.SupervisedContrastiveLoss())


def test_several_validations_in_an_epoch_count_once():
    said = warned(lr=0.0, epochs=3, val_check_interval=1, watch=LearningWatch(3))
    assert not any("not changed" in text for text in said)


def test_a_loss_at_its_margin_is_named():
    """The triplet loss of one embedding for all is its margin; here it stays there."""
    said = warned(Net(scale=1e-4), siamese.TripletLoss(margin=0.5), lr=0.0)
    assert any("one and the same embedding" in text and "0.5000" in text for text in said)
    assert not any("one and the same" in text for text in warned(Net(scale=1e-4), lr=0.0, epochs=2))


@pytest.mark.parametrize("scheduled", [False, True])
def test_accumulated_gradients_change_nothing_that_is_said(scheduled):
    how = (
        {"callbacks": [GradientAccumulationScheduler({0: 1, 1: 3})]}
        if scheduled
        else {"accumulate_grad_batches": 3}
    )
    stuck = {"net": Net(scale=1e-4), "loss": siamese.TripletLoss(margin=0.5), "lr": 0.0}
    said = warned(**stuck)
    assert len(said) > 2
    assert warned(**stuck, **how) == said


def test_the_next_training_in_the_process_is_told_again():
    stuck = {"net": Net(scale=1e-4), "loss": siamese.TripletLoss(margin=0.5), "lr": 0.0}
    assert warned(**stuck) == warned(**stuck)


def test_the_next_training_is_told_under_pythons_own_filter():
    """That one says the same words of one place in a file once, unless the filters change."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        for _ in range(2):
            watch = LearningWatch()
            for _ in range(2):
                watch._warn("collapsed", "the same words")
    assert [str(w.message) for w in caught] == ["the same words"] * 2
    assert all(w.category is UserWarning and w.filename.endswith("watch.py") for w in caught)


def test_no_active_pairs_are_named():
    said = warned(loss=siamese.TripletLoss(margin=1e-4), noise=0.0)  # genuine pairs at 0
    assert any("no active pair" in text and "100%" in text for text in said)


def test_a_dead_validation_is_named():
    said = warned(lr=0.0)
    assert any("have not changed at all" in text for text in said)
    assert not any("not changed" in text for text in warned(lr=0.0, epochs=3))


def test_guessing_is_named():
    said = warned(noise=100.0, lr=1e-9)
    assert any("guessing" in text for text in said)


class Broken(EmbeddingLoss):
    """Divides by zero in the second epoch."""

    calls = 0

    def forward(self, embeddings, labels, pairs=None):
        self.calls += self.training
        bad = self.calls > 1 and self.training
        return embeddings.square().mean() * (float("nan") if bad else 1.0)


def test_a_loss_that_is_no_number_is_named():
    module = siamese.SiameseModule(Net(), Broken(), schedule=None)
    trainer = quiet_trainer(max_epochs=2, callbacks=[LearningWatch()])
    with pytest.warns(UserWarning, match="epoch 1: the training loss is no number"):
        trainer.fit(module, batches())


def test_each_is_said_once_in_a_training():
    said = warned(lr=0.0, epochs=12)
    assert sum("not changed" in text for text in said) == 1


def test_patience_is_what_was_asked_for():
    assert any("not changed" in t for t in warned(lr=0.0, epochs=2, watch=LearningWatch(1)))
    with pytest.raises(ConfigError, match="patience"):
        LearningWatch(0)


def test_any_module_that_follows_the_contract_can_be_watched():
    class Own(siamese.SiameseModule):
        def training_step(self, batch, batch_idx):
            return {"loss": super().training_step(batch, batch_idx)}

    module = Own(Net(), siamese.ContrastiveLoss(1.0), schedule=None)
    module.loss.open_set = False  # a classifier: there is no such value for it
    quiet_trainer(max_epochs=1, callbacks=[LearningWatch()]).fit(module, batches(), batches())
