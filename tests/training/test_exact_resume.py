"""A run that is stopped anywhere ends as one that was not: weights, figures and history."""

import csv
import functools
import os
import signal
from pathlib import Path

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import EarlyStopping, ModelCheckpoint
from tests.helpers import assert_says, write_identities
from torch.optim import lr_scheduler
from torch.utils.data import BatchSampler, RandomSampler, SubsetRandomSampler

import siamese
from siamese import checkpoint_files
from siamese.errors import ConfigError
from siamese.report.history import read_history
from siamese.training.position import Position, place_loops
from siamese.training.stopping import TrainingStoppedError

STEPS, EPOCHS = 4, 3


class Plateau(functools.partial):
    """By the training loss, which it takes for a plateau almost always."""

    monitor = "train/loss"


SCHEDULES = {
    "constant": None,
    "cosine": siamese.WarmupCosine(),
    "by epoch": functools.partial(lr_scheduler.StepLR, step_size=1, gamma=0.5),
    "plateau": Plateau(lr_scheduler.ReduceLROnPlateau, patience=0, threshold=0.5, factor=0.5),
}


@pytest.fixture(scope="module")
def identities(tmp_path_factory):
    return write_identities(tmp_path_factory.mktemp("identities"), [4] * 12)


def trained(root, folder, schedule="cosine", resume=None, callbacks=(), **more):
    siamese.seed_everything(0, workers=True, verbose=False)
    sampler = more.pop("sampler", siamese.IdentitySampler(4, 2, steps=STEPS))
    data = siamese.FolderDataModule(
        root,
        cropper=siamese.NoCropper(32),
        sampler=sampler,
        augmentation=more.pop("augmentation", siamese.Augmentation()),
        workers=more.pop("workers", 0),
        progress=False,
    )
    net = siamese.SmallResNet(widths=(4,), depths=(1,), learned_size=8, dropout=0.4)
    module = siamese.SiameseModule(net, siamese.ContrastiveLoss(), schedule=SCHEDULES[schedule])
    run = siamese.train(
        module,
        data,
        folder,
        max_epochs=more.pop("max_epochs", EPOCHS),
        keep=more.pop("keep", "last"),
        resume=resume,
        callbacks=callbacks,
        trainer=more,
        baselines=(),
        plots=False,
        verbose=False,
    )
    last = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)
    return module.state_dict(), run, last["optimizer_states"], read_history(folder / "history.csv")


def stopped(root, folder, callback, schedule="cosine", **more):
    with pytest.raises(TrainingStoppedError) as caught:
        trained(root, folder, schedule, callbacks=[callback, *more.pop("callbacks", ())], **more)
    return caught.value


def reversed_lines(path):
    head, *lines = path.read_text().splitlines()
    return [head, *reversed(lines)]


def same(value, other):
    if isinstance(value, torch.Tensor):
        return torch.equal(value, other)
    if isinstance(value, dict):
        return value.keys() == other.keys() and all(same(value[k], other[k]) for k in value)
    if isinstance(value, (list, tuple)):
        return len(value) == len(other) and all(map(same, value, other))
    return value == other or (value != value and other != other)


def assert_same(one, other):
    assert same(one[0], other[0])
    assert one[1].operating_point == other[1].operating_point
    assert one[1].evaluations == other[1].evaluations
    assert same(one[2], other[2])
    assert same(one[3], other[3])


class Signal(pl.Callback):
    """Sends the process a signal while a batch, or a validation, is computed."""

    def __init__(self, step=None, epoch=None, number=signal.SIGTERM):
        self.step, self.epoch, self.number = step, epoch, number

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if trainer.global_step == self.step:
            os.kill(os.getpid(), self.number)

    def on_validation_batch_start(self, trainer, *_):
        if trainer.current_epoch == self.epoch:
            os.kill(os.getpid(), self.number)


