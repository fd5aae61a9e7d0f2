"""The metrics over embeddings and identities.

Against scikit-learn, in a stranger's module, with and without an index.
"""

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from sklearn.metrics import roc_curve
from tests.helpers import assert_says, quiet_trainer
from torch import nn

from siamese.distances.cosine import CosineDistance
from siamese.distances.euclidean import EuclideanDistance
from siamese.errors import CalibrationError, ConfigError
from siamese.pairs.all_pairs import AllPairs
from siamese.pairs.balanced_pairs import BalancedPairs
from siamese.training.metrics import (
    EqualErrorRate,
    RecallAtFmr,
    VerificationCurve,
    VerificationThreshold,
)
from siamese.verification.policies.fmr import Fmr
from siamese.verification.thresholds import calibrate


def identities(n=120, count=15, seed=0):
    generator = torch.Generator().manual_seed(seed)
    who = torch.arange(n) % count
    return torch.randn(count, 6, generator=generator)[who] + 0.7 * torch.randn(
        n, 6, generator=generator
    ), who


def fed(metric, vectors, who, index=None, size=17):
    for part in torch.arange(len(who)).split(size):
        metric.update(vectors[part], who[part], None if index is None else index[part])
    return metric.compute()


def rates(vectors, who, distance):
    """scikit-learn's ROC over all pairs, with every threshold."""
    pairs = AllPairs()(who.numpy())
    d = distance.between(vectors, pairs.left, pairs.right)
    fmr, recall, thresholds = roc_curve(pairs.same, -d.astype(np.float64), drop_intermediate=False)
    return fmr[1:], recall[1:], -thresholds[1:]


@pytest.mark.parametrize("distance", [EuclideanDistance(), CosineDistance()])
def test_the_curve_and_its_figures_are_scikit_learns(distance):
    vectors, who = identities()
    fmr, recall, thresholds = rates(vectors, who, distance)
    for found, expected in zip(
        fed(VerificationCurve(distance=distance), vectors, who),
        (fmr, recall, thresholds),
        strict=True,
    ):
        assert found.dtype == torch.float64
        assert np.allclose(found.numpy(), expected, rtol=0, atol=1e-15)
    at_most = recall[fmr <= 0.01].max()
    assert fed(RecallAtFmr(0.01, distance=distance), vectors, who).item() == pytest.approx(
        at_most, abs=1e-15
    )
    nearest = np.argmin(np.abs(fmr + recall - 1))
    error = fed(EqualErrorRate(distance=distance), vectors, who).item()
    assert error == pytest.approx(fmr[nearest], abs=0.01)


def test_the_threshold_is_that_of_calibrate():
    vectors, who = identities()
    metric = VerificationThreshold(Fmr(0.01))
    assert fed(metric, vectors, who).item() == calibrate(vectors, who, Fmr(0.01)).threshold
    assert metric.calibration().point.identities == 15
    balanced = VerificationThreshold("max_f1", BalancedPairs())
    expected = calibrate(vectors, who, pairs="balanced_pairs").threshold
    assert fed(balanced, vectors, who).item() == expected


def test_with_an_index_repeated_rows_count_once_and_without_one_every_row_counts():
    vectors, who = identities()
    twice, names, index = (
        torch.cat([vectors, vectors[:30]]),
        torch.cat([who, who[:30]]),
        torch.arange(150) % 120,
    )
    assert fed(EqualErrorRate(), twice, names, index) == fed(EqualErrorRate(), vectors, who)
    metric = EqualErrorRate()
    fed(metric, twice, names)
    assert len(metric.rows()[0]) == 150
    small = EqualErrorRate()  # labels that cannot hold "no index"
    small.update(twice[:80], names[:80].to(torch.uint8))
    small.update(twice[80:], names[80:], torch.arange(300, 370))
    assert len(small.rows()[0]) == 150


def test_an_index_that_begins_anew_in_every_batch_is_refused():
    vectors, who = identities()
    metric = EqualErrorRate()
    for part in torch.arange(120).split(16):
        metric.update(vectors[part], who[part], torch.arange(len(part)))
    with pytest.raises(CalibrationError) as error:
        metric.compute()
    assert_says(
        error.value,
        "index 0 was given for an image of identity 0 and for one of identity 1",
        "row of the data set",
    )


