"""Training in 1, 2 and 3 processes: the same gradients, weights, thresholds and figures."""

import os
import signal

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from tests.helpers import write_identities
from tests.processes import free_port, run_in
from torch import nn

import siamese
from siamese.errors import ConfigError
from siamese.processes import all_processes, part
from siamese.training.gathering import whole_batch
from siamese.training.joining import join_run, started_devices
from siamese.training.stopping import TrainingStoppedError
from siamese.training.synced_batch_norm import SyncedBatchNorm


class Wide(nn.Module):
    """In float64, so that what is left of a difference is not the order of additions."""

    def __init__(self, normalised=True):
        super().__init__()
        norm = nn.BatchNorm1d(12) if normalised else nn.Identity()
        # No bias before a normalisation: its gradient is 0, and Adam would follow the rounding.
        parts = (nn.Flatten(), nn.Linear(3 * 64, 12, bias=False), norm, nn.Tanh(), nn.Linear(12, 6))
        self.net = nn.Sequential(*parts).double()

    def forward(self, images):
        return nn.functional.normalize(self.net(images[:, :, ::2, ::2].double()), dim=1)


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    return write_identities(tmp_path_factory.mktemp("people"), [5] * 20)


def data_of(root, sampler=None, **more):
    return siamese.FolderDataModule(
        root,
        cropper=siamese.NoCropper(size=16),
        sampler=sampler or siamese.IdentitySampler(5, 3),
        cache=root.parent / "cache",
        workers=0,
        progress=False,
        **more,
    )


def trainer_of(**settings):
    """A plain Trainer over the processes that are there."""
    world = int(os.environ["WORLD_SIZE"])
    return pl.Trainer(
        accelerator="cpu",
        devices=world,
        strategy="ddp" if world > 1 else "auto",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **settings,
    )


class Gradients(pl.Callback):
    def __init__(self):
        self.found = []

    def on_after_backward(self, trainer, pl_module):
        self.found.append(flat(p.grad for p in pl_module.parameters()))


def flat(tensors):
    return torch.cat([t.detach().double().flatten() for t in tensors]).numpy()


def fitted(root, loss, sampler, way, epochs=2):
    """A plain Trainer, which knows nothing of how the batches are divided."""
    world = int(os.environ["WORLD_SIZE"])
    siamese.seed_everything(0)
    data, module = data_of(root, sampler), siamese.SiameseModule(Wide(), loss, data_parallel=way)
    data.setup()
    if loss == "margin_softmax_loss":
        module.loss.bind(len(data.table("train").distinct_identities), 6)
        module.loss.double()
    gradients, calibrator = Gradients(), siamese.ThresholdCalibrator(intervals=False)
    trainer = trainer_of(
        max_epochs=epochs,
        callbacks=[gradients, calibrator],
        plugins=[SyncedBatchNorm()] if world > 1 else [],
    )
    trainer.fit(module, data)
    figures = {name: float(value) for name, value in trainer.callback_metrics.items()}
    kinds = {type(layer).__name__ for layer in module.modules()}
    return gradients.found, flat(module.state_dict().values()), figures, kinds


@pytest.mark.parametrize(
    ("loss", "sampler"),
    [
        ("contrastive_loss", None),
        ("triplet_loss", None),
        ("margin_softmax_loss", None),
        ("contrastive_loss", siamese.BalancedPairSampler(12)),  # pairs across processes
    ],
)
def test_divided_batches_train_as_one_process_does(people, loss, sampler):
    found = {n: run_in(n, fitted, people, loss, sampler, "split") for n in (1, 2, 3)}
    gradients, weights, figures, _ = found[1][0]
    assert len(gradients) >= 6
    assert np.linalg.norm(gradients[0]) > 1e-3
    for count in (2, 3):
        for other, same_weights, same_figures, kinds in found[count]:
            for one, two in zip(gradients, other, strict=True):
                np.testing.assert_allclose(two, one, rtol=0, atol=1e-11 * np.abs(one).max())
            np.testing.assert_allclose(same_weights, weights, rtol=1e-10, atol=1e-13)
            assert same_figures.keys() == figures.keys()
            for name, value in figures.items():
                assert same_figures[name] == pytest.approx(value, rel=1e-6), name
            assert "BatchNorm1d" in kinds  # as it was before the training
        first, *others = found[count]
        for other in others:  # every process has the same, bit for bit
            assert (other[1] == first[1]).all()
            assert other[2] == first[2]