@pytest.fixture(scope="module")
def whole(identities, tmp_path_factory):
    @functools.cache
    def make(schedule, **more):
        return trained(identities, tmp_path_factory.mktemp("whole"), schedule, **more)

    return make


@pytest.mark.parametrize(
    ("schedule", "when"),
    [
        ("constant", {"step": 5}),
        ("cosine", {"step": 0}),
        ("cosine", {"step": 6, "number": signal.SIGINT}),
        ("cosine", {"step": 7}),  # an epoch's last batch
        ("cosine", {"epoch": 1}),
        ("cosine", {"epoch": EPOCHS - 1}),  # nothing but the end is left
        ("by epoch", {"step": 9}),
        ("by epoch", {"epoch": 0}),
        ("plateau", {"step": 6}),
        ("plateau", {"epoch": 0}),
    ],
)
def test_stopped_by_a_signal(schedule, when, whole, identities, tmp_path):
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    error = stopped(identities, tmp_path, Signal(**when), schedule)
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before
    assert error.signal == when.get("number", signal.SIGTERM)
    assert_says(error, "interrupted", error.signal.name, f"resume={os.path.relpath(tmp_path)}")
    saved = torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)
    if "step" in when and when["step"] % STEPS != STEPS - 1:  # after the batch, not the epoch
        assert saved["global_step"] == when["step"] + 1
    assert_same(whole(schedule), trained(identities, tmp_path, schedule, resume="auto"))


def test_stopped_twice_and_elsewhere(whole, identities, tmp_path):
    stopped(identities, tmp_path / "a", Signal(step=1))
    stopped(identities, tmp_path / "b", Signal(step=2), resume=tmp_path / "a")
    stopped(identities, tmp_path / "b", Signal(step=10), resume="auto")
    resumed = trained(identities, tmp_path / "c", resume=tmp_path / "b")
    assert_same(whole("cosine"), resumed)


def test_with_processes_that_load(whole, identities, tmp_path):
    stopped(identities, tmp_path, Signal(step=5), workers=1)
    assert_same(whole("cosine"), trained(identities, tmp_path, resume="auto", workers=1))


def noisy(image, seed):
    """An augmentation that draws from the training's own random numbers, as none should."""
    shift = int(torch.randint(0, 9, ())) + int(np.random.randint(9))  # noqa: NPY002
    return np.clip(image.astype(int) + shift, 0, 255).astype(np.uint8)


def test_the_trainings_own_random_numbers_go_on(identities, tmp_path):
    more = {"augmentation": noisy}
    one = trained(identities, tmp_path / "whole", **more)
    stopped(identities, tmp_path / "run", Signal(step=6), **more)
    np.random.seed(1)  # noqa: NPY002 - another process has others
    assert_same(one, trained(identities, tmp_path / "run", resume="auto", **more))


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("when", [{"step": 6}, {"epoch": 0}])
def test_a_torch_sampler_goes_on_in_its_epoch(own, when, identities, tmp_path):
    def sampler():
        generator = torch.Generator().manual_seed(5) if own else None
        rows = SubsetRandomSampler(range(20), generator) if own else RandomSampler(range(20))
        return BatchSampler(rows, 5, True)

    one = trained(identities, tmp_path / "whole", sampler=sampler())
    stopped(identities, tmp_path / "run", Signal(**when), sampler=sampler())
    assert_same(one, trained(identities, tmp_path / "run", resume="auto", sampler=sampler()))


def test_a_step_of_several_batches_is_not_cut(identities, tmp_path):
    more = {"accumulate_grad_batches": 2}
    one = trained(identities, tmp_path / "whole", **more)
    stopped(identities, tmp_path / "run", Signal(step=2), **more)
    assert_same(one, trained(identities, tmp_path / "run", resume="auto", **more))