def test_names_do_as_well_as_objects_and_wrong_ones_are_refused_at_once():
    vectors, who = identities()
    assert fed(EqualErrorRate("all_pairs", "cosine"), vectors, who) == fed(
        EqualErrorRate(AllPairs(), CosineDistance()), vectors, who
    )
    with pytest.raises(ConfigError, match="did you mean 'cosine'"):
        EqualErrorRate(distance="cosin")
    metric = EqualErrorRate()
    with pytest.raises(CalibrationError, match="labels are no tensor but list"):
        metric.update(vectors, who.tolist())
    metric.update(vectors, who)
    with pytest.raises(CalibrationError, match="of length 5 after some of length 6"):
        metric.update(vectors[:, :5], who)


def test_a_module_logs_them_by_itself():
    class Stranger(pl.LightningModule):
        def __init__(self):
            super().__init__()
            self.net = nn.Linear(6, 4)
            self.error = EqualErrorRate()

        def training_step(self, batch, _):
            return self.net(batch[0]).square().mean()

        def validation_step(self, batch, _):
            self.error.update(self.net(batch[0]), batch[1])

        def on_validation_epoch_end(self):
            self.log("val/eer", self.error.compute())
            self.error.reset()

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.01)

    loader = torch.utils.data.DataLoader(
        torch.utils.data.TensorDataset(*identities()), batch_size=32
    )
    trainer = quiet_trainer(max_epochs=2)
    trainer.fit(Stranger(), loader, loader)
    assert 0 < trainer.callback_metrics["val/eer"] < 0.5


def test_logged_as_an_object_it_is_computed_over_the_whole_epoch():
    """A batch of two rows holds no pairs of both kinds: calling the metric must only collect."""

    class Stranger(pl.LightningModule):
        def __init__(self):
            super().__init__()
            self.net, self.error = nn.Linear(6, 4), EqualErrorRate()

        def training_step(self, batch, _):
            return self.net(batch[0]).square().mean()

        def validation_step(self, batch, _):
            assert self.error(self.net(batch[0]), batch[1]) is None
            self.log("val/eer", self.error, on_step=False, on_epoch=True)

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.0)

    module, (vectors, who) = Stranger(), identities()
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(vectors, who), batch_size=2)
    trainer = quiet_trainer(max_epochs=2)
    trainer.fit(module, loader, loader)
    with torch.no_grad():
        embeddings = torch.cat([module.net(v) for v in vectors.split(2)])
    assert trainer.callback_metrics["val/eer"].item() == pytest.approx(
        fed(EqualErrorRate(), embeddings, who).item(), abs=1e-7
    )


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int64])
def test_labels_of_any_integers_without_an_index_count_row_by_row(dtype):
    vectors, who = identities(300)
    assert fed(EqualErrorRate(), vectors, who.to(dtype)) == fed(EqualErrorRate(), vectors, who)


def test_what_cannot_be_told_is_refused():
    for labels, index, words in (
        (torch.zeros(3), None, "labels are float32"),
        (torch.zeros(3, dtype=torch.bool), None, "labels are bool"),
        (torch.zeros(3, dtype=torch.int64), torch.ones(3), "numbers of index are float32"),
        (torch.zeros(3, dtype=torch.int64), torch.tensor([0, -1, 2]), "negative"),
    ):
        with pytest.raises(CalibrationError, match=words):
            EqualErrorRate().update(torch.zeros(3, 2), labels, index)
    vectors, who = identities(20, 20)
    for metric in (EqualErrorRate(), VerificationCurve(), VerificationThreshold()):
        with pytest.raises(CalibrationError) as error:
            fed(metric, vectors, who)
        assert_says(error.value, "0 genuine")
    with pytest.raises(CalibrationError) as error:
        fed(RecallAtFmr(1e-6), *identities())
    assert_says(error.value, "1e-06", "30,000,000")
    with pytest.raises(CalibrationError, match="NaN"):
        fed(EqualErrorRate(), torch.full((4, 2), torch.nan), torch.tensor([0, 0, 1, 1]))
