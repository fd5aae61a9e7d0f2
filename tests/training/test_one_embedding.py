"""LearningWatch asks what a loss gives for one embedding; the loss and the training notice nothing.

Losses that would: with a memory, with random numbers, with frozen parts, and foreign ones.
"""

import random
import weakref

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from tests.helpers import quiet_trainer
from tests.training.test_watch import Net, batches
from torch import nn

import siamese
from siamese.losses.base import EmbeddingLoss
from siamese.training.one_embedding import loss_of_one
from siamese.training.watch import LearningWatch


class Spread(EmbeddingLoss):
    """Near 0 where the embeddings of a batch have a variance of 1."""

    def forward(self, embeddings, labels, pairs=None):
        return (embeddings.var(dim=0) - 1).square().mean()


class Remembering(Spread):
    """With a memory of embeddings, a number of calls, and noise of three kinds."""

    asked = []  # while not training: weak references to whom, and whether it drew

    def __init__(self):
        super().__init__()
        self.memory, self.calls = [], 0
        self.register_buffer("called", torch.zeros(()))

    def forward(self, embeddings, labels, pairs=None):
        if not self.training:
            self.asked.append(weakref.ref(self))
        self.calls += 1
        self.called += 1
        noise = torch.rand(()) + random.random() + np.random.rand()  # noqa: NPY002
        known = torch.cat([*self.memory, embeddings])
        self.memory = [*self.memory, embeddings.detach()][-3:]
        return super().forward(known, labels) * noise


def trained(loss, watched=True, epochs=3, module=None):
    """A module after a training of several batches an epoch."""
    pl.seed_everything(0, verbose=False)
    module = module or siamese.SiameseModule(Net(), loss, schedule=None)
    watch = [LearningWatch()] if watched else []
    # Without validation: there the module itself asks the loss, in evaluation mode.
    quiet_trainer(max_epochs=epochs, callbacks=watch).fit(module, batches(size=4))
    return module


def test_a_loss_with_a_memory_keeps_it_and_the_training_is_the_same():
    alone = trained(Remembering(), watched=False)
    assert not Remembering.asked
    watched = trained(Remembering())
    assert len(Remembering.asked) == 3 * 2  # epochs, and two of an epoch's twelve batches
    assert all(whom() is None for whom in Remembering.asked)  # nothing of it is kept
    assert watched.loss.calls == alone.loss.calls == 3 * 12
    for ours, others in zip(watched.loss.memory, alone.loss.memory, strict=True):
        assert torch.equal(ours, others)
    state = alone.state_dict()
    state.pop("threshold")  # no number
    assert all(torch.equal(watched.state_dict()[name], value) for name, value in state.items())


def test_a_loss_is_copied_at_most_once_an_epoch_and_asked_of_few_batches(monkeypatch):
    monkeypatch.setattr("siamese.training.watch.BATCHES", 1)

    class Copied(Spread):
        copies = asked = 0

        def __deepcopy__(self, memo):
            Copied.copies += 1
            return Copied()

        def forward(self, embeddings, labels, pairs=None):
            Copied.asked += not self.training
            return super().forward(embeddings, labels)

    trained(Copied(), epochs=2)
    assert Copied.copies == Copied.asked == 2


@pytest.mark.parametrize("where", ["called", "copied"])
def test_a_loss_that_raises_ends_no_training(where):
    class Refusing(Spread):
        def forward(self, embeddings, labels, pairs=None):
            if where == "called" and bool((embeddings == embeddings[0]).all()):
                raise ValueError("collapsed")
            return super().forward(embeddings, labels)

        def __deepcopy__(self, memo):
            if where == "copied":
                raise TypeError("there is one of me")
            return Refusing()

    module = trained(Refusing())
    assert module.trainer.current_epoch == 3
    state = torch.get_rng_state()
    assert loss_of_one(module, [(torch.arange(4), None)]) is None
    assert torch.equal(torch.get_rng_state(), state)


def test_frozen_parts_of_a_loss_stay_frozen():
    class Normalising(Spread):
        def __init__(self):
            super().__init__()
            self.frozen = nn.BatchNorm1d(3)

        def forward(self, embeddings, labels, pairs=None):
            return super().forward(self.frozen(embeddings), labels)

    loss = Normalising()
    loss.frozen.eval()
    trained(loss)
    assert loss.training
    assert not loss.frozen.training
    assert torch.equal(loss.frozen.running_mean, torch.zeros(3))


def test_hooks_of_a_loss_see_the_training_alone():
    seen, loss = [], Spread()
    loss.register_forward_hook(lambda part, given, found: seen.append(found))
    trained(loss)
    assert len(seen) == 3 * 12


class Classifier(pl.LightningModule):
    """A foreign module, with a loss of another kind under the same name."""

    def __init__(self, loss):
        super().__init__()
        self.backbone, self.head = siamese.ModuleBackbone(Net()), nn.Linear(3, 12)
        self.loss = loss

    def training_step(self, batch, batch_idx):
        return self.loss(self.head(self.backbone(batch["image"])), batch["label"])

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def test_a_foreign_module_trains():
    module = Classifier(nn.CrossEntropyLoss())
    trained(None, module=module)
    assert module.trainer.current_epoch == 3


def test_a_loss_of_another_family_is_not_asked():
    class Other(nn.Module):
        open_set = True

        def forward(self, logits, labels, weights=None):
            return logits.sum()

    assert loss_of_one(Classifier(Other()), [(torch.arange(4), None)]) is None
    assert loss_of_one(Classifier(Spread()), [(torch.arange(4), None)]) == pytest.approx(1)


def test_a_classifier_of_the_training_identities_is_not_asked():
    loss = siamese.MarginSoftmaxLoss(12, 3, warmup_steps=100)
    module = trained(loss)
    assert int(loss.calls) == 3 * 12
    assert loss_of_one(module, [(torch.arange(4), None)]) is None


def test_the_value_is_what_the_formula_says():
    """Of six pairs, two are genuine, at distance 0; four cost the margin squared."""
    module = siamese.SiameseModule(Net(), siamese.ContrastiveLoss(1.5))
    labels = torch.tensor([0, 0, 1, 1])
    cost = float(module.loss(torch.zeros(4, 3), labels))
    assert cost > 0
    assert loss_of_one(module, [(labels, None)]) == pytest.approx(cost)
    impostors = torch.tensor([[0, 0], [2, 3]])
    alone = float(module.loss(torch.zeros(4, 3), labels, impostors))
    found = loss_of_one(module, [(labels, None), (labels, impostors)])
    assert found == pytest.approx((cost + alone) / 2)
    assert alone != pytest.approx(cost)
    assert loss_of_one(module, []) is None


def test_the_embedding_has_a_length_of_one():
    class Length(EmbeddingLoss):
        def forward(self, embeddings, labels, pairs=None):
            assert embeddings.shape == (4, 3)
            return embeddings.norm(dim=1).mean()

    module = siamese.SiameseModule(Net(), Length())
    assert loss_of_one(module, [(torch.arange(4), None)]) == pytest.approx(1)