@pytest.mark.parametrize("stop", [5, STEPS * 2])
def test_a_run_that_max_steps_ended_goes_on_with_the_next_batch(stop, whole, identities, tmp_path):
    trained(identities, tmp_path / "first", "constant", max_steps=stop)
    resumed = trained(identities, tmp_path / "rest", "constant", resume=tmp_path / "first")
    assert_same(whole("constant"), resumed)
    again = trained(
        identities, tmp_path / "again", "constant", resume=tmp_path / "first", max_steps=12
    )
    assert same(whole("constant")[0], again[0])
    # What the loggers call a step goes on, too.
    rows = [(run[1].folder / "logs" / "csv" / "metrics.csv") for run in (whole("constant"), again)]
    steps = [next(csv.DictReader(reversed_lines(path))) for path in rows]
    assert steps[0]["step"] == steps[1]["step"]


@pytest.mark.parametrize("every", [1, 3])
def test_any_checkpoint_can_be_gone_on_from(every, whole, identities, tmp_path):
    """Of a callback of the user's own, written after every step, the last of an epoch included."""
    own = ModelCheckpoint(tmp_path / "own", "{step}", every_n_train_steps=every, save_top_k=-1)
    trained(identities, tmp_path / "run", callbacks=[own])
    wanted = whole("cosine")
    for number, path in enumerate(sorted((tmp_path / "own").glob("*.ckpt"))):
        if every == 1 and number % 3:  # some of them: each costs a second
            continue
        resumed = trained(identities, tmp_path / str(number), resume=path)
        assert same(wanted[0], resumed[0]), path.name
        assert wanted[1].evaluations == resumed[1].evaluations


def test_the_best_checkpoint_can_be_gone_on_from(identities, tmp_path):
    one = trained(identities, tmp_path / "whole", "plateau", keep="best")
    best = tmp_path / "whole" / "checkpoints" / "best.ckpt"
    resumed = trained(identities, tmp_path / "rest", "plateau", keep="best", resume=best)
    assert same(one[0], resumed[0])
    assert one[1].operating_point == resumed[1].operating_point


def test_what_early_stopping_ended_is_not_trained_on(identities, tmp_path):
    class Kill(pl.Callback):
        def on_train_end(self, trainer, pl_module):
            raise KeyboardInterrupt

    def early():
        return EarlyStopping("calibration/f1", patience=1, mode="max", min_delta=2.0)

    one = trained(identities, tmp_path / "whole", callbacks=[early()], max_epochs=9)
    with pytest.raises(KeyboardInterrupt):
        trained(identities, tmp_path / "run", callbacks=[early(), Kill()], max_epochs=9)
    run = trained(identities, tmp_path / "run", resume="auto", callbacks=[early()], max_epochs=9)
    assert run[1].evaluation.bundle.provenance["epochs"] == 2
    assert_same(one, run)


@pytest.mark.parametrize(("name", "epoch"), [("best.ckpt", 0), ("last.ckpt", 0), ("last.ckpt", 1)])
def test_killed_between_two_writings(name, epoch, identities, whole, tmp_path, monkeypatch):
    """As soon as a checkpoint is there: what is written or logged after it is missing."""
    write = checkpoint_files.write_checkpoint

    class Killed(BaseException):
        """Nothing catches it, and nothing is written after it."""

    def writes(content, path):
        write(content, path)
        if Path(path).name == name and content["global_step"] == STEPS * (epoch + 1):
            monkeypatch.setattr(pl.loggers.CSVLogger, "finalize", lambda *_: None)
            raise Killed

    monkeypatch.setattr("siamese.training.checkpoint_io.write_checkpoint", writes)
    with pytest.raises(Killed):
        trained(identities, tmp_path)
    monkeypatch.undo()
    (tmp_path / "checkpoints" / ".last.ckpt.1.aa.tmp").write_bytes(b"")
    assert_same(whole("cosine"), trained(identities, tmp_path, resume="auto"))
    assert not [*(tmp_path / "checkpoints").glob(".*")]