def test_separate_batches_are_another_training(people):
    one = run_in(1, fitted, people, "contrastive_loss", None, "split", 1)[0]
    two = run_in(2, fitted, people, "contrastive_loss", None, "separate", 1)
    assert len(two[0][0]) < len(one[0])  # an epoch has fewer steps
    assert not np.allclose(two[0][0][0], one[0][0], rtol=1e-3)
    assert (two[0][1] == two[1][1]).all()


def gradients_of_joined(root, pairs):
    """Of the parts, gathered, with the mean over processes that DistributedDataParallel takes."""
    here = all_processes()
    torch.manual_seed(0)
    net = Wide(normalised=False)
    data = data_of(root, siamese.BalancedPairSampler(8) if pairs else None)
    labels = data.dataset("train").labels
    batches = [
        next(iter(data.batch_sampler.batches(labels, 3, rank, here.count)))
        for rank in range(here.count)
    ]
    loaded = [data.dataset("train")[plan] for plan in batches]
    own = loaded[here.rank]
    loss = siamese.ContrastiveLoss()
    whole = whole_batch(net(own["image"]), own["label"], own.get("pairs"), shared=False)
    loss(*whole).backward()
    mean = here.add_up(flat(p.grad for p in net.parameters())) / here.count
    # One process with all of it.
    net.zero_grad()
    starts = np.cumsum([0] + [len(plan) for plan in batches])
    together = [b["pairs"] + s for b, s in zip(loaded, starts, strict=False)] if pairs else None
    loss(
        net(torch.cat([b["image"] for b in loaded])),
        torch.cat([b["label"] for b in loaded]),
        torch.cat(together, dim=1) if together else None,
    ).backward()
    return mean, flat(p.grad for p in net.parameters())


@pytest.mark.parametrize("pairs", [False, True])
def test_joined_batches_have_the_gradient_of_one_large_batch(people, pairs):
    for mean, expected in run_in(3, gradients_of_joined, people, pairs):
        assert np.abs(expected).max() > 1e-4
        np.testing.assert_allclose(mean, expected, rtol=0, atol=1e-12 * np.abs(expected).max())


def gradient_of_a_sum(count):
    """Of rows that are gathered and added to others, made before."""
    other = torch.ones(2, 1, requires_grad=True)
    own = torch.ones(1, 1, requires_grad=True)
    whole = whole_batch(own, torch.tensor([0]), None, shared=True)[0]
    (whole + other).sum().backward()
    return float(own.grad), other.grad.flatten().tolist()


def test_the_gradients_of_others_are_left_alone():
    assert run_in(2, gradient_of_a_sum, 2) == [(2.0, [1.0, 1.0])] * 2


class Recording(siamese.SiameseModule):
    """Its own step sees the batch as the data module gives it."""

    def training_step(self, batch, batch_idx):
        self.seen = [*getattr(self, "seen", []), batch]
        return self.loss(self(batch["image"]), batch["label"], batch.get("pairs"))


def rows_seen(root, divided):
    """Rows that a module with a step of its own gets, and the sizes of its batches."""
    torch.manual_seed(0)
    data = data_of(root, siamese.BalancedPairSampler(12))
    if divided:  # by torch itself
        rows = torch.utils.data.DistributedSampler(range(len(data.dataset("train"))), shuffle=False)
        data = data_of(root, torch.utils.data.BatchSampler(rows, 5, drop_last=False))
    module = (siamese.SiameseModule if divided else Recording)(Wide(), "contrastive_loss")
    seen = []

    class Look(pl.Callback):
        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
            seen.append({name: value.tolist() for name, value in batch.items() if name != "image"})

    trainer = trainer_of(
        max_epochs=1, limit_val_batches=0, callbacks=[Look()], plugins=[SyncedBatchNorm()]
    )
    trainer.fit(module, data)
    return seen, len(data.dataset("train"))


def test_a_step_of_ones_own_gets_whole_batches(people):
    for seen, _ in run_in(2, rows_seen, people, False):
        assert seen
        for batch in seen:
            assert "whole" not in batch
            assert max(max(side) for side in batch["pairs"]) < len(batch["label"])


