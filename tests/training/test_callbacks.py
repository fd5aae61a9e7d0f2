"""ThresholdCalibrator keeps its promises on our module and on a stranger's."""

import warnings

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from tests.helpers import quiet_trainer
from torch import nn

from siamese.distances.cosine import CosineDistance
from siamese.distances.euclidean import EuclideanDistance
from siamese.errors import CalibrationError, ConfigError
from siamese.pairs.all_pairs import AllPairs
from siamese.pairs.balanced_pairs import BalancedPairs
from siamese.training.callbacks import ThresholdCalibrator
from siamese.training.metrics import PairVerification
from siamese.verification.confusion import count_verdicts
from siamese.verification.policies.max_f1 import MaxF1
from siamese.verification.thresholds import max_f1


class Stranger(pl.LightningModule):
    """Somebody else's module: other data, other names, other loss; it only keeps the contract."""

    def __init__(self):
        super().__init__()
        self.net = nn.Linear(4, 3)

    def training_step(self, batch, _):
        vectors, who, _ = batch
        return nn.functional.cross_entropy(self.net(vectors), who % 3)

    def validation_step(self, batch, _):
        vectors, who, row = batch
        return {"embeddings": self.net(vectors), "labels": who, "index": row}

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def rows(n=40, identities=8, seed=0):
    generator = torch.Generator().manual_seed(seed)
    who = torch.arange(n) % identities
    return torch.utils.data.TensorDataset(
        torch.randn(n, 4, generator=generator) + who[:, None], who, torch.arange(n)
    )


def loader(data, size=7):
    return torch.utils.data.DataLoader(data, batch_size=size)


def run(module, callback, folder, *, val=None, epochs=2, ckpt=None, sanity=0, extra=()):
    trainer = quiet_trainer(
        max_epochs=epochs,
        enable_checkpointing=True,
        default_root_dir=folder,
        num_sanity_val_steps=sanity,
        callbacks=[
            callback,
            pl.callbacks.ModelCheckpoint(
                folder, "best", monitor="calibration/f1", mode="max", enable_version_counter=False
            ),
            pl.callbacks.ModelCheckpoint(folder, "last", enable_version_counter=False),
            *extra,
        ],
    )
    trainer.fit(
        module, loader(rows(seed=1)), loader(rows() if val is None else val), ckpt_path=ckpt
    )
    return trainer


def test_what_is_logged_is_what_the_policy_maximised(tmp_path):
    calibrator = ThresholdCalibrator(MaxF1(prevalence="balanced"), pairs="all_pairs")
    trainer = run(Stranger(), calibrator, tmp_path)
    figures = calibrator.calibration.point.figures
    for name in ("f1", "accuracy"):
        assert trainer.callback_metrics[f"calibration/{name}"].item() == pytest.approx(
            figures[name]
        )
    assert figures["f1"] > 1.2 * calibrator.calibration.f1


def test_two_calibrators_under_one_name_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="give each its own prefix"):
        run(Stranger(), ThresholdCalibrator(), tmp_path, extra=[ThresholdCalibrator("eer")])


def test_a_strangers_module_gets_the_f1_optimal_threshold_everywhere(tmp_path):
    module = Stranger()
    run(module, ThresholdCalibrator(pairs=AllPairs()), tmp_path)
    vectors, who, _ = rows().tensors
    with torch.no_grad():
        embeddings = module.eval().net(vectors).double().numpy()
    distances, same = [], []
    for i in range(len(who)):
        for j in range(i):
            distances.append(np.sqrt(((embeddings[i] - embeddings[j]) ** 2).sum()))
            same.append(bool(who[i] == who[j]))
    best = max(
        2 * tp / (2 * tp + fp + fn)
        for t in distances
        for c in [count_verdicts(np.array(distances), np.array(same), t)]
        for tp, fp, fn in [(c.tp, c.fp, c.fn)]
    )
    point = module.operating_point
    assert point.f1 == pytest.approx(best)
    assert module.threshold.item() == point.threshold
    assert (point.identities, point.images, point.genuine + point.impostor) == (8, 40, 780)
    assert (point.epoch, point.step) == (1, 12)
    for name in ("best", "last"):
        checkpoint = torch.load(tmp_path / f"{name}.ckpt", weights_only=True)
        threshold = checkpoint["state_dict"]["threshold"].item()
        assert threshold == checkpoint["operating_point"]["threshold"]
    last = torch.load(tmp_path / "last.ckpt", weights_only=True)
    assert last["operating_point"] == point.to_dict()


def test_reapplying_the_stored_threshold_gives_the_stored_counts(tmp_path):
    module = Stranger()
    run(module, ThresholdCalibrator(pairs=BalancedPairs()), tmp_path)
    checkpoint = torch.load(tmp_path / "last.ckpt", weights_only=True)
    again = Stranger()
    again.register_buffer("threshold", torch.tensor(float("nan"), dtype=torch.float64))
    again.load_state_dict(checkpoint["state_dict"])
    vectors, who, _ = rows().tensors
    with torch.no_grad():
        embeddings = torch.cat([again.eval().net(v) for v in vectors.split(7)])
    pairs = BalancedPairs()(who.numpy())
    counts = count_verdicts(
        EuclideanDistance().between(embeddings, pairs.left, pairs.right),
        pairs.same,
        again.threshold.item(),
    )
    stored = checkpoint["operating_point"]
    assert (counts.tp, counts.fp, counts.fn, counts.tn) == tuple(
        stored[k] for k in ("tp", "fp", "fn", "tn")
    )