def test_a_finished_run_is_not_begun_again(identities, tmp_path):
    trained(identities, tmp_path)
    with pytest.raises(ConfigError) as caught:
        trained(identities, tmp_path, resume="auto")
    assert_says(caught.value, "is finished", f"max_epochs above {EPOCHS}")


def test_a_failure_between_two_batches_loses_nothing(whole, identities, tmp_path):
    """As where the process that loads is killed for want of memory."""

    class Broken:
        def __call__(self, image, seed):
            if seed[1:3] == (1, 2):
                raise OSError("a disk is gone")
            return image

    with pytest.raises(OSError, match="a disk is gone"):
        trained(identities, tmp_path / "run", augmentation=Broken())
    saved = torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)
    assert saved["global_step"] == STEPS + 2
    one = trained(identities, tmp_path / "whole", augmentation=None)
    run = trained(identities, tmp_path / "run", resume="auto", augmentation=None)
    assert_same(one, run)


def test_a_failure_in_a_validation_loses_no_epoch(whole, identities, tmp_path):
    class Broken(pl.Callback):
        def on_validation_batch_end(self, trainer, *_):
            if trainer.current_epoch == 1:
                raise OSError("a disk is gone")

    with pytest.raises(OSError, match="a disk is gone"):
        trained(identities, tmp_path, callbacks=[Broken()])
    saved = torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)
    assert saved["global_step"] == 2 * STEPS
    assert_same(whole("cosine"), trained(identities, tmp_path, resume="auto"))


@pytest.mark.parametrize("step", [5, 9])
def test_the_best_epoch_is_kept_where_the_runs_folder_was_moved(step, identities, tmp_path):
    one = trained(identities, tmp_path / "whole", keep="best")
    stopped(identities, tmp_path / "run", Signal(step=step), keep="best")
    (tmp_path / "run").rename(tmp_path / "moved")
    assert_same(one, trained(identities, tmp_path / "moved", keep="best", resume="auto"))


def test_the_best_epoch_is_kept_from_folder_to_folder(identities, tmp_path):
    more = {"keep": "best", "schedule": "constant"}
    one = trained(identities, tmp_path / "whole", max_epochs=5, **more)
    trained(identities, tmp_path / "a", max_epochs=2, **more)
    stopped(identities, tmp_path / "b", Signal(step=9), resume=tmp_path / "a", max_epochs=5, **more)
    assert_same(one, trained(identities, tmp_path / "b", resume="auto", max_epochs=5, **more))


class Drawing(BatchSampler):
    """Draws each batch when it is asked for, from the global numbers of numpy and torch."""

    def __init__(self):
        super().__init__(range(20), 5, True)

    def __iter__(self):
        for _ in range(len(self)):
            start = int(np.random.randint(5)) + int(torch.randint(0, 5, ()))  # noqa: NPY002
            yield list(range(start, start + 5))


def test_a_sampler_that_draws_batch_by_batch(identities, tmp_path):
    one = trained(identities, tmp_path / "whole", sampler=Drawing())
    stopped(identities, tmp_path / "run", Signal(step=6), sampler=Drawing())
    np.random.seed(7)  # noqa: NPY002 - another process has others
    assert_same(one, trained(identities, tmp_path / "run", resume="auto", sampler=Drawing()))


class Ends(pl.Callback):
    """Ends the training in its first epoch; the process is then killed."""

    def __init__(self, killed):
        self.killed = killed

    def on_train_epoch_end(self, trainer, pl_module):
        trainer.should_stop = True

    def on_train_end(self, trainer, pl_module):
        if self.killed:
            raise KeyboardInterrupt


def test_what_a_callback_ended_is_not_trained_on(identities, tmp_path):
    one = trained(identities, tmp_path / "whole", callbacks=[Ends(False)])
    with pytest.raises(KeyboardInterrupt):
        trained(identities, tmp_path / "run", callbacks=[Ends(True)])
    run = trained(identities, tmp_path / "run", resume="auto")
    assert run[1].evaluation.bundle.provenance["epochs"] == 1
    assert_same(one, run)