def test_a_sampler_that_divides_itself_is_not_divided_again(people):
    parts = run_in(2, rows_seen, people, True)
    rows = [row for seen, _ in parts for batch in seen for row in batch["index"]]
    assert sorted(set(rows)) == list(range(parts[0][1]))
    assert all("whole" not in batch for seen, _ in parts for batch in seen)


def trained_with_pictures(root, folder):
    data = data_of(root)
    data.setup()
    rows = torch.utils.data.RandomSampler(data.dataset("train"))
    batches = torch.utils.data.BatchSampler(rows, 16, drop_last=True)
    run = siamese.train(
        siamese.SiameseModule(Wide(), "contrastive_loss"),
        data_of(root, batches),
        folder,
        max_epochs=1,
        baselines=(),
        verbose=False,
    )
    return run.operating_point.threshold


def test_pictures_of_a_torch_samplers_batches_are_drawn_by_one_process(people, tmp_path):
    one, other = run_in(2, trained_with_pictures, people, tmp_path)
    assert one == other
    assert (tmp_path / "plots" / "training_pairs.png").is_file()


def normalised(sizes, dimensions):
    here = all_processes()
    generator = torch.Generator().manual_seed(0)
    shape = (sum(sizes), 4, *[3] * dimensions)
    whole = torch.randn(shape, generator=generator, dtype=torch.float64) * 3 + 2
    weight = torch.randn(shape, generator=generator, dtype=torch.float64)
    kind = (nn.BatchNorm1d, nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)[dimensions]
    answers = []
    for divided in (True, False):
        layer = nn.Sequential(kind(4).double())
        nn.init.normal_(layer[0].weight, generator=torch.Generator().manual_seed(1))
        begin = sum(sizes[: here.rank])
        rows = slice(begin, begin + sizes[here.rank])
        given = (whole[rows] if divided else whole).clone().requires_grad_()
        if divided:
            SyncedBatchNorm().apply(layer)
        found = layer(given)
        (found * (weight[rows] if divided else weight)).square().sum().backward()
        gradients = [p.grad.numpy() for p in layer.parameters()]
        if divided:
            gradients = [here.add_up(g) for g in gradients]
            SyncedBatchNorm().revert(layer)
            assert type(layer[0]) is kind
        own = (found, given.grad) if divided else (found[rows], given.grad[rows])
        buffers = list(layer.buffers())
        answers.append([t.detach().numpy() for t in (*own, *buffers)] + gradients)
    return answers


@pytest.mark.parametrize(("sizes", "dimensions"), [((3, 1, 4), 0), ((2, 5, 1), 2), ((4, 0), 1)])
def test_batch_normalisation_over_processes_is_that_of_the_whole_batch(sizes, dimensions):
    for parts, whole in run_in(len(sizes), normalised, sizes, dimensions):
        for one, other in zip(parts, whole, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-10, atol=1e-12)


def metric_with_an_idle_process():
    here = all_processes()
    metric = siamese.PairVerification(pairs="all_pairs")
    generator = torch.Generator().manual_seed(0)
    embeddings, labels = torch.randn(12, 3, generator=generator), torch.arange(12) // 3
    if here.count == 1:
        metric.update(embeddings, labels, torch.arange(12))
    elif here.rank:
        rows = torch.arange(here.rank - 1, 12, here.count - 1)
        metric.update(embeddings[rows], labels[rows], rows)
    return {name: float(value) for name, value in metric.compute().items()}


def test_a_process_without_any_row_takes_part():
    alone = run_in(1, metric_with_an_idle_process)[0]
    assert run_in(3, metric_with_an_idle_process) == [alone] * 3


def drawn_from_the_global_numbers(root):
    torch.manual_seed(all_processes().rank)  # each process has its own
    rows = torch.utils.data.RandomSampler(range(40))
    sampler = torch.utils.data.BatchSampler(rows, 6, drop_last=True)
    labels = np.arange(40) // 4
    here = all_processes()
    batches = siamese.data.adapters.TorchSampler(sampler).batches(labels, 0, here.rank, here.count)
    batches.first_draws = True  # as the data module says
    return [plan.indices.tolist() for plan in batches]


def test_of_a_torch_sampler_the_first_process_draws_for_all(people):
    parts = run_in(3, drawn_from_the_global_numbers, people)
    drawn = [row for part in parts for batch in part for row in batch]
    assert len(drawn) == len(set(drawn)) == 36  # two batches each, no row twice
    assert [len(batches) for batches in parts] == [2, 2, 2]


