"""What is shown while a run trains: the epoch, counted from 1, and the time that is left."""

import sys
from types import SimpleNamespace

import pytest
import torch

from siamese.training import run_progress
from siamese.training.run_progress import RunProgress, figures_in_words, in_words


def test_durations_are_read_at_once():
    assert [in_words(s) for s in (0, 99.4, 100, 5_990, 6_000, 7_801)] == [
        "0 s",
        "99 s",
        "2 min",
        "1 h 40 min",
        "1 h 40 min",
        "2 h 10 min",
    ]


def test_only_known_figures_are_shown():
    metrics = {"train/loss": torch.tensor(0.5), "calibration/eer": 0.125, "train/accuracy": 1.0}
    assert figures_in_words(metrics) == "loss 0.5  calibration: EER 0.125"
    assert figures_in_words({}) == ""


def training(epochs, steps=4, first=0, max_epochs=None, terminal=None, monkeypatch=None):
    """Go through the hooks of a training as Lightning does; each look at the clock is a second."""
    clock = iter(range(10_000))
    monkeypatch.setattr(run_progress.time, "monotonic", lambda: next(clock))
    trainer = SimpleNamespace(
        max_epochs=epochs if max_epochs is None else max_epochs,
        max_steps=-1,
        num_training_batches=steps,
        accumulate_grad_batches=1,
        current_epoch=first // steps,
        global_step=first,
        callback_metrics={"train/loss": 0.25},
    )
    shown = RunProgress()
    shown.on_train_start(trainer, None)
    for epoch in range(first // steps, epochs):
        trainer.current_epoch = epoch
        for _ in range(steps):
            trainer.global_step += 1
            shown.on_train_batch_end(trainer, None)
        shown.on_train_epoch_end(trainer, None)
    shown.on_train_end(trainer, None)


def test_epochs_count_from_1_to_all_of_them(monkeypatch, capsys):
    training(2, monkeypatch=monkeypatch)
    assert capsys.readouterr().err.splitlines() == ["Epoch 1/2  1 s left  loss 0.25",
                                                    "Epoch 2/2  loss 0.25"]  # fmt: skip


@pytest.mark.parametrize(("epochs", "lines"), [(1, 1), (9, 9), (10, 10), (11, 11), (1000, 10)])
def test_a_log_has_about_ten_lines(epochs, lines, monkeypatch, capsys):
    training(epochs, monkeypatch=monkeypatch)
    written = capsys.readouterr().err.splitlines()
    assert len(written) in (lines, lines - 1)
    assert written[-1].startswith(f"Epoch {epochs}/{epochs} ")


def test_of_a_run_that_goes_on_only_the_rest_takes_time(monkeypatch, capsys):
    """Of 16 steps 8 are done before; a second goes by until four more are, and four are left."""
    training(4, first=8, monkeypatch=monkeypatch)
    first, last = capsys.readouterr().err.splitlines()
    assert first == "Epoch 3/4  1 s left  loss 0.25"
    assert last == "Epoch 4/4  loss 0.25"


def test_without_an_end_none_is_said(monkeypatch, capsys):
    training(3, max_epochs=-1, monkeypatch=monkeypatch)
    assert capsys.readouterr().err.splitlines() == [f"Epoch {n}  loss 0.25" for n in (1, 2, 3)]


def test_on_a_terminal_one_line_moves(monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    training(2, monkeypatch=monkeypatch)
    written = capsys.readouterr().err
    assert "Epoch 2/2" in written
    assert "8/8" in written
    assert "Epoch 0" not in written
    assert "Epoch 3" not in written


def test_in_a_notebook_one_line_is_changed_and_its_last_text_stays(monkeypatch, capsys):
    display = pytest.importorskip("IPython.display")
    shown = []

    class Handle:
        def update(self, data, raw):
            shown.append(data["text/plain"])

    def first(data, raw, display_id):
        shown.append(data["text/plain"])
        return Handle()

    monkeypatch.setattr(run_progress, "in_notebook", lambda: True)
    monkeypatch.setattr(display, "display", first)
    training(3, monkeypatch=monkeypatch)
    assert shown[-1] == "Epoch 3/3  loss 0.25"
    assert {text.partition(" ")[0] for text in shown} == {"Epoch"}
    assert capsys.readouterr() == ("", "")


def test_a_progress_bar_of_the_user_is_the_only_one(tmp_path):
    from pytorch_lightning.callbacks import TQDMProgressBar

    from siamese.training.stopping import StopRequest
    from siamese.training.trainer import make_trainer

    theirs = TQDMProgressBar()
    settings = {"max_epochs": 1, "enable_progress_bar": True, "callbacks": [theirs]}
    trainer = make_trainer(tmp_path, [], settings, StopRequest())
    assert trainer.progress_bar_callback is theirs


def test_the_last_batches_of_an_epoch_are_a_step_too():
    """Of 10 batches, 4 to a step, 4 and 4 and 2 are taken; of data without end nothing is known."""
    given = {"max_epochs": 3, "max_steps": -1, "accumulate_grad_batches": 4}
    assert run_progress._steps(SimpleNamespace(num_training_batches=10, **given)) == 9
    assert run_progress._steps(SimpleNamespace(num_training_batches=float("inf"), **given)) is None