def test_nothing_is_calibrated_while_sanity_checking(tmp_path):
    module = Stranger()

    class Look(pl.Callback):
        seen = None

        def on_sanity_check_end(self, trainer, pl_module):
            self.seen = (pl_module.threshold.item(), getattr(pl_module, "operating_point", None))

    look = Look()
    run(module, ThresholdCalibrator(), tmp_path, sanity=2, extra=[look])
    assert np.isnan(look.seen[0])
    assert look.seen[1] is None


@pytest.mark.parametrize("identities", [1, 40])
def test_a_degenerate_split_leaves_the_old_threshold_and_warns(tmp_path, identities):
    module = Stranger()
    module.register_buffer("threshold", torch.tensor(0.25, dtype=torch.float64))
    trainer = quiet_trainer(max_epochs=1, callbacks=[ThresholdCalibrator()])
    with pytest.warns(UserWarning, match=r"threshold stays at 0\.25"):
        trainer.fit(module, loader(rows()), loader(rows(identities=identities)))
    assert module.threshold.item() == 0.25
    assert getattr(module, "operating_point", None) is None


def test_resuming_brings_the_operating_point_back(tmp_path):
    first = Stranger()
    run(first, ThresholdCalibrator(), tmp_path, epochs=1)
    again = Stranger()
    again.register_buffer("threshold", torch.tensor(float("nan"), dtype=torch.float64))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # Nothing left to train.
        run(again, ThresholdCalibrator(), tmp_path, ckpt=tmp_path / "last.ckpt", epochs=1)
    assert again.operating_point == first.operating_point


@pytest.mark.parametrize("outputs", [None, torch.tensor(1.0), {"embeddings": torch.zeros(2, 2)}])
def test_a_broken_contract_says_what_is_missing(tmp_path, monkeypatch, outputs):
    module = Stranger()
    monkeypatch.setattr(Stranger, "validation_step", lambda self, batch, batch_idx: outputs)
    with pytest.raises(
        CalibrationError,
        match=r"Stranger gives the calibrator no .*index.*validation_step must return",
    ):
        run(module, ThresholdCalibrator(), tmp_path)


def test_validating_looks_at_a_threshold_and_makes_none(tmp_path):
    module = Stranger()
    trainer = run(module, ThresholdCalibrator(), tmp_path)
    before = (module.threshold.item(), module.operating_point)
    trainer.validate(module, loader(rows(seed=5)), verbose=False)
    assert (module.threshold.item(), module.operating_point) == before


@pytest.mark.parametrize("threshold", [0.5, torch.zeros(3), torch.tensor(1)])
def test_a_threshold_that_is_no_scalar_buffer_is_refused_with_the_remedy(tmp_path, threshold):
    module = Stranger()
    if isinstance(threshold, torch.Tensor):
        module.register_buffer("threshold", threshold)
    else:
        module.threshold = threshold
    with pytest.raises(CalibrationError, match="register_buffer"):
        run(module, ThresholdCalibrator(), tmp_path)


def test_the_modules_own_distance_is_used_unless_another_is_given(tmp_path):
    module = Stranger()
    module.distance = CosineDistance()
    run(module, ThresholdCalibrator(), tmp_path, epochs=1)
    assert module.operating_point.distance == "cosine"
    run(module, ThresholdCalibrator(distance=EuclideanDistance()), tmp_path / "other", epochs=1)
    assert module.operating_point.distance == "euclidean"


def test_a_module_in_half_precision_keeps_its_threshold_to_the_last_bit(tmp_path):
    module = Stranger()
    module.register_buffer("threshold", torch.tensor(float("nan"), dtype=torch.float64))
    module.to(torch.bfloat16)

    class Wide(torch.utils.data.Dataset):
        def __len__(self):
            return 40

        def __getitem__(self, i):
            vectors, who, index = rows()[i]
            return vectors.bfloat16(), who, index

    trainer = quiet_trainer(max_epochs=1, callbacks=[ThresholdCalibrator(pairs=AllPairs())])
    trainer.fit(module, loader(Wide()), loader(Wide()))
    assert module.threshold.item() == module.operating_point.threshold
    assert module.threshold.item() != module.threshold.bfloat16().item()


def test_what_costs_time_in_every_epoch_can_be_left_out(tmp_path):
    for settings, band, kind in (
        ({}, True, "isotonic"),
        ({"probability": None, "intervals": False}, False, None),
    ):
        callback = ThresholdCalibrator(pairs=AllPairs(), **settings)
        run(Stranger(), callback, tmp_path / str(band), epochs=1)
        found = callback.calibration
        assert (found.band is not None) == band == bool(found.point.ci95)
        assert (found.probability and found.probability.kind) == kind
    with pytest.raises(ConfigError, match="isotonic"):
        ThresholdCalibrator(probability="isotone")


def test_metric_ignores_the_order_of_batches_and_repeated_rows():
    vectors, who, index = rows().tensors
    metrics = [PairVerification(pairs=AllPairs()) for _ in range(2)]
    for part in torch.arange(40).split(9):
        metrics[0].update(vectors[part], who[part], index[part])
    shuffled = torch.cat([torch.randperm(40), torch.arange(5)])
    for part in shuffled.split(11):
        metrics[1].update(vectors[part], who[part], index[part])
    first, second = (m.compute() for m in metrics)
    assert first == second
    pairs = AllPairs()(who.numpy())
    expected = max_f1(EuclideanDistance().between(vectors, pairs.left, pairs.right), pairs.same)
    assert first["threshold"].item() == expected.threshold
    assert first["f1"].item() == expected.f1


def test_metric_refuses_what_does_not_fit():
    with pytest.raises(CalibrationError, match="do not fit"):
        PairVerification().update(torch.zeros(3, 2), torch.arange(3), torch.arange(2))
    with pytest.raises(CalibrationError, match="call update first"):
        PairVerification().rows()