class Logs(pl.Callback):
    """Logs what is no mean."""

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        value = float(trainer.global_step % 5)
        for name in ("max", "min", "sum"):
            self.log(f"train/{name}", value, on_step=False, on_epoch=True, reduce_fx=name)


def test_sums_and_extremes_are_logged_whole(identities, tmp_path):
    one = trained(identities, tmp_path / "whole", callbacks=[Logs()])
    stopped(identities, tmp_path / "run", Signal(step=6), callbacks=[Logs()])
    assert_same(one, trained(identities, tmp_path / "run", resume="auto", callbacks=[Logs()]))


def test_a_loader_that_is_not_stateful_is_no_obstacle(tmp_path):
    """In a Trainer of the user's own; within an epoch it begins anew, as Lightning has it."""

    class Plain(pl.LightningModule):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(2, 1)

        def training_step(self, batch, batch_idx):
            return self.layer(batch).square().mean()

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), 0.1)

    def trainer(**settings):
        saved = ModelCheckpoint(tmp_path, "{step}", every_n_train_steps=1, save_top_k=-1)
        return pl.Trainer(
            accelerator="cpu",
            callbacks=[siamese.ExactResume(), saved],
            plugins=[siamese.AtomicCheckpointIO()],
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            **settings,
        )

    loader = torch.utils.data.DataLoader(torch.randn(12, 2), 4)
    trainer(max_epochs=2).fit(Plain(), loader)
    again = trainer(max_epochs=3)
    again.fit(Plain(), loader, ckpt_path=tmp_path / "step=2.ckpt")
    assert again.current_epoch == 3


def counters(epoch, batch, *, of=4, begun=1, processed=0, completed=0, validated=True):
    """Lightning's, as they are in the given epoch after a batch."""
    epochs = {"ready": epoch + 1, "started": epoch + begun, "processed": epoch + processed}
    batches = {
        "ready": batch,
        "started": batch,
        "processed": batch,
        "completed": batch - (not validated),
    }
    none = {"ready": 0, "started": 0, "processed": 0, "completed": 0}
    return {
        "loops": {
            "fit_loop": {
                "state_dict": {},
                "epoch_progress": {
                    "total": epochs | {"completed": epoch + completed},
                    "current": epochs | {"completed": epoch + completed},
                },
                "epoch_loop.state_dict": {},
                "epoch_loop.batch_progress": {
                    "total": dict.fromkeys(none, epoch * of + batch * begun),
                    "current": batches,
                    "is_last_batch": batch == of,
                },
                "epoch_loop.val_loop.batch_progress": {
                    "total": dict(none),
                    "current": dict(none),
                    "is_last_batch": False,
                },
            }
        }
    }


@pytest.mark.parametrize(
    ("content", "position"),
    [
        (counters(1, 2, validated=False), Position(1, 2, False, True)),
        (counters(1, 4, validated=False), Position(1, 4, False, True)),
        (counters(1, 4), Position(1, 4, False, True)),  # after its validation: done again
        (counters(1, 4, processed=1), Position(2, schedules_due=True)),
        (counters(1, 4, processed=1, completed=1), Position(2)),
        (counters(2, 4, begun=0), Position(2)),  # the next one has not begun
        (counters(1, 2, processed=1), Position(1, 2, False, False)),  # cut by max_steps
        ({"loops": {}}, None),
        ({}, None),
    ],
)
def test_where_a_checkpoint_was_written(content, position):
    assert Position.of(content, 4) == position
    if position is None:
        return
    place_loops(content, position)
    epochs = content["loops"]["fit_loop"]["epoch_progress"]["current"]
    batches = content["loops"]["fit_loop"]["epoch_loop.batch_progress"]
    assert (epochs["processed"], batches["current"]["ready"]) == (position.epoch, position.batch)
    assert batches["total"]["processed"] == 4 * position.epoch + position.batch
    assert Position.of(content, 4).epoch == position.epoch