def test_a_batch_smaller_than_the_processes_is_refused():
    plan = siamese.data.samplers.base.BatchPlan(np.arange(3))
    assert [plan.part(rank, 3).indices.tolist() for rank in range(3)] == [[0], [1], [2]]
    with pytest.raises(ConfigError, match="3 images cannot be divided over 4 processes"):
        plan.part(0, 4)


class StopAt(pl.Callback):
    """A signal that one of the processes alone gets."""

    def __init__(self, step, rank):
        self.step, self.rank = step, rank

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if trainer.global_step == self.step and trainer.global_rank == self.rank:
            os.kill(os.getpid(), signal.SIGTERM)


def trained(root, folder, stop=None, resume=None, count=2):
    siamese.seed_everything(0)
    backbone = siamese.SmallResNet((4, 8), (1, 1), 16, dropout=0.3)
    callbacks = [StopAt(*stop)] if stop else []
    try:
        run = siamese.train(
            siamese.SiameseModule(backbone, "contrastive_loss"),
            data_of(root),
            folder,
            max_epochs=3,
            resume=resume,
            callbacks=callbacks,
            baselines=["untrained"],
            plots=False,
            verbose=False,
        )
    except TrainingStoppedError as stopped:
        return stopped.signal.name
    return run.evaluation.to_dict(), flat(run.evaluation.bundle.backbone.state_dict().values())


def test_a_run_of_two_processes_is_one_run_stops_as_one_and_goes_on(people, tmp_path):
    whole = run_in(2, trained, people, tmp_path / "whole")
    assert whole[0][0] == whole[1][0]
    assert (whole[0][1] == whole[1][1]).all()
    assert (tmp_path / "whole" / "timing.json").is_file()
    # One process is told to stop in the second epoch: both do, after the same batch.
    stopped = run_in(2, trained, people, tmp_path / "part", (6, 1))
    assert stopped == ["SIGTERM", "SIGTERM"]
    assert not (tmp_path / "part" / "timing.json").exists()
    again = run_in(2, trained, people, tmp_path / "part", None, "auto")
    assert again[0][0] == whole[0][0]
    assert (again[0][1] == whole[0][1]).all()  # dropout included, bit for bit
    history = [(tmp_path / name / "history.csv").read_text() for name in ("whole", "part")]
    assert history[0] == history[1]


def evaluated(root, folder):
    """Figures of trained weights, of which nothing depends on the number of processes."""
    data = data_of(root)
    module = siamese.SiameseModule.load_from_checkpoint(folder / "checkpoints" / "last.ckpt")
    trainer = trainer_of()
    return trainer.validate(module, data, verbose=False), trainer.test(module, data, verbose=False)


def test_figures_of_the_same_weights_are_the_same_in_all_bits(people, tmp_path):
    run_in(1, trained, people, tmp_path)
    alone = run_in(1, evaluated, people, tmp_path)[0]
    assert "test/f1" in alone[1][0]
    assert run_in(2, evaluated, people, tmp_path) == [alone] * 2
    assert run_in(3, evaluated, people, tmp_path) == [alone] * 3


def joined_as_srun_would(port):
    rank = int(os.environ["RANK"])
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"):
        os.environ.pop(name)
    part()
    os.environ |= {
        "SLURM_PROCID": str(rank),
        "SLURM_LOCALID": str(rank),
        "SLURM_NODEID": "0",
        "SLURM_NTASKS": "2",
        "SLURM_STEP_ID": "0",
        "SLURM_STEP_NUM_TASKS": "2",
        "SLURM_NTASKS_PER_NODE": "2",
        "SLURM_NNODES": "1",
        "SLURM_JOB_NAME": "siamese",
        "SLURM_JOB_ID": "7",
        "SLURM_NODELIST": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    here = join_run()
    return here.rank, here.count, here.gather(rank), started_devices()


def test_processes_that_srun_started_find_each_other():
    expected = {"devices": 2, "num_nodes": 1, "strategy": "ddp"}
    found = run_in(2, joined_as_srun_would, free_port())
    assert found == [(0, 2, [0, 1], expected), (1, 2, [0, 1], expected)]
